"""Errors as the two documents have them: a status, a code and a text."""

from typing import Final


class CarrierError(Exception):
    """A request that is refused."""

    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.message = message


PAYMENTS: Final = "CARRIER_BILLING"
REFUNDS: Final = "CARRIER_BILLING_REFUND"


def invalid_argument(message: str = "Client specified an invalid argument, request body or query param.") -> CarrierError:
    """A body, a header or a parameter that does not comply."""
    return CarrierError(400, "INVALID_ARGUMENT", message)


def unauthenticated() -> CarrierError:
    """A token that is missing, unknown or expired."""
    message = "Request not authenticated due to missing, invalid, or expired credentials. A new authentication is required."
    return CarrierError(401, "UNAUTHENTICATED", message)


def permission_denied() -> CarrierError:
    """A token without the scope."""
    return CarrierError(403, "PERMISSION_DENIED", "Client does not have sufficient permissions to perform this action.")


def payment_denied() -> CarrierError:
    """A line that may not pay."""
    return CarrierError(403, f"{PAYMENTS}.PAYMENT_DENIED", "Payment denied by business.")


def not_found() -> CarrierError:
    """A payment or refund that the client does not have."""
    return CarrierError(404, "NOT_FOUND", "The specified resource is not found.")


def identifier_not_found() -> CarrierError:
    """A phone number of nobody."""
    return CarrierError(404, "IDENTIFIER_NOT_FOUND", "phoneNumber not found.")


def already_exists() -> CarrierError:
    """A reference that was used."""
    return CarrierError(409, "ALREADY_EXISTS", "The resource that a client tried to create already exists.")


def payment_confirmed() -> CarrierError:
    """A payment that was confirmed before."""
    return CarrierError(409, f"{PAYMENTS}.PAYMENT_CONFIRMED", "Payment has been confirmed.")


def payment_cancelled() -> CarrierError:
    """A payment that was cancelled before, or whose reservation has ended."""
    return CarrierError(409, f"{PAYMENTS}.PAYMENT_CANCELLED", "Payment has been cancelled.")


def missing_identifier() -> CarrierError:
    """No phone number, neither in the request nor in the token."""
    return CarrierError(422, "MISSING_IDENTIFIER", "The phone number cannot be identified.")


def unnecessary_identifier() -> CarrierError:
    """A phone number beside the token's."""
    return CarrierError(422, "UNNECESSARY_IDENTIFIER", "The phone number is already identified by the access token.")


def service_not_applicable() -> CarrierError:
    """A line that the service is not for."""
    return CarrierError(422, "SERVICE_NOT_APPLICABLE", "The service is not available for the provided identifier.")


def unauthorized_amount(api: str) -> CarrierError:
    """More than may be asked for at once."""
    return CarrierError(422, f"{api}.UNAUTHORIZED_AMOUNT", "Unauthorized amount requested.")


def threshold_overpassed(api: str) -> CarrierError:
    """More than a line may come to."""
    what = "payment" if api == PAYMENTS else "refund"
    message = f"Unauthorized {what} request. Accumulated user mobile payments overpass account amount threshold."
    return CarrierError(422, f"{api}.USER_AMOUNT_THRESHOLD_OVERPASSED", message)

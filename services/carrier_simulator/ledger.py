"""Payments and refunds as an operator keeps them. Pure; only the identifiers are random.

The end of a phone number says how its line is: ...403 may not pay, ...404 is nobody's, ...422 has no such service, ...202 is billed
later, ...402 is to be billed later and is then refused, ...123 must be shown a code first, ...405 gets no refund, ...406 has no
right to one, ...407 is to get its refund later and is then refused.
"""

import secrets
from collections.abc import Callable
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any, Final, TypeVar

import msgspec
from msgspec import UNSET

from services.carrier_simulator.errors import (
    PAYMENTS,
    REFUNDS,
    CarrierError,
    already_exists,
    identifier_not_found,
    invalid_argument,
    missing_identifier,
    not_found,
    payment_cancelled,
    payment_confirmed,
    payment_denied,
    service_not_applicable,
    threshold_overpassed,
    unauthorized_amount,
    unnecessary_identifier,
)
from services.carrier_simulator.requests import CreatePayment, CreateRefund, OfPhoneNumber, ValidatePayment
from services.carrier_simulator.tokens import Token
from services.runtime.clock import Clock

AMOUNT_MAX: Final = Decimal(1_000)
LINE_MAX: Final = Decimal(5_000)
LINE_REFUNDS_MAX: Final = Decimal(3_000)
# The code that any user gets.
CODE: Final = "352673"
_CODES_MAX: Final = 3
_RESERVATION_US: Final = 900 * 1_000_000


@dataclass
class Refund:
    """A part of a payment that goes back. `sent` is the request."""

    refund_id: str
    client_id: str
    amount: Decimal
    sent: dict[str, Any]
    created_us: int
    status: str
    # It comes to this status once somebody has looked at it.
    comes_to: str = ""
    done_us: int = 0
    seen: bool = False


@dataclass
class Payment:
    """A payment, or a reservation of one. `sent` is the request."""

    payment_id: str
    client_id: str
    phone_number: str
    amount: Decimal
    currency: str
    sent: dict[str, Any]
    created_us: int
    status: str
    comes_to: str = ""
    done_us: int = 0
    seen: bool = False
    authorization_id: str = ""
    wrong_codes: int = 0
    refunds: list[Refund] = field(default_factory=list)


R = TypeVar("R", Payment, Refund)


class Ledger:
    """All payments of all clients. Errors of all methods: `CarrierError`."""

    def __init__(self, clock: Clock, state_file: Path | None = None) -> None:
        """`state_file` None: payments are kept in memory alone."""
        self._clock = clock
        self._state_file = state_file
        # In the order of their creation.
        self.payments: list[Payment] = []
        if state_file is not None and state_file.exists():
            self.payments = _decoder.decode(state_file.read_bytes())
        # Whether a repeated request with its correlator gets the first one's answer, or is refused.
        self.answers_repeats = True

    def keep(self) -> None:
        """Has payments survive the end of the process."""
        if self._state_file is not None:
            temporary = self._state_file.with_suffix(".tmp")
            temporary.write_bytes(_encoder.encode(self.payments))
            temporary.replace(self._state_file)

    def create(self, token: Token, wanted: CreatePayment, sent: dict[str, Any], *, reserves: bool) -> Payment:
        """Takes a payment, or reserves it."""
        wanted.check_sink()
        asked = wanted.amount_transaction
        phone_number = _line_of(token, asked.phone_number)
        of_client = [each for each in self.payments if each.client_id == token.client_id]
        if (known := self._repeated(of_client, sent)) is not None:
            return known
        total = asked.payment_amount.charging_information
        if phone_number.endswith("403"):
            raise payment_denied()
        if total.amount > AMOUNT_MAX:
            raise unauthorized_amount(PAYMENTS)
        paid = sum(each.amount for each in self.payments if each.phone_number == phone_number and each.status in _COUNTED)
        if paid + total.amount > LINE_MAX:
            raise threshold_overpassed(PAYMENTS)
        now_us = self._clock.now_us()
        payment_id = f"pay-{secrets.token_hex(8)}"
        payment = Payment(payment_id, token.client_id, phone_number, total.amount, total.currency, sent, now_us, "")
        payment.status = "reserved" if reserves else "succeeded"
        if reserves and phone_number.endswith("123"):
            payment.status, payment.authorization_id = "pending_validation", secrets.token_hex(8)
        if phone_number.endswith(("202", "402")):
            payment.comes_to = "denied" if phone_number.endswith("402") else payment.status
            payment.status = "processing"
        payment.done_us = now_us if payment.status == "succeeded" else 0
        self.payments.append(payment)
        return payment

    def find(self, token: Token, payment_id: str) -> Payment:
        """A payment of the client, as it is now."""
        for payment in self.payments:
            of_line = not token.phone_number or payment.phone_number == token.phone_number
            if payment.payment_id == payment_id and payment.client_id == token.client_id and of_line:
                return self._turned(payment)
        raise not_found()

    def find_all(self, token: Token) -> list[Payment]:
        """The client's payments, of its token's line if it has one, oldest first."""
        lines = ("", token.phone_number) if token.phone_number else None
        of_client = [each for each in self.payments if each.client_id == token.client_id]
        return [self._turned(each) for each in of_client if lines is None or each.phone_number in lines]

    def validate(self, token: Token, payment_id: str, wanted: ValidatePayment) -> None:
        """Takes the code that the user got."""
        payment = self.find(token, payment_id)
        if payment.status == "denied" and payment.wrong_codes >= _CODES_MAX:
            raise _validation_failed()
        if wanted.authorization_id != payment.authorization_id:
            raise CarrierError(400, f"{PAYMENTS}.INVALID_AUTHORIZATION_ID", "Invalid authorizationId.")
        if payment.status != "pending_validation":
            raise CarrierError(409, "ALREADY_EXISTS", "Payment already validated")
        if wanted.code != CODE:
            payment.wrong_codes += 1
            if payment.wrong_codes >= _CODES_MAX:
                payment.status = "denied"
                raise _validation_failed()
            raise CarrierError(400, f"{PAYMENTS}.INVALID_CODE", "Invalid code.")
        payment.status = "reserved"

    def confirm(self, token: Token, payment_id: str, wanted: OfPhoneNumber) -> None:
        """Bills what was reserved."""
        payment = self._reserved(token, payment_id, wanted)
        payment.status, payment.done_us = "succeeded", self._clock.now_us()
        if payment.phone_number.endswith("202"):
            payment.status, payment.comes_to, payment.seen = "processing", "succeeded", False

    def cancel(self, token: Token, payment_id: str, wanted: OfPhoneNumber) -> None:
        """Gives a reservation up."""
        self._reserved(token, payment_id, wanted, cancels=True).status = "cancelled"

    def refund(self, token: Token, payment_id: str, wanted: CreateRefund, sent: dict[str, Any]) -> Refund:
        """Gives a payment back, or a part of it."""
        payment = self.find(token, payment_id)
        wanted.check_sink()
        of_client = [each for paid in self.payments for each in paid.refunds if each.client_id == token.client_id]
        if (known := self._repeated(of_client, sent)) is not None:
            return known
        if payment.phone_number.endswith("405"):
            raise CarrierError(403, f"{REFUNDS}.REFUND_DENIED", "Refund denied by business.")
        if payment.phone_number.endswith("406"):
            raise CarrierError(403, f"{REFUNDS}.PAYMENT_NOT_ELIGIBLE_FOR_REFUND", "Payment not eligible for refund.")
        if payment.status != "succeeded":
            raise CarrierError(422, f"{REFUNDS}.INVALID_PAYMENT_STATUS", "Payment is not yet completed.")
        amount = self._refunded_amount(payment, wanted)
        now_us = self._clock.now_us()
        refund = Refund(f"ref-{secrets.token_hex(8)}", token.client_id, amount, sent, now_us, "succeeded", done_us=now_us)
        if payment.phone_number.endswith(("202", "407")):
            refund.comes_to = "denied" if payment.phone_number.endswith("407") else "succeeded"
            refund.status, refund.done_us = "processing", 0
        payment.refunds.append(refund)
        return refund

    def refunds(self, token: Token, payment_id: str) -> list[Refund]:
        """The client's refunds of a payment, oldest first."""
        return [self._turned(each) for each in self.find(token, payment_id).refunds if each.client_id == token.client_id]

    def remaining(self, payment: Payment) -> Decimal:
        """The part of a payment that no refund has taken, or is taking."""
        return payment.amount - sum(each.amount for each in payment.refunds if each.status != "denied")

    def _refunded_amount(self, payment: Payment, wanted: CreateRefund) -> Decimal:
        asked = wanted.amount_transaction.refund_amount
        paid = payment.sent["amountTransaction"]["paymentAmount"]
        part = asked.charging_information
        if wanted.type == "total" or part is UNSET:
            if self.remaining(payment) != payment.amount:
                raise unauthorized_amount(REFUNDS)
            amount = payment.amount
        else:
            amount = part.amount
            if part.is_tax_included != paid["chargingInformation"].get("isTaxIncluded", False):
                message = "Inconsistent isTaxIncluded value with regards to related payment."
                raise CarrierError(422, f"{REFUNDS}.TAXES_MANAGEMENT_MISMATCH", message)
        known = {each["id"] for each in paid.get("paymentDetails", ())}
        if asked.refund_details is not UNSET and not {each.payment_item_id for each in asked.refund_details} <= known:
            message = "Inconsistent refundDetails information with regards to related payment."
            raise CarrierError(422, f"{REFUNDS}.REFUND_DETAILS_MISMATCH", message)
        if amount > self.remaining(payment):
            raise unauthorized_amount(REFUNDS)
        of_line = [each for each in self.payments if each.phone_number == payment.phone_number]
        if sum(each.amount - self.remaining(each) for each in of_line) + amount > LINE_REFUNDS_MAX:
            raise threshold_overpassed(REFUNDS)
        return amount

    def _reserved(self, token: Token, payment_id: str, wanted: OfPhoneNumber, *, cancels: bool = False) -> Payment:
        phone_number = _line_of(token, wanted.phone_number)
        payment = self.find(token, payment_id)
        if phone_number != payment.phone_number:
            raise identifier_not_found()
        if payment.status == "succeeded" or payment.comes_to == "succeeded":
            raise payment_confirmed()
        if payment.status == "cancelled":
            raise payment_cancelled()
        if payment.status != "reserved" and not (cancels and payment.status == "pending_validation"):
            raise payment_denied()
        return payment

    def _repeated(self, known: list[R], sent: dict[str, Any]) -> R | None:
        """The first of the same requests; None for a new one."""
        asked = sent["amountTransaction"]
        correlator = asked.get("clientCorrelator")
        for each in known:
            earlier = each.sent["amountTransaction"]
            if correlator and earlier.get("clientCorrelator") == correlator:
                if each.sent == sent and self.answers_repeats:
                    return each
                raise invalid_argument("clientCorrelator already exist on server.")
            if not correlator and earlier["referenceCode"] == asked["referenceCode"]:
                raise already_exists()
        return None

    def _turned(self, each: R) -> R:
        """A payment or refund as somebody sees it: what is done later is done once it was seen under way."""
        now_us = self._clock.now_us()
        if each.status == "processing" and each.seen:
            each.status, each.comes_to = each.comes_to, ""
            each.done_us = now_us if each.status == "succeeded" else 0
        elif each.status in ("reserved", "pending_validation") and each.created_us + _RESERVATION_US <= now_us:
            each.status = "cancelled"
        each.seen = True
        return each


# Numbers stay as they are written, because they are money.
_decoder: Final = msgspec.json.Decoder(list[Payment], float_hook=Decimal)
_encoder: Final = msgspec.json.Encoder(decimal_format="number")
_COUNTED: Final = ("processing", "pending_validation", "reserved", "succeeded")
_NOBODYS: Final[tuple[tuple[str, Callable[[], CarrierError]], ...]] = (
    ("404", identifier_not_found),
    ("422", service_not_applicable),
)


def _line_of(token: Token, phone_number: str) -> str:
    """The line that a request is about. Errors: `CarrierError` for none, two, or one that can't be billed."""
    if token.phone_number and phone_number:
        raise unnecessary_identifier()
    line = token.phone_number or phone_number
    if not line:
        raise missing_identifier()
    for end, error in _NOBODYS:
        if line.endswith(end):
            raise error()
    return line


def _validation_failed() -> CarrierError:
    message = "the maximum number of attempts have been consumed for this validation."
    return CarrierError(400, f"{PAYMENTS}.VALIDATION_FAILED", message)

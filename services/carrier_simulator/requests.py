"""Requests as the two documents have them. Members that they do not name are let pass."""

from decimal import Decimal
from typing import Annotated, Any, Final, Literal, TypeVar

import msgspec
from msgspec import UNSET, Meta, Struct, UnsetType

from services.carrier_simulator.errors import CarrierError, invalid_argument

PhoneNumber = Annotated[str, Meta(pattern=r"^\+[1-9][0-9]{4,14}$")]
_Currency = Annotated[str, Meta(pattern=r"^[A-Z]{3}$")]

_CURRENCIES: Final = frozenset({"CNY", "EUR", "HKD", "USD"})
_STEP: Final = Decimal("0.001")
# Numbers stay as they are written, because they are money.
_decoder: Final = msgspec.json.Decoder(float_hook=Decimal)

R = TypeVar("R", bound=Struct)


class Sum(Struct, rename="camel", kw_only=True):
    """A ChargingInformation, or an item of the details."""

    amount: Decimal
    currency: _Currency
    description: str
    is_tax_included: bool = False
    tax_amount: Decimal | UnsetType = UNSET

    def __post_init__(self) -> None:
        if self.amount < _STEP or self.amount % _STEP:
            raise ValueError("amount must be at least 0.001, and of thousandths")
        if self.tax_amount is not UNSET and (self.tax_amount < 0 or self.tax_amount % _STEP):
            raise ValueError("taxAmount must be at least 0, and of thousandths")
        if self.currency not in _CURRENCIES:
            raise ValueError("Currency is unknown or not authorized")


class _PaymentItem(Sum, rename="camel", kw_only=True):
    id: str


class _MetaData(Struct, rename="camel", frozen=True):
    merchant_identifier: str = ""


class _PaymentAmount(Struct, rename="camel"):
    charging_information: Sum
    charging_meta_data: _MetaData = _MetaData()
    payment_details: Annotated[list[_PaymentItem], Meta(min_length=1)] | UnsetType = UNSET


class _PaymentTransaction(Struct, rename="camel"):
    payment_amount: _PaymentAmount
    reference_code: str
    phone_number: PhoneNumber = ""
    client_correlator: str = ""


class _SinkCredential(Struct, rename="camel"):
    credential_type: Literal["PLAIN", "ACCESSTOKEN", "REFRESHTOKEN"]
    access_token: str = ""
    access_token_expires_utc: str = ""
    access_token_type: str = ""


class _WithSink(Struct, rename="camel", kw_only=True):
    sink: str = ""
    sink_credential: _SinkCredential | UnsetType = UNSET

    def check_sink(self) -> None:
        """Errors: `CarrierError` for a sink that nothing can be sent to."""
        if self.sink and not self.sink.startswith("https://"):
            raise CarrierError(400, "INVALID_SINK", "sink not valid for the specified protocol")
        if self.sink_credential is not UNSET:
            if self.sink_credential.credential_type != "ACCESSTOKEN":
                raise CarrierError(400, "INVALID_CREDENTIAL", "Only Access token is supported")
            if self.sink_credential.access_token_type != "bearer":  # noqa: S105  # a word of the document
                raise CarrierError(400, "INVALID_TOKEN", "Only bearer token is supported")


class CreatePayment(_WithSink, rename="camel", kw_only=True):
    """A payment in one step or two."""

    amount_transaction: _PaymentTransaction


class OfPhoneNumber(Struct, rename="camel"):
    """A confirmation or cancellation."""

    phone_number: PhoneNumber = ""


class ValidatePayment(Struct, rename="camel"):
    """The code that the user got."""

    authorization_id: str
    code: str


class _RefundItem(Sum, rename="camel", kw_only=True):
    payment_item_id: str


class _RefundAmount(Struct, rename="camel"):
    charging_information: Sum | UnsetType = UNSET
    charging_meta_data: _MetaData = _MetaData()
    refund_details: Annotated[list[_RefundItem], Meta(min_length=1)] | UnsetType = UNSET


class _RefundTransaction(Struct, rename="camel"):
    refund_amount: _RefundAmount
    reference_code: str
    client_correlator: str = ""


class CreateRefund(_WithSink, rename="camel", kw_only=True):
    """A refund, total or partial."""

    type: Literal["total", "partial"]
    amount_transaction: _RefundTransaction
    reason: str = ""

    def __post_init__(self) -> None:
        if self.type == "partial" and self.amount_transaction.refund_amount.charging_information is UNSET:
            raise ValueError("a partial refund needs its chargingInformation")


def parse(body: bytes, kind: type[R]) -> tuple[R, Any]:
    """A body as its type and as it was sent. Errors: `CarrierError` 400."""
    try:
        sent = _decoder.decode(body)
        return msgspec.convert(sent, kind), sent
    except msgspec.DecodeError as error:
        raise invalid_argument(f"Client specified an invalid argument: {error}.") from error

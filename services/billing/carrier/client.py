"""The carrier over HTTP, as CAMARA Carrier Billing 0.5 and Carrier Billing Refund 0.3 have it.

An answer is believed only where it is whole, of the documents' form, and about what was asked for. All else is unclear: then nobody
knows whether the carrier did it, and whoever asks looks before he asks again.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Annotated, Any, Final, Literal, NamedTuple, TypeVar
from urllib.parse import quote, urlencode

import aiohttp
import msgspec
from msgspec import Meta, Struct

from services.billing.carrier.config import CarrierConfig
from services.billing.carrier.demands import Demand
from services.billing.carrier.identity import NOT_JSON, CredentialsError, Identity
from services.runtime.clock import Clock
from services.runtime.instruments import Counter

T = TypeVar("T")

_BYTES_MAX: Final = 4 * 1024 * 1024
_PER_PAGE: Final = 100
_PAGES_MAX: Final = 1_000
# A list that is gone on with begins this much before its last record, whichever way the carrier rounds its times.
_OVERLAP: Final = timedelta(seconds=1)
# Clocks may differ by this much.
_SKEW: Final = timedelta(minutes=10)
_MICRO: Final = 1_000_000
_RETRY_AFTER_S_MAX: Final = 3_600
# Bounds the carrier's words that are kept, in characters.
_WORDS_MAX: Final = 400
_REFUSALS: Final = (400, 403, 404, 409, 422)
# Digits on either side of the point: money has fewer, and with many more an amount overflows.
_DIGITS_MAX: Final = 18
_encoder: Final = msgspec.json.Encoder(decimal_format="number")

# A name of the carrier's becomes the reference of a payment, and a part of addresses, where dots would lead elsewhere.
_Name = Annotated[str, Meta(min_length=1, max_length=200, pattern=r"^(?!\.+\Z)[ -~]+\Z")]
_Time = Annotated[datetime, Meta(tz=True)]


class _CarrierError(Exception):
    """An error with words of the carrier's: no control character of theirs gets into a log, a database or a terminal."""

    def __init__(self, message: str) -> None:
        super().__init__("".join(each if each.isprintable() else " " for each in message)[:_WORDS_MAX])


class RefusedError(_CarrierError):
    """The carrier has not done it, and says why."""

    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(f"{code}: {message}")
        self.status = status
        self.code = code


class UnclearError(_CarrierError):
    """Nobody knows whether the carrier did it. `retry_after_s`: when it wants to be asked again; 0: it does not say."""

    def __init__(self, message: str, retry_after_s: int = 0) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class _LongError(UnclearError):
    """A list has more pages than are read of one."""


class DisputedError(_CarrierError):
    """The carrier has something else under the demand's identifier, or has it twice."""


class Sum(Struct, rename="camel"):
    """Money as the carrier writes it."""

    amount: Decimal
    currency: str

    def __post_init__(self) -> None:
        """Errors: `ValueError`, so that an answer with another amount is not as CAMARA has it."""
        exponent = self.amount.as_tuple().exponent
        if not isinstance(exponent, int) or exponent < -_DIGITS_MAX or self.amount.adjusted() >= _DIGITS_MAX:
            raise ValueError(f"an amount has at most {_DIGITS_MAX} digits on either side of the point")

    @property
    def micro(self) -> Decimal:
        """In micro-units."""
        return self.amount * _MICRO


class _PaymentAmount(Struct, rename="camel"):
    charging_information: Sum


class _PaymentTransaction(Struct, rename="camel"):
    phone_number: str
    payment_amount: _PaymentAmount
    reference_code: str
    client_correlator: str = ""


class _ValidationInfo(Struct, rename="camel"):
    authorization_id: Annotated[str, Meta(max_length=200, pattern=r"^[ -~]*\Z")] = ""


class Paid(Struct, rename="camel"):
    """A payment at the carrier."""

    payment_id: _Name
    amount_transaction: _PaymentTransaction
    payment_status: Literal["processing", "pending_validation", "denied", "reserved", "succeeded", "cancelled"]
    payment_creation_date: _Time
    validation_info: _ValidationInfo = msgspec.field(default_factory=_ValidationInfo)

    @property
    def asked_as(self) -> str:
        """The identifier of the demand that it was asked for by."""
        return self.amount_transaction.client_correlator or self.amount_transaction.reference_code

    def differs_from(self, demand: Demand) -> str:
        """Says what it has that was not asked for; empty: nothing."""
        asked = self.amount_transaction
        total = asked.payment_amount.charging_information
        if asked.client_correlator not in ("", demand.demand_id) or asked.reference_code != demand.demand_id:
            return f"it is about {self.asked_as[:100]}"
        if (total.micro, total.currency) != (Decimal(demand.amount), demand.currency):
            return f"it is about {total.amount} {total.currency[:10]}"
        return "" if asked.phone_number == demand.phone_number else "it is about another line"


class _RefundAmount(Struct, rename="camel"):
    charging_information: Sum | None = None


class _RefundTransaction(Struct, rename="camel"):
    refund_amount: _RefundAmount
    reference_code: str
    client_correlator: str = ""


class Refunded(Struct, rename="camel"):
    """A refund at the carrier."""

    refund_id: _Name
    refund_status: Literal["processing", "denied", "succeeded"]
    type: Literal["total", "partial"]
    refund_creation_date: _Time
    amount_transaction: _RefundTransaction

    @property
    def asked_as(self) -> str:
        """The identifier of the demand that it was asked for by."""
        return self.amount_transaction.client_correlator or self.amount_transaction.reference_code

    def differs_from(self, demand: Demand) -> str:
        """Says what it has that was not asked for; empty: nothing."""
        asked = self.amount_transaction
        part = asked.refund_amount.charging_information
        if asked.client_correlator not in ("", demand.demand_id) or asked.reference_code != demand.demand_id:
            return f"it is about {self.asked_as[:100]}"
        if part is None or (part.micro, part.currency) != (Decimal(demand.amount), demand.currency):
            return "it is about another amount"
        return ""


class _Error(Struct):
    status: int
    code: Annotated[str, Meta(min_length=1, max_length=200)]
    message: str


class _Reply(NamedTuple):
    status: int
    body: bytes


class Carrier:
    """The operator's carrier billing. Errors of all methods: `UnclearError`; of those that change something: `RefusedError`."""

    def __init__(
        self, config: CarrierConfig, http: aiohttp.ClientSession, clock: Clock, requests: Counter, pages_max: int = _PAGES_MAX
    ) -> None:
        """`requests` counts by operation and outcome; `pages_max` are read of one list. Errors: `ConfigError` for the key."""
        self._http = http
        self._clock = clock
        self._requests = requests
        self._pages_max = pages_max
        self._identity = Identity(config, http, clock)
        self._payments = f"{config.address}/carrier-billing/v0.5/payments"
        self._refunds = f"{config.address}/carrier-billing-refund/v0.3/payments"

    async def pay(self, demand: Demand, *, reserves: bool) -> Paid:
        """Bills the demand, or reserves it."""
        total = {
            "amount": Decimal(demand.amount) / _MICRO,
            "currency": demand.currency,
            "description": demand.offering_id or "Use of the credit line",
        }
        body = {
            "amountTransaction": {
                "phoneNumber": demand.phone_number,
                "clientCorrelator": demand.demand_id,
                "referenceCode": demand.demand_id,
                "paymentAmount": {"chargingInformation": total},
            }
        }
        operation, url = ("preparePayment", f"{self._payments}/prepare") if reserves else ("createPayment", self._payments)
        async with self._counted(operation):
            reply = await self._ask("POST", url, 201, demand.demand_id, body)
            return _about(_decoded(reply, Paid), demand)

    async def find_payment(self, demand: Demand) -> Paid | None:
        """The payment that the carrier has for the demand, if any. Errors: `DisputedError` too."""
        since = datetime.fromtimestamp(demand.asked_us // _MICRO, UTC) - _SKEW
        found = [paid async for paid in self.payments_since(since) if paid.asked_as == demand.demand_id]
        if len(found) > 1:
            raise DisputedError(f"the carrier has {len(found)} payments for it: {', '.join(each.payment_id for each in found)}")
        return _undisputed(found[0], demand) if found else None

    async def payments_since(self, since: datetime) -> AsyncIterator[Paid]:
        """All payments of this client that were made since then, oldest first, each once."""
        made: dict[str, datetime] = {}
        while True:
            query = {"paymentCreationDate.gte": since.isoformat(timespec="milliseconds").replace("+00:00", "Z"), "order": "asc"}
            last = since
            try:
                async for paid in self._pages("retrievePayments", self._payments, query, Paid):
                    last = _in_utc(paid.payment_creation_date)
                    if paid.payment_id not in made:
                        made[paid.payment_id] = last
                        yield paid
                return
            except _LongError:
                if last <= since + _OVERLAP:
                    raise
            begin = last - _OVERLAP
            # Those that the next list has again.
            made = {name: at for name, at in made.items() if at >= begin}
            since = begin

    async def payment(self, demand: Demand) -> Paid:
        """The demand's payment as it is now. Errors: `DisputedError` too."""
        url = f"{self._payments}/{quote(demand.payment_id, safe='')}"
        return _undisputed(await self._look("retrievePayment", url, demand.demand_id, Paid), demand)

    async def confirm(self, demand: Demand) -> None:
        """Bills what was reserved."""
        await self._second_step("confirm", demand, {"phoneNumber": demand.phone_number})

    async def cancel(self, demand: Demand) -> None:
        """Gives a reservation up."""
        await self._second_step("cancel", demand, {"phoneNumber": demand.phone_number})

    async def validate(self, demand: Demand, code: str) -> None:
        """Shows the code that the line's user got."""
        async with self._counted("validatePayment"):
            body = {"authorizationId": demand.authorization_id, "code": code}
            await self._ask("POST", self._of_payment(demand, "validate"), 204, demand.demand_id, body)

    async def give_back(self, demand: Demand) -> Refunded:
        """Gives a part of a payment back. A part it always is, because a total refund's amount is not in its answer."""
        part = {
            "amount": Decimal(demand.amount) / _MICRO,
            "currency": demand.currency,
            "description": demand.offering_id or "Refund",
        }
        body = {
            "type": "partial",
            "amountTransaction": {
                "clientCorrelator": demand.demand_id,
                "referenceCode": demand.demand_id,
                "refundAmount": {"chargingInformation": part},
            },
        }
        async with self._counted("createRefund"):
            reply = await self._ask("POST", self._refunds_of(demand.payment_id), 201, demand.demand_id, body)
            return _about(_decoded(reply, Refunded), demand)

    async def find_refund(self, demand: Demand) -> Refunded | None:
        """The refund that the carrier has for the demand, if any. Errors: `DisputedError` too."""
        found = [each for each in await self.refunds_of(demand.payment_id) if each.asked_as == demand.demand_id]
        if len(found) > 1:
            raise DisputedError(f"the carrier has {len(found)} refunds for it: {', '.join(each.refund_id for each in found)}")
        return _undisputed(found[0], demand) if found else None

    async def refunds_of(self, payment_id: str) -> list[Refunded]:
        """All refunds of a payment, oldest first."""
        pages = self._pages("retrieveRefunds", self._refunds_of(payment_id), {"order": "asc"}, Refunded)
        return [refund async for refund in pages]

    async def refund(self, demand: Demand) -> Refunded:
        """The demand's refund as it is now. Errors: `DisputedError` too."""
        url = f"{self._refunds_of(demand.payment_id)}/{quote(demand.refund_id, safe='')}"
        return _undisputed(await self._look("retrieveRefund", url, demand.demand_id, Refunded), demand)

    def _of_payment(self, demand: Demand, step: str) -> str:
        return f"{self._payments}/{quote(demand.payment_id, safe='')}/{step}"

    def _refunds_of(self, payment_id: str) -> str:
        return f"{self._refunds}/{quote(payment_id, safe='')}/refunds"

    async def _second_step(self, step: Literal["confirm", "cancel"], demand: Demand, body: dict[str, Any]) -> None:
        async with self._counted(f"{step}Payment"):
            await self._ask("POST", self._of_payment(demand, step), 202, demand.demand_id, body)

    async def _look(self, operation: str, url: str, correlator: str, kind: type[T]) -> T:
        """A record that the carrier keeps. Where it does not show one that it has named, nothing is known of it."""
        async with self._counted(operation):
            try:
                reply = await self._ask("GET", url, 200, correlator)
            except RefusedError as error:
                raise UnclearError(f"the carrier does not show what it has: {error}") from error
            return _decoded(reply, kind)

    async def _pages(self, operation: str, url: str, query: dict[str, str], kind: type[T]) -> AsyncIterator[T]:
        """All that a list has, page by page; a carrier that tells the same page again and again is not believed."""
        seen: set[Any] = set()
        for page in range(1, self._pages_max + 1):
            asked = urlencode({**query, "page": page, "perPage": _PER_PAGE})
            async with self._counted(operation):
                try:
                    reply = await self._ask("GET", f"{url}?{asked}", 200, f"page-{page}")
                except RefusedError as error:
                    # A page after the last one is out of range.
                    if page > 1 and error.code.endswith("OUT_OF_RANGE"):
                        return
                    raise UnclearError(f"the carrier does not list what it has: {error}") from error
                found = _decoded(reply, list[kind])  # type: ignore[valid-type]  # a type that is given
            for each in found:
                name = getattr(each, "payment_id", "") or getattr(each, "refund_id", "")
                if name not in seen:
                    seen.add(name)
                    yield each
            if len(found) < _PER_PAGE:
                return
        raise _LongError(f"the carrier lists more than {self._pages_max * _PER_PAGE:,} of them")

    @asynccontextmanager
    async def _counted(self, operation: str) -> AsyncIterator[None]:
        try:
            yield
        except RefusedError:
            self._requests.add(operation, "refused")
            raise
        except (UnclearError, DisputedError):
            self._requests.add(operation, "unclear")
            raise
        self._requests.add(operation, "answered")

    async def _ask(self, method: str, url: str, wanted: int, correlator: str, body: dict[str, Any] | None = None) -> _Reply:
        """The answer with the status that was wanted; a token that is refused is replaced once."""
        for is_last in (False, True):
            try:
                token = await self._identity.token()
            except CredentialsError as error:
                raise UnclearError(str(error)) from error
            headers = {"authorization": f"Bearer {token}", "x-correlator": correlator, "content-type": "application/json"}
            content = None if body is None else _encoder.encode(body)
            try:
                async with self._http.request(method, url, data=content, headers=headers, allow_redirects=False) as response:
                    reply = _Reply(response.status, await _whole(response))
                    retry_after = response.headers.get("retry-after", "")
            except (aiohttp.ClientError, TimeoutError, OSError) as error:
                raise UnclearError(f"the carrier does not answer: {str(error) or type(error).__name__}") from error
            if reply.status == wanted:
                return reply
            if reply.status != 401 or is_last:
                break
            self._identity.drop(token)
        raise _failure(reply, retry_after)


async def _whole(response: aiohttp.ClientResponse) -> bytes:
    body = bytearray()
    async for piece in response.content.iter_any():
        body += piece
        if len(body) > _BYTES_MAX:
            raise UnclearError(f"the carrier's answer has more than {_BYTES_MAX:,} bytes")
    return bytes(body)


def _failure(reply: _Reply, retry_after: str) -> RefusedError | UnclearError:
    """An error as the documents have it says that nothing was done; one of our own rights, or in a hurry, will pass."""
    try:
        error = msgspec.json.decode(reply.body, type=_Error)
    except NOT_JSON:
        return UnclearError(f"the carrier answers {reply.status}, without an error as CAMARA has it", _seconds(retry_after))
    told = f"{reply.status} {error.code}: {error.message[:200]}"
    if reply.status in _REFUSALS and error.status == reply.status and error.code != "PERMISSION_DENIED":
        return RefusedError(reply.status, error.code, error.message[:200])
    return UnclearError(f"the carrier answers {told}", _seconds(retry_after))


def _seconds(retry_after: str) -> int:
    return min(int(retry_after), _RETRY_AFTER_S_MAX) if retry_after.isdecimal() and len(retry_after) < 7 else 0


def _decoded(reply: _Reply, kind: type[T]) -> T:
    try:
        return msgspec.json.decode(reply.body, type=kind)
    except NOT_JSON as error:
        raise UnclearError(f"the carrier's answer is not as CAMARA has it: {error}") from error


R = TypeVar("R", Paid, Refunded)


def _about(told: R, demand: Demand) -> R:
    """An answer to a request to bill or to give back. Errors: `UnclearError` for one that is about something else."""
    if what := told.differs_from(demand):
        raise UnclearError(f"the carrier's answer is not what was asked for: {what}")
    return told


def _undisputed(told: R, demand: Demand) -> R:
    """A record that the carrier keeps. Errors: `DisputedError` for one that is about something else."""
    if what := told.differs_from(demand):
        raise DisputedError(f"the carrier's record is not what was asked for: {what}")
    return told


def _in_utc(time: datetime) -> datetime:
    """A time in UTC; at the calendar's ends, where an offset may lead out of it, the end."""
    try:
        return time.astimezone(UTC)
    except OverflowError:
        return time.replace(tzinfo=UTC)

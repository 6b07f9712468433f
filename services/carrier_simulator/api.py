"""The operator's HTTP interface: the operations of both documents, tokens, and commands for the simulator itself.

POST /oauth2/token, /carrier-billing/v0.5/payments..., /carrier-billing-refund/v0.3/payments/{paymentId}/refunds...,
POST /simulator/behaviours.
"""

import asyncio
import re
from collections.abc import Callable
from typing import Any, Final, NamedTuple
from urllib.parse import parse_qs, parse_qsl, unquote

import msgspec

from services.carrier_simulator.behaviour import Behaviour, Behaviours
from services.carrier_simulator.errors import PAYMENTS, REFUNDS, CarrierError, invalid_argument, not_found, permission_denied
from services.carrier_simulator.ledger import Ledger, Payment, Refund
from services.carrier_simulator.listing import page_of, rfc3339
from services.carrier_simulator.requests import CreatePayment, CreateRefund, OfPhoneNumber, ValidatePayment, parse
from services.carrier_simulator.tokens import Token, TokenError, Tokens
from services.runtime.http.exchange import Exchange, GoneError

_JSON: Final = (b"content-type", b"application/json")
_CORRELATOR: Final = re.compile(r"[a-zA-Z0-9\-_:;./<>{}]{0,256}")
_ROOT: Final = "/carrier-billing/v0.5"
_REFUND_ROOT: Final = "/carrier-billing-refund/v0.3"
_encoder: Final = msgspec.json.Encoder(decimal_format="number")

Query = dict[str, list[str]]


class Answer(NamedTuple):
    """A status, a body to be written as JSON, and headers."""

    status: int
    body: Any = None
    headers: tuple[tuple[bytes, bytes], ...] = ()


class _Asked(NamedTuple):
    token: Token
    ids: tuple[str, ...]
    query: Query
    body: bytes


class CarrierSimulator:
    """The application."""

    def __init__(self, ledger: Ledger, tokens: Tokens) -> None:
        self.ledger = ledger
        self.tokens = tokens
        self.behaviours = Behaviours()
        self.served: dict[str, int] = {}
        self._operations: dict[str, Callable[[_Asked], Answer]] = {
            "createPayment": self._create_payment,
            "preparePayment": self._prepare_payment,
            "validatePayment": self._validate_payment,
            "confirmPayment": self._confirm_payment,
            "cancelPayment": self._cancel_payment,
            "retrievePayment": self._retrieve_payment,
            "retrievePayments": self._retrieve_payments,
            "createRefund": self._create_refund,
            "retrieveRefund": self._retrieve_refund,
            "retrieveRefunds": self._retrieve_refunds,
            "retrievePaymentRemainingAmount": self._retrieve_remaining,
        }

    async def __call__(self, exchange: Exchange) -> None:
        """Answers one request."""
        exchange.serves_anybody = True
        try:
            body = await _body_of(exchange)
        except GoneError:
            return
        path = unquote(exchange.path)
        if (exchange.method, path) == ("POST", "/simulator/behaviours"):
            self._command(exchange, body)
            return
        if (exchange.method, path) == ("POST", "/oauth2/token"):
            await self._give(exchange, "token", lambda: self._token(exchange, body))
            return
        for method, pattern, operation, scope in _ROUTES:
            if exchange.method == method and (found := pattern.fullmatch(path)) is not None:
                ids = found.groups()
                await self._give(exchange, operation, lambda: self._operate(exchange, operation, scope, ids, body))  # noqa: B023
                return
        _send(exchange, _refusal(not_found()))

    async def _give(self, exchange: Exchange, operation: str, carry_out: Callable[[], Answer]) -> None:
        self.served[operation] = self.served.get(operation, 0) + 1
        behaviour = self.behaviours.of(operation)
        if behaviour is None:
            _send(exchange, carry_out())
            return
        is_good = not behaviour.status and not behaviour.cut and behaviour.body is None
        answer = carry_out() if behaviour.carried_out or is_good else Answer(500)
        if behaviour.twice:
            self._double()
        if behaviour.delay_ms:
            await asyncio.sleep(behaviour.delay_ms / 1_000)
        if behaviour.cut:
            exchange.cut()
            return
        if behaviour.status:
            answer = _refusal(CarrierError(behaviour.status, behaviour.code, "As the simulator was told."))
        if behaviour.retry_after_s:
            answer = answer._replace(headers=(*answer.headers, (b"retry-after", b"%d" % behaviour.retry_after_s)))
        if behaviour.body is not None:
            exchange.whole(answer.status, (_JSON,), behaviour.body.encode())
            return
        _send(exchange, answer._replace(body=behaviour.changed(answer.body)))

    def _double(self) -> None:
        """Bills the last payment once more, as an operator that does not look at correlators does."""
        last = self.ledger.payments[-1]
        copy = msgspec.json.decode(_encoder.encode(last.sent))
        twin = Payment(
            f"{last.payment_id}-2",
            last.client_id,
            last.phone_number,
            last.amount,
            last.currency,
            copy,
            last.created_us,
            last.status,
        )
        self.ledger.payments.append(twin)

    def _operate(self, exchange: Exchange, operation: str, scope: str, ids: tuple[str, ...], body: bytes) -> Answer:
        correlator = exchange.value_of(b"x-correlator")
        echoed = ((b"x-correlator", correlator),) if correlator else ()
        try:
            token = self.tokens.of(exchange.value_of(b"authorization").decode("latin-1"))
            if scope not in token.scopes:
                raise permission_denied()
            if not _CORRELATOR.fullmatch(correlator.decode("latin-1")):
                echoed = ()
                raise invalid_argument()
            query = parse_qs(exchange.query.decode("latin-1"), keep_blank_values=True)
            answer = self._operations[operation](_Asked(token, ids, query, body))
        except CarrierError as error:
            answer = _refusal(error)
        self.ledger.keep()
        return answer._replace(headers=(*answer.headers, *echoed))

    def _token(self, exchange: Exchange, body: bytes) -> Answer:
        url = f"http://{exchange.value_of(b'host').decode('latin-1')}/oauth2/token"
        try:
            return Answer(200, self.tokens.granted(dict(parse_qsl(body.decode("latin-1"))), url))
        except TokenError as error:
            return Answer(error.status, {"error": error.error})

    def _command(self, exchange: Exchange, body: bytes) -> None:
        try:
            behaviour = msgspec.json.decode(body, type=Behaviour)
        except msgspec.DecodeError as error:
            _send(exchange, _refusal(invalid_argument(str(error))))
            return
        self.behaviours.add(behaviour)
        exchange.whole(204, (), b"")

    # Operations

    def _create_payment(self, asked: _Asked) -> Answer:
        wanted, sent = parse(asked.body, CreatePayment)
        return Answer(201, payment_json(self.ledger.create(asked.token, wanted, sent, reserves=False)))

    def _prepare_payment(self, asked: _Asked) -> Answer:
        wanted, sent = parse(asked.body, CreatePayment)
        payment = self.ledger.create(asked.token, wanted, sent, reserves=True)
        answer = payment_json(payment)
        if payment.status == "pending_validation":
            answer["validationInfo"] = {"action": "validate", "authorizationId": payment.authorization_id}
        return Answer(201, answer)

    def _validate_payment(self, asked: _Asked) -> Answer:
        self.ledger.validate(asked.token, asked.ids[0], parse(asked.body, ValidatePayment)[0])
        return Answer(204)

    def _confirm_payment(self, asked: _Asked) -> Answer:
        self.ledger.confirm(asked.token, asked.ids[0], _second_step(asked))
        return Answer(202)

    def _cancel_payment(self, asked: _Asked) -> Answer:
        self.ledger.cancel(asked.token, asked.ids[0], _second_step(asked))
        return Answer(202)

    def _retrieve_payment(self, asked: _Asked) -> Answer:
        return Answer(200, payment_json(self.ledger.find(asked.token, asked.ids[0])))

    def _retrieve_payments(self, asked: _Asked) -> Answer:
        page = page_of(self.ledger.find_all(asked.token), "payment", PAYMENTS, asked.query)
        return Answer(200, [payment_json(each) for each in page.found], _counts(page.total, page.last_key))

    def _create_refund(self, asked: _Asked) -> Answer:
        wanted, sent = parse(asked.body, CreateRefund)
        return Answer(201, refund_json(self.ledger.refund(asked.token, asked.ids[0], wanted, sent)))

    def _retrieve_refund(self, asked: _Asked) -> Answer:
        payment_id, refund_id = asked.ids
        for refund in self.ledger.refunds(asked.token, payment_id):
            if refund.refund_id == refund_id:
                return Answer(200, refund_json(refund))
        raise not_found()

    def _retrieve_refunds(self, asked: _Asked) -> Answer:
        page = page_of(self.ledger.refunds(asked.token, asked.ids[0]), "refund", REFUNDS, asked.query)
        return Answer(200, [refund_json(each) for each in page.found], _counts(page.total, page.last_key))

    def _retrieve_remaining(self, asked: _Asked) -> Answer:
        self.ledger.refunds(asked.token, asked.ids[0])
        payment = self.ledger.find(asked.token, asked.ids[0])
        return Answer(200, {"amount": self.ledger.remaining(payment), "currency": payment.currency})


def _second_step(asked: _Asked) -> OfPhoneNumber:
    wanted, sent = parse(asked.body, OfPhoneNumber)
    if not sent and not asked.token.phone_number:
        raise invalid_argument("Expected property is missing: phoneNumber.")
    return wanted


def payment_json(payment: Payment) -> dict[str, Any]:
    """A payment as an answer has it."""
    answer: dict[str, Any] = {
        "paymentId": payment.payment_id,
        "amountTransaction": {
            **payment.sent["amountTransaction"],
            "phoneNumber": payment.phone_number,
            "resourceURL": f"urn:payments:{payment.payment_id}",
            "serverReferenceCode": f"bill-{payment.payment_id}",
        },
        "paymentStatus": payment.status,
        "paymentCreationDate": rfc3339(payment.created_us),
    }
    if payment.done_us:
        answer["paymentDate"] = rfc3339(payment.done_us)
    if "sink" in payment.sent:
        answer["sink"] = payment.sent["sink"]
    return answer


def refund_json(refund: Refund) -> dict[str, Any]:
    """A refund as an answer has it."""
    answer: dict[str, Any] = {
        "refundId": refund.refund_id,
        "type": refund.sent["type"],
        "amountTransaction": dict(refund.sent["amountTransaction"]),
        "refundStatus": refund.status,
        "refundCreationDate": rfc3339(refund.created_us),
    }
    if refund.done_us:
        answer["refundDate"] = rfc3339(refund.done_us)
    for name in ("reason", "sink"):
        if name in refund.sent:
            answer[name] = refund.sent[name]
    return answer


def _counts(total: int, last_key: int) -> tuple[tuple[bytes, bytes], ...]:
    return (b"x-total-count", b"%d" % total), (b"content-last-key", b"%d" % last_key)


def _refusal(error: CarrierError) -> Answer:
    return Answer(error.status, {"status": error.status, "code": error.code, "message": error.message})


def _send(exchange: Exchange, answer: Answer) -> None:
    if answer.body is None:
        exchange.whole(answer.status, answer.headers, b"")
    else:
        exchange.whole(answer.status, (_JSON, *answer.headers), _encoder.encode(answer.body))


async def _body_of(exchange: Exchange) -> bytes:
    parts = []
    while part := await exchange.read():
        parts.append(part)
    return b"".join(parts)


_ID: Final = r"([^/]+)"
_CREATE: Final = "carrier-billing:payments:create"
_READ: Final = "carrier-billing:payments:read"
_WRITE: Final = "carrier-billing:payments:write"
_REFUNDS_READ: Final = "carrier-billing-refund:refunds:read"
_ROUTES: Final = tuple(
    (method, re.compile(root + path), operation, scope)
    for method, root, path, operation, scope in (
        ("POST", _ROOT, "/payments", "createPayment", _CREATE),
        ("GET", _ROOT, "/payments", "retrievePayments", _READ),
        ("POST", _ROOT, "/payments/prepare", "preparePayment", _CREATE),
        ("GET", _ROOT, f"/payments/{_ID}", "retrievePayment", _READ),
        ("POST", _ROOT, f"/payments/{_ID}/validate", "validatePayment", _WRITE),
        ("POST", _ROOT, f"/payments/{_ID}/confirm", "confirmPayment", _WRITE),
        ("POST", _ROOT, f"/payments/{_ID}/cancel", "cancelPayment", _WRITE),
        ("POST", _REFUND_ROOT, f"/payments/{_ID}/refunds", "createRefund", "carrier-billing-refund:refunds:create"),
        ("GET", _REFUND_ROOT, f"/payments/{_ID}/refunds", "retrieveRefunds", _REFUNDS_READ),
        ("GET", _REFUND_ROOT, f"/payments/{_ID}/refunds/remaining-amount", "retrievePaymentRemainingAmount", _REFUNDS_READ),
        ("GET", _REFUND_ROOT, f"/payments/{_ID}/refunds/{_ID}", "retrieveRefund", _REFUNDS_READ),
    )
)

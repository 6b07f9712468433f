"""A carrier whose clock, tokens and lines a test holds, and requests to it as the documents have them."""

import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from copy import deepcopy
from functools import cache
from typing import Any, Final

import aiohttp
import jsonschema_rs
import msgspec
import yaml

from services.carrier_simulator.api import CarrierSimulator
from services.carrier_simulator.app import serve_carrier
from services.carrier_simulator.ledger import Ledger
from services.carrier_simulator.tokens import SCOPES, Tokens
from tests.traces import CAMARA

CLIENT: Final = "tokenline"
LINE: Final = "+8613800000001"
DAY_US: Final = 86_400 * 1_000_000
# Stands for the default of an operation.
DEFAULT: Final[Any] = object()

_PAYMENTS: Final = "/carrier-billing/v0.5/payments"
_REFUNDS: Final = "/carrier-billing-refund/v0.3/payments"
# By the beginning of its scenarios' names: method, path, scope.
OPERATIONS: Final = {
    "create_payment": ("POST", _PAYMENTS, "carrier-billing:payments:create"),
    "prepare_payment": ("POST", f"{_PAYMENTS}/prepare", "carrier-billing:payments:create"),
    "validate_payment": ("POST", f"{_PAYMENTS}/{{payment}}/validate", "carrier-billing:payments:write"),
    "confirm_payment": ("POST", f"{_PAYMENTS}/{{payment}}/confirm", "carrier-billing:payments:write"),
    "cancel_payment": ("POST", f"{_PAYMENTS}/{{payment}}/cancel", "carrier-billing:payments:write"),
    "retrieve_payment": ("GET", f"{_PAYMENTS}/{{payment}}", "carrier-billing:payments:read"),
    "retrieve_payments": ("GET", _PAYMENTS, "carrier-billing:payments:read"),
    "create_refund": ("POST", f"{_REFUNDS}/{{payment}}/refunds", "carrier-billing-refund:refunds:create"),
    "retrieve_refund": ("GET", f"{_REFUNDS}/{{payment}}/refunds/{{refund}}", "carrier-billing-refund:refunds:read"),
    "retrieve_refunds": ("GET", f"{_REFUNDS}/{{payment}}/refunds", "carrier-billing-refund:refunds:read"),
    "retrieve_payment_remaining_amount": (
        "GET",
        f"{_REFUNDS}/{{payment}}/refunds/remaining-amount",
        "carrier-billing-refund:refunds:read",
    ),
}
OPERATION_IDS: Final = {name: re.sub(r"_(\w)", lambda found: found[1].upper(), name) for name in OPERATIONS}


class HeldClock:
    """Time that a test moves."""

    def __init__(self) -> None:
        self.time_us = 1_800_000_000 * 1_000_000

    def now_us(self) -> int:
        return self.time_us


class Reply(msgspec.Struct):
    """An answer."""

    status: int
    headers: dict[str, str]
    json: Any

    def refuses(self, status: int, code: str) -> None:
        """Asserts an error of this status and code, with a text for people."""
        assert (self.status, self.json["status"], self.json["code"]) == (status, status, code), self.json
        assert len(self.json["message"]) > 10

    def complies(self, status: int, schema: str, document: str = "carrier-billing") -> Any:
        """Asserts an answer of this status, by the document's schema where that stands beside the project; returns it."""
        assert self.status == status, self.json
        assert self.headers["content-type"] == "application/json"
        if CAMARA.is_dir():
            wanted = {"$ref": f"#/components/schemas/{schema}", "components": _document(document)["components"]}
            jsonschema_rs.Draft202012Validator(wanted, validate_formats=True).validate(self.json)
        return self.json


@cache
def _document(name: str) -> Any:
    text = (CAMARA / f"{name}.yaml").read_text(encoding="utf-8")
    # A tenth of a thousandth can't be told in floats; the simulator's own check is exact.
    return yaml.safe_load(re.sub(r"multipleOf: .*", "", text))


class World:
    """One test's carrier."""

    def __init__(self, simulator: CarrierSimulator, clock: HeldClock, address: str, http: aiohttp.ClientSession) -> None:
        self.simulator = simulator
        self.clock = clock
        self.address = address
        self._http = http
        self._number = 0

    def token(self, *, line: str = "", without: str = "", lives_s: int = 300) -> str:
        return self.simulator.tokens.issue(CLIENT, SCOPES - {without}, line, lives_s)

    def payment_body(self, line: str = LINE, amount: Any = 9.9, **transaction: Any) -> dict[str, Any]:
        self._number += 1
        asked = {
            "phoneNumber": line,
            "clientCorrelator": f"req-{self._number}",
            "paymentAmount": {"chargingInformation": {"amount": amount, "currency": "CNY", "description": "A pack"}},
            "referenceCode": f"ref-{self._number}",
            **transaction,
        }
        return {"amountTransaction": {name: value for name, value in asked.items() if value is not None}}

    def refund_body(self, amount: Any = None, **transaction: Any) -> dict[str, Any]:
        self._number += 1
        sums = {"chargingInformation": {"amount": amount, "currency": "CNY", "description": "Back"}} if amount else {}
        return {
            "type": "partial" if amount else "total",
            "amountTransaction": {
                "clientCorrelator": f"req-{self._number}",
                "refundAmount": sums,
                "referenceCode": f"ref-{self._number}",
                **transaction,
            },
        }

    async def paid(self, line: str = LINE, amount: Any = 9.9, *, client: str = CLIENT, **transaction: Any) -> str:
        """A payment's identifier."""
        token = self.simulator.tokens.issue(client)
        body = self.payment_body(line, amount, **transaction)
        return str((await self.call("create_payment", body, token=token)).json["paymentId"])

    async def reserved(self, line: str = LINE) -> str:
        return str((await self.call("prepare_payment", self.payment_body(line))).json["paymentId"])

    async def refunded(self, payment: str, amount: Any = None, **transaction: Any) -> str:
        return str((await self.call("create_refund", self.refund_body(amount, **transaction), payment=payment)).json["refundId"])

    async def default(self, operation: str) -> tuple[Any, str, str]:
        """Body, payment and refund that the operation succeeds with."""
        match operation:
            case "create_payment" | "prepare_payment":
                return self.payment_body(), "", ""
            case "validate_payment":
                prepared = (await self.call("prepare_payment", self.payment_body("+8613800000123"))).json
                body = {"authorizationId": prepared["validationInfo"]["authorizationId"], "code": "352673"}
                return body, prepared["paymentId"], ""
            case "confirm_payment" | "cancel_payment":
                return {"phoneNumber": LINE}, await self.reserved(), ""
            case "create_refund":
                return self.refund_body(), await self.paid(), ""
        payment = await self.paid()
        return None, payment, await self.refunded(payment)

    async def call(
        self,
        operation: str,
        body: Any = DEFAULT,
        *,
        payment: str = "",
        refund: str = "",
        token: str | None = "",
        query: str = "",
        correlator: str = "corr-1",
    ) -> Reply:
        """Asks, with defaults that succeed; a token of None is left out."""
        method, path, _ = OPERATIONS[operation]
        if body is DEFAULT or not payment:
            default_body, default_payment, default_refund = (
                await self.default(operation) if "{payment}" in path or body is DEFAULT else (None, "", "")
            )
            body = default_body if body is DEFAULT else body
            payment, refund = payment or default_payment, refund or default_refund
        headers = {"x-correlator": correlator}
        if token is not None:
            headers["authorization"] = f"Bearer {token or self.token()}"
        content = body if isinstance(body, bytes) else b"" if body is None else msgspec.json.encode(body)
        if content:
            headers["content-type"] = "application/json"
        url = self.address + path.format(payment=payment, refund=refund) + query
        async with self._http.request(method, url, data=content or None, headers=headers) as response:
            raw = await response.read()
            reply = Reply(
                response.status,
                {name.lower(): value for name, value in response.headers.items()},
                msgspec.json.decode(raw) if raw else None,
            )
        if correlator and reply.status < 300:
            assert reply.headers["x-correlator"] == correlator
        return reply


def without(body: Any, path: str) -> Any:
    """A body without the member at a path like "$.amountTransaction.referenceCode"."""
    less = deepcopy(body)
    *steps, last = path.removeprefix("$.").split(".")
    place = less
    for step in steps:
        place = place[step]
    del place[last]
    return less


def changed(body: Any, path: str, value: Any) -> Any:
    """A body with another value at a path."""
    other = deepcopy(body)
    *steps, last = path.removeprefix("$.").split(".")
    place = other
    for step in steps:
        place = place.setdefault(step, {})
    place[last] = value
    return other


@asynccontextmanager
async def carrier() -> AsyncIterator[World]:
    clock = HeldClock()
    simulator = CarrierSimulator(Ledger(clock), Tokens({}, clock))
    async with serve_carrier(simulator) as address, aiohttp.ClientSession() as http:
        yield World(simulator, clock, address, http)

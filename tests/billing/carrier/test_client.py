"""The client against the simulated carrier: who asks, what is believed, and what is asked for."""

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import msgspec
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from services.billing.carrier.client import Carrier, DisputedError, RefusedError, UnclearError
from services.billing.carrier.config import CarrierConfig
from services.billing.carrier.demands import Demand, Source, State
from services.billing.carrier.identity import assertion, read_key
from services.billing.carrier.worker import show_code
from services.carrier_simulator.api import payment_json
from services.carrier_simulator.tokens import TokenError, Tokens, read_public_key
from services.runtime.config import ConfigError
from services.runtime.errors import ServiceError
from tests.billing.carrier.bill import ACCOUNT, LINE, PRICE, Bill
from tests.carrier_simulator.world import HeldClock


def demand(number: int = 1, **fields: object) -> Demand:
    at_us = 1_800_000_000 * 1_000_000
    made = Demand(f"pay-{number}", Source.ITEM, ACCOUNT, at_us, "CNY", 1_000, phone_number=LINE, asked_us=at_us)
    return made._replace(**fields)  # type: ignore[arg-type]


async def test_the_carrier_gets_the_amount_to_the_thousandth_and_the_demands_name_twice(bill: Bill) -> None:
    asked = demand(amount=9_901_000, offering_id="phone")
    paid = await bill.carrier.pay(asked, reserves=False)
    sent = bill.simulator.ledger.payments[0].sent["amountTransaction"]
    assert paid.payment_status == "succeeded"
    assert (sent["clientCorrelator"], sent["referenceCode"], sent["phoneNumber"]) == ("pay-1", "pay-1", LINE)
    told = {name: str(value) for name, value in sent["paymentAmount"]["chargingInformation"].items()}
    assert told == {"amount": "9.901", "currency": "CNY", "description": "phone"}


async def test_a_payment_is_found_among_many(bill: Bill) -> None:
    for number in range(120):
        await bill.carrier.pay(demand(number), reserves=False)
        bill.clock.time_us += 1_000
    found = await bill.carrier.find_payment(demand(115))
    assert found is not None
    assert found.asked_as == "pay-115"
    assert await bill.carrier.find_payment(demand(500)) is None


async def test_a_payment_is_found_though_the_carriers_clock_is_late(bill: Bill) -> None:
    await bill.carrier.pay(demand(), reserves=False)
    assert await bill.carrier.find_payment(demand(asked_us=bill.clock.now_us() + 5 * 60 * 1_000_000)) is not None


async def test_exactly_a_full_page_is_no_riddle(bill: Bill) -> None:
    for number in range(100):
        await bill.carrier.pay(demand(number), reserves=False)
    assert await bill.carrier.find_payment(demand(500)) is None
    # A first page out of range says nothing of what there is.
    bill.next("retrievePayments", status=400, code="OUT_OF_RANGE")
    with pytest.raises(UnclearError, match="does not list what it has"):
        await bill.carrier.find_payment(demand(500))


async def test_a_list_longer_than_is_read_at_once_goes_on_from_its_last_time(bill: Bill) -> None:
    # Thirty share a time, so that a list ends among them.
    for number in range(250):
        bill.clock.time_us += 2_000_000 * (number % 30 == 0)
        await bill.carrier.pay(demand(number), reserves=False)
    since = datetime.fromtimestamp(1_800_000_000, UTC)
    carrier = Carrier(bill.config, bill.http, bill.clock, bill.requests, pages_max=1)
    assert [paid.asked_as async for paid in carrier.payments_since(since)] == [f"pay-{number}" for number in range(250)]


async def test_a_list_that_has_more_at_one_time_than_is_read_is_not_believed(bill: Bill) -> None:
    for number in range(101):
        await bill.carrier.pay(demand(number), reserves=False)
    carrier = Carrier(bill.config, bill.http, bill.clock, bill.requests, pages_max=1)
    since = datetime.fromtimestamp(1_800_000_000, UTC)
    with pytest.raises(UnclearError, match="more than 100 of them"):
        assert [paid async for paid in carrier.payments_since(since)]


@pytest.mark.parametrize("made", ["0001-01-01T00:00:00+08:00", "9999-12-31T23:59:59-08:00"])
async def test_a_time_that_utc_does_not_have_ends_no_list(bill: Bill, made: str) -> None:
    for number in range(100):
        await bill.carrier.pay(demand(number), reserves=False)
    listed = [payment_json(payment) | {"paymentCreationDate": made} for payment in bill.simulator.ledger.payments]

    async def lists(request: web.Request) -> web.Response:
        return web.Response(
            body=msgspec.json.encode(listed if request.query["page"] == "1" else []), content_type="application/json"
        )

    app = web.Application()
    app.router.add_get("/carrier-billing/v0.5/payments", lists)
    async with TestServer(app) as server:
        config = msgspec.structs.replace(bill.config, address=str(server.make_url("")).rstrip("/"))
        found = await Carrier(config, bill.http, bill.clock, bill.requests).find_payment(demand(99))
        assert found is not None
        assert found.asked_as == "pay-99"
        # More pages than are read: from this time on, or not at all.
        short = Carrier(config, bill.http, bill.clock, bill.requests, pages_max=1)
        with pytest.raises(UnclearError, match="more than 100 of them"):
            await short.find_payment(demand(99))


async def test_a_payment_that_was_asked_for_is_cancelled(bill: Bill) -> None:
    paid = await bill.carrier.pay(demand(), reserves=True)
    reserved = demand(payment_id=paid.payment_id)
    await bill.carrier.cancel(reserved)
    assert (await bill.carrier.payment(reserved)).payment_status == "cancelled"
    with pytest.raises(RefusedError, match="PAYMENT_CANCELLED"):
        await bill.carrier.confirm(reserved)


async def test_a_line_that_must_show_a_code(two_steps: Bill) -> None:
    bill = two_steps
    await bill.store.set_line(ACCOUNT, "+8613800000123")
    await bill.place()
    await bill.rounds(2)
    waits = await bill.only()
    assert waits.state == State.VALIDATING
    with pytest.raises(ServiceError, match="INVALID_CODE"):
        await show_code(bill.store, bill.carrier, waits.demand_id, "000000")
    await show_code(bill.store, bill.carrier, waits.demand_id, "352673")
    await bill.rounds(4)
    assert (await bill.only()).state == State.SUCCEEDED
    assert bill.billed_amount() == PRICE
    with pytest.raises(ServiceError, match="waits for no code"):
        await show_code(bill.store, bill.carrier, waits.demand_id, "352673")
    with pytest.raises(ServiceError, match="nothing is asked"):
        await show_code(bill.store, bill.carrier, "pay-none", "352673")


async def test_codes_that_are_wrong_too_often_end_the_order(two_steps: Bill) -> None:
    bill = two_steps
    await bill.store.set_line(ACCOUNT, "+8613800000123")
    await bill.place()
    await bill.rounds(2)
    for _ in range(3):
        with pytest.raises(ServiceError):
            await show_code(bill.store, bill.carrier, (await bill.only()).demand_id, "000000")
    await bill.rounds()
    assert (await bill.only()).state == State.DENIED
    assert bill.orders.states == {"ord-1": "failed"}


@pytest.mark.parametrize("kind", ["ec", "rsa"])
def test_an_assertion_is_for_one_minute_and_one_request(tmp_path: Path, keys: Path, kind: str) -> None:
    private, public = keys / "private.pem", keys / "public.pem"
    if kind == "rsa":
        key = rsa.generate_private_key(65_537, 2_048)
        private, public = tmp_path / "private.pem", tmp_path / "public.pem"
        private.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
        public.write_bytes(key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
    url = "https://api.operator.example/oauth2/token"
    config = CarrierConfig(address="https://api.operator.example", token_url=url, client_id="tokenline", key_file=str(private))
    clock = HeldClock()
    tokens = Tokens({"tokenline": read_public_key(public)}, clock)

    def asked(signed: str, at: str = url) -> str:
        kind = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
        scope = "carrier-billing:payments:create"
        form = {"grant_type": "client_credentials", "client_assertion_type": kind, "client_assertion": signed, "scope": scope}
        return str(tokens.granted(form, at)["access_token"])

    signed = assertion(config, read_key(private), clock.now_us())
    assert tokens.of(f"Bearer {asked(signed)}").client_id == "tokenline"
    for wrong in (signed, assertion(config, read_key(private), clock.now_us() - 61_000_000), f"{signed[:-6]}AAAAAA"):
        with pytest.raises(TokenError, match="invalid_client"):
            asked(wrong)
    with pytest.raises(TokenError, match="invalid_client"):
        asked(assertion(config, read_key(private), clock.now_us()), "https://another.example/token")


async def test_a_client_that_the_operator_does_not_know_says_so(bill: Bill) -> None:
    bill.simulator.tokens._clients = {}
    await bill.place()
    await bill.worker.round()
    waits = await bill.only()
    assert "invalid_client" in waits.reason
    assert "client_id and key_file" in waits.reason


@pytest.mark.parametrize("changes", [{"token_type": "mac"}, {"access_token": "a\nb"}, {"access_token": "Zürich"}])
async def test_what_is_no_bearer_token_is_not_shown(bill: Bill, changes: dict[str, str]) -> None:
    bill.next("token", carried_out=True, changes=changes)
    with pytest.raises(UnclearError, match="no bearer token"):
        await bill.carrier.pay(demand(), reserves=False)


@pytest.mark.parametrize("redirected", ["/token", "/carrier-billing/v0.5/payments"])
async def test_nobody_who_sends_us_on_is_followed(bill: Bill, redirected: str) -> None:
    """Neither the signed assertion nor a payment with its token goes to whom an answer names."""
    elsewhere: list[str] = []

    async def reply(request: web.Request) -> web.Response:
        if request.path == "/elsewhere":
            elsewhere.append(await request.text())
        if request.path == redirected:
            return web.Response(status=307, headers={"location": "/elsewhere"})
        return web.json_response({"access_token": "secret", "token_type": "Bearer"})

    app = web.Application()
    app.router.add_route("*", "/{path:.*}", reply)
    async with TestServer(app) as server:
        address = str(server.make_url("")).rstrip("/")
        config = msgspec.structs.replace(bill.config, address=address, token_url=f"{address}/token")
        with pytest.raises(UnclearError, match="307"):
            await Carrier(config, bill.http, bill.clock, bill.requests).pay(demand(), reserves=False)
    assert elsewhere == []


@pytest.mark.parametrize("status", [200, 401])
async def test_no_token_in_what_is_nested_too_deep(bill: Bill, status: int) -> None:
    bill.next("token", body='{"a":' * 10_000, carried_out=status == 200)
    await bill.place()
    await bill.worker.round()
    assert "no token is given" in (await bill.only()).reason


def pem(key: rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "cannot be read"),
        (b"nothing", "PEM file of a private key"),
        (pem(rsa.generate_private_key(65_537, 1_024)), "RSA with 2048 bits or more"),
        (pem(ec.generate_private_key(ec.SECP384R1())), "must be of EC P-256"),
    ],
    ids=["missing", "no key", "short", "of another curve"],
)
def test_a_key_that_is_of_no_use_is_named(tmp_path: Path, content: bytes | None, message: str) -> None:
    file = tmp_path / "key.pem"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(ConfigError, match=message):
        read_key(file)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"address": "http://api.operator.example"}, "address must be an https"),
        ({"address": "https://api.operator.example/"}, "must not end with a slash"),
        ({"token_url": "ftp://x"}, "token_url must be an https"),
        ({"client_id": ""}, "client_id and key_file"),
        ({"steps": "three"}, "three"),
        ({"timeout_ms": 5}, "timeout_ms must be"),
        ({"usage_interval_s": 0}, "usage_interval_s must be"),
    ],
)
def test_a_config_of_no_use_is_refused(changes: dict[str, object], message: str) -> None:
    good = {"address": "https://a.example", "token_url": "https://a.example/token", "client_id": "c", "key_file": "k"}
    with pytest.raises(msgspec.ValidationError, match=message):
        msgspec.convert({**good, **changes}, CarrierConfig)


async def test_an_answer_of_no_end_is_not_read(bill: Bill) -> None:
    bill.next("createPayment", body="x" * 5_000_000)
    with pytest.raises(UnclearError, match="bytes"):
        await bill.carrier.pay(demand(), reserves=False)


@pytest.mark.parametrize(
    ("member", "value"),
    [
        ("paymentAmount.chargingInformation.amount", 0.002),
        ("paymentAmount.chargingInformation.currency", "EUR"),
        ("clientCorrelator", "another"),
        ("referenceCode", "another"),
        ("phoneNumber", "+8613800000002"),
    ],
)
async def test_an_answer_about_something_else_is_not_believed_and_a_record_of_it_is_disputed(
    bill: Bill, member: str, value: object
) -> None:
    bill.next("createPayment", carried_out=True, changes={f"amountTransaction.{member}": value})
    with pytest.raises(UnclearError, match="not what was asked for"):
        await bill.carrier.pay(demand(), reserves=False)
    paid = bill.simulator.ledger.payments[0]
    bill.next("retrievePayment", carried_out=True, changes={f"amountTransaction.{member}": value})
    with pytest.raises(DisputedError, match="not what was asked for"):
        await bill.carrier.payment(demand(payment_id=paid.payment_id))


async def test_an_answer_to_a_refund_about_something_else_is_not_believed(bill: Bill) -> None:
    paid = await bill.carrier.pay(demand(), reserves=False)
    back = demand(2, source=Source.REFUND, payment_id=paid.payment_id)
    for member, value in (
        ("refundAmount.chargingInformation.amount", 0.002),
        ("refundAmount.chargingInformation.currency", "EUR"),
        ("clientCorrelator", "another"),
        ("referenceCode", "another"),
    ):
        bill.next("createRefund", carried_out=True, changes={f"amountTransaction.{member}": value})
        with pytest.raises(UnclearError, match="not what was asked for"):
            await bill.carrier.give_back(back)
    assert (await bill.carrier.find_refund(back)) is not None
    refunds = bill.simulator.ledger.payments[0].refunds
    assert len(refunds) == 1
    # Two of one demand are for people to look at.
    refunds.append(replace(refunds[0], refund_id="ref-twin"))
    with pytest.raises(DisputedError, match="the carrier has 2 refunds for it"):
        await bill.carrier.find_refund(back)


async def test_an_error_that_says_another_status_than_it_has_is_no_refusal(bill: Bill) -> None:
    for own, raised in ((500, UnclearError), (422, RefusedError)):
        bill.next("createPayment", status=422, body=f'{{"status": {own}, "code": "ODD", "message": "it broke on the way"}}')
        with pytest.raises(raised, match="ODD"):
            await bill.carrier.pay(demand(), reserves=False)

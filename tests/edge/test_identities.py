"""Offerings that are sold once to an identity, over HTTP: one order of it through whichever edge, and nothing kept but a hash."""

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from types import SimpleNamespace
from typing import Any

import aiohttp
import pytest
import pytest_asyncio

from services.edge.api.admin.entitlements import Sales, entitled
from services.edge.app import run_edge
from services.runtime.clients import answer, connect
from services.runtime.clock import timestamp
from services.runtime.errors import ServiceError
from tests.edge.system import ADMIN_TOKEN, Cell, Reply, cell
from tests.journeys.subscriber import CATALOG, TOKEN
from tests.waiting import WAIT_S
from tokenline.accounting.v1 import accounting_pb2
from tokenline.authentication.v1 import authentication_pb2, authentication_pb2_grpc
from tokenline.errors.v1 import errors_pb2

pytestmark = pytest.mark.asyncio(loop_scope="module")

SOLD = (
    CATALOG
    + """\
  - offering_id: trial
    display_name: A trial
    tariff_id: flat
    reservation_policy: worst_case
    once: {per: identity}
    allowances:
      - {allowance_id: tokens, unit: TOKEN, amount: 1000, valid_days: 30}
  - offering_id: paid-trial
    display_name: A trial with a price
    tariff_id: flat
    reservation_policy: worst_case
    price: {amount: 2, currency: CNY}
    payment_methods: [prepaid, external]
    once: {per: identity}
    allowances:
      - {allowance_id: tokens, unit: TOKEN, amount: 1000, valid_days: 30}
  - offering_id: plan
    display_name: A plan
    tariff_id: flat
    reservation_policy: worst_case
    once: {per: identity, period: month}
    cycle: {period: month}
    allowances:
      - {allowance_id: tokens, unit: TOKEN, amount: 1000}
  - offering_id: anybodys
    display_name: A plan for anybody
    tariff_id: flat
    reservation_policy: worst_case
    cycle: {period: month}
    allowances:
      - {allowance_id: tokens, unit: TOKEN, amount: 10}
"""
)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def running(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Cell]:
    async with cell(tmp_path_factory.mktemp("identities"), catalog=SOLD) as services:
        await services.ready()
        yield services


async def opened(running: Cell) -> str:
    account_id: str = (await running.admin("POST", "/accounts")).json["account_id"]
    return account_id


async def order(running: Cell, account_id: str, offering_id: str = "trial", key: str = "order", **body: Any) -> Reply:
    return await running.admin(
        "POST", f"/accounts/{account_id}/orders", {"offering_id": offering_id, "idempotency_key": key, **body}
    )


async def granted(running: Cell, account_id: str) -> int:
    buckets = (await running.admin("GET", f"/accounts/{account_id}")).json["buckets"]
    amount: int = sum(each["granted"] for each in buckets)
    return amount // TOKEN


async def test_a_trial_is_had_once_for_each_number_however_it_is_written(running: Cell) -> None:
    first, second = await opened(running), await opened(running)
    bought = await order(running, first, identity="phone:+86 138 0013 8000")
    assert (bought.status, bought.json["state"]) == (201, "completed")
    assert (await order(running, first, identity="phone:+8613800138000")).json == bought.json
    refused = await order(running, second, identity="phone:0086-138-0013-8000")
    assert (refused.status, refused.error["code"]) == (409, "not_possible")
    assert refused.error["message"].startswith(f"this identity ordered offering trial by account {first}: ")
    # Nor has the account it again, for another.
    other = await order(running, first, key="another", identity="phone:+8613900139000")
    assert (other.status, other.error["code"]) == (409, "not_possible")
    assert other.error["message"].startswith(f"account {first} ordered offering trial for another identity: ")
    assert await granted(running, first) == 1_000
    assert await granted(running, second) == 0
    assert (await order(running, second, identity="phone:+8613900139000")).status == 201


async def test_an_order_that_names_nobody_is_told_what_to_do(running: Cell) -> None:
    account_id = await opened(running)
    missing = await order(running, account_id)
    assert (missing.status, missing.error["code"], missing.error["param"]) == (400, "missing_field", "identity")
    assert "phone:+8613800138000" in missing.error["message"]
    for wrong in ("13800138000", "phone:13800138000", "phone:+８６１３８００１３８０００", "person:471", "phone:+86 010 1234 5678"):
        refused = await order(running, account_id, identity=wrong)
        assert (refused.status, refused.error["code"]) == (400, "invalid_argument"), wrong
        assert refused.error["message"].startswith("identity ")
    too_long = await order(running, account_id, identity="person:" + "4" * 200)
    assert (too_long.status, too_long.error["param"]) == (400, "identity")
    assert (await order(running, account_id, identity="person:" + "4" * 1_000_000)).status == 413
    assert await granted(running, account_id) == 0
    # Who always names it may do so where it is not asked for.
    assert (await order(running, account_id, "anybodys", identity="person:0815")).status == 201


async def test_two_orders_through_two_edges_at_once_are_one(running: Cell) -> None:
    async with AsyncExitStack() as stack:
        _, other_url = await stack.enter_async_context(run_edge(running.edge_config(), running.lifecycle, running.environment))
        http = await stack.enter_async_context(aiohttp.ClientSession(other_url, headers={"authorization": f"Bearer {ADMIN_TOKEN}"}))

        async def through_the_other(account_id: str, identity: str) -> int:
            body = {"offering_id": "trial", "idempotency_key": "order", "identity": identity}
            async with http.post(f"/v1/admin/accounts/{account_id}/orders", json=body) as reply:
                return reply.status

        async def through_the_first(account_id: str, identity: str) -> int:
            return (await order(running, account_id, identity=identity)).status

        while (await http.get("/readyz")).status != 200:
            pass
        for number in range(8):
            accounts = [await opened(running) for _ in range(6)]
            ways = (through_the_first, through_the_other)
            said = await asyncio.gather(
                *(ways[index % 2](account_id, f"company:91310000{number}") for index, account_id in enumerate(accounts))
            )
            assert sorted(said) == [201, *[409] * 5]
            assert sum([await granted(running, account_id) for account_id in accounts]) == 1_000


async def test_an_order_that_comes_to_nothing_leaves_the_offering_to_others(running: Cell) -> None:
    first, second = await opened(running), await opened(running)
    whose = {"identity": "person:110101199001011234"}
    # It has no money.
    assert (await order(running, first, "paid-trial", payment_method="prepaid", **whose)).status == 402
    waiting = await order(running, second, "paid-trial", payment_method="external", **whose)
    assert waiting.json["state"] == "awaiting_payment"
    refused = await order(running, first, "paid-trial", key="again", payment_method="external", **whose)
    assert refused.status == 409
    assert f"order {waiting.json['order_id']} waits for its payment" in refused.error["message"]
    given_up = await running.admin("DELETE", f"/accounts/{second}/orders/{waiting.json['order_id']}", {"reason": "no money came"})
    assert given_up.json["state"] == "failed"
    bought = (await order(running, first, "paid-trial", key="again", payment_method="external", **whose)).json
    # Paid later, the one that was given up grants nothing.
    late = await running.admin(
        "POST", f"/accounts/{second}/orders/{waiting.json['order_id']}/payment", {"payment_reference": "bank-1"}
    )
    assert late.status == 409
    paid = await running.admin("POST", f"/accounts/{first}/orders/{bought['order_id']}/payment", {"payment_reference": "bank-2"})
    assert paid.json["state"] == "completed"
    assert (await order(running, second, "paid-trial", key="again", payment_method="external", **whose)).status == 409


async def test_an_identity_is_freed_by_hand_as_long_as_nothing_was_granted_for_it(
    running: Cell, caplog: pytest.LogCaptureFixture
) -> None:
    mistyped = {"offering_id": "paid-trial", "identity": "person:110101199001019999"}

    async def free(**changes: Any) -> Reply:
        return await running.admin("POST", "/identities/free", mistyped | changes)

    unknown = await free()
    assert (unknown.status, unknown.error["code"]) == (404, "not_found")
    nowhere, anybodys = await free(offering_id="paid-trail"), await free(offering_id="anybodys")
    assert (nowhere.status, nowhere.error["code"]) == (404, "offering_not_found")
    assert (anybodys.status, anybodys.error["code"]) == (409, "not_possible")
    account_id, path = await opened(running), ""
    waiting = await order(running, account_id, "paid-trial", payment_method="external", identity=mistyped["identity"])
    path = f"/accounts/{account_id}/orders/{waiting.json['order_id']}"
    refused = await free()
    assert (refused.status, refused.error["code"]) == (409, "not_possible")
    assert f"account {account_id} ordered offering paid-trial" in refused.error["message"]
    assert "waits for its payment; pay it or cancel it first" in refused.error["message"]
    assert (await running.admin("DELETE", path, {"reason": "a mistake"})).json["state"] == "failed"
    with caplog.at_level(logging.WARNING):
        assert (await free(identity="person:1101 0119 9001 0199 99")).json == {
            "offering_id": "paid-trial",
            "account_id": account_id,
            "freed": True,
        }
    assert f"account {account_id}, was freed by administrator" in caplog.text
    assert "19900101" not in caplog.text
    assert (await free()).status == 404
    # What was granted stays bound.
    assert (await order(running, account_id, key="free", identity=mistyped["identity"])).status == 201
    bound = await free(offering_id="trial")
    assert (bound.status, "it stays bound" in bound.error["message"], "has had it" in bound.error["message"]) == (409, True, True)
    wrong = await free(identity="13800138000")
    assert (wrong.status, wrong.error["message"].startswith("identity ")) == (400, True)


async def test_what_an_edge_left_half_done_its_order_finishes_and_nobody_else(running: Cell) -> None:
    first, second = await opened(running), await opened(running)
    entitle = authentication_pb2.EntitleAccountRequest(account_id=first, offering_id="trial", identity="person:4711")
    async with connect(running.address("authentication")) as channel:
        authentication = authentication_pb2_grpc.AuthenticationServiceStub(channel)
        assert (await answer(authentication.EntitleAccount(entitle, timeout=WAIT_S))).HasField("until_time")
    refused = await order(running, second, identity="person:4711")
    assert refused.status == 409
    assert "the order is under way; if it comes to nothing, order again after two minutes" in refused.error["message"]
    assert (await order(running, first, identity="person:4711")).status == 201


async def test_an_account_that_accounting_does_not_know_binds_nobody(running: Cell) -> None:
    lost, account_id = "acct-0123456789abcdef", await opened(running)
    async with connect(running.address("authentication")) as channel:
        authentication = authentication_pb2_grpc.AuthenticationServiceStub(channel)
        joining = authentication_pb2.CreateMemberRequest(account_id=lost, idempotency_key="of an account that was lost")
        await answer(authentication.CreateMember(joining, timeout=WAIT_S))
        entitle = authentication_pb2.EntitleAccountRequest(account_id=lost, offering_id="trial", identity="person:6933")
        until = (await answer(authentication.EntitleAccount(entitle, timeout=WAIT_S))).until_time
        ending = authentication_pb2.EndEntitlementRequest(account_id=lost, offering_id="trial", until_time=until)
        await answer(authentication.EndEntitlement(ending, timeout=WAIT_S))
    assert (await order(running, account_id, identity="person:6933")).status == 201


async def test_a_subscription_is_not_changed_to_it_without_an_identity_either(running: Cell) -> None:
    first, second = await opened(running), await opened(running)
    assert (await order(running, first, "plan", identity="person:5822")).status == 201
    subscription_id = (await order(running, second, "anybodys")).json["subscription_id"]
    path = f"/accounts/{second}/subscriptions/{subscription_id}"
    change = {"offering_id": "plan", "idempotency_key": "change", "at_once": True}
    missing = await running.admin("PUT", path, change)
    assert (missing.status, missing.error["param"]) == (400, "identity")
    assert (await running.admin("PUT", path, {**change, "identity": "person:5822"})).status == 409
    assert (await running.admin("PUT", path, {**change, "identity": "person:5823"})).status == 200


async def test_no_number_is_kept_or_logged(running: Cell, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    first, second = await opened(running), await opened(running)
    for account_id in (first, second):
        await order(running, account_id, identity="person:77123477")
    await order(running, first, key="wrong", identity="person: 77123477 wrong!")
    assert "77123477" not in caplog.text
    for file in running.folder.iterdir():
        assert file.is_dir() or not file.is_file() or b"77123477" not in file.read_bytes(), file


class Authentication:
    """Entitles everybody, and remembers which orders are told to have been answered."""

    def __init__(self) -> None:
        self.ended: list[str] = []

    async def EntitleAccount(self, request: Any, timeout: float) -> authentication_pb2.EntitleAccountResponse:
        return authentication_pb2.EntitleAccountResponse(until_time=timestamp(60_000_000))

    async def EndEntitlement(self, request: Any, timeout: float) -> authentication_pb2.EndEntitlementResponse:
        self.ended.append(request.account_id)
        return authentication_pb2.EndEntitlementResponse()


@pytest.mark.parametrize(
    ("reason", "ended"),
    [
        (errors_pb2.ERROR_REASON_UNAVAILABLE, []),
        (errors_pb2.ERROR_REASON_INTERNAL, []),
        (errors_pb2.ERROR_REASON_NOT_POSSIBLE, ["acct-1"]),
    ],
)
async def test_an_order_of_which_nobody_knows_what_became_stays_under_way(reason: errors_pb2.ErrorReason, ended: list[str]) -> None:
    offering = SimpleNamespace(offering_id="trial", once_per_identity=True)
    catalog: Any = SimpleNamespace(current=SimpleNamespace(offering=lambda _: offering))
    authentication: Any = Authentication()
    accounting: Any = None
    placing = accounting_pb2.PlaceOrderRequest(account_id="acct-1", offering_id="trial")
    with pytest.raises(ServiceError):
        async with entitled(Sales(catalog, authentication, accounting), placing, "phone:+8613800138000"):
            raise ServiceError(reason, "it was so")
    assert (authentication.ended, placing.entitled_until_time) == (ended, timestamp(60_000_000))

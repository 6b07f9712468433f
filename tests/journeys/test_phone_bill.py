"""The Shanghai branch sells by phone bill: an order becomes a payment at the carrier, and the statement and the carrier agree."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, Final

import pytest
import pytest_asyncio

from services.billing.carrier.config import CarrierConfig
from services.carrier_simulator.api import CarrierSimulator
from services.carrier_simulator.app import serve_carrier
from services.carrier_simulator.behaviour import Behaviour
from services.carrier_simulator.ledger import Ledger
from services.carrier_simulator.tokens import Tokens, read_public_key
from services.registry.catalog_folder import base_catalog_folder
from services.runtime.clock import SystemClock
from tests.billing.carrier.bill import write_keys
from tests.edge.system import Cell, cell
from tests.waiting import WAIT_S

pytestmark = pytest.mark.asyncio(loop_scope="module")

REGION: Final = Path(__file__).parents[2] / "infra" / "regions" / "cn-telecom-sh" / "catalog"


class Branch:
    """The branch's cell, and the operator's carrier billing."""

    def __init__(self, services: Cell, simulator: CarrierSimulator) -> None:
        self.services = services
        self.simulator = simulator

    async def account(self, line: str) -> str:
        account_id, _ = await self.services.subscriber(f"of {line}")
        told = await self.services.admin("PUT", f"/accounts/{account_id}/line", {"phone_number": line})
        assert told.json == {"account_id": account_id, "phone_number": line}
        return account_id

    async def order(self, account_id: str, offering_id: str) -> dict[str, Any]:
        body = {"offering_id": offering_id, "payment_method": "phone_bill", "idempotency_key": offering_id}
        placed: dict[str, Any] = (await self.services.admin("POST", f"/accounts/{account_id}/orders", body)).json
        return placed

    async def bill(self, account_id: str, *states: str) -> list[dict[str, Any]]:
        """The account's demands once they are in these states, the oldest first."""
        async with asyncio.timeout(WAIT_S):
            while True:
                listed = (await self.services.admin("GET", f"/phone-bill?account_id={account_id}")).json
                found: list[dict[str, Any]] = listed["data"][::-1]
                if [each["state"] for each in found] == list(states):
                    return found

    async def total(self, account_id: str) -> dict[str, Any]:
        """The sums of money of the account's statement of all time."""
        path = f"/accounts/{account_id}/statement?from_us=1&until_us=253402300799000000"
        statement = (await self.services.admin("GET", path)).json
        (total,) = (each for each in statement["totals"] if each["currency"] == "CNY")
        told: dict[str, Any] = total
        return told

    def billed(self, line: str) -> int:
        """All that the carrier has on the line's bill, in micro-units."""
        of_line = [each for each in self.simulator.ledger.payments if each.phone_number == line and each.status == "succeeded"]
        return int(sum(self.simulator.ledger.remaining(each) for each in of_line) * 1_000_000)

    async def differences(self) -> list[str]:
        found: list[str] = (await self.services.admin("POST", "/reconcile", {})).json["differences"]
        return found


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def branch(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Branch]:
    keys = write_keys(tmp_path_factory.mktemp("keys"))
    clock = SystemClock()
    simulator = CarrierSimulator(Ledger(clock), Tokens({"tokenline": read_public_key(keys / "public.pem")}, clock))
    async with serve_carrier(simulator) as address:

        def prepare(services: Cell) -> None:
            services.catalog_folders = [str(base_catalog_folder()), str(REGION)]
            carrier = CarrierConfig(
                address=address,
                token_url=f"{address}/oauth2/token",
                client_id="tokenline",
                key_file=str(keys / "private.pem"),
            )
            services.billing_changes = {"carrier": carrier}

        async with cell(tmp_path_factory.mktemp("branch"), prepare=prepare) as services:
            await services.ready()
            yield Branch(services, simulator)


async def test_a_plan_with_a_credit_line_is_on_the_phone_bill_and_its_refund_too(branch: Branch) -> None:
    line = "+8613800000011"
    account_id = await branch.account(line)
    order = await branch.order(account_id, "cn-telecom-sh-10m")
    assert order["state"] == "completed"
    (payment,) = await branch.bill(account_id, "succeeded")
    assert (payment["kind"], payment["order_id"]) == ("payment", order["order_id"])
    total = await branch.total(account_id)
    assert 0 <= total["credit_line"] - branch.billed(line) < 1_000
    assert branch.billed(line) == payment["amount"] > 0

    # The plan's credit line pays for another one, most of which comes back at once.
    family = await branch.order(account_id, "cn-telecom-sh-family")
    assert family["state"] == "completed"
    _, of_family = await branch.bill(account_id, "succeeded", "succeeded")
    assert of_family["order_id"] == family["order_id"]
    path = f"/accounts/{account_id}/subscriptions/{family['subscription_id']}/refund"
    back = await branch.services.admin("POST", path, {"reason": "changed their mind", "idempotency_key": "back"})
    assert back.status == 200, back.body
    refund = (await branch.bill(account_id, "succeeded", "succeeded", "succeeded"))[2]
    assert (refund["kind"], refund["payment_id"]) == ("refund", of_family["payment_id"])
    assert 0 <= back.json["amount"] - refund["amount"] < 1_000
    total = await branch.total(account_id)
    assert abs(total["credit_line"] - branch.billed(line)) < 1_000
    assert await branch.differences() == []


async def test_a_plan_without_a_credit_line_is_paid_before_it_is_carried_out(branch: Branch) -> None:
    line = "+8613800000012"
    account_id = await branch.account(line)
    # The carrier's answer is lost, after it has reserved.
    branch.simulator.behaviours.add(Behaviour(operation="preparePayment", cut=True, carried_out=True))
    order = await branch.order(account_id, "cn-telecom-sh-family")
    assert order["state"] == "awaiting_payment"
    (payment,) = await branch.bill(account_id, "succeeded")
    orders = (await branch.services.admin("GET", f"/accounts/{account_id}/orders")).json["data"]
    assert [(each["state"], each["remark"]) for each in orders] == [("completed", payment["payment_id"])]
    assert branch.billed(line) == (await branch.total(account_id))["phone_bill"] == 9_900_000
    receipt = await branch.services.admin("GET", f"/accounts/{account_id}/orders/{order['order_id']}/receipt")
    (charge,) = receipt.json["charges"]
    assert (charge["paid_by"], charge["remark"], charge["amount"]) == ("phone_bill", payment["payment_id"], 9_900_000)

    path = f"/accounts/{account_id}/subscriptions/{order['subscription_id']}/refund"
    back = (await branch.services.admin("POST", path, {"reason": "changed their mind", "idempotency_key": "back"})).json
    assert back["payment_references"] == [payment["payment_id"]]
    await branch.bill(account_id, "succeeded", "succeeded")
    total = await branch.total(account_id)
    assert 0 <= branch.billed(line) - total["phone_bill"] < 1_000
    assert await branch.differences() == []


async def test_a_line_that_may_not_pay_gets_nothing(branch: Branch) -> None:
    line = "+8613800000403"
    account_id = await branch.account(line)
    order = await branch.order(account_id, "cn-telecom-sh-points")
    (payment,) = await branch.bill(account_id, "denied")
    assert "PAYMENT_DENIED" in payment["reason"]
    (told,) = (await branch.services.admin("GET", f"/accounts/{account_id}/orders")).json["data"]
    assert (told["order_id"], told["state"]) == (order["order_id"], "failed")
    assert "PAYMENT_DENIED" in told["remark"]
    listed = (await branch.services.admin("GET", "/phone-bill?states=denied")).json
    assert [each["demand_id"] for each in listed["data"]] == [payment["demand_id"]]
    assert (listed["carrier"], branch.billed(line)) == (True, 0)


async def test_a_code_that_the_carrier_sent_is_shown_to_it(branch: Branch) -> None:
    line = "+8613800000123"
    account_id = await branch.account(line)
    await branch.order(account_id, "cn-telecom-sh-points")
    (payment,) = await branch.bill(account_id, "pending_validation")
    path = f"/phone-bill/{payment['demand_id']}/code"
    assert (await branch.services.admin("POST", path, {"line_code": "000000"})).status == 409
    assert (await branch.services.admin("POST", path, {"line_code": "352673"})).status == 200
    await branch.bill(account_id, "succeeded")
    assert branch.billed(line) == 1_000_000


@pytest.mark.parametrize(
    ("method", "path", "body", "status"),
    [
        ("PUT", "/accounts/acct-0000000000000000/line", {"phone_number": "+8613800000001"}, 404),
        ("PUT", "/accounts/acct-0000000000000000/line", {"phone_number": "13800000001"}, 400),
        ("PUT", "/accounts/acct-0000000000000000/line", {}, 400),
        ("GET", "/phone-bill?states=lost", None, 400),
        ("POST", "/phone-bill/pay-0/code", {"line_code": "1"}, 404),
        ("POST", "/phone-bill/pay-0/code", {"line_code": ""}, 400),
        ("POST", "/phone-bill/pay-0/retry", {}, 404),
    ],
)
async def test_bad_input_is_refused_and_says_what_is_right(
    branch: Branch, method: str, path: str, body: dict[str, Any] | None, status: int
) -> None:
    reply = await branch.services.admin(method, path, body)
    assert reply.status == status
    assert len(reply.error["message"]) > 20

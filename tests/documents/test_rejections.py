"""docs/rejections.md, row by row, against a running service."""

import re
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from services.runtime.clients import answer
from services.runtime.errors import ServiceError
from services.runtime.identifiers import uuid7
from tests.accounting.one_cell import charging_id
from tests.accounting.rejections import Rejections, call_fields, calls, changed
from tests.waiting import WAIT_S
from tokenline.accounting.v1 import accounting_pb2 as pb

DOCUMENT = (Path(__file__).parents[2] / "docs" / "rejections.md").read_text(encoding="utf-8")
SECTION = re.compile(r"^## (.+)\n((?:\|.*\n)+)", re.MULTILINE)
CELLS = re.compile(r"^\| (.+) \|$", re.MULTILINE)
IN_A_WRONG_ORDER = "In a wrong order"
# What takes any value that its type can have.
ANYTHING_IS_TAKEN = frozenset(
    {
        *("operation_id", "create.output_metered", "at_once", "GrantBucket.model_group"),
        # A span that cannot be read is no span.
        "traceparent",
        # A mark of minted keys: without a run they are refused, see the tests of runs.
        *("create.key_is_minted", "parent_is_minted"),
        # A top-up is no session.
        *("top_up.charging_id", "top_up.invocation_sequence_number"),
        # Any number counts from 1 on; an absurd expectation is no more than the bound.
        "ReadJournal.to_sequence_number",
    }
)


class Row(NamedTuple):
    call: str
    field: str
    value: str
    said: str


def table(call: str) -> list[list[str]]:
    """The rows of a section, without their heading."""
    (rows,) = [rows for name, rows in SECTION.findall(DOCUMENT) if name == call]
    return [cells.split(" | ") for cells in CELLS.findall(rows)[1:] if not cells.startswith("---")]


ROWS = [
    Row(call, field.strip("`"), value, " | ".join(said))
    for call, _ in SECTION.findall(DOCUMENT)
    if call != IN_A_WRONG_ORDER
    for field, value, *said in table(call)
]


def matches(written: str, said: str) -> bool:
    """Whether an answer is what was written, in which … stands for anything."""
    return re.fullmatch(".*".join(re.escape(part) for part in written.split("…")), said) is not None


@pytest.fixture
async def system(tmp_path: Path) -> AsyncIterator[Rejections]:
    async with Rejections.open(tmp_path) as rejections:
        yield rejections


async def test_every_row_is_refused_as_written_and_changes_nothing(system: Rejections) -> None:
    before = await system.entries()
    wrong = []
    for row in ROWS:
        said = await system.with_field(row.call, row.field, row.value)
        if said == "taken" or not matches(row.said, said):
            wrong.append((row, said))
    assert wrong == []
    assert await system.entries() == before
    # And without the change each request is a good one.
    said_of = {call: await system.ask(call, system.fresh(call)) for call in calls()}
    assert {call: said for call, said in said_of.items() if said != "taken"} == {
        "MovePartition": "NOT_POSSIBLE: this cell has one accounting process and no etcd; there is nowhere to move to"
    }


def test_every_field_of_every_call_has_a_row() -> None:
    written = {(row.call, row.field.removesuffix("[0]")) for row in ROWS}
    missing = [
        (call, path)
        for call in calls()
        for path, _ in call_fields(call)
        if (call, path) not in written and not {path, f"{call}.{path}"} & ANYTHING_IS_TAKEN
    ]
    assert missing == []


# In a wrong order: what is done, by its words in the document

SCENARIOS: dict[str, Callable[[Rejections], Awaitable[str]]] = {}
Scenario = Callable[[Rejections], Awaitable[str]]


def scenario(words: str) -> Callable[[Scenario], Scenario]:
    def register(does: Scenario) -> Scenario:
        SCENARIOS[words] = does
        return does

    return register


async def opened(system: Rejections) -> str:
    """A new open session."""
    session = charging_id()
    assert await system.ask("create", changed(system.bases["create"], "charging_id", session)) == "taken"
    return session


async def operate(system: Rejections, kind: str, session: str, number: int, **changes: Any) -> str:
    request = changed(changed(system.bases[kind], "charging_id", session), "invocation_sequence_number", number)
    for field, value in changes.items():
        request = changed(request, f"{kind}.{field}", value)
    return await system.ask(kind, request)


@scenario("an Update after the Release")
async def _(system: Rejections) -> str:
    session = await opened(system)
    await operate(system, "release", session, 2)
    return await operate(system, "update", session, 3)


@scenario("a second Release under a new number")
async def _(system: Rejections) -> str:
    session = await opened(system)
    await operate(system, "release", session, 2)
    return await operate(system, "release", session, 3)


@scenario("a Release without a Create")
async def _(system: Rejections) -> str:
    return await operate(system, "release", charging_id(), 2)


@scenario("a number that is not above the last")
async def _(system: Rejections) -> str:
    session = await opened(system)
    await operate(system, "update", session, 3)
    return await operate(system, "update", session, 2)


@scenario("the last number with other content")
async def _(system: Rejections) -> str:
    session = await opened(system)
    await operate(system, "update", session, 2)
    return await operate(system, "update", session, 2, output_tokens_wanted="39")


@scenario("the last number with the same content")
async def _(system: Rejections) -> str:
    session = await opened(system)
    await operate(system, "update", session, 2)
    return await operate(system, "update", session, 2)


@scenario("a Create whose charging_id is an hour old")
async def _(system: Rejections) -> str:
    return await operate(system, "create", uuid7(time.time_ns() // 1_000 - 3_600_000_000), 1)


@scenario("a Create whose charging_id lies an hour ahead")
async def _(system: Rejections) -> str:
    return await operate(system, "create", charging_id(3_600_000), 1)


async def ended(system: Rejections) -> str:
    """An open session whose key's time has ended."""
    session = charging_id()
    create = changed(changed(system.bases["create"], "charging_id", session), "create.key_id", "ended")
    unlimited = changed(changed(system.bases["SetLimits"], "subject_limits.subject", "key:ended"), "subject_limits.limits", [])
    for kind, request in (
        ("SetLimits", changed(unlimited, "subject_limits.valid_until_time", "2069-01-01T00:00:00Z")),
        ("create", create),
        ("SetLimits", changed(unlimited, "subject_limits.valid_until_time", "2020-01-01T00:00:00Z")),
    ):
        assert await system.ask(kind, request) == "taken"
    return session


@scenario("an Update after the time of its key has ended")
async def _(system: Rejections) -> str:
    return await operate(system, "update", await ended(system), 2)


@scenario("a Release after the time of its key has ended")
async def _(system: Rejections) -> str:
    return await operate(system, "release", await ended(system), 2)


@scenario("a Create whose idempotency_key has a call")
async def _(system: Rejections) -> str:
    name = {"idempotency_key": "used before", "content_digest": "MTIzNDU2Nzg5MDEyMzQ1Ng=="}
    assert await operate(system, "create", charging_id(), 1, **name) == "taken"
    return await operate(system, "create", charging_id(), 1, **name)


@scenario("an Event on an open session")
async def _(system: Rejections) -> str:
    return await operate(system, "event", await opened(system), 2)


@scenario("a top-up's key with another amount")
async def _(system: Rejections) -> str:
    request = changed(system.bases["GrantBucket"], "idempotency_key", "used before")
    assert await system.ask("GrantBucket", request) == "taken"
    return await system.ask("GrantBucket", changed(request, "amount", "5"))


@scenario("a top-up sent twice")
async def _(system: Rejections) -> str:
    await system.ask("GrantBucket", system.bases["GrantBucket"])
    return await system.ask("GrantBucket", system.bases["GrantBucket"])


@scenario("an order's key with another offering")
async def _(system: Rejections) -> str:
    request = changed(system.bases["PlaceOrder"], "idempotency_key", "used before")
    assert await system.ask("PlaceOrder", request) == "taken"
    return await system.ask("PlaceOrder", changed(request, "offering_id", "personal-10m"))


@scenario("an order confirmed that was cancelled")
async def _(system: Rejections) -> str:
    order = system.bases["CancelOrder"]
    assert await system.ask("CancelOrder", order) == "taken"
    return await system.ask("ConfirmPayment", changed(system.bases["ConfirmPayment"], "order_id", order["order_id"]))


@scenario("a gift to the account itself")
async def _(system: Rejections) -> str:
    return await system.ask("SendTransfer", changed(system.bases["SendTransfer"], "to_account_id", system.account_id))


@scenario("an account opened again on another offering")
async def _(system: Rejections) -> str:
    assert await system.ask("OpenAccount", system.bases["OpenAccount"]) == "taken"
    return await system.ask("OpenAccount", changed(system.bases["OpenAccount"], "offering_id", "chat-basic"))


@scenario("1,025 operations in one request")
async def _(system: Rejections) -> str:
    try:
        await answer(_first(system, pb.ChargeRequest(operations=[pb.ChargeOperation()] * 1_025)))
    except ServiceError as error:
        return f"INVALID_ARGUMENT: {error.message}"
    return "taken"


async def _first(system: Rejections, request: pb.ChargeRequest) -> Any:
    call = system.client.stub.Charge(iter([request]), timeout=WAIT_S)
    async for response in call:
        return response
    raise AssertionError("it ended without an answer")


async def test_what_comes_in_a_wrong_order_is_answered_as_written(system: Rejections) -> None:
    rows = table(IN_A_WRONG_ORDER)
    assert sorted(words for words, *_ in rows) == sorted(SCENARIOS)
    said = {words: await SCENARIOS[words](system) for words, *_ in rows}
    assert {words: said[words] for words, written in rows if not matches(written, said[words])} == {}

"""Administrative requests say who gives them, through the contract."""

import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, get_args

import pytest
import pytest_asyncio
from google.protobuf.duration_pb2 import Duration

from services.accounting.rpc import fields
from services.runtime.clients import answer
from services.runtime.errors import ServiceError
from tests.accounting.one_cell import TOKEN, UNIT, cell, charging_id, create, event, release
from tests.accounting.rejections import ACTOR, ADMINISTRATIVE, Rejections
from tests.waiting import WAIT_S
from tokenline.accounting.v1 import accounting_pb2 as pb

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def system(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Rejections]:
    async with Rejections.open(tmp_path_factory.mktemp("cell")) as rejections:
        yield rejections


async def journal(system: Rejections) -> list[pb.JournalEntry]:
    partitions = (await answer(system.client.stub.ListPartitions(pb.ListPartitionsRequest(), timeout=WAIT_S))).partitions
    return [entry for each in partitions for entry in await system.client.journal(each.part_id)]


def follows(entry: pb.JournalEntry) -> bool:
    """Whether it is what a transfer leads to, at its own time and in nobody's name."""
    return entry.WhichOneof("fact") == "transfer_confirmed" or entry.bucket_granted.source.startswith("transfer:")


def place(entry: pb.JournalEntry) -> tuple[int, int, int]:
    return entry.part_id, entry.sequence_number, entry.index


async def test_each_administrative_command_is_one_that_says_who_gives_it() -> None:
    assert sorted(f"{name}Request" for name in ADMINISTRATIVE) == sorted(each.__name__ for each in get_args(fields.Administrative))
    assert len(ADMINISTRATIVE) == 16


@pytest.mark.parametrize("call", ADMINISTRATIVE)
async def test_the_entries_of_a_command_have_its_actor(system: Rejections, call: str) -> None:
    before = {place(entry) for entry in await journal(system)}
    assert await system.ask(call, system.fresh(call)) == "taken"
    made = [entry for entry in await journal(system) if place(entry) not in before and not follows(entry)]
    assert made
    assert [entry.actor for entry in made] == [pb.Actor(**ACTOR)] * len(made)


async def test_who_is_not_named_is_unknown_and_of_calls_nobody_is(tmp_path: Path) -> None:
    async with cell(tmp_path, partitions=1) as client:
        account_id, session = await client.open(1_000), charging_id()
        assert [(entry.WhichOneof("fact"), entry.HasField("actor")) for entry in await client.journal(0)] == [
            ("account_opened", False),
            ("bucket_granted", False),
        ]
        granting = pb.GrantBucketRequest(account_id=account_id, unit=TOKEN, amount=UNIT, valid_for=Duration(seconds=60))
        granting.idempotency_key = "second"
        granting.actor.CopyFrom(pb.Actor(subject="李雷", proof="oidc", role="billing"))
        first = await answer(client.stub.GrantBucket(granting, timeout=WAIT_S))
        # An edge of the release before, or another operator, repeats it.
        granting.ClearField("actor")
        assert await answer(client.stub.GrantBucket(granting, timeout=WAIT_S)) == first
        await client.charge(create(account_id, session))
        await client.charge(release(account_id, session, 2, input=1))
        await client.charge(event(account_id, charging_id(), input=1))
        found = [(entry.WhichOneof("fact"), entry.actor.subject) for entry in (await client.journal(0))[2:]]
        assert found == [("bucket_granted", "李雷"), ("session_created", ""), ("session_settled", ""), ("session_settled", "")]


@pytest.mark.parametrize("field", ["subject", "proof", "role"])
@pytest.mark.parametrize("value", ["", "a\x00b", "a\x1b[31mb", "a\x7fb", "a\u202eb", "a\u2028b", "a\u00a0b"])
async def test_what_cannot_stand_in_a_line_is_no_actor(system: Rejections, field: str, value: str) -> None:
    before = await system.entries()
    said = await system.with_field("WriteOffDebt", f"actor.{field}", value)
    assert re.fullmatch(rf"INVALID_ARGUMENT: actor\.{field} must have 1 to \d+ characters, all of them printable", said), said
    assert await system.entries() == before


@pytest.mark.parametrize(("field", "length"), [("subject", 255), ("proof", 64), ("role", 64)])
async def test_an_actor_has_a_length(field: str, length: int) -> None:
    def request(characters: int) -> Any:
        return pb.SetLimitsRequest(actor=pb.Actor(**{**ACTOR, field: "李" * characters}))

    actor = fields.actor_of(request(length))
    assert actor is not None
    assert getattr(actor, field) == "李" * length
    with pytest.raises(ServiceError, match=f"actor.{field} must have 1 to {length} characters"):
        fields.actor_of(request(length + 1))

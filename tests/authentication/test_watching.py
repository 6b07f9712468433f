"""Watchers of revocations, in virtual time: how soon they hear, and that silence tells them something too."""

import asyncio
from typing import Any

import pytest

from services.authentication.servicer import AuthenticationServicer
from services.authentication.store import MemoryStore, Revocations, Suspension
from services.runtime.clock import timestamp
from tests.simulation.virtual_time import LoopClock, VirtualLoop, run_virtually
from tokenline.authentication.v1 import authentication_pb2 as pb

# No call here looks at it.
CONTEXT: Any = None


async def watched(loop: VirtualLoop, by: str) -> None:
    servicer = AuthenticationServicer(MemoryStore(), LoopClock(loop), "local", b"0123456789abcdef" * 2)
    await servicer.CreateMember(pb.CreateMemberRequest(account_id="acct-1", idempotency_key="member"), CONTEXT)
    create = pb.CreateKeyRequest(account_id="acct-1", idempotency_key="key", scopes=["keys:mint"])
    issued = (await servicer.CreateKey(create, CONTEXT)).key
    mint = pb.MintKeyRequest(parent_key_id=issued.key_id, key_id="key-minted", end_time=timestamp(2**52))
    await servicer.MintKey(mint, CONTEXT)
    heard: list[tuple[float, int, list[str]]] = []

    async def watch() -> None:
        async for message in servicer.WatchRevocations(pb.WatchRevocationsRequest(), CONTEXT):
            heard.append((round(loop.time(), 3), message.revision, list(message.key_ids)))

    watchers = [asyncio.create_task(watch()) for _ in range(3)]
    await asyncio.sleep(0.5)
    if by == "the operator":
        await servicer.RevokeKey(pb.RevokeKeyRequest(key_id="key-minted"), CONTEXT)
    else:
        await servicer.RevokeMintedKey(pb.RevokeMintedKeyRequest(parent_key_id=issued.key_id, key_id="key-minted"), CONTEXT)
    await asyncio.sleep(0.3)
    for watcher in watchers:
        watcher.cancel()
    silent: list[tuple[float, int, list[str]]] = [(at_s, 0, []) for at_s in (0.0, 0.2, 0.4)]
    assert heard[::3] == heard[1::3] == heard[2::3] == [*silent, (0.5, 1, ["key-minted"]), (0.7, 1, [])]


@pytest.mark.parametrize("by", ["the operator", "the key that minted it"])
def test_a_revocation_reaches_watchers_at_once_and_a_silent_stream_never_lasts(by: str) -> None:
    loop = VirtualLoop()
    run_virtually(watched(loop, by), loop)


class LongStore(MemoryStore):
    """In which 120,000 keys were revoked, and 10 accounts stand still since then."""

    async def revocations(self, after_revision: int) -> Revocations:
        told = range(max(after_revision, 0) + 1, 120_001)
        suspended = [Suspension(f"acct-{number}", 1, 0, 120_000 + number) for number in range(1, 11)]
        return Revocations(120_010, [f"key-{number:016}" for number in told], suspended)


@pytest.mark.parametrize(("after", "before"), [(3, 3), (130_000, 0)])
def test_all_that_was_ever_revoked_comes_in_messages_of_bounded_size(after: int, before: int) -> None:
    async def heard() -> list[pb.WatchRevocationsResponse]:
        servicer = AuthenticationServicer(LongStore(), LoopClock(loop), "local", b"0123456789abcdef" * 2)
        messages = []
        async for message in servicer.WatchRevocations(pb.WatchRevocationsRequest(after_revision=after), CONTEXT):
            messages.append(message)
            if message.revision == 120_010:
                break
        return messages

    loop = VirtualLoop()
    messages = run_virtually(heard(), loop)
    # Only the last message brings a watcher to the newest revision: who hears no further asks from the same place again.
    assert [(each.revision, len(each.key_ids), len(each.account_ids)) for each in messages] == [
        (before, 50_000, 0),
        (before, 50_000, 0),
        (120_010, 20_000 - before, 10),
    ]
    assert max(each.ByteSize() for each in messages) < 1_300_000

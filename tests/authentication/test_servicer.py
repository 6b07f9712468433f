"""Authentication behind its real server, on a real database."""

import asyncio
import sqlite3
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.protobuf.message import Message

from services.api_keys import new_key
from services.authentication.app import run_authentication
from services.authentication.config import AuthenticationConfig
from services.runtime.clients import answer, connect
from services.runtime.clock import timestamp
from services.runtime.config import ConfigError, parse_yaml
from services.runtime.errors import ServiceError
from services.runtime.lifecycle import Lifecycle
from tests.waiting import WAIT_S
from tokenline.authentication.v1 import authentication_pb2 as pb
from tokenline.authentication.v1 import authentication_pb2_grpc

Stub = authentication_pb2_grpc.AuthenticationServiceStub
LONG = "x" * 201
UNPRINTABLE = "a\x1b[2J"


def config_of(folder: Path, **changes: str) -> AuthenticationConfig:
    (folder / "hash_key").write_bytes(b"0123456789abcdef" * 2)
    values: dict[str, Any] = {
        "listen_address": "127.0.0.1:0",
        "database": str(folder / "authentication.db"),
        "hash_key_file": str(folder / "hash_key"),
        "region": "local",
    }
    return AuthenticationConfig(**{**values, **changes})


@asynccontextmanager
async def running(folder: Path, region: str = "local") -> AsyncIterator[Any]:
    async with run_authentication(config_of(folder, region=region), Lifecycle()) as address, connect(address) as channel:
        yield Stub(channel)


async def ask(call: Any, request: Message) -> Any:
    return await answer(call(request, timeout=WAIT_S))


async def issue(stub: Any, name: str = "1", account_id: str = "acct-1") -> Any:
    await ask(stub.CreateMember, pb.CreateMemberRequest(account_id=account_id, idempotency_key=f"member-{account_id}"))
    return await ask(stub.CreateKey, pb.CreateKeyRequest(account_id=account_id, idempotency_key=f"key-{name}"))


async def refused(call: Any, request: Message) -> str:
    with pytest.raises(ServiceError) as raised:
        await ask(call, request)
    return f"{raised.value.reason_name}: {raised.value.message}"


async def test_a_key_is_issued_resolved_and_listed(tmp_path: Path) -> None:
    async with running(tmp_path) as stub:
        issued = await issue(stub)
        assert issued.api_key.startswith("tl-local-")
        found = await ask(stub.ResolveKey, pb.ResolveKeyRequest(api_key=issued.api_key))
        assert (found.key_id, found.member_id, found.account_id) == (issued.key.key_id, issued.key.member_id, "acct-1")
        listed = await ask(stub.ListKeys, pb.ListKeysRequest(account_id="acct-1"))
        assert list(listed.keys) == [issued.key]
        assert issued.api_key not in str(listed)


async def test_a_secret_is_given_once(tmp_path: Path) -> None:
    async with running(tmp_path) as stub:
        issued = await issue(stub)
        said = await refused(stub.CreateKey, pb.CreateKeyRequest(account_id="acct-1", idempotency_key="key-1"))
        assert said.startswith("ALREADY_EXISTS") and issued.key.key_id in said


async def test_only_a_hash_is_stored(tmp_path: Path) -> None:
    async with running(tmp_path) as stub:
        api_key = (await issue(stub)).api_key
    secret = api_key.removeprefix("tl-local-").encode()
    stored = b"".join(file.read_bytes() for file in tmp_path.glob("authentication.db*"))
    assert b"acct-1" in stored
    assert secret not in stored
    assert secret[:32] not in stored


async def test_keys_that_must_not_pass(tmp_path: Path) -> None:
    async with running(tmp_path) as stub:
        issued = await issue(stub)
        for api_key in ("", "nonsense", issued.api_key[:-1], issued.api_key + "0", new_key("local").api_key):
            assert (await refused(stub.ResolveKey, pb.ResolveKeyRequest(api_key=api_key))).startswith("KEY_UNKNOWN")
        other = await refused(stub.ResolveKey, pb.ResolveKeyRequest(api_key=new_key("sh").api_key))
        assert other.startswith("KEY_UNKNOWN") and "region sh" in other
        revoked = await ask(stub.RevokeKey, pb.RevokeKeyRequest(key_id=issued.key.key_id))
        assert revoked.key.HasField("revoke_time")
        assert (await refused(stub.ResolveKey, pb.ResolveKeyRequest(api_key=issued.api_key))).startswith("KEY_REVOKED")
        assert await ask(stub.RevokeKey, pb.RevokeKeyRequest(key_id=issued.key.key_id)) == revoked
        assert (await refused(stub.RevokeKey, pb.RevokeKeyRequest(key_id="key-9"))).startswith("KEY_UNKNOWN")


@pytest.mark.parametrize(
    ("rpc", "request_", "field"),
    [
        ("CreateMember", pb.CreateMemberRequest(idempotency_key="k"), "account_id"),
        ("CreateMember", pb.CreateMemberRequest(account_id=LONG, idempotency_key="k"), "account_id"),
        ("CreateMember", pb.CreateMemberRequest(account_id="acct-1"), "idempotency_key"),
        ("CreateMember", pb.CreateMemberRequest(account_id="acct-1", idempotency_key=LONG), "idempotency_key"),
        ("CreateMember", pb.CreateMemberRequest(account_id="acct-1", idempotency_key="k", display_name=LONG), "display_name"),
        (
            "CreateMember",
            pb.CreateMemberRequest(account_id="acct-1", idempotency_key="k", display_name=UNPRINTABLE),
            "display_name",
        ),
        ("CreateMember", pb.CreateMemberRequest(account_id=UNPRINTABLE, idempotency_key="k"), "account_id"),
        ("CreateMember", pb.CreateMemberRequest(account_id="acct-1", idempotency_key="a\n"), "idempotency_key"),
        ("CreateKey", pb.CreateKeyRequest(idempotency_key="k"), "account_id"),
        ("CreateKey", pb.CreateKeyRequest(account_id="acct-1", idempotency_key="k\0"), "idempotency_key"),
        ("CreateKey", pb.CreateKeyRequest(account_id="acct-1", idempotency_key="k", member_id=UNPRINTABLE), "member_id"),
        ("CreateKey", pb.CreateKeyRequest(account_id="acct-1"), "idempotency_key"),
        ("CreateKey", pb.CreateKeyRequest(account_id="acct-1", idempotency_key="k", member_id=LONG), "member_id"),
        ("RevokeKey", pb.RevokeKeyRequest(), "key_id"),
        ("RevokeKey", pb.RevokeKeyRequest(key_id=LONG), "key_id"),
        ("RevokeKey", pb.RevokeKeyRequest(key_id=UNPRINTABLE), "key_id"),
        ("CreateInvitation", pb.CreateInvitationRequest(account_id="acct-1", idempotency_key="k"), "end_time"),
        (
            "CreateInvitation",
            pb.CreateInvitationRequest(account_id="acct-1", idempotency_key="k", end_time=timestamp(1_000_000)),
            "end_time",
        ),
        ("ListKeys", pb.ListKeysRequest(), "account_id"),
        ("ListKeys", pb.ListKeysRequest(account_id=UNPRINTABLE), "account_id"),
    ],
)
async def test_bad_input_names_the_field(tmp_path: Path, rpc: str, request_: Message, field: str) -> None:
    async with running(tmp_path) as stub:
        assert (await refused(getattr(stub, rpc), request_)).startswith(f"INVALID_ARGUMENT: {field} must")


async def test_names_of_every_language_are_kept(tmp_path: Path) -> None:
    async with running(tmp_path) as stub:
        request = pb.CreateMemberRequest(account_id="acct-1", idempotency_key="k", display_name="王小明 · R&D Zoë")
        made = await ask(stub.CreateMember, request)
        assert made.member.display_name == "王小明 · R&D Zoë"
        assert await ask(stub.CreateMember, request) == made
        request.display_name = "somebody else"
        assert (await refused(stub.CreateMember, request)).startswith("IDEMPOTENCY_CONFLICT")


async def test_a_watcher_cannot_have_seen_less_than_nothing(tmp_path: Path) -> None:
    async with running(tmp_path) as stub:
        with pytest.raises(grpc.aio.AioRpcError) as raised:
            await stub.WatchRevocations(pb.WatchRevocationsRequest(after_revision=-1)).read()
        assert raised.value.code() == grpc.StatusCode.INVALID_ARGUMENT
        assert "after_revision must not be negative" in (raised.value.details() or "")


async def test_a_revocation_reaches_watchers(tmp_path: Path) -> None:
    async with running(tmp_path) as stub:
        issued = await issue(stub)
        watchers = [stub.WatchRevocations(pb.WatchRevocationsRequest()) for _ in range(20)]
        for watcher in watchers:
            assert (await watcher.read()).revision == 0
        await ask(stub.RevokeKey, pb.RevokeKeyRequest(key_id=issued.key.key_id))
        for watcher in watchers:
            while not (message := await watcher.read()).key_ids:
                assert message.revision == 0
            assert (message.revision, list(message.key_ids)) == (1, [issued.key.key_id])
            watcher.cancel()


async def test_a_watcher_resumes_and_one_from_the_future_hears_everything(tmp_path: Path) -> None:
    async with running(tmp_path) as stub:
        key_ids = [(await issue(stub, name)).key.key_id for name in "123"]
        for key_id in key_ids:
            await ask(stub.RevokeKey, pb.RevokeKeyRequest(key_id=key_id))
        for after, expected in ((0, key_ids), (2, key_ids[2:]), (3, []), (99, key_ids)):
            watcher = stub.WatchRevocations(pb.WatchRevocationsRequest(after_revision=after))
            message = await watcher.read()
            assert (message.revision, list(message.key_ids)) == (3, expected)
            watcher.cancel()


async def test_open_watchers_do_not_hold_up_the_end(tmp_path: Path) -> None:
    config = config_of(tmp_path, listen_address=f"unix:{tmp_path}/authentication.sock")
    async with connect(config.listen_address) as channel:
        async with run_authentication(config, Lifecycle()):
            watcher = Stub(channel).WatchRevocations(pb.WatchRevocationsRequest())
            await watcher.read()
        # Its server would have cut it off without a word.
        with pytest.raises(grpc.aio.AioRpcError, match="authentication is stopping; watch again"):
            while True:
                await watcher.read()


async def test_a_restart_keeps_everything(tmp_path: Path) -> None:
    async with running(tmp_path) as stub:
        kept, revoked = await issue(stub, "1"), await issue(stub, "2")
        await ask(stub.RevokeKey, pb.RevokeKeyRequest(key_id=revoked.key.key_id))
    async with running(tmp_path) as stub:
        assert (await ask(stub.ResolveKey, pb.ResolveKeyRequest(api_key=kept.api_key))).account_id == "acct-1"
        assert (await refused(stub.ResolveKey, pb.ResolveKeyRequest(api_key=revoked.api_key))).startswith("KEY_REVOKED")


async def test_a_database_that_fails_is_never_taken_for_an_unknown_key(tmp_path: Path) -> None:
    async with running(tmp_path) as stub:
        issued = await issue(stub)
        # A second connection takes the table away under the service; every statement on it fails from now on.
        with closing(sqlite3.connect(tmp_path / "authentication.db")) as connection:
            connection.execute("ALTER TABLE api_key RENAME TO lost")
        said = await refused(stub.ResolveKey, pb.ResolveKeyRequest(api_key=issued.api_key))
        assert said.startswith("STORE_UNAVAILABLE"), said
        # What is no key of ours is refused without asking the store.
        for api_key in ("nonsense", issued.api_key[:-1] + "\n", new_key("sh").api_key):
            assert (await refused(stub.ResolveKey, pb.ResolveKeyRequest(api_key=api_key))).startswith("KEY_UNKNOWN")
        with closing(sqlite3.connect(tmp_path / "authentication.db")) as connection:
            connection.execute("ALTER TABLE lost RENAME TO api_key")
        assert (await ask(stub.ResolveKey, pb.ResolveKeyRequest(api_key=issued.api_key))).key_id == issued.key.key_id


@pytest.mark.parametrize("region", ["", "BJ", "a" * 17, "a-b"])
def test_a_wrong_region_is_named(region: str) -> None:
    text = f"listen_address: x\ndatabase: x\nhash_key_file: x\nregion: '{region}'\n"
    with pytest.raises(ConfigError, match="region must be 1 to 16 lower-case letters and digits"):
        parse_yaml(text, AuthenticationConfig, "authentication.yaml")


async def suspend(stub: Any, account_id: str = "acct-1") -> Any:
    return (await ask(stub.SuspendAccount, pb.SuspendAccountRequest(account_id=account_id))).suspension


async def resume(stub: Any, account_id: str = "acct-1") -> Any:
    return (await ask(stub.ResumeAccount, pb.ResumeAccountRequest(account_id=account_id))).suspension


async def suspension_of(stub: Any, account_id: str = "acct-1") -> Any:
    return (await ask(stub.GetSuspension, pb.GetSuspensionRequest(account_id=account_id))).suspension


async def test_keys_of_a_suspended_account_do_not_pass_until_it_is_resumed(tmp_path: Path) -> None:
    async with running(tmp_path) as stub:
        kept, revoked, other = await issue(stub, "1"), await issue(stub, "2"), await issue(stub, "3", "acct-2")
        suspended = await suspend(stub)
        assert suspended.account_id == "acct-1"
        assert suspended.HasField("suspend_time")
        assert not suspended.HasField("resume_time")
        said = await refused(stub.ResolveKey, pb.ResolveKeyRequest(api_key=kept.api_key))
        assert said == "ACCOUNT_SUSPENDED: account acct-1 is suspended"
        assert (await ask(stub.ResolveKey, pb.ResolveKeyRequest(api_key=other.api_key))).account_id == "acct-2"
        # The operator goes on with its keys.
        made = await issue(stub, "4")
        await ask(stub.RevokeKey, pb.RevokeKeyRequest(key_id=revoked.key.key_id))
        assert len((await ask(stub.ListKeys, pb.ListKeysRequest(account_id="acct-1"))).keys) == 3
        for api_key, reason in ((made.api_key, "ACCOUNT_SUSPENDED"), (revoked.api_key, "KEY_REVOKED")):
            assert (await refused(stub.ResolveKey, pb.ResolveKeyRequest(api_key=api_key))).startswith(reason)
        await resume(stub)
        for api_key in (kept.api_key, made.api_key):
            assert (await ask(stub.ResolveKey, pb.ResolveKeyRequest(api_key=api_key))).account_id == "acct-1"
        assert (await refused(stub.ResolveKey, pb.ResolveKeyRequest(api_key=revoked.api_key))).startswith("KEY_REVOKED")


async def test_a_repeat_of_a_suspension_and_of_a_resumption_returns_the_first_time(tmp_path: Path) -> None:
    async with running(tmp_path) as stub:
        await issue(stub)
        assert await suspension_of(stub) == pb.Suspension(account_id="acct-1")
        assert await resume(stub) == pb.Suspension(account_id="acct-1")
        suspended = await suspend(stub)
        assert await suspend(stub) == suspended == await suspension_of(stub)
        over = await resume(stub)
        assert over.suspend_time == suspended.suspend_time
        assert over.HasField("resume_time")
        assert await resume(stub) == over == await suspension_of(stub)
        again = await suspend(stub)
        assert again.suspend_time.ToMicroseconds() > over.resume_time.ToMicroseconds()
        assert not again.HasField("resume_time")


async def test_an_account_without_members_is_not_suspended(tmp_path: Path) -> None:
    async with running(tmp_path) as stub:
        for call, request in (
            (stub.SuspendAccount, pb.SuspendAccountRequest(account_id="acct-9")),
            (stub.ResumeAccount, pb.ResumeAccountRequest(account_id="acct-9")),
        ):
            assert await refused(call, request) == "ACCOUNT_UNKNOWN: account acct-9 has no member; create one first"
        assert await suspension_of(stub, "acct-9") == pb.Suspension(account_id="acct-9")


@pytest.mark.parametrize("account_id", ["", LONG, UNPRINTABLE])
@pytest.mark.parametrize("rpc", ["SuspendAccount", "ResumeAccount", "GetSuspension"])
async def test_bad_account_ids_are_named(tmp_path: Path, rpc: str, account_id: str) -> None:
    async with running(tmp_path) as stub:
        said = await refused(getattr(stub, rpc), getattr(pb, f"{rpc}Request")(account_id=account_id))
        assert said.startswith("INVALID_ARGUMENT: account_id must")


async def news(watcher: Any) -> tuple[int, list[str], list[str]]:
    """The next message that is no heartbeat."""
    while not (message := await watcher.read()).key_ids and not message.account_ids:
        pass
    return message.revision, list(message.key_ids), list(message.account_ids)


async def test_a_suspension_reaches_watchers_at_once_and_in_order_with_revocations(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("services.authentication.servicer._HEARTBEAT_S", 10.0)
    async with running(tmp_path) as stub, asyncio.timeout(WAIT_S):
        issued = await issue(stub)
        watchers = [stub.WatchRevocations(pb.WatchRevocationsRequest()) for _ in range(3)]
        took_s = []
        for watcher in watchers:
            await watcher.read()
        for number in range(1, 6):
            # They listen by then, but for a machine that is busy each time.
            await asyncio.sleep(0.1)
            began_s = time.monotonic()
            await suspend(stub)
            assert [await news(watcher) for watcher in watchers] == [(number, [], ["acct-1"])] * 3
            took_s.append(time.monotonic() - began_s)
            await resume(stub)
        # With a heartbeat it would have come after 10 s.
        assert min(took_s) < 5
        await ask(stub.RevokeKey, pb.RevokeKeyRequest(key_id=issued.key.key_id))
        assert [await news(watcher) for watcher in watchers] == [(6, [issued.key.key_id], [])] * 3
        for watcher in watchers:
            watcher.cancel()


async def test_a_suspension_that_is_over_at_once_is_told_to_all_that_watched(tmp_path: Path) -> None:
    async with running(tmp_path) as stub, asyncio.timeout(WAIT_S):
        issued = await issue(stub)
        watcher = stub.WatchRevocations(pb.WatchRevocationsRequest())
        await watcher.read()
        await suspend(stub)
        await resume(stub)
        assert await news(watcher) == (1, [], ["acct-1"])
        watcher.cancel()
        # One whose stream was broken meanwhile goes on where it was.
        await ask(stub.RevokeKey, pb.RevokeKeyRequest(key_id=issued.key.key_id))
        await suspend(stub)
        await resume(stub)
        goes_on = stub.WatchRevocations(pb.WatchRevocationsRequest(after_revision=2))
        assert await news(goes_on) == (3, [], ["acct-1"])
        goes_on.cancel()


@pytest.mark.parametrize("after", [0, 99])
async def test_a_watcher_that_begins_hears_of_accounts_that_are_suspended_now(tmp_path: Path, after: int) -> None:
    async with running(tmp_path) as stub, asyncio.timeout(WAIT_S):
        for name in ("1", "2"):
            await issue(stub, name, f"acct-{name}")
            await suspend(stub, f"acct-{name}")
        await resume(stub, "acct-1")
        # 99 is of a database that was since restored to an earlier state.
        watcher = stub.WatchRevocations(pb.WatchRevocationsRequest(after_revision=after))
        assert await news(watcher) == (2, [], ["acct-2"])
        await suspend(stub, "acct-1")
        await resume(stub, "acct-1")
        assert await news(watcher) == (3, [], ["acct-1"])
        watcher.cancel()


async def test_a_restart_keeps_a_suspension(tmp_path: Path) -> None:
    async with running(tmp_path) as stub:
        issued = await issue(stub)
        suspended = await suspend(stub)
    async with running(tmp_path) as stub:
        assert await suspension_of(stub) == suspended
        assert (await refused(stub.ResolveKey, pb.ResolveKeyRequest(api_key=issued.api_key))).startswith("ACCOUNT_SUSPENDED")


# Minted keys


async def test_a_key_with_the_scope_mints_one_that_passes_and_ends_with_it(tmp_path: Path) -> None:
    async with running(tmp_path) as stub:
        await ask(stub.CreateMember, pb.CreateMemberRequest(account_id="acct-1", idempotency_key="member"))
        create = pb.CreateKeyRequest(account_id="acct-1", idempotency_key="key", scopes=["keys:mint"])
        issued = await ask(stub.CreateKey, create)
        assert list(issued.key.scopes) == ["keys:mint"]
        mint = pb.MintKeyRequest(parent_key_id=issued.key.key_id, key_id="key-minted")
        assert (await refused(stub.MintKey, mint)).startswith("INVALID_ARGUMENT: end_time must be given")
        mint.end_time.FromSeconds(int(time.time()) + 60)
        minted = await ask(stub.MintKey, mint)
        found = await ask(stub.ResolveKey, pb.ResolveKeyRequest(api_key=minted.api_key))
        assert (found.key_id, found.account_id, found.parent_key_id) == ("key-minted", "acct-1", issued.key.key_id)
        assert (found.end_time, list(found.scopes)) == (mint.end_time, [])
        assert (await refused(stub.MintKey, mint)).startswith("ALREADY_EXISTS")
        # The first moment of 1970 is an end, and not none.
        past = pb.MintKeyRequest(parent_key_id=issued.key.key_id, key_id="key-past", end_time=timestamp(0))
        assert (await ask(stub.MintKey, past)).key.HasField("end_time")
        below = pb.MintKeyRequest(parent_key_id="key-minted", key_id="key-below", end_time=mint.end_time)
        assert (await refused(stub.MintKey, below)).startswith("NOT_POSSIBLE: the key key-minted may not mint")
        watching = stub.WatchRevocations(pb.WatchRevocationsRequest(after_revision=0))
        await watching.read()
        assert (
            await refused(stub.RevokeMintedKey, pb.RevokeMintedKeyRequest(parent_key_id="key-x", key_id="key-minted"))
        ).startswith("KEY_UNKNOWN")
        await ask(stub.RevokeKey, pb.RevokeKeyRequest(key_id=issued.key.key_id))
        while not (told := await watching.read()).key_ids:
            pass
        assert (told.revision, list(told.key_ids)) == (2, [issued.key.key_id, "key-minted"])
        watching.cancel()
        assert (await refused(stub.ResolveKey, pb.ResolveKeyRequest(api_key=minted.api_key))).startswith("KEY_REVOKED")


async def test_a_scope_that_nobody_knows_is_named(tmp_path: Path) -> None:
    async with running(tmp_path) as stub:
        wanted = pb.CreateKeyRequest(account_id="acct-1", idempotency_key="key", scopes=["keys:mint", "everything"])
        assert await refused(stub.CreateKey, wanted) == "INVALID_ARGUMENT: scopes: 'everything' is no scope; there is keys:mint"

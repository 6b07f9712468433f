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
from services.runtime.config import ConfigError, parse_yaml
from services.runtime.errors import ServiceError
from services.runtime.lifecycle import Lifecycle
from tokenline.authentication.v1 import authentication_pb2 as pb
from tokenline.authentication.v1 import authentication_pb2_grpc

Stub = authentication_pb2_grpc.AuthenticationServiceStub
LONG = "x" * 201
UNPRINTABLE = "a\x1b[2J"


@asynccontextmanager
async def running(folder: Path, region: str = "local") -> AsyncIterator[Any]:
    (folder / "hash_key").write_bytes(b"0123456789abcdef" * 2)
    config = AuthenticationConfig(
        listen_address="127.0.0.1:0",
        database=str(folder / "authentication.db"),
        hash_key_file=str(folder / "hash_key"),
        region=region,
    )
    async with run_authentication(config, Lifecycle()) as address, connect(address) as channel:
        yield Stub(channel)


async def ask(call: Any, request: Message) -> Any:
    return await answer(call(request, timeout=5))


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


async def test_a_revocation_reaches_watchers_at_once(tmp_path: Path) -> None:
    async with running(tmp_path) as stub:
        issued = await issue(stub)
        watchers = [stub.WatchRevocations(pb.WatchRevocationsRequest()) for _ in range(20)]
        for watcher in watchers:
            assert (await watcher.read()).revision == 0
        began_s = time.monotonic()
        await ask(stub.RevokeKey, pb.RevokeKeyRequest(key_id=issued.key.key_id))
        async with asyncio.timeout(1):
            for watcher in watchers:
                while not (message := await watcher.read()).key_ids:
                    assert message.revision == 0
                assert (message.revision, list(message.key_ids)) == (1, [issued.key.key_id])
        assert time.monotonic() - began_s < 1
        for watcher in watchers:
            watcher.cancel()


async def test_a_silent_stream_never_lasts(tmp_path: Path) -> None:
    async with running(tmp_path) as stub:
        watcher = stub.WatchRevocations(pb.WatchRevocationsRequest())
        async with asyncio.timeout(1):
            for _ in range(4):
                await watcher.read()
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
    async with running(tmp_path) as stub:
        watcher = stub.WatchRevocations(pb.WatchRevocationsRequest())
        await watcher.read()
        began_s = time.monotonic()
    assert time.monotonic() - began_s < 2


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

"""An etcd client: etcd's API is gRPC, so this is a thin layer over generated stubs.

With several endpoints, a call goes to the one that answered last, and after a failure the next call goes to another. Every call is
bounded in time. Reads are repeated on another endpoint. A Put or Txn of unknown outcome is not, because it may have happened.
"""

import asyncio
import contextlib
import logging
import time
from collections.abc import AsyncIterator, Iterable
from pathlib import Path
from typing import Any, Final, NamedTuple

import grpc
import msgspec

from etcdserverpb import rpc_pb2 as pb
from etcdserverpb import rpc_pb2_grpc
from services.runtime.config import ConfigError

logger = logging.getLogger(__name__)

_CALL_S_MAX: Final = 2.0
# A silent watch is asked at this interval whether it lives, and may take this long to answer.
_PULSE_S: Final = 1.0
_PULSE_S_MAX: Final = 3.0
_RETRY_S: Final = 0.1
_RETRY_S_MAX: Final = 1.0
# Messages of etcd for a token that has ended: it was not used for 5 minutes, or users were changed.
_TOKEN_IS_OLD: Final = ("invalid auth token", "revision of auth store is old")
# Makes a member that has lost its quorum refuse the stream, or end it.
_WITH_LEADER: Final = (("hasleader", "true"),)
_OPTIONS: Final[list[tuple[str, Any]]] = [
    ("grpc.max_receive_message_length", 64 * 1024 * 1024),
    ("grpc.initial_reconnect_backoff_ms", 50),
    ("grpc.min_reconnect_backoff_ms", 50),
    ("grpc.max_reconnect_backoff_ms", 1_000),
    ("grpc.use_local_subchannel_pool", 1),
]


class EtcdConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Addresses and access of etcd. With `ca_file` connections are encrypted; a certificate or a password identifies us."""

    # "host:port" of every member.
    endpoints: tuple[str, ...]
    ca_file: str = ""
    certificate_file: str = ""
    key_file: str = ""
    username: str = ""
    # A file that holds its password; white space around the password is ignored.
    password_file: str = ""

    def __post_init__(self) -> None:
        if not self.endpoints:
            raise ValueError("endpoints must name at least one member as host:port")
        if bool(self.certificate_file) != bool(self.key_file):
            raise ValueError("certificate_file and key_file go together")
        if self.certificate_file and not self.ca_file:
            raise ValueError("certificate_file goes with ca_file only")
        if bool(self.username) != bool(self.password_file):
            raise ValueError("username and password_file go together")


def check_prefix(prefix: str) -> None:
    """Checks the prefix of a config's keys. Errors: `ValueError`."""
    if not prefix.startswith("/") or not prefix.endswith("/") or not prefix.isascii():
        raise ValueError("etcd_prefix must begin and end with /, in ASCII")


class EtcdError(Exception):
    """etcd failed, or its outcome is unknown. The message says what is wrong."""


class EtcdUnreachableError(EtcdError):
    """No answer came; a repeat may get one."""


class KeyValue(NamedTuple):
    """A key's value, the revisions of its creation and its last change, and its lease (0: none)."""

    value: bytes
    create_revision: int
    mod_revision: int
    lease: int


class Snapshot(NamedTuple):
    """The keys below a prefix, without it, as of a revision."""

    revision: int
    keys: dict[str, KeyValue]


def _deletion(key: str) -> pb.RequestOp:
    return pb.RequestOp(request_delete_range=pb.DeleteRangeRequest(key=key.encode()))


class EtcdClient:
    """Calls etcd; an asynchronous context manager. Errors of all methods: `EtcdError`."""

    def __init__(self, config: EtcdConfig) -> None:
        """Reads the files of the config. Errors: `ConfigError` for a file that can't be read."""
        self._endpoints = config.endpoints
        self._username = config.username
        self._password = _content("password_file", config.password_file).decode().strip() if config.username else ""
        # Identifies this client to any member, until etcd forgets it. One call fetches it, and the others wait for that.
        self._token = ""
        self._authenticating = asyncio.Lock()
        credentials = _credentials(config)
        self._channels = [
            grpc.aio.insecure_channel(endpoint, options=_OPTIONS)
            if credentials is None
            else grpc.aio.secure_channel(endpoint, credentials, options=_OPTIONS)
            for endpoint in config.endpoints
        ]
        self._current = 0

    async def __aenter__(self) -> "EtcdClient":
        return self

    async def __aexit__(self, *error: object) -> None:
        for channel in self._channels:
            await channel.close()

    async def reach(self, prefix: str, wait_s_max: float) -> None:
        """Waits, and logs it, until etcd answers for keys below the prefix. Errors: also once the time is over."""
        until_s = time.monotonic() + wait_s_max
        while True:
            try:
                await self.get_prefix(prefix)
                return
            except EtcdUnreachableError as error:
                if time.monotonic() > until_s:
                    raise EtcdError(f"{error}; given up after {wait_s_max:g} s") from error
                logger.error("%s; trying again", error)
                await asyncio.sleep(_RETRY_S_MAX)

    # Keys

    async def get(self, key: str) -> KeyValue | None:
        """The key's value, as the whole cluster has it; None when it has none."""
        response = await self._read(pb.RangeRequest(key=key.encode()))
        return next((_key_value(kv) for kv in response.kvs), None)

    async def get_prefix(self, prefix: str) -> Snapshot:
        """All keys below the prefix."""
        response = await self._read(pb.RangeRequest(key=prefix.encode(), range_end=_end_of(prefix)))
        return Snapshot(response.header.revision, {_name(kv, prefix): _key_value(kv) for kv in response.kvs})

    async def put(self, key: str, value: bytes, lease: int = 0) -> int:
        """Sets the key; returns the revision. After an error it may be set all the same."""
        request = pb.PutRequest(key=key.encode(), value=value, lease=lease)
        response: pb.PutResponse = await self._once(lambda channel: rpc_pb2_grpc.KVStub(channel).Put(request, **self._terms()))
        return response.header.revision

    async def put_all(self, values: dict[str, bytes]) -> int:
        """Sets several keys, all or none; returns the revision. After an error they may be set all the same."""
        puts = [pb.RequestOp(request_put=pb.PutRequest(key=key.encode(), value=value)) for key, value in values.items()]
        request = pb.TxnRequest(success=puts)
        response: pb.TxnResponse = await self._once(lambda channel: rpc_pb2_grpc.KVStub(channel).Txn(request, **self._terms()))
        return response.header.revision

    async def put_if(self, key: str, value: bytes, lease: int = 0, *, mod_revision: int = 0) -> int | None:
        """Sets the key if its last change was at `mod_revision` (0: if the key is missing).

        Returns the revision; None when the condition was false. After an error the key may be set all the same.
        """
        put = pb.RequestOp(request_put=pb.PutRequest(key=key.encode(), value=value, lease=lease))
        return await self._if({key: mod_revision}, [put])

    async def delete_if(self, key: str, *, mod_revision: int) -> int | None:
        """Deletes the key if its last change was at `mod_revision`; else returns None."""
        return await self._if({key: mod_revision}, [_deletion(key)])

    async def commit_if(self, mod_revisions: dict[str, int], puts: dict[str, bytes], deletes: Iterable[str]) -> int | None:
        """Sets and deletes keys, all or none, if the last change of each of `mod_revisions` was at its revision (0: it is missing).

        Returns the revision; None when a condition was false. After an error all of it may be done all the same.
        """
        changes = [pb.RequestOp(request_put=pb.PutRequest(key=key.encode(), value=value)) for key, value in puts.items()]
        return await self._if(mod_revisions, [*changes, *map(_deletion, deletes)])

    async def delete(self, key: str) -> None:
        """Deletes the key, if it is there."""
        request = pb.DeleteRangeRequest(key=key.encode())
        await self._once(lambda channel: rpc_pb2_grpc.KVStub(channel).DeleteRange(request, **self._terms()))

    async def _if(self, mod_revisions: dict[str, int], operations: list[pb.RequestOp]) -> int | None:
        compares = [
            pb.Compare(result=pb.Compare.EQUAL, target=pb.Compare.MOD, key=key.encode(), mod_revision=mod_revision)
            for key, mod_revision in mod_revisions.items()
        ]
        request = pb.TxnRequest(compare=compares, success=operations)
        response: pb.TxnResponse = await self._once(lambda channel: rpc_pb2_grpc.KVStub(channel).Txn(request, **self._terms()))
        return response.header.revision if response.succeeded else None

    async def compact(self, revision: int) -> None:
        """Makes etcd forget values of keys before the revision."""
        request = pb.CompactionRequest(revision=revision)
        await self._once(lambda channel: rpc_pb2_grpc.KVStub(channel).Compact(request, **self._terms()))

    # Leases

    async def grant(self, ttl_s: int) -> int:
        """A new lease that lives for `ttl_s` without being kept alive."""
        request = pb.LeaseGrantRequest(TTL=ttl_s)
        response: pb.LeaseGrantResponse = await self._once(
            lambda channel: rpc_pb2_grpc.LeaseStub(channel).LeaseGrant(request, **self._terms())
        )
        return response.ID

    async def keep_alive(self, lease: int) -> bool:
        """Lets the lease live for its whole time from now on; False when it has ended. May be repeated after an error."""

        async def beat(channel: grpc.aio.Channel) -> pb.LeaseKeepAliveResponse:
            call = rpc_pb2_grpc.LeaseStub(channel).LeaseKeepAlive(**self._terms(_WITH_LEADER))
            try:
                await call.write(pb.LeaseKeepAliveRequest(ID=lease))
                response: Any = await call.read()
                if response is grpc.aio.EOF:
                    raise EtcdError(f"etcd: the lease stream ended ({await call.details()})")
                return response  # type: ignore[no-any-return]  # the stubs know only synchronous calls
            finally:
                call.cancel()

        response: pb.LeaseKeepAliveResponse = await self._once(beat)
        return response.TTL > 0

    async def revoke(self, lease: int) -> None:
        """Ends the lease and its keys."""
        request = pb.LeaseRevokeRequest(ID=lease)
        await self._once(lambda channel: rpc_pb2_grpc.LeaseStub(channel).LeaseRevoke(request, **self._terms()))

    # Changes

    async def follow(self, prefix: str) -> AsyncIterator[Snapshot]:
        """Yields all keys below the prefix, and again after each change, for ever. Several changes may come at once; none is
        missed.

        After a break it goes on after the last revision that it saw. It lists anew where etcd has forgotten that revision, or has
        gone back before it.
        """
        snapshot: Snapshot | None = None
        backoff_s = _RETRY_S
        while True:
            try:
                if snapshot is None:
                    snapshot = await self.get_prefix(prefix)
                    yield snapshot
                async for changed in self._watch(prefix, snapshot):
                    backoff_s = _RETRY_S
                    snapshot = changed
                    yield snapshot
                # That revision was compacted, or etcd went back.
                snapshot = None
            except (EtcdError, grpc.aio.AioRpcError, TimeoutError) as error:
                said = error.details() if isinstance(error, grpc.aio.AioRpcError) else str(error) or "it fell silent"
                logger.warning("etcd at %s: the watch of %s broke (%s), trying again", self._endpoints[self._current], prefix, said)
                self._go_elsewhere(self._current)
            await asyncio.sleep(backoff_s)
            backoff_s = min(2 * backoff_s, _RETRY_S_MAX)

    async def _watch(self, prefix: str, snapshot: Snapshot) -> AsyncIterator[Snapshot]:
        """Snapshots after this one; ends when etcd has forgotten the next change, or has gone back before it."""
        token = await self._authenticate(self._channels[self._current])
        call: Any = rpc_pb2_grpc.WatchStub(self._channels[self._current]).Watch(metadata=self._terms(_WITH_LEADER)["metadata"])
        create = pb.WatchCreateRequest(key=prefix.encode(), range_end=_end_of(prefix), start_revision=snapshot.revision + 1)
        pulse: asyncio.Task[None] | None = None
        try:
            async with asyncio.timeout(_CALL_S_MAX):
                await call.write(pb.WatchRequest(create_request=create))
            pulse = asyncio.create_task(_ask_for_progress(call))
            while True:
                async with asyncio.timeout(_PULSE_S_MAX):
                    response = await call.read()
                if response is grpc.aio.EOF:
                    raise EtcdError(f"the stream ended: {await call.details()}")
                if response.compact_revision:
                    return
                if response.canceled:
                    self._forget(token, response.cancel_reason)
                    raise EtcdError(f"etcd ended the watch: {response.cancel_reason}")
                if response.header.revision < snapshot.revision:
                    # List anew: etcd was restored from a backup, or this member lags.
                    return
                if response.events:
                    keys = dict(snapshot.keys)
                    for event in response.events:
                        if event.type == pb.Event.PUT:
                            keys[_name(event.kv, prefix)] = _key_value(event.kv)
                        else:
                            keys.pop(_name(event.kv, prefix), None)
                    snapshot = Snapshot(response.header.revision, keys)
                    yield snapshot
        finally:
            if pulse is not None:
                pulse.cancel()
                await asyncio.gather(pulse, return_exceptions=True)
            call.cancel()

    # Endpoints

    async def _read(self, request: pb.RangeRequest) -> pb.RangeResponse:
        error: EtcdError | None = None
        for _ in self._channels:
            try:
                response: pb.RangeResponse = await self._once(
                    lambda channel: rpc_pb2_grpc.KVStub(channel).Range(request, **self._terms())
                )
                return response
            except EtcdError as failure:
                error = failure
        assert error is not None
        raise error

    async def _once(self, call: Any) -> Any:
        current = self._current
        try:
            async with asyncio.timeout(_CALL_S_MAX + 0.5):
                token = await self._authenticate(self._channels[current])
                try:
                    return await call(self._channels[current])
                except grpc.aio.AioRpcError as error:
                    if not self._forget(token, error.details() or ""):
                        raise
                    # Refused before anything was done, so the call may be repeated.
                    await self._authenticate(self._channels[current])
                    return await call(self._channels[current])
        except grpc.aio.AioRpcError as error:
            self._go_elsewhere(current)
            raise self._explained(current, error) from error
        except TimeoutError as error:
            self._go_elsewhere(current)
            raise EtcdUnreachableError(f"etcd at {self._endpoints[current]} did not answer within {_CALL_S_MAX:g} s") from error

    async def _authenticate(self, channel: grpc.aio.Channel) -> str:
        """The token, which the next call carries if it is made at once; empty where etcd asks for none."""
        if self._username and not self._token:
            # One at a time, because a password costs etcd a tenth of a second of CPU.
            async with self._authenticating:
                if not self._token:
                    request = pb.AuthenticateRequest(name=self._username, password=self._password)
                    self._token = (await rpc_pb2_grpc.AuthStub(channel).Authenticate(request, timeout=_CALL_S_MAX)).token
        return self._token

    def _terms(self, metadata: tuple[tuple[str, str], ...] = ()) -> dict[str, Any]:
        """Arguments of every call: bounded in time, and in this client's name."""
        return {"timeout": _CALL_S_MAX, "metadata": (*metadata, *((("token", self._token),) if self._token else ()))}

    def _forget(self, token: str, said: str) -> bool:
        """Whether etcd has forgotten this token; then the next call gets a new one, unless another call did already."""
        is_old = bool(token) and any(each in said for each in _TOKEN_IS_OLD)
        if is_old and self._token == token:
            self._token = ""
        return is_old

    def _go_elsewhere(self, failed: int) -> None:
        if self._current == failed:
            self._current = (failed + 1) % len(self._channels)

    def _explained(self, index: int, error: grpc.aio.AioRpcError) -> EtcdError:
        endpoint, details = self._endpoints[index], error.details() or error.code().name
        if error.code() == grpc.StatusCode.DEADLINE_EXCEEDED:
            return EtcdUnreachableError(f"etcd at {endpoint} did not answer within {_CALL_S_MAX:g} s")
        if "CERTIFICATE" in details.upper() or "handshake" in details.lower():
            return EtcdError(
                f"etcd at {endpoint}: the TLS handshake failed; check ca_file, certificate_file, key_file and the names and dates "
                f"in etcd's certificate ({details})"
            )
        if error.code() == grpc.StatusCode.UNAVAILABLE:
            return EtcdUnreachableError(
                f"etcd at {endpoint} can't be reached or has no leader; check endpoints and that its members run ({details})"
            )
        if "invalid user ID or password" in details:
            said = f"the password of user {self._username!r} is wrong, or there is no such user ({details})"
        elif "user name is empty" in details:
            said = f"it refuses anonymous calls: give username and password_file, or a certificate ({details})"
        elif error.code() == grpc.StatusCode.PERMISSION_DENIED:
            said = f"user {self._username!r} is not permitted; grant its role readwrite on the prefix ({details})"
        else:
            said = details
        return EtcdError(f"etcd at {endpoint}: {said}")


async def _ask_for_progress(call: Any) -> None:
    """Keeps a watch talking, so that one which lost its server is noticed."""
    with contextlib.suppress(grpc.aio.AioRpcError, asyncio.InvalidStateError):
        while True:
            await asyncio.sleep(_PULSE_S)
            await call.write(pb.WatchRequest(progress_request=pb.WatchProgressRequest()))


def _credentials(config: EtcdConfig) -> grpc.ChannelCredentials | None:
    if not config.ca_file:
        return None
    return grpc.ssl_channel_credentials(
        _content("ca_file", config.ca_file),
        _content("key_file", config.key_file) if config.key_file else None,
        _content("certificate_file", config.certificate_file) if config.certificate_file else None,
    )


def _content(field: str, path: str) -> bytes:
    try:
        return Path(path).read_bytes()
    except OSError as error:
        raise ConfigError(f"etcd.{field}: {path} cannot be read: {error.strerror}") from error


def _end_of(prefix: str) -> bytes:
    # The first key after all that begin with an ASCII prefix.
    return prefix[:-1].encode() + bytes([ord(prefix[-1]) + 1])


def _name(kv: pb.KeyValue, prefix: str) -> str:
    return kv.key.decode().removeprefix(prefix)


def _key_value(kv: pb.KeyValue) -> KeyValue:
    return KeyValue(kv.value, kv.create_revision, kv.mod_revision, kv.lease)

"""Channels to other services: how many calls they make at once, and who waits."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

import grpc
import pytest

from services.runtime.certificates import GrpcServerConfig
from services.runtime.clients import connect
from services.runtime.errors import invalid
from services.runtime.server import GrpcServer
from tests.trust.authority import certificates, files_of, made
from tests.waiting import until

METHOD: Final = "/a.Service/Ask"
# At most this many unary calls of a channel are under way.
AT_ONCE: Final = 12
OK: Final = grpc.StatusCode.OK

Ask = Callable[..., Coroutine[Any, Any, grpc.StatusCode]]


class Asked:
    """A service whose method waits for the word, and counts."""

    def __init__(self) -> None:
        self.may_answer = asyncio.Event()
        self.under_way = self.most = 0
        # The time that the last call which names itself late had left when it came, in seconds.
        self.left_s = 0.0

    async def answer(self, request: bytes, context: Any) -> bytes:
        if request == b"late":
            self.left_s = context.time_remaining()
        self.under_way += 1
        self.most = max(self.most, self.under_way)
        try:
            await self.may_answer.wait()
            if request == b"fail":
                raise invalid("as it was asked to")
            return request
        finally:
            self.under_way -= 1


@asynccontextmanager
async def asking(asked: Asked, folder: Path, *, tls: bool) -> AsyncIterator[Ask]:
    """A caller of the service; it is told the status of each call."""
    handler: Any = grpc.unary_unary_rpc_method_handler(asked.answer, request_deserializer=lambda content: content)
    server = GrpcServer([], {METHOD: frozenset({"edge"})})
    server.server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("a.Service", {"Ask": handler}),))
    authority = made(folder / "certs")
    mode = {"grpc_tls": "required", **files_of(authority, "accounting")} if tls else {"grpc_tls": "off"}
    config = GrpcServerConfig(listen_address="127.0.0.1:0", **mode)
    own, theirs = certificates(authority, "edge"), certificates(authority, "accounting")
    async with server.serve(config, theirs) as address, connect(address, "accounting", own) as channel:
        ask: Any = channel.unary_unary(METHOD)

        async def status(request: bytes = b"", timeout: float = 60.0) -> grpc.StatusCode:
            try:
                await ask(request, timeout=timeout)
            except grpc.aio.AioRpcError as error:
                return error.code()
            return OK

        yield status


@pytest.mark.parametrize("tls", [False, True])
async def test_calls_in_any_number_are_all_made_a_few_at_once(tmp_path: Path, tls: bool) -> None:
    asked = Asked()
    async with asking(asked, tmp_path, tls=tls) as ask:
        asked.may_answer.set()
        # Nobody is refused because others were before him, also of those that come when one has its answer.
        statuses = await asyncio.gather(*(ask() for _ in range(400)))
    assert Counter(statuses) == {OK: 400}
    assert asked.most <= AT_ONCE


async def test_a_call_waits_for_others_no_longer_than_for_its_answer(tmp_path: Path) -> None:
    asked = Asked()
    async with asking(asked, tmp_path, tls=False) as ask:
        others = [asyncio.create_task(ask()) for _ in range(AT_ONCE)]
        await until(lambda: asked.under_way == AT_ONCE, 30)
        assert await ask(timeout=0.1) == grpc.StatusCode.DEADLINE_EXCEEDED
        # Its wait is part of its time.
        late = asyncio.create_task(ask(b"late", timeout=20.0))
        await asyncio.sleep(1.5)
        assert asked.under_way == AT_ONCE
        asked.may_answer.set()
        assert Counter(await asyncio.gather(*others, late)) == {OK: AT_ONCE + 1}
        assert 0 < asked.left_s < 19


async def test_calls_that_fail_are_given_up_or_never_begin_make_room_for_others(tmp_path: Path) -> None:
    asked = Asked()
    async with asking(asked, tmp_path, tls=False) as ask:
        given_up = [asyncio.create_task(ask()) for _ in range(2 * AT_ONCE)]
        await until(lambda: asked.under_way == AT_ONCE, 30)
        for each in given_up:
            each.cancel()
        await asyncio.wait(given_up)
        asked.may_answer.set()
        failed = await asyncio.gather(*(ask(b"fail") for _ in range(2 * AT_ONCE)))
        assert Counter(failed) == {grpc.StatusCode.INVALID_ARGUMENT: 2 * AT_ONCE}
        assert Counter(await asyncio.gather(*(ask(timeout=10) for _ in range(2 * AT_ONCE)))) == {OK: 2 * AT_ONCE}

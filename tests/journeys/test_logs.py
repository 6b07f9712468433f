"""What a whole cell logs while it says all that it can: no key of a client, no secret of a vendor, not the operators' token."""

import asyncio
import gzip
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
import pytest

from services.api_keys import new_key
from tests.edge.system import ADMIN_TOKEN
from tests.journeys.hostile_vendor import DONE, STREAM, HostileVendor, event, usage
from tests.journeys.subscriber import CATALOG, Subscriber, World, chat, eventually
from tests.journeys.world import SECRET, running_world
from tests.registry.catalogs import changed

_ADDRESS = "    base_url_env: TOKENLINE_OTHER_BASE_URL\n"
# The scripted vendor speaks both dialects: a key goes to it in headers of two names.
BOTH = changed(_ADDRESS, _ADDRESS + "    endpoints:\n      openai_chat: {}\n      anthropic_messages: {}\n", CATALOG)


class Told:
    """All that must stay unsaid, and whether it did."""

    def __init__(self, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]) -> None:
        self._caplog = caplog
        self._capfd = capfd
        self.secrets = [SECRET, ADMIN_TOKEN, "0123456789abcdef" * 4]

    def adds(self, api_key: str) -> str:
        """A key that is used from now on."""
        # Its form's part of a region stands in messages; what it is told apart by does not.
        self.secrets += [api_key, api_key[-38:-6]]
        return api_key

    def check(self) -> None:
        """Fails where a line, its arguments, a traceback or an output of the process has any of it."""
        out, err = self._capfd.readouterr()
        records = self._caplog.get_records("call")
        written = self._caplog.text + out + err
        written += "".join(f"{record.getMessage()}{record.args!r}{record.exc_info!r}" for record in records)
        # Fails too where nothing was listened to.
        assert {"services.edge.http.answers", "services.edge.identity.principals", "services.runtime.http.listener"} <= {
            record.name for record in records
        }
        assert logging.DEBUG in {record.levelno for record in records}
        for secret in self.secrets:
            assert secret not in written, f"a line of the log has a secret: {secret[:6]}..."


@contextmanager
def all_said(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """Has every logger say everything, where pytest hears it."""
    caplog.set_level(logging.DEBUG)
    for name, logger in list(logging.root.manager.loggerDict.items()):
        if isinstance(logger, logging.Logger) and logger.level:
            caplog.set_level(logging.DEBUG, logger=name)
    yield
    # One without a handler of its own that tells nobody else says nothing, or says it on standard error.
    loggers = [each for each in logging.root.manager.loggerDict.values() if isinstance(each, logging.Logger)]
    unheard = [each.name for each in loggers if each.handlers and not each.propagate]
    assert unheard == []


def _refuses(vendor: HostileVendor, status: int, words: str) -> None:
    error = {"message": words, "type": words, "code": words, "param": words}
    content = msgspec.json.encode({"error": error})
    vendor.answer = lambda writer: writer.write(b"HTTP/1.1 %d No\r\ncontent-length: %d\r\n\r\n%b" % (status, len(content), content))


async def _call(world: World, path: str, body: dict[str, Any], headers: dict[str, str]) -> tuple[int, bytes]:
    url = world.services.base_url.removesuffix("/v1") + path
    async with world.http.post(url, json=body, headers=headers) as response:
        return response.status, await response.read()


class Caller:
    """Calls of one key in all the ways that a key is sent."""

    def __init__(self, world: World, api_key: str) -> None:
        self._world = world
        self._api_key = api_key

    async def calls(self, *, stream: bool) -> list[int]:
        """The statuses of a call in each way; no answer has the key or the vendor's secret."""
        ways = [
            ("/v1/chat/completions", {"authorization": f"Bearer {self._api_key}"}),
            ("/v1/chat/completions", {"x-api-key": self._api_key}),
            ("/v1/messages", {"x-api-key": self._api_key}),
            ("/v1/messages", {"authorization": f"Bearer {self._api_key}"}),
        ]
        statuses = []
        for path, headers in ways:
            status, answer = await _call(self._world, path, chat(model="hostile", max_tokens=500, stream=stream), headers)
            assert self._api_key.encode() not in answer
            assert SECRET.encode() not in answer
            statuses.append(status)
        return statuses


async def _good_calls(world: World, api_key: str) -> None:
    caller = Caller(world, api_key)
    world.hostile.streams(event("abcd"), event(finish_reason="stop"), event(choices=[], usage=usage(12, 7)), DONE)
    assert (await caller.calls(stream=True))[:2] == [200, 200]
    assert (await caller.calls(stream=False))[:2] == [200, 200]


def _writes(answer: bytes, writer: asyncio.StreamWriter) -> None:
    writer.write(answer)


async def _vendor_errors(world: World, api_key: str) -> None:
    caller = Caller(world, api_key)
    quoted = f"Incorrect API key provided: {SECRET}, for {api_key}"
    for status in (400, 401, 403, 429, 500):
        _refuses(world.hostile, status, quoted)
        assert set(await caller.calls(stream=status < 403)) & {200} == set()
    fault = b'data: {"error":{"message":"%b","code":"%b"}}\n\n' % (quoted.encode(), quoted.encode())
    for answer in (STREAM + fault, STREAM + event("abcd") + fault, quoted.encode(), STREAM + b"data: " + quoted.encode() + b"\n\n"):
        world.hostile.answer = partial(_writes, answer)
        await caller.calls(stream=True)
        await caller.calls(stream=False)


async def _bad_keys(world: World, told: Told, revoked: str) -> None:
    unknown = told.adds(new_key("local").api_key)
    elsewhere = told.adds(new_key("elsewhere").api_key)
    mistyped = told.adds(new_key("local").api_key[:-1] + "!")
    for api_key in (unknown, elsewhere, mistyped, revoked):
        assert set(await Caller(world, api_key).calls(stream=True)) == {401}
        headers = {"authorization": f"Bearer {api_key}"}
        for path in ("/v1/me/balance", f"/v1/models?key={api_key}", f"/v1/admin/accounts/{api_key}", f"/v1/{api_key}"):
            async with world.http.get(world.services.base_url.removesuffix("/v1") + path, headers=headers) as response:
                assert response.status in (401, 404)


async def _administration(world: World, subscriber: Subscriber, api_key: str) -> None:
    admin, account = world.services.admin, f"/accounts/{subscriber.account_id}"
    for method, path, body in (
        ("GET", account, None),
        ("GET", f"{account}/keys", None),
        ("POST", f"{account}/buckets", {"unit": api_key}),
        ("POST", f"{account}/orders", {"offering_id": api_key, "idempotency_key": "x"}),
        ("GET", f"/accounts/{api_key}", None),
        ("DELETE", f"/keys/{api_key}", None),
        ("GET", "/nothing", None),
    ):
        assert (await admin(method, path, body)).status < 500
    assert (await world.services.call("GET", f"/v1/admin{account}", ADMIN_TOKEN[:-1])).status == 401
    assert (await world.services.call("GET", f"/v1/admin{account}", api_key)).status == 401
    host, port = world.services.base_url.removeprefix("http://").removesuffix("/v1").split(":")
    for line, broken in (("GET /v1/me/balance HTTP/9.9", "x: y"), ("POST /v1/chat/completions HTTP/1.1", "content-length: x")):
        reader, writer = await asyncio.open_connection(host, int(port))
        writer.write(f"{line}\r\nauthorization: Bearer {api_key}\r\nx-admin: {ADMIN_TOKEN}\r\n{broken}\r\n\r\n".encode())
        assert api_key.encode() not in await reader.read()
        writer.close()


async def _services_away(world: World, told: Told, subscriber: Subscriber, api_key: str) -> None:
    services = world.services
    world.hostile.streams(event("abcd"), event(finish_reason="stop"), event(choices=[], usage=usage(12, 7)), DONE)
    await services.stop("billing")
    assert (await services.call("GET", "/v1/me/receipts/x", api_key)).status in (400, 404, 503)
    await services.start("billing")
    await services.stop("authentication")
    caller = Caller(world, told.adds(new_key("local").api_key))
    calling = asyncio.create_task(caller.calls(stream=True))
    issuing = asyncio.create_task(services.admin("POST", f"/accounts/{subscriber.account_id}/keys"))
    await asyncio.sleep(0.3)
    await services.start("authentication")
    assert set(await calling) == {401}
    issued = await issuing
    assert issued.status in (201, 503)
    if issued.status == 201:
        told.adds(issued.json["api_key"])
    await services.stop("accounting")
    calling = asyncio.create_task(Caller(world, api_key).calls(stream=True))
    await asyncio.sleep(0.1)
    await services.start("accounting")
    assert (await calling)[:2] == [200, 200]
    await eventually(lambda: _reconciles(world))


async def _reconciles(world: World) -> bool:
    return (await world.services.admin("POST", "/reconcile")).status == 200


async def _ends_in_mid_stream(world: World, subscriber: Subscriber) -> None:
    world.hostile.streams_and_waits(event("abcd"))
    body = chat(model="hostile", stream=True, max_tokens=500)
    async with subscriber.begin(body) as response:
        await response.content.readany()
        response.close()
    [key] = (await world.services.admin("GET", f"/accounts/{subscriber.account_id}/keys")).json["data"]
    async with subscriber.begin(body) as response:
        await response.content.readany()
        assert (await world.services.admin("DELETE", f"/keys/{key['key_id']}")).status == 200
        assert b"revoked" in await response.read()


async def test_no_key_stands_in_a_log(tmp_path: Path, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]) -> None:
    told = Told(caplog, capfd)
    with all_said(caplog):
        async with running_world(tmp_path, BOTH) as world:
            staying, leaving = await world.subscriber("stays"), await world.subscriber("leaves")
            for subscriber in (staying, leaving):
                told.adds(subscriber.api_key)
            await _good_calls(world, staying.api_key)
            await _vendor_errors(world, staying.api_key)
            await _ends_in_mid_stream(world, leaving)
            await _bad_keys(world, told, leaving.api_key)
            await _administration(world, staying, staying.api_key)
            await _services_away(world, told, staying, staying.api_key)
            await eventually(lambda: _all_closed(world, staying, leaving))
            async with world.http.get(world.services.operators_url + "/metrics") as response:
                page = await response.text()
            assert not [secret for secret in told.secrets if secret in page]
        told.check()


async def _all_closed(world: World, *subscribers: Subscriber) -> bool:
    shown = [(await world.services.admin("GET", f"/accounts/{each.account_id}")).json["sessions"] for each in subscribers]
    return not any(shown)


async def test_no_prompt_no_answer_and_no_key_is_written_down(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    prompt, answer = "a prompt that nobody keeps", "an answer that nobody keeps"
    with all_said(caplog):
        async with running_world(tmp_path, BOTH) as world:
            subscriber = await world.subscriber("says")
            for stream in (True, False):
                for path in ("/v1/chat/completions", "/v1/messages"):
                    body = chat(prompt, model="hostile", max_tokens=500, stream=stream)
                    headers = {"authorization": f"Bearer {subscriber.api_key}"}
                    world.hostile.streams(event(answer), event(finish_reason="stop"), event(choices=[], usage=usage(12, 7)), DONE)
                    status, told = await _call(world, path, body, headers)
                    assert (answer.encode() in told) is (status == 200) is (path == "/v1/chat/completions")
                    _refuses(world.hostile, 400, f"I do not like {prompt}")
                    assert (await _call(world, path, body, headers))[0] >= 400
            await eventually(lambda: _all_closed(world, subscriber))
    out, err = capfd.readouterr()
    logged = caplog.text + out + err
    files = [each for each in tmp_path.rglob("*") if each.is_file()]
    written = b"".join(gzip.decompress(each.read_bytes()) if each.suffix == ".gz" else each.read_bytes() for each in files)
    # Databases and CDRs were looked at.
    assert {"accounting.db", "authentication.db", "billing.db"} <= {each.name for each in files}
    assert subscriber.account_id.encode() in written
    for said in (prompt, answer, subscriber.api_key, SECRET):
        assert said.encode() not in written
        assert said not in logged

"""Browsers' pages of other origins: nothing passes unless it is configured, and a preflight costs nobody anything."""

import asyncio
import re
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from itertools import product
from pathlib import Path
from urllib.parse import urlsplit
from uuid import uuid4

import aiohttp
import msgspec
import pytest
import pytest_asyncio

from services.edge.app import CALLS
from services.edge.config import EdgeConfig
from services.runtime.config import ConfigError, parse_yaml
from tests.edge.system import ADMIN_TOKEN, Cell, cell

pytestmark = pytest.mark.asyncio(loop_scope="module")

APP = "https://app.example.com"
LOCAL = "http://localhost:3000"
GRANT = {"unit": "TOKEN", "amount": 1_000_000_000, "valid_days": 30, "idempotency_key": "top-up"}
CHAT = {"model": "small", "max_tokens": 20, "messages": [{"role": "user", "content": "x" * 40}]}
ASKED = "authorization, content-type, idempotency-key, x-stainless-lang"


@asynccontextmanager
async def allowing(folder: Path, origins: Sequence[str], *names: str) -> AsyncIterator[Cell]:
    def prepare(services: Cell) -> None:
        services.edge_changes = {"cors_origins": tuple(origins), "body_timeout_ms": 400, "body_bytes_max": 5_000}

    async with cell(folder, *names, prepare=prepare) as services:
        yield services


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def running(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Cell]:
    async with allowing(tmp_path_factory.mktemp("cell"), (APP, LOCAL)) as services:
        await services.ready()
        yield services


async def ask(url: str, method: str = "GET", json: object = None, **headers: str) -> tuple[int, dict[str, str], bytes]:
    """Status, headers and body of one request; names of headers are given with underscores."""
    sent = {name.replace("_", "-"): value for name, value in headers.items()}
    async with aiohttp.ClientSession() as http, http.request(method, url, headers=sent, json=json) as response:
        return response.status, {name.lower(): value for name, value in response.headers.items()}, await response.read()


def allowed(headers: dict[str, str]) -> dict[str, str]:
    """What the answer allows pages."""
    return {name.removeprefix("access-control-"): value for name, value in headers.items() if name.startswith("access-control-")}


def address(services: Cell, path: str) -> str:
    return services.base_url.removesuffix("/v1") + path


async def test_a_preflight_is_answered_before_the_key_and_by_the_edge_alone(tmp_path: Path) -> None:
    paths = [*(path for path, _ in CALLS), "/v1/models", "/v1/usage", "/v1/me/balance", "/v1/nothing"]
    # Nothing runs that could be asked.
    async with allowing(tmp_path, (APP, LOCAL), "edge") as services:
        for path, origin in product(paths, (APP, LOCAL)):
            status, headers, body = await ask(
                address(services, path),
                "OPTIONS",
                origin=origin,
                access_control_request_method="POST",
                access_control_request_headers=ASKED,
            )
            assert (status, body, headers["vary"], "content-length" in headers) == (204, b"", "origin", False)
            assert headers["x-request-id"]
            assert allowed(headers) == {
                "allow-origin": origin,
                "allow-methods": "GET, POST, DELETE",
                "allow-headers": ASKED,
                "max-age": "7200",
            }


async def test_pages_of_other_origins_are_refused_with_what_to_do(running: Cell) -> None:
    for origin in ("https://evil.example", "null", APP + ":8443", "http://app.example.com", "HTTPS://APP.EXAMPLE.COM"):
        status, headers, body = await ask(
            address(running, "/v1/chat/completions"), "OPTIONS", origin=origin, access_control_request_method="POST"
        )
        assert (status, allowed(headers), headers["vary"]) == (403, {}, "origin")
        assert headers["x-request-id"]
        assert f"Pages of {origin} may not call this API" in body.decode()
        assert b"cors_origins" in body


@pytest.mark.parametrize(
    ("method", "sent", "status"),
    [
        ("OPTIONS", {"origin": APP}, 405),
        ("OPTIONS", {"access_control_request_method": "POST"}, 405),
        ("POST", {"origin": APP, "access_control_request_method": "POST"}, 401),
        ("POST", {"origin": "https://evil.example", "access_control_request_method": "POST"}, 401),
    ],
)
async def test_what_is_no_preflight_is_served_as_any_other_request(
    running: Cell, method: str, sent: dict[str, str], status: int
) -> None:
    assert (await ask(address(running, "/v1/chat/completions"), method, **sent))[0] == status


async def test_an_answer_is_for_the_page_that_asked(running: Cell) -> None:
    account_id, api_key = await running.subscriber("page")
    assert (await running.admin("POST", f"/accounts/{account_id}/buckets", GRANT)).status == 201
    bearer = f"Bearer {api_key}"
    for stream in (False, True):
        status, headers, _ = await ask(
            address(running, "/v1/chat/completions"), "POST", {**CHAT, "stream": stream}, origin=APP, authorization=bearer
        )
        assert (status, allowed(headers)) == (200, {"allow-origin": APP, "expose-headers": "*"})
        assert headers["vary"] == "origin"
    status, headers, _ = await ask(address(running, "/v1/models"), origin=LOCAL, authorization=bearer)
    assert (status, allowed(headers)["allow-origin"]) == (200, LOCAL)
    # Errors too, or a page could not say what is wrong.
    status, headers, _ = await ask(address(running, "/v1/chat/completions"), "POST", CHAT, origin=APP)
    assert (status, allowed(headers)["allow-origin"]) == (401, APP)
    # Who comes from elsewhere, or is no browser, is served without; caches keep the answers apart.
    for origin in ({"origin": "https://evil.example"}, {}):
        status, headers, _ = await ask(address(running, "/v1/models"), authorization=bearer, **origin)
        assert (status, allowed(headers), headers["vary"]) == (200, {}, "origin")


BEGUN = b"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\norigin: %b\r\nauthorization: Bearer %b\r\n"
CHUNK = b"transfer-encoding: chunked\r\n\r\nnone\r\n"


async def last_answer(services: Cell, request: bytes) -> tuple[int, dict[str, str]]:
    """Status and headers of the last answer on a connection that the server ends."""
    at = urlsplit(services.base_url)
    reader, writer = await asyncio.open_connection(at.hostname, at.port)
    writer.write(request)
    came = await reader.read()
    writer.close()
    *_, last = re.finditer(rb"HTTP/1.1 (\d+) [^\r]*\r\n(.+?)\r\n\r\n", came, re.DOTALL)
    status, lines = last.groups()
    return int(status), dict(line.lower().split(": ", 1) for line in lines.decode().split("\r\n"))


@pytest.mark.parametrize(
    ("rest", "status"),
    [
        (b"content-length: many\r\n\r\n", 400),
        (CHUNK, 400),
        (b"content-length: 5\r\n\r\nab", 408),
        (b"content-length: 10000\r\n\r\n" + b" " * 10_000, 413),
        (b"expect: wonders\r\n\r\n", 417),
        (b"x: y\r\n" * 101 + b"\r\n", 431),
        (b"x: " + b"y" * 50_000 + b"\r\n\r\n", 431),
        (b"x: y\r\n" * 90 + b"x: " + b"y" * 33_000 + b"\r\n\r\n", 431),
        (b"transfer-encoding: gzip\r\n\r\n", 501),
    ],
    ids=["head", "chunk", "time", "large", "expectation", "headers", "endless", "large-head", "coding"],
)
async def test_a_page_can_read_what_is_refused_before_the_application(running: Cell, rest: bytes, status: int) -> None:
    _, api_key = await running.subscriber(f"refused-{uuid4()}")
    for origin, told in ((APP, {"allow-origin": APP, "expose-headers": "*"}), ("https://evil.example", {})):
        refused, headers = await last_answer(running, BEGUN % (origin.encode(), api_key.encode()) + rest)
        assert (refused, allowed(headers), headers["vary"]) == (status, told, "origin")


async def test_a_page_can_read_the_refusal_of_a_request_that_waits(running: Cell) -> None:
    """Its body is no HTTP, and comes while the request before it is answered."""
    account_id, api_key = await running.subscriber("waits")
    assert (await running.admin("POST", f"/accounts/{account_id}/buckets", GRANT)).status == 201
    head = BEGUN % (APP.encode(), api_key.encode())
    body = msgspec.json.encode(CHAT)
    first = head.replace(APP.encode(), LOCAL.encode()) + b"content-length: %d\r\n\r\n%b" % (len(body), body)
    status, headers = await last_answer(running, first + head + CHUNK)
    assert (status, allowed(headers)) == (400, {"allow-origin": APP, "expose-headers": "*"})


async def test_operators_are_not_reached_from_pages(running: Cell) -> None:
    url = running.operators_url + "/v1/admin/models"
    status, headers, _ = await ask(url, origin=APP, authorization=f"Bearer {ADMIN_TOKEN}")
    assert (status, allowed(headers), "vary" in headers) == (200, {}, False)
    _, headers, _ = await ask(url, "OPTIONS", origin=APP, access_control_request_method="GET")
    assert allowed(headers) == {}


async def test_all_origins_are_allowed_without_credentials(tmp_path: Path) -> None:
    async with allowing(tmp_path, ("*",), "edge") as services:
        url = address(services, "/v1/chat/completions")
        status, headers, _ = await ask(url, "OPTIONS", origin="https://any.example", access_control_request_method="POST")
        assert (status, allowed(headers)["allow-origin"], "vary" in headers) == (204, "*", False)
        assert "allow-headers" not in allowed(headers)
        _, headers, _ = await ask(url, "POST", CHAT, origin="https://any.example")
    assert allowed(headers) == {"allow-origin": "*", "expose-headers": "*"}


async def test_by_default_no_page_is_told_anything(tmp_path: Path) -> None:
    async with allowing(tmp_path, (), "edge") as services:
        url = address(services, "/v1/chat/completions")
        status, headers, _ = await ask(url, "OPTIONS", origin=APP, access_control_request_method="POST")
        assert (status, headers["allow"], allowed(headers)) == (405, "POST", {})
        _, headers, _ = await ask(url, "POST", CHAT, origin=APP)
    assert (allowed(headers), "vary" in headers) == ({}, False)


GIVEN = "registry_address: r\nauthentication_address: a\naccounting_address: c\nbilling_address: b\nadmin_token_file: t\n"


@pytest.mark.parametrize("origins", ["[]", f'["{APP}", "{LOCAL}"]', '["*"]', '["tauri://localhost", "http://[::1]:3000"]'])
async def test_right_origins_are_taken(origins: str) -> None:
    config = parse_yaml(f"{GIVEN}cors_origins: {origins}\n", EdgeConfig, "edge.yaml")
    assert len(config.cors_origins) == origins.count('"') // 2


@pytest.mark.parametrize(
    "origin",
    [
        *("app.example.com", "https://app.example.com/", "https://app.example.com/path", "https://App.example.com", "HTTPS://a.b"),
        *(
            "https://app.example.com:443",
            "http://app.example.com:80",
            "https://*.example.com",
            "null",
            "",
            "https://u@a.b",
            "https://",
        ),
        *("https://a.b,https://c.d", "https://a.b https://c.d"),
    ],
)
async def test_what_no_browser_would_send_is_refused_by_name(origin: str) -> None:
    with pytest.raises(ConfigError, match="cors_origins must be origins like") as caught:
        parse_yaml(f'{GIVEN}cors_origins: ["{LOCAL}", "{origin}"]\n', EdgeConfig, "edge.yaml")
    assert f"{origin!r} is none" in str(caught.value)


async def test_all_origins_stand_alone() -> None:
    with pytest.raises(ConfigError, match="or \"\\*\" alone; '\\*' is none"):
        parse_yaml(f'{GIVEN}cors_origins: ["*", "{LOCAL}"]\n', EdgeConfig, "edge.yaml")

"""A cell in the middle of a rolling update: an edge of the release before and all else of this one, and the other way round."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import msgspec
import pytest

from tests.edge.system import ADMIN_TOKEN, OPERATORS_PATHS, Cell, cell
from tests.journeys.subscriber import CATALOG, TOKEN, Stream, chat, eventually, plain
from tests.release_before import serving, unpacked

_SERVICES = ("registry", "authentication", "accounting", "billing")


@pytest.fixture(scope="module")
def release_before(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The code of the release before."""
    return unpacked(tmp_path_factory.mktemp("release-before"))


class Api:
    """An edge's API, without a look into this release's documents."""

    def __init__(self, http: aiohttp.ClientSession, base_url: str, operators_url: str) -> None:
        self._http = http
        self._root = base_url.removesuffix("/v1")
        self._operators_url = operators_url or self._root

    async def ask(self, method: str, path: str, token: str, body: Any = None) -> tuple[int, dict[str, str], bytes]:
        """One request: status, headers, body."""
        data = None if body is None else msgspec.json.encode(body)
        headers = {"authorization": f"Bearer {token}"}
        root = self._operators_url if path.startswith(OPERATORS_PATHS) else self._root
        async with self._http.request(method, root + path, data=data, headers=headers) as response:
            return response.status, {name.lower(): value for name, value in response.headers.items()}, await response.read()

    async def admin(self, method: str, path: str, body: Any = None) -> Any:
        """What an operator is answered."""
        status, _, answer = await self.ask(method, f"/v1/admin{path}", ADMIN_TOKEN, body)
        assert status in (200, 201), answer
        return msgspec.json.decode(answer)

    async def is_ready(self) -> bool:
        """Whether it takes calls."""
        return (await self.ask("GET", "/readyz", ""))[0] == 200


@asynccontextmanager
async def old_edge(code: Path, services: Cell) -> AsyncIterator[str]:
    """An edge of the release before, over the services of a cell; its base URL."""
    config = {name: value for name, value in msgspec.to_builtins(services.edge_config()).items() if name in _EDGE_FIELDS}
    async with serving(code, services.folder, "edge", config) as process:
        assert process.stdout is not None
        yield (await process.stdout.readline()).decode().rpartition(" ")[2].strip()


_EDGE_FIELDS = {
    *("port", "registry_address", "authentication_address", "accounting_address", "billing_address", "admin_token_file"),
    "simulator_base_url",
}


@asynccontextmanager
async def old_services(code: Path, services: Cell) -> AsyncIterator[None]:
    """All that an edge calls, of the release before, at the addresses of a cell."""
    folder = services.folder
    configs: dict[str, dict[str, Any]] = {
        "registry": {"catalog_folders": [str(folder / "catalog")]},
        "authentication": {"database": str(folder / "authentication.db"), "hash_key_file": str(folder / "hash_key")},
        "accounting": {
            "database": str(folder / "accounting.db"),
            "registry_address": services.address("registry"),
            "partitions": 2,
        },
        "billing": {
            "database": str(folder / "billing.db"),
            "cdr_folder": str(folder / "cdrs"),
            "accounting_address": services.address("accounting"),
            "export_interval_ms": 20,
        },
    }
    async with AsyncExitStack() as stack:
        for name in _SERVICES:
            config = {"listen_address": services.address(name), **configs[name]}
            process = await stack.enter_async_context(serving(code, folder, name, config))
            assert process.stdout is not None
            assert b" listens on " in await process.stdout.readline()
        yield


async def calls_are_charged_exactly(http: aiohttp.ClientSession, base_url: str, operators_url: str = "") -> None:
    """A whole answer and a streamed one, a call beyond the balance, a key that is revoked: all as both releases promise.

    The release before has one address for clients and operators.
    """
    api = Api(http, base_url, operators_url)
    await eventually(api.is_ready)
    account_id = (await api.admin("POST", "/accounts", {"idempotency_key": "first"}))["account_id"]
    issued = await api.admin("POST", f"/accounts/{account_id}/keys")
    key = issued["api_key"]
    bucket = {"unit": "TOKEN", "amount": 1_000 * TOKEN, "valid_days": 30, "idempotency_key": "first"}
    await api.admin("POST", f"/accounts/{account_id}/buckets", bucket)
    body = chat(max_tokens=300, simulate={"output_tokens": 40, "cached_input_tokens": 4})
    whole = await api.ask("POST", "/v1/chat/completions", key, body)
    assert whole[0] == 200
    assert msgspec.json.decode(whole[2])["choices"][0]["message"]["content"] == plain(40)
    streamed = Stream(*await api.ask("POST", "/v1/chat/completions", key, {**body, "stream": True}))
    assert (streamed.status, streamed.text, streamed.done) == (200, plain(40), True)
    for charging_id in (whole[1]["x-request-id"], streamed.charging_id):
        status, _, answer = await api.ask("GET", f"/v1/me/receipts/{charging_id}", key)
        assert status == 200
        receipt = msgspec.json.decode(answer)
        assert receipt["usage"] == {"input": 6, "cached_input": 4, "cache_write": 0, "output": 40, "reasoning": 0}
        assert (receipt["charged_amount"], receipt["provenance"], receipt["close_cause"]) == (50 * TOKEN, "vendor", "normal")
    shown = await api.admin("GET", f"/accounts/{account_id}")
    [remaining] = shown["buckets"]
    assert (remaining["consumed"], remaining["reserved"], remaining["remaining"]) == (100 * TOKEN, 0, 900 * TOKEN)
    assert shown["sessions"] == []
    # Refused in each release's own status, and nothing is charged.
    refused = await api.ask("POST", "/v1/chat/completions", key, chat("x" * 8_000, max_tokens=300))
    assert refused[0] in (402, 429)
    await api.admin("DELETE", f"/keys/{issued['key_id']}")

    async def is_out() -> bool:
        return (await api.ask("POST", "/v1/chat/completions", key, body))[0] == 401

    await eventually(is_out)

    async def is_exact() -> bool:
        audited = await api.admin("POST", "/audit")
        assert audited["breaches"] == []
        return bool(audited["open_sessions"] == 0)

    # A call whose key is revoked meanwhile is refused, and then settled.
    await eventually(is_exact)
    assert (await api.admin("POST", "/reconcile"))["differences"] == []


async def test_an_old_edge_before_new_services(release_before: Path, tmp_path: Path) -> None:
    async with (
        cell(tmp_path, "vendor_simulator", *_SERVICES, catalog=CATALOG) as services,
        old_edge(release_before, services) as base_url,
        aiohttp.ClientSession() as http,
    ):
        await calls_are_charged_exactly(http, base_url)


async def test_a_new_edge_before_old_services(release_before: Path, tmp_path: Path) -> None:
    async with (
        cell(tmp_path, "vendor_simulator", catalog=CATALOG) as services,
        old_services(release_before, services),
        aiohttp.ClientSession() as http,
    ):
        await services.start("edge")
        await calls_are_charged_exactly(http, services.base_url, services.operators_url)
        await services.stop("edge")


async def test_what_old_services_can_not_say_is_left_out_by_a_new_edge(release_before: Path, tmp_path: Path) -> None:
    async with (
        cell(tmp_path, "vendor_simulator", catalog=CATALOG) as services,
        old_services(release_before, services),
        aiohttp.ClientSession() as http,
    ):
        await services.start("edge")
        api = Api(http, services.base_url, services.operators_url)
        await eventually(api.is_ready)
        account_id = (await api.admin("POST", "/accounts", {"idempotency_key": "first"}))["account_id"]
        key = (await api.admin("POST", f"/accounts/{account_id}/keys"))["api_key"]
        bucket = {"unit": "TOKEN", "amount": 1_000 * TOKEN, "valid_days": 30, "idempotency_key": "first"}
        await api.admin("POST", f"/accounts/{account_id}/buckets", bucket)
        headers = {"authorization": f"Bearer {key}", "idempotency-key": "mine"}
        for _ in range(2):
            # A name is not heeded yet, as it was not before.
            async with http.post(f"{services.base_url}/chat/completions", headers=headers, json=chat(max_tokens=9)) as answer:
                assert (answer.status, [name for name in answer.headers if "ratelimit" in name]) == (200, [])
        status, told, _ = await api.ask("GET", "/v1/usage", key)
        assert (status, told["retry-after"]) == (503, "1")
        await services.stop("edge")

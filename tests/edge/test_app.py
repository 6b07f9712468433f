import asyncio
import contextlib
import logging
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any, cast
from urllib.parse import urlsplit

import aiohttp
import msgspec
import pytest
import pytest_asyncio
from litestar import Litestar, get

from services.api_keys import new_key
from services.edge.app import run_edge
from services.edge.config import EdgeConfig
from services.edge.http.answers import Answers, exception_handlers
from services.edge.http.metrics import RequestMetrics
from services.runtime.clients import answer, connect
from services.runtime.clock import SystemClock
from services.runtime.config import ConfigError, parse_yaml
from services.runtime.errors import ServiceError
from services.runtime.http.exchange import Exchange
from services.runtime.http.listener import listen_http
from services.runtime.identifiers import uuid7_time_us
from services.runtime.instruments import page
from services.runtime.lifecycle import Lifecycle
from tests.edge.counting import counted
from tests.edge.system import ADMIN_TOKEN, Cell, Reply, cell
from tests.registry.catalogs import changed
from tests.waiting import WAIT_S
from tokenline.authentication.v1 import authentication_pb2, authentication_pb2_grpc
from tokenline.errors.v1 import errors_pb2

pytestmark = pytest.mark.asyncio(loop_scope="module")

BUCKET = {"unit": "TOKEN", "amount": 1_000_000_000, "valid_days": 30, "idempotency_key": "top-up"}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def running(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Cell]:
    async with cell(tmp_path_factory.mktemp("cell")) as services:
        await services.ready()
        yield services


@pytest.mark.parametrize(
    "path", ["/", "/v1", "/v1/nothing", "/v1/chat", "/v1/me", "/v1/admin", "/v1/admin/nothing", "/docs", "/schema"]
)
async def test_what_is_not_served_is_404_in_openais_shape(running: Cell, path: str) -> None:
    missing = await running.call("GET", path, ADMIN_TOKEN)
    assert (missing.status, missing.error["code"], missing.error["type"]) == (404, "unknown_url", "invalid_request_error")
    assert f"GET {path}" in missing.error["message"]


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("GET", "/v1/chat/completions", "POST"),
        ("DELETE", "/v1/chat/completions", "POST"),
        ("POST", "/v1/models", "GET"),
        ("PUT", "/v1/models/small", "GET"),
        ("POST", "/v1/me/balance", "GET"),
        ("PATCH", "/v1/admin/accounts", "POST"),
        ("POST", "/healthz", "GET"),
    ],
)
async def test_another_method_is_405_and_says_which_one_is_taken(running: Cell, method: str, path: str, allowed: str) -> None:
    refused = await running.call(method, path, ADMIN_TOKEN)
    assert (refused.status, refused.error["code"]) == (405, "method_not_allowed")
    assert allowed in refused.headers["allow"].split(", ")
    assert method in refused.error["message"]


async def test_every_answer_has_a_request_id_of_its_own(running: Cell) -> None:
    replies = [await running.call("GET", path) for path in ("/healthz", "/readyz", "/metrics", "/v1/models", "/nothing")]
    names = {reply.headers["x-request-id"] for reply in replies}
    assert len(names) == 5
    assert all(uuid7_time_us(name) for name in names)


@pytest.mark.parametrize("path", ["/healthz", "/readyz", "/metrics", "/v1/admin/accounts", "/v1/admin/models"])
async def test_what_is_for_operators_is_not_there_for_clients(running: Cell, path: str) -> None:
    headers = {"authorization": f"Bearer {ADMIN_TOKEN}"}
    async with aiohttp.ClientSession() as http:
        async with http.get(running.base_url.removesuffix("/v1") + path, headers=headers) as response:
            assert (response.status, (await response.json())["error"]["code"]) == (404, "unknown_url")
        async with http.get(running.operators_url + "/v1/models", headers=headers) as response:
            assert (response.status, (await response.json())["error"]["code"]) == (404, "unknown_url")
        async with http.post(running.operators_url + "/v1/chat/completions", headers=headers, data=b"{}") as response:
            assert (response.status, (await response.json())["error"]["code"]) == (404, "unknown_url")


async def test_whether_it_is_there_can_be_asked_without_a_key(running: Cell) -> None:
    async with aiohttp.ClientSession() as http, http.head(running.base_url.removesuffix("/v1") + "/") as response:
        assert response.status == 200
        assert uuid7_time_us(response.headers["x-request-id"])
        assert await response.read() == b""


async def test_nothing_else_can_be_asked_without_a_key_and_a_slash_more_is_the_same_path(running: Cell) -> None:
    async with aiohttp.ClientSession() as http:
        async with http.head(running.base_url + "/me/balance") as response:
            assert response.status != 200
        async with http.post(running.base_url + "/chat/completions/", data=b"{}") as response:
            assert (response.status, (await response.json())["error"]["code"]) == (401, "invalid_api_key")


async def test_metrics_are_made_once_for_all_who_read_them_within_a_second(running: Cell, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("services.runtime.metrics._PAGE_S", WAIT_S)
    first, second = await asyncio.gather(*(running.call("GET", "/metrics") for _ in range(2)))
    assert first.body == second.body
    assert (await running.call("GET", "/metrics")).body == first.body
    monkeypatch.setattr("services.runtime.metrics._PAGE_S", 0.0)
    assert (await running.call("GET", "/metrics")).body != first.body


async def test_a_read_of_metrics_costs_little_more_than_one_of_health(running: Cell) -> None:
    at = urlsplit(running.operators_url)
    reader, writer = await asyncio.open_connection(at.hostname, at.port)

    async def cost_s(path: bytes) -> tuple[float, bytes]:
        """The processor's time of 20 reads, of whoever reads too, and the last page."""
        began_s = time.process_time()
        for _ in range(20):
            writer.write(b"GET " + path + b" HTTP/1.1\r\nhost: x\r\n\r\n")
            head = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
            page = await reader.readexactly(int(head.partition("content-length: ")[2].partition("\r\n")[0]))
        return time.process_time() - began_s, page

    # The first ones make the page. After some fifty, readers take turns, and other work of this process would be counted.
    await cost_s(b"/metrics")
    health_s, _ = await cost_s(b"/healthz")
    metrics_s, page = await cost_s(b"/metrics")
    # To make the page anew for each would take ten times as long.
    assert metrics_s < 7 * health_s
    assert b"# TYPE python_info gauge" in page
    writer.close()


async def test_no_client_makes_series_by_what_it_sends(running: Cell) -> None:
    account_id, api_key = await running.subscriber("series")
    topped_up = await running.admin("POST", f"/accounts/{account_id}/buckets", BUCKET)
    assert topped_up.status == 201
    at = urlsplit(running.base_url)

    async def bombs(round_: int) -> None:
        for number in range(5):
            word = f"w{round_}x{number}"
            body = {"model": "small", "messages": [{"role": "user", "content": word}], "max_tokens": 5, "user": word}
            calls = [
                running.call("POST", "/v1/chat/completions", api_key, body),
                running.call("POST", "/v1/chat/completions", api_key, body | {"model": word}),
                running.call("POST", "/v1/chat/completions", new_key("local").api_key, body),
                running.call("GET", f"/{word}"),
                running.call("GET", f"/v1/models/{word}", api_key),
                running.call("GET", f"/v1/me/receipts/{word}", api_key),
                running.admin("GET", f"/accounts/{word}"),
            ]
            await asyncio.gather(*calls)
            reader, writer = await asyncio.open_connection(at.hostname, at.port)
            writer.write(b"%b /v1/models HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n" % word.upper().encode())
            assert await reader.read()
            writer.close()

    def series() -> set[str]:
        return {line.rpartition(" ")[0] for line in page().decode().splitlines()}

    await bombs(0)
    before = series()
    assert 'edge_calls_total{model="small",ended="whole"}' in before
    for round_ in range(1, 4):
        await bombs(round_)
    assert series() - before == set()
    assert not any("w0x" in line or account_id in line or api_key in line for line in before)


async def test_an_edge_that_takes_no_clients_is_not_ready(tmp_path: Path) -> None:
    def prepare(services: Cell) -> None:
        services.edge_changes = {"connections_max": 1}

    async with cell(tmp_path, prepare=prepare) as services:
        await services.ready()
        _, api_key = await services.subscriber("somebody")
        at = urlsplit(services.base_url)
        _, writer = await asyncio.open_connection(at.hostname, at.port)
        # A call whose body never comes has the only place.
        writer.write(
            b"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\nauthorization: Bearer %b\r\ncontent-length: 5\r\n\r\n"
            % api_key.encode()
        )
        async with asyncio.timeout(60):
            while (reply := await services.call("GET", "/readyz")).status == 200:
                pass
        assert (reply.status, reply.json["missing"]) == (503, ["listener"])
        writer.close()
        await services.ready()


async def test_metrics_are_served_as_prometheus_reads_them(running: Cell) -> None:
    page = await running.call("GET", "/metrics")
    assert page.status == 200
    assert page.headers["content-type"].startswith("text/plain; version=")
    assert b"# TYPE python_info gauge" in page.body


async def test_a_call_is_charged_and_its_request_id_is_the_receipts(running: Cell) -> None:
    account_id, api_key = await running.subscriber("caller")
    assert (await running.admin("POST", f"/accounts/{account_id}/buckets", BUCKET)).status == 201
    body = {"model": "small", "messages": [{"role": "user", "content": "12345678"}], "simulate": {"output_tokens": 7}}
    answered = await running.call("POST", "/v1/chat/completions", api_key, body)
    assert answered.status == 200, answered.body
    assert answered.json["usage"] == answered.json["usage"] | {"prompt_tokens": 2, "completion_tokens": 7}
    receipt = await running.call("GET", f"/v1/me/receipts/{answered.headers['x-request-id']}", api_key)
    assert receipt.status == 200, receipt.body
    assert (receipt.json["model"], receipt.json["close_cause"], receipt.json["provenance"]) == ("small", "normal", "vendor")
    assert receipt.json["charged_amount"] == 9_000_000


@pytest.mark.parametrize(
    ("changes", "attempts"),
    [
        ({}, 4),
        ({"attempts_max": 3}, 3),
        # The second route is begun in the moment in which the first has failed.
        ({"retry_budget_ms": 0}, 2),
    ],
)
async def test_a_call_is_sent_to_as_many_routes_as_the_configuration_says(
    tmp_path: Path, changes: dict[str, int], attempts: int
) -> None:
    def prepare(services: Cell) -> None:
        services.edge_changes = changes

    route = "      - {vendor_id: acme, vendor_model_id: acme-small, priority: 0}\n"
    more = "".join(f"      - {{vendor_id: acme, vendor_model_id: acme-small-{number}, priority: 1}}\n" for number in range(4))
    async with cell(tmp_path, prepare=prepare, catalog=changed(route, route + more)) as services:
        await services.ready()
        account_id, api_key = await services.subscriber("caller")
        assert (await services.admin("POST", f"/accounts/{account_id}/buckets", BUCKET)).status == 201
        body = {"model": "small", "messages": [{"role": "user", "content": "hi"}], "simulate": {"failure": "error_500"}}
        failed = await services.call("POST", "/v1/chat/completions", api_key, body)
        assert failed.status == 502
        receipt = await services.call("GET", f"/v1/me/receipts/{failed.headers['x-request-id']}", api_key)
        assert [attempt["outcome"] for attempt in receipt.json["attempts"]] == ["refused"] * attempts


TWIN = """\
  - model_id: twin
    display_name: Twin
    owned_by: other
    context_window_tokens: 1000
    max_output_tokens: 500
    family_id: byte-bpe
    release_date: 2026-01-02
    routes:
      - {vendor_id: other, vendor_model_id: other-twin}
tariffs:
"""
OTHER = """\
  - vendor_id: other
    display_name: Other
    base_url: https://api.other.test/v1
    api_key_env: TOKENLINE_OTHER_API_KEY
    base_url_env: TOKENLINE_OTHER_BASE_URL
tokenizer_families:
"""


async def test_an_equivalent_model_answers_at_the_tariff_of_the_model_that_was_asked_for(tmp_path: Path) -> None:
    every = '      - {model_id: "*", input: 1000000, output: 1000000}\n'
    text = changed(every, every + "      - {model_id: twin, input: 5000000, output: 5000000}\n")
    text = changed("tariffs:\n", TWIN, changed("tokenizer_families:\n", OTHER, text))
    text = changed("acme-small, priority: 0}\n", "acme-small, priority: 0}\n    equivalent_model_ids: [twin]\n", text)

    def prepare(services: Cell) -> None:
        # Nobody listens there.
        services.environment["TOKENLINE_ACME_BASE_URL"] = "http://127.0.0.1:9/v1"

    async with cell(tmp_path, prepare=prepare, catalog=text) as services:
        await services.ready()
        account_id, api_key = await services.subscriber("caller")
        assert (await services.admin("POST", f"/accounts/{account_id}/buckets", BUCKET)).status == 201
        body = {"model": "small", "messages": [{"role": "user", "content": "12345678"}], "simulate": {"output_tokens": 7}}
        url, headers = f"{services.base_url}/chat/completions", {"authorization": f"Bearer {api_key}"}
        async with aiohttp.ClientSession() as http:
            async with http.post(url, json=body, headers=headers) as refused:
                assert refused.status == 503
            async with http.post(url, json=body, headers=headers | {"x-tokenline-fallback": "yes"}) as refused:
                assert (refused.status, (await refused.json())["error"]["param"]) == (400, "x-tokenline-fallback")
            async with http.post(url, json=body, headers=headers | {"x-tokenline-fallback": "equivalent"}) as answered:
                assert (answered.status, answered.headers["x-tokenline-model"]) == (200, "twin")
                charging_id = answered.headers["x-request-id"]
        receipt = (await services.call("GET", f"/v1/me/receipts/{charging_id}", api_key)).json
        assert (receipt["model_id"], receipt["vendor_model_id"]) == ("small", "other-twin")
        assert [(each["vendor_id"], each["outcome"]) for each in receipt["attempts"]] == [
            ("acme", "unreachable"),
            ("other", "answered"),
        ]
        # 2 tokens and 7, at 1 and not at 5 each.
        assert receipt["charged_amount"] == 9_000_000


async def test_an_edge_keeps_its_share_of_a_contract(tmp_path: Path) -> None:
    def prepare(services: Cell) -> None:
        services.edge_changes = {"edges_max": 5}

    route = "vendor_model_id: acme-small, priority: 0"
    async with cell(tmp_path, prepare=prepare, catalog=changed(route, f"{route}, requests_per_minute: 10")) as services:
        await services.ready()
        account_id, api_key = await services.subscriber("caller")
        assert (await services.admin("POST", f"/accounts/{account_id}/buckets", BUCKET)).status == 201
        body = {"model": "small", "messages": [{"role": "user", "content": "hi"}]}
        statuses = [(await services.call("POST", "/v1/chat/completions", api_key, body)).status for _ in range(3)]
        assert statuses == [200, 200, 503]


async def test_a_vendors_secret_is_replaced_while_the_edge_runs(tmp_path: Path) -> None:
    folder = tmp_path / "secrets"

    def prepare(services: Cell) -> None:
        folder.mkdir()
        (folder / "TOKENLINE_ACME_API_KEY").write_text("sk-first\n")
        services.edge_changes = {"vendor_secrets_folder": str(folder), "simulator_base_url": ""}

    async with cell(tmp_path, prepare=prepare) as services:
        # The vendor's address, which only the running simulator knows, comes as a file too.
        (folder / "TOKENLINE_ACME_BASE_URL").write_text(services.simulator_base_url)
        await services.ready()
        account_id, api_key = await services.subscriber("caller")
        assert (await services.admin("POST", f"/accounts/{account_id}/buckets", BUCKET | {"amount": 10**15})).status == 201
        body = {"model": "small", "messages": [{"role": "user", "content": "hi"}]}

        async def served_by_key() -> dict[str, int]:
            await services.call("POST", "/v1/chat/completions", api_key, body)
            async with aiohttp.ClientSession() as http, http.get(f"{services.simulator_base_url}/simulator/served") as served:
                return {key: tally["calls"] for key, tally in (await served.json())["by_key"].items()}

        async def await_call(key: str) -> dict[str, int]:
            async with asyncio.timeout(WAIT_S):
                while key not in (seen := await served_by_key()):  # noqa: ASYNC110  # the vendor is asked, as an operator would
                    await asyncio.sleep(0.1)
            return seen

        assert set(await await_call("sk-first")) == {"sk-first"}
        (folder / "new").write_text("sk-second")
        (folder / "new").rename(folder / "TOKENLINE_ACME_API_KEY")
        assert set(await await_call("sk-second")) == {"sk-first", "sk-second"}


async def test_a_request_that_litestar_itself_refuses_has_the_same_shape(running: Cell) -> None:
    url = running.base_url + "/models"
    async with aiohttp.ClientSession() as http, http.get(url, headers={"host": "not a host"}) as response:
        reply = Reply(response.status, {name.lower(): value for name, value in response.headers.items()}, await response.read())
    assert (reply.status, reply.error["type"]) == (400, "invalid_request_error")
    assert uuid7_time_us(reply.headers["x-request-id"])


@pytest.mark.parametrize("token", [None, "tl-local-unknown", ADMIN_TOKEN])
async def test_a_call_without_a_good_key_is_401(running: Cell, token: str | None) -> None:
    refused = await running.call("POST", "/v1/chat/completions", token, {"model": "small", "messages": []})
    assert (refused.status, refused.error["code"]) == (401, "invalid_api_key")


async def test_the_edge_starts_before_all_others_and_says_what_it_waits_for(tmp_path: Path) -> None:
    async def until_missing(*names: str) -> None:
        async with asyncio.timeout(WAIT_S):
            while (reply := await services.call("GET", "/readyz")).json["missing"] != list(names):
                pass
        assert reply.status == (503 if names else 200)
        assert reply.json["ready"] is not bool(names)

    async with cell(tmp_path, "edge") as services:
        assert (await services.call("GET", "/healthz")).json == {"alive": True}
        await until_missing("catalog", "authentication", "charging")
        unready = await services.call("GET", "/v1/models", new_key("local").api_key)
        assert (unready.status, unready.error["type"]) == (503, "server_error")
        assert unready.headers["retry-after"] == "1"
        await services.start("registry")
        await until_missing("authentication", "charging")
        await services.start("authentication")
        await until_missing("charging")
        # Who calls is known, what the account has nobody can tell: never 401, never 404.
        api_key = await key_of_an_account_without_accounting(services)
        for path in ("/v1/models", "/v1/me/balance"):
            refused = await services.call("GET", path, api_key)
            assert (refused.status, refused.error["type"]) == (503, "server_error")
        assert (await services.admin("POST", "/accounts", {})).status == 503
        await services.start("accounting")
        await until_missing()

        _, api_key = await services.subscriber("somebody")
        assert (await services.call("GET", "/v1/models", api_key)).status == 200
        # The last catalog stays in force without the registry.
        await services.stop("registry")
        assert (await services.admin("GET", "/models")).status == 200
        await services.stop("authentication")
        await until_missing("authentication")
        # A key that is known goes on for its grace, another one needs authentication: never 401.
        assert (await services.call("GET", "/v1/models", api_key)).status == 200
        assert (await services.call("GET", "/v1/models", new_key("local").api_key)).status == 503
        assert (await services.call("GET", "/healthz")).status == 200


async def key_of_an_account_without_accounting(services: Cell) -> str:
    async with connect(services.address("authentication")) as channel:
        authentication = authentication_pb2_grpc.AuthenticationServiceStub(channel)
        member = authentication_pb2.CreateMemberRequest(account_id="acct-0123456789abcdef", idempotency_key="member")
        await answer(authentication.CreateMember(member, timeout=WAIT_S))
        key = authentication_pb2.CreateKeyRequest(account_id="acct-0123456789abcdef", idempotency_key="key")
        return (await answer(authentication.CreateKey(key, timeout=WAIT_S))).api_key


async def stopped_in_a_stream(services: Cell, output_tokens: int, tokens_per_second: int) -> tuple[bytes, int]:
    """The edge is told to stop while one call, whose input is a token, streams. What its client got, and paid in tokens."""
    await services.ready()
    account_id, api_key = await services.subscriber("streaming")
    assert (await services.admin("POST", f"/accounts/{account_id}/buckets", BUCKET)).status == 201
    body = {
        "model": "small",
        "messages": [{"role": "user", "content": "1234"}],
        "stream": True,
        "simulate": {"output_tokens": output_tokens, "tokens_per_second": tokens_per_second},
    }
    headers = {"authorization": f"Bearer {api_key}"}
    async with (
        aiohttp.ClientSession() as http,
        http.post(services.base_url + "/chat/completions", data=msgspec.json.encode(body), headers=headers) as response,
    ):
        assert response.status == 200
        sent = await response.content.readuntil(b"\n\n")
        stopping = asyncio.create_task(services.stop("edge"))
        with contextlib.suppress(aiohttp.ClientError):
            while chunk := await response.content.readany():
                sent += chunk
    await stopping
    await services.start("edge")
    await services.ready()
    account = (await services.admin("GET", f"/accounts/{account_id}")).json
    assert account["sessions"] == []
    return sent, account["buckets"][0]["consumed"] // 1_000_000


async def test_requests_under_way_end_before_the_edge_does_and_are_charged(tmp_path: Path) -> None:
    async with cell(tmp_path) as services:
        sent, charged = await stopped_in_a_stream(services, output_tokens=40, tokens_per_second=100)
        assert sent.startswith(b"data: ")
        assert sent.endswith(b"data: [DONE]\n\n")
        assert charged == 41


async def test_a_stream_that_outlives_the_drain_is_cut_off_and_charged_for_what_it_had_sent(tmp_path: Path) -> None:
    async with cell(tmp_path) as services:
        await services.stop("edge")
        services.edge_changes = {"drain_timeout_ms": 1_000}
        await services.start("edge")
        sent, charged = await stopped_in_a_stream(services, output_tokens=1_000, tokens_per_second=50)
        assert b"[DONE]" not in sent
        events = [msgspec.json.decode(line[6:]) for line in sent.split(b"\n\n") if line.startswith(b"data: {")]
        arrived = "".join(choice["delta"].get("content") or "" for event in events for choice in event.get("choices", ()))
        assert len(arrived) > 40
        # Of the output, tokens may have been on the way; each is four letters.
        assert counted(arrived) <= charged - counted("1234") <= counted(arrived + "word" * 5)


@pytest.mark.parametrize("content", [None, "short"])
async def test_without_a_proper_admin_token_the_edge_does_not_start(tmp_path: Path, content: str | None) -> None:
    path = tmp_path / "admin_token"
    if content is not None:
        path.write_text(content, encoding="ascii")
    with pytest.raises(ConfigError, match="admin token"):
        async with run_edge(config(admin_token_file=str(path)), Lifecycle(), {}):
            pass


async def test_a_port_in_use_is_said(running: Cell, tmp_path: Path) -> None:
    (tmp_path / "admin_token").write_text(ADMIN_TOKEN, encoding="ascii")
    port = int(running.base_url.removesuffix("/v1").rpartition(":")[2])
    with pytest.raises(OSError, match="choose another port"):
        async with run_edge(config(port=port, admin_token_file=str(tmp_path / "admin_token")), Lifecycle(), {}):
            pass
    port = int(running.operators_url.rpartition(":")[2])
    with pytest.raises(OSError, match=f"for operators, admin_port: cannot listen on 127.0.0.1:{port}: .*choose another port"):
        async with run_edge(config(admin_port=port, admin_token_file=str(tmp_path / "admin_token")), Lifecycle(), {}):
            pass


def config(**changes: Any) -> EdgeConfig:
    addresses = {f"{name}_address": "127.0.0.1:1" for name in ("registry", "authentication", "accounting", "billing")}
    return EdgeConfig(**{"port": 0, "admin_port": 0, "admin_token_file": "token", **addresses, **changes})


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("port", 65_536),
        ("port", "http"),
        ("admin_port", -1),
        ("simulator_base_url", "127.0.0.1:8090"),
        ("body_bytes_max", 0),
        ("connect_timeout_ms", 0),
        ("heartbeat_interval_ms", 3_600_001),
        ("cached_key_grace_ms", -1),
        ("drain_timeout_ms", 10),
        ("head_timeout_ms", 0),
        ("write_timeout_ms", 3_600_001),
        ("answer_timeout_ms", 0),
        ("connections_max", -1),
        ("address_connections_max", 1_000_001),
        ("bodies_bytes_max", 1_000),
        ("account_bodies_bytes_max", 19_999_999),
        ("prots", 8_080),
    ],
)
async def test_a_config_that_will_not_do_names_its_field(field: str, value: object) -> None:
    values = {**msgspec.to_builtins(config()), field: value}
    with pytest.raises(ConfigError, match=field):
        parse_yaml(msgspec.json.encode(values).decode(), EdgeConfig, "edge.yaml")


@pytest_asyncio.fixture(loop_scope="module")
async def faulty() -> AsyncIterator[tuple[str, RequestMetrics]]:
    """A server whose handlers fail, behind the edge's own answers."""

    @get("/unexpected")
    async def unexpected() -> None:
        raise ZeroDivisionError("the secret inside")

    @get("/inside")
    async def inside() -> None:
        raise ServiceError(errors_pb2.ERROR_REASON_INTERNAL, "the secret inside")

    @get("/away")
    async def away() -> None:
        raise ServiceError(errors_pb2.ERROR_REASON_UNAVAILABLE, "the secret inside")

    clock, metrics = SystemClock(), RequestMetrics()
    handlers: Any = exception_handlers(clock, 100)
    application = Litestar([unexpected, inside, away], exception_handlers=handlers, openapi_config=None, logging_config=None)
    async with listen_http(Answers(application, metrics, clock), "127.0.0.1", 0) as listener:
        yield f"http://127.0.0.1:{listener.port}", metrics


@pytest.mark.parametrize(("path", "status"), [("/unexpected", 500), ("/inside", 500), ("/away", 503)])
async def test_a_fault_says_nothing_of_the_inside_but_the_log_has_it_under_the_request_id(
    faulty: tuple[str, RequestMetrics], caplog: pytest.LogCaptureFixture, path: str, status: int
) -> None:
    base_url, metrics = faulty
    with caplog.at_level(logging.WARNING, "services.edge"):
        async with aiohttp.ClientSession() as http, http.get(base_url + path) as response:
            reply = Reply(response.status, {name.lower(): value for name, value in response.headers.items()}, await response.read())
    assert reply.status == status
    assert reply.error["type"] == "server_error"
    assert "secret" not in reply.error["message"]
    (logged,) = caplog.records
    assert reply.headers["x-request-id"] in logged.getMessage()
    assert path in logged.getMessage()
    assert "the secret inside" in caplog.text
    assert metrics.requests.counts == {(path, str(status)): 1}


async def test_an_edge_that_stops_tells_its_clients_to_close_and_goes_on_meanwhile(tmp_path: Path) -> None:
    (tmp_path / "admin_token").write_text(ADMIN_TOKEN)
    told = config(admin_token_file=str(tmp_path / "admin_token"), drain_notice_ms=60_000)
    async with AsyncExitStack() as stack, aiohttp.ClientSession() as known, aiohttp.ClientSession() as new:
        addresses = await stack.enter_async_context(run_edge(told, Lifecycle(), {}))
        url = addresses.clients.removesuffix("/v1") + "/"

        async def missing() -> list[str]:
            async with known.get(f"{addresses.operators}/readyz") as response:
                return list((await response.json())["missing"])

        async with known.head(url) as response:
            assert "connection" not in response.headers
        assert "listener" not in await missing()
        stopping = asyncio.create_task(stack.aclose())
        await asyncio.sleep(0)
        # Whoever sends clients here by this hears of it before nobody is taken any more.
        assert "listener" in await missing()
        # Also whoever comes only now.
        for client in (known, new):
            async with client.head(url) as response:
                assert (response.status, response.headers["connection"]) == (200, "close")
        # Nobody waits for the end of the notice.
        stopping.cancel()
        with pytest.raises(asyncio.CancelledError):
            await stopping


async def test_requests_are_counted_by_route_and_time() -> None:
    metrics = RequestMetrics()
    exchange = Exchange(cast(Any, None), "GET", b"/v1/models", [])
    exchange.status = 200
    for duration_s in (0.0005, 0.001, 0.3, 400.0):
        metrics.served(exchange, "/v1/models", duration_s)
    exchange.status = 503
    metrics.served(exchange, "/v1/models", 0.002)
    exchange.status, exchange.method = 404, "BREW"
    metrics.served(exchange, "unknown", 0.002)
    assert metrics.requests.counts == {("/v1/models", "200"): 4, ("/v1/models", "503"): 1, ("unknown", "404"): 1}
    buckets = metrics.durations.buckets("/v1/models", "GET", "200")
    assert [buckets[end] for end in ("0.001", "0.0025", "0.25", "0.5", "300", "+Inf")] == [2, 2, 2, 3, 3, 4]
    assert round(metrics.durations.sum_of("/v1/models", "GET", "200"), 4) == 400.3015
    # A method that nobody has defined would make a series for each that a client invents.
    assert metrics.durations.series[1:] == [("/v1/models", "GET", "503"), ("unknown", "_OTHER", "404")]


async def test_what_is_not_served_makes_one_label_only(faulty: tuple[str, RequestMetrics]) -> None:
    base_url, metrics = faulty
    async with aiohttp.ClientSession() as http:
        for number in range(3):
            async with http.get(f"{base_url}/probe-{number}") as response:
                assert response.status == 404
    assert set(metrics.requests.counts) == {("unknown", "404")}

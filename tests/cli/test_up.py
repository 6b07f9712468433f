import json
import shlex
import signal
import socket
import sqlite3
import stat
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from services.cli.data_folder import open_data_folder
from services.cli.embedded import Serving, run_all
from services.cli.up import make_ready
from services.runtime.clients import connect
from services.runtime.clock import SystemClock
from services.runtime.identifiers import uuid7
from services.runtime.lifecycle import Lifecycle
from tests.cli.processes import tokenline, up
from tests.waiting import WAIT_S
from tokenline.accounting.v1 import accounting_pb2, accounting_pb2_grpc

TOKEN = 1_000_000


def ask(url: str, api_key: str, body: bytes | None = None) -> Any:
    headers = {"Authorization": f"Bearer {api_key}", "Content-Type": "application/json"}
    with urllib.request.urlopen(urllib.request.Request(url, data=body, headers=headers), timeout=WAIT_S) as response:
        return json.load(response)


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_up_serves_calls_and_the_next_start_goes_on_with_the_same_key(tmp_path: Path) -> None:
    data_dir = tmp_path / "data"
    with up(data_dir) as system:
        demo = system.demo
        assert demo.base_url.startswith("http://127.0.0.1:")
        assert demo.base_url.endswith("/v1")
        assert demo.pid == system.process.pid
        assert demo.admin_token == (data_dir / "secrets" / "admin_token").read_text().strip()
        private = ["demo.json", "secrets/hash_key", "secrets/admin_token", "secrets/demo_key", "lock"]
        assert {mode(data_dir / name) for name in private} == {0o600}
        assert mode(data_dir) == mode(data_dir / "secrets") == 0o700
        assert any(demo.base_url in line for line in system.greeting)
        assert any(demo.api_key in line for line in system.greeting)
        assert any(line.endswith(demo.admin_url) for line in system.greeting)
        assert "  vendors    the built-in simulator answers for all" in system.greeting
        assert ask(f"{demo.admin_url}/readyz", "") == {"ready": True, "missing": []}

        # The printed curl line, made without curl.
        (line,) = (line for line in system.greeting if line.startswith("  curl "))
        _, url, _, authorization, _, content_type, _, body = shlex.split(line)
        assert authorization == f"Authorization: Bearer {demo.api_key}"
        assert content_type == "Content-Type: application/json"
        answer = ask(url, demo.api_key, body.encode())
        assert answer["choices"][0]["message"]["content"]

        with urllib.request.urlopen(f"{demo.admin_url}/metrics", timeout=WAIT_S) as response:
            named = {line.split()[2] for line in response.read().decode().splitlines() if line.startswith("# TYPE")}
        ours = {name for name in named if not name.startswith(("python_", "process_", "target_info"))}
        told = (Path(__file__).parents[2] / "docs" / "metrics.md").read_text()
        assert {"edge_calls_total", "edge_usage_total", "http_server_request_duration_seconds", "charging_commits_total"} <= ours
        assert [name for name in sorted(ours) if f"`{name}`" not in told] == []

        balance = ask(f"{demo.base_url}/me/balance", demo.api_key)
        assert balance["account_id"] == demo.account_id
        (bucket,) = balance["buckets"]
        assert bucket["unit"] == "TOKEN"
        assert bucket["granted"] == 10_000_000_000 * TOKEN
        assert bucket["consumed"] == answer["usage"]["total_tokens"] * TOKEN

        refused = tokenline("up", "--data-dir", str(data_dir), "--port", "0", "--admin-port", "0")
        assert refused.returncode == 2
        assert refused.stderr == (
            f"Error: data folder {data_dir} is in use by process {demo.pid}; stop it or choose another folder\n"
        )
        # It was refused before it touched anything.
        assert (data_dir / "demo.json").exists()
        assert system.stop() == 0
        assert not (data_dir / "demo.json").exists()

    audited = tokenline("audit", "--data-dir", str(data_dir), "--output", "json")
    assert (audited.returncode, audited.stderr) == (0, "")
    assert json.loads(audited.stdout).items() >= {"accounts": 1, "buckets": 1, "breaches": [], "in_transit": []}.items()
    reconciled = tokenline("reconcile", "--data-dir", str(data_dir), "--output", "json")
    assert (reconciled.returncode, reconciled.stderr) == (0, "")
    assert json.loads(reconciled.stdout).items() >= {"cdrs": 1, "files": 1, "differences": []}.items()

    with up(data_dir) as system:
        assert system.demo.account_id == demo.account_id
        assert system.demo.api_key == demo.api_key
        assert ask(f"{system.demo.base_url}/me/balance", demo.api_key)["buckets"] == [bucket]
        assert system.stop(signal.SIGINT) == 0


def test_a_demo_key_that_passes_no_more_is_replaced_and_that_of_a_suspended_account_is_kept(tmp_path: Path) -> None:
    with up(tmp_path) as system:
        first = system.demo
        suspended = tokenline("account", "suspend", first.account_id, "--data-dir", str(tmp_path))
        assert (suspended.returncode, suspended.stderr) == (0, "")
    with up(tmp_path) as system:
        assert system.demo.api_key == first.api_key
        assert tokenline("account", "resume", first.account_id, "--data-dir", str(tmp_path)).returncode == 0
        (key,) = json.loads(
            tokenline("key", "list", "--account", first.account_id, "--data-dir", str(tmp_path), "--output", "json").stdout
        )["data"]
        assert tokenline("key", "revoke", key["key_id"], "--data-dir", str(tmp_path)).returncode == 0
    with up(tmp_path) as system:
        second = system.demo
        assert second.api_key != first.api_key
        assert ask(f"{second.base_url}/me/balance", second.api_key)["account_id"] == first.account_id
        with pytest.raises(urllib.error.HTTPError, match="401"):
            ask(f"{second.base_url}/me/balance", first.api_key)
    (tmp_path / "secrets" / "demo_key").write_bytes(b"\xff no key\n")
    with up(tmp_path) as system:
        assert ask(f"{system.demo.base_url}/me/balance", system.demo.api_key)["account_id"] == first.account_id


def test_what_a_killed_process_left_behind_does_not_look_ready(tmp_path: Path) -> None:
    with up(tmp_path) as system:
        system.stop(signal.SIGKILL)
    assert (tmp_path / "demo.json").exists()
    (tmp_path / "catalog" / "mine.yaml").write_text("models: [{model_id: 1}]\n")
    refused = tokenline("up", "--data-dir", str(tmp_path), "--port", "0")
    assert refused.returncode == 2
    assert refused.stderr.startswith(f"Error: {tmp_path}/catalog/mine.yaml:1: models[0]")
    assert refused.stderr.count("\n") == 1
    assert not (tmp_path / "demo.json").exists()


def test_a_data_folder_that_cannot_be_used_ends_with_2_and_one_line(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.touch()
    newer = tmp_path / "newer"
    newer.mkdir()
    connection = sqlite3.connect(newer / "accounting.sqlite3")
    connection.execute("PRAGMA user_version = 99")
    connection.close()
    no_database = tmp_path / "no_database"
    no_database.mkdir()
    (no_database / "billing.sqlite3").write_text("not a database, but long enough to look at " * 20)
    keyless = tmp_path / "keyless"
    keyless.mkdir()
    (keyless / "authentication.sqlite3").touch()
    for folder, complaint in (
        (file, f"data folder {file}: is not a folder"),
        (file / "below", f"data folder {file}/below: Not a directory"),
        (Path("/proc/tokenline"), "data folder /proc/tokenline: No such file or directory"),
        (newer, "has schema version 99"),
        (no_database, "is not a database of ours"),
        (keyless, "hash_key is missing"),
    ):
        refused = tokenline("up", "--data-dir", str(folder), "--port", "0")
        assert refused.returncode == 2, complaint
        assert complaint in refused.stderr
        assert refused.stderr.count("\n") == 1, refused.stderr


def test_what_does_not_add_up_ends_audit_and_reconcile_with_1(tmp_path: Path) -> None:
    with up(tmp_path) as system:
        body = {"model": "deepseek-v4-flash", "messages": [{"role": "user", "content": "Hello!"}]}
        ask(f"{system.demo.base_url}/chat/completions", system.demo.api_key, json.dumps(body).encode())
        reconciled = tokenline("reconcile", "--data-dir", str(tmp_path), "--output", "json")
        assert (reconciled.returncode, json.loads(reconciled.stdout)["cdrs"]) == (0, 1), reconciled.stderr
        assert system.stop() == 0

    (cdr_file,) = (tmp_path / "cdr").glob("*.jsonl.gz")
    cdr_file.unlink()
    reconciled = tokenline("reconcile", "--data-dir", str(tmp_path), "--output", "json")
    assert (reconciled.returncode, reconciled.stderr) == (1, "")
    written = tokenline("reconcile", "--write-missing", "--data-dir", str(tmp_path), "--output", "json")
    assert (written.returncode, json.loads(written.stdout)["differences"]) == (0, [])
    cdr_file.unlink()
    reconciled = tokenline("reconcile", "--data-dir", str(tmp_path), "--output", "json")
    assert f"{cdr_file.name} is missing" in json.loads(reconciled.stdout)["differences"][0]

    connection = sqlite3.connect(tmp_path / "accounting.sqlite3")
    # The session's Create: its Release then gives back a hold that was never made.
    with connection:
        connection.execute(
            "DELETE FROM journal WHERE (part_id, seq) IN (SELECT part_id, max(seq) - 1 FROM journal GROUP BY part_id)"
        )
    connection.close()
    audited = tokenline("audit", "--data-dir", str(tmp_path), "--output", "json")
    assert (audited.returncode, audited.stderr) == (1, "")
    assert "is missing before" in json.loads(audited.stdout)["breaches"][0]


def test_a_port_for_operators_in_use_is_named(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        refused = tokenline("up", "--data-dir", str(tmp_path), "--port", "0", "--admin-port", port)
    assert refused.returncode == 2
    assert refused.stderr.endswith(
        f"Error: for operators, admin_port: cannot listen on 127.0.0.1:{port}: Address already in use; choose another port\n"
    )


def test_an_origin_that_no_browser_would_send_is_named(tmp_path: Path) -> None:
    refused = tokenline("up", "--data-dir", str(tmp_path), "--port", "0", "--admin-port", "0", "--cors-origin", "localhost:3000")
    assert refused.returncode == 2
    assert "Error: --cors-origin: cors_origins must be origins like" in refused.stderr
    assert refused.stderr.endswith("'localhost:3000' is none\n")


async def test_pages_of_the_origins_that_were_named_may_call(tmp_path: Path) -> None:
    origins = ("http://localhost:3000", "http://localhost:5173")
    async with run_all(tmp_path, Lifecycle(), Serving(cors_origins=origins)) as running, aiohttp.ClientSession() as http:
        for origin in (*origins, "http://localhost:8000"):
            headers = {"origin": origin, "access-control-request-method": "POST"}
            async with http.options(f"{running.base_url}/chat/completions", headers=headers) as answer:
                allowed = answer.headers.get("access-control-allow-origin")
            assert (answer.status, allowed) == ((204, origin) if origin in origins else (403, None))


async def test_a_port_in_use_is_refused_and_all_that_was_started_ends(tmp_path: Path) -> None:
    lifecycle = Lifecycle()
    async with run_all(tmp_path / "first", lifecycle) as running:
        port = int(running.base_url.removesuffix("/v1").rpartition(":")[2])
        with pytest.raises(OSError, match=f"cannot listen on 127.0.0.1:{port}"):
            async with run_all(tmp_path / "second", lifecycle, Serving(port=port)):
                pass
    with open_data_folder(tmp_path / "second"):
        assert lifecycle.failure is None


async def test_the_demo_account_gets_another_grant_when_less_than_a_tenth_is_left(tmp_path: Path) -> None:
    async with run_all(tmp_path, Lifecycle()) as running, connect(running.accounting) as channel:
        accounting = accounting_pb2_grpc.AccountingServiceStub(channel)
        demo, model_id, _ = await make_ready(running)

        async def granted_after_use_of(tokens: int) -> list[int]:
            event = accounting_pb2.ChargeOperation(
                operation_id=1,
                account_id=demo.account_id,
                charging_id=uuid7(SystemClock().now_us()),
                invocation_sequence_number=1,
                event=accounting_pb2.ChargeEvent(
                    model_id=model_id,
                    key_id="key-0123456789abcdef",
                    member_id="mem-0123456789abcdef",
                    used=accounting_pb2.TokenUsage(input=tokens),
                    provenance=accounting_pb2.USAGE_PROVENANCE_VENDOR,
                ),
            )
            stream = accounting.Charge(timeout=WAIT_S)
            await stream.write(accounting_pb2.ChargeRequest(operations=[event]))
            response = await stream.read()
            assert isinstance(response, accounting_pb2.ChargeResponse)
            assert response.results[0].settled.charged_amount == tokens * TOKEN, response
            stream.cancel()
            await make_ready(running)
            asking = accounting_pb2.GetAccountRequest(account_id=demo.account_id)
            account = (await accounting.GetAccount(asking, timeout=WAIT_S)).account
            return [bucket.granted for bucket in account.buckets]

        grant = 10_000_000_000 * TOKEN
        assert await granted_after_use_of(9_000_000_000) == [grant]
        assert await granted_after_use_of(1) == [grant] * 2
        assert await granted_after_use_of(9_999_999_999) == [grant] * 2
        assert await granted_after_use_of(1) == [grant] * 3


def test_nobody_else_reads_what_stands_in_a_folder_that_was_there_before(tmp_path: Path) -> None:
    data_dir = tmp_path / "data"
    data_dir.mkdir(mode=0o755)
    with up(data_dir, TOKENLINE_DEEPSEEK_API_KEY="sk-none") as system:
        databases = sorted(data_dir.glob("*.sqlite3"))
        assert {each.stem for each in databases} == {"accounting", "authentication", "billing", "outbox"}
        assert {mode(each) for each in databases} == {0o600}
        assert mode(data_dir / "cdr") == 0o700
        assert "  vendors    deepseek called for real; the built-in simulator answers for all others" in system.greeting


def test_the_access_log_is_an_object_a_request_without_anything_that_its_client_sent(tmp_path: Path) -> None:
    with up(tmp_path, "--log-format", "json", "--access-log", "--log-level", "edge.routing=debug") as system:
        demo = system.demo
        body = json.dumps({"model": "deepseek-chat", "messages": [{"role": "user", "content": "marked-prompt"}]}).encode()
        called = ask(f"{demo.base_url}/chat/completions?marked-query", demo.api_key, body)
        with pytest.raises(urllib.error.HTTPError):
            ask(f"{demo.base_url}/marked-path", demo.api_key)
        assert system.stop() == 0
    lines = [json.loads(line) for line in system.log.splitlines()]
    served, unknown = [line for line in lines if line["logger"] == "edge.http.access"]
    assert served["message"] == "POST /v1/chat/completions 200"
    assert served["account_id"] == demo.account_id
    assert (served["method"], served["route"], served["status"]) == ("POST", "/v1/chat/completions", 200)
    assert served["sent_bytes"] > len(called["choices"][0]["message"]["content"])
    assert served["duration_ms"] > 0
    assert set(served) - set(unknown) == {"account_id", "charging_id"}
    assert (unknown["route"], unknown["status"]) == ("unknown", 404)
    assert lines[-1]["message"] == "stopping on SIGTERM"
    assert "marked-" not in system.log
    assert demo.api_key not in system.log


@pytest.mark.parametrize(
    ("level", "complaint"),
    [
        ("loud", "'loud' is no level like debug, info, warning, error, nor a logger's like edge.routing=debug"),
        ("=debug", "'=debug' is no level like debug, info, warning, error, nor a logger's like edge.routing=debug"),
        ("egde=debug", "there is no logger 'egde'; lines of the log have their loggers' names after the level, like edge.routing"),
    ],
)
def test_a_level_that_there_is_not_is_told_so(tmp_path: Path, level: str, complaint: str) -> None:
    refused = tokenline("up", "--data-dir", str(tmp_path), "--log-level", level)
    assert refused.returncode == 2
    assert refused.stderr.splitlines()[-1].endswith(complaint)
    assert not list(tmp_path.iterdir())

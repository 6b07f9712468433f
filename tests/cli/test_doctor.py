"""The doctor finds what is wrong: of a running system, of a data folder, of a service's config."""

import json
import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Event
from typing import Any, ClassVar

import pytest

from services.cli.client import Page, System
from services.cli.doctor.finding import Finding, examine, of_certificate, of_clock, of_disk
from services.cli.doctor.folder import schema
from services.cli.doctor.system import system_checks
from services.cli.failures import CommandError, NoAnswerError
from services.cli.postgresql_server import PostgresqlServer
from tests.cli.processes import run, tokenline, up
from tests.cli.stand_in import StandIn, serving
from tests.cli.test_migrate import config_of, migrate

GIB = 1 << 30
# Of a vendor that takes its time.
SLOW = 0


class _Vendors(StandIn):
    """Answers as the first part of the path says, which is an HTTP status."""

    asked: ClassVar[list[str]] = []

    def do_GET(self) -> None:
        self.asked.append(self.path)
        status = int(self.path.split("/")[1])
        if status == SLOW:
            # Until the client has gone.
            self.rfile.read(1)
            return
        body = b'{"data": []}' if status == 200 else b'{"error": {"message": "key sk-secret", "code": "some_code"}}'
        self.answer(status, body)


@contextmanager
def vendors() -> Iterator[str]:
    with serving(_Vendors) as port:
        yield f"http://127.0.0.1:{port}"


def found(*arguments: str, exit_code: int) -> dict[str, dict[str, Any]]:
    """The findings by check."""
    done = run("doctor", *arguments, "--output", "json")
    assert done.exit_code == exit_code, done.output
    told = json.loads(done.stdout)
    assert told["ok"] == (exit_code == 0)
    return {each["check"]: each for each in told["findings"]}


def test_a_running_system_and_its_vendors(tmp_path: Path) -> None:
    states = {"DEEPSEEK": 200, "OPENAI": 401, "MOONSHOT": 402, "MISTRAL": 404, "XAI": 503, "ZHIPU": 429, "BAIDU": SLOW}
    with vendors() as address:
        environment = {f"TOKENLINE_{name}_BASE_URL": f"{address}/{status}" for name, status in states.items()}
        environment |= {f"TOKENLINE_{name}_API_KEY": "sk-secret" for name in states}
        with up(tmp_path, TOKENLINE_XIAOMI_BASE_URL="http://127.0.0.1:9", **environment):
            told = found("--data-dir", str(tmp_path), exit_code=1)
            page = run("doctor", "--data-dir", str(tmp_path)).output
    levels = {check: each["level"] for check, each in told.items()}
    assert {levels[check] for check in ("folder", "disk", "schema", "catalog", "edge", "clock", "owners", "export", "vendors")} == {
        "ok"
    }
    assert {check.removeprefix("vendor "): level for check, level in levels.items() if check.startswith("vendor ")} == {
        **{
            "deepseek": "ok",
            "openai": "fail",
            "moonshot": "fail",
            "mistral": "ok",
            "xai": "fail",
            "zhipu": "warn",
            "baidu": "fail",
        },
        "xiaomi": "fail",
    }
    assert "refuses our secret (HTTP 401 some_code, " in told["vendor openai"]["found"]
    assert "as for arrears" in told["vendor moonshot"]["found"]
    assert told["vendor baidu"]["found"].startswith("cannot be reached")
    assert all(each["remedy"] for each in told.values() if each["level"] != "ok")
    assert "fail  vendor openai" in page
    # Nothing but lists of models was asked for, and no word of a vendor is shown that may have a secret in it.
    assert {path.rpartition("/")[2] for path in _Vendors.asked} == {"models"}
    assert "sk-secret" not in page + json.dumps(told)


def test_a_system_without_a_fault_is_0_and_one_that_is_down_is_1(tmp_path: Path) -> None:
    with up(tmp_path):
        told = found("--data-dir", str(tmp_path), exit_code=0)
    assert told["clock"]["found"].startswith("the edge agrees within 0.")
    assert "scope" not in told
    assert told["vendors"]["found"] == "the built-in simulator answers for 25 of 25, which have no secret"
    down = found("--data-dir", str(tmp_path), exit_code=1)
    assert {check for check, each in down.items() if each["level"] == "fail"} == {"system"}
    assert "start it with `tokenline up" in down["system"]["found"]

    tmp_path.chmod(0o755)
    with sqlite3.connect(tmp_path / "billing.sqlite3") as billing:
        billing.execute("PRAGMA user_version = 999")
    billing.close()
    (tmp_path / "authentication.sqlite3").write_bytes(b"no database, but text" * 100)
    (tmp_path / "catalog" / "own.yaml").write_text("vendors: 7\n", encoding="utf-8")
    hurt = run("doctor", "--data-dir", str(tmp_path)).output
    for said in (
        "warn  folder",
        "chmod -R go=",
        "billing.sqlite3 has schema version 999; this release knows up to",
        "authentication.sqlite3 is not a database of ours",
        "own.yaml",
    ):
        assert said in hurt, hurt


def test_a_config_and_all_that_it_names(tmp_path: Path, postgresql: PostgresqlServer) -> None:
    config = config_of("billing", f"postgresql: {postgresql.new_database()}", tmp_path)
    new = found("--config", f"billing={config}", exit_code=1)
    assert [new[f"billing {what}"]["level"] for what in ("config", "database", "schema", "clock", "disk")] == [
        *("ok", "ok", "warn", "ok", "ok"),
    ]
    assert new["billing to accounting"]["level"] == "fail"
    migrate("billing", config)
    assert found("--config", f"billing={config}", exit_code=1)["billing schema"]["level"] == "ok"

    run("certs", str(tmp_path / "certs"), "--days", "5")
    of_billing = tmp_path / "certs" / "billing"
    files = {"certificate": "tls.crt", "key": "tls.key", "ca": "ca.crt"}
    with config.open("a", encoding="utf-8") as opened:
        opened.write("".join(f"grpc_{name}_file: {of_billing / file}\n" for name, file in files.items()))
    soon = found("--config", f"billing={config}", exit_code=1)["billing certificate"]
    assert (soon["level"], soon["found"]) == ("warn", "5 days left")
    (of_billing / "tls.crt").write_text("none", encoding="utf-8")
    assert "is no certificate in PEM" in found("--config", f"billing={config}", exit_code=1)["billing certificate"]["found"]

    config.write_text("listen_address: 7\n", encoding="utf-8")
    assert list(found("--config", f"billing={config}", exit_code=1)) == ["billing config"]


def test_databases_and_etcd_that_are_not_there_are_named(tmp_path: Path) -> None:
    nowhere = "postgresql: postgresql://tokenline@127.0.0.1:9/tokenline\netcd: {endpoints: ['127.0.0.1:9']}"
    told = found("--config", f"accounting={config_of('accounting', nowhere, tmp_path)}", exit_code=1)
    assert {check: told[f"accounting {check}"]["level"] for check in ("config", "database", "etcd")} == {
        **{"config": "ok", "database": "fail", "etcd": "fail"},
    }
    unreadable = "postgresql: postgresql://tokenline:S3cret/word@127.0.0.1/tokenline"
    database = found("--config", f"accounting={config_of('accounting', unreadable, tmp_path)}", exit_code=1)["accounting database"]
    assert database["found"].startswith(
        "PostgreSQL: the URL cannot be read: write postgresql://USER@HOST:5432/DATABASE, and percent"
    )
    for given in ("accounting", "nobody=file.yaml", "accounting="):
        done = run("doctor", "--config", given)
        assert (done.exit_code, "give it as SERVICE=FILE" in done.output) == (2, True)


@pytest.mark.parametrize(
    ("finding", "level"),
    [
        (of_disk("disk", 100 * GIB, 200 * GIB), "ok"),
        (of_disk("disk", 3 * GIB, 100 * GIB), "warn"),
        (of_disk("disk", GIB, 10 * GIB), "warn"),
        (of_disk("disk", GIB // 10, 10 * GIB), "fail"),
        (of_certificate("certificate", 20 * 86_400), "ok"),
        (of_certificate("certificate", 10 * 86_400), "warn"),
        (of_certificate("certificate", 2 * 86_400), "fail"),
        (of_certificate("certificate", -86_400), "fail"),
        (of_clock("clock", 0.5, 0.1, "the edge"), "ok"),
        (of_clock("clock", -5, 0.1, "the edge"), "warn"),
        (of_clock("clock", -5, 10, "the edge"), "ok"),
        (of_clock("clock", 61, 0.1, "the edge"), "fail"),
        (schema("schema", "it", 3, 3), "ok"),
        (schema("schema", "it", 2, 3), "warn"),
        (schema("schema", "it", 4, 3), "fail"),
    ],
)
def test_what_is_found_is_judged(finding: Finding, level: str) -> None:
    assert finding.level == level
    assert bool(finding.remedy) == (level != "ok")


def test_an_error_that_ended_several_checks_is_told_once() -> None:
    def unreachable() -> list[Finding]:
        raise CommandError("it cannot be reached")

    down = [Finding(f"vendor {name}", "fail", "cannot be reached", "check the way out") for name in "ab"]
    good = [Finding(f"certificate {name}", "ok", "90 days left") for name in "ab"]
    checks = [
        ("edge", unreachable),
        ("clock", unreachable),
        ("vendors", lambda: down),
        ("c", lambda: good[:1]),
        ("d", lambda: good[1:]),
    ]
    assert [each.check for each in examine(checks)] == ["edge", "vendor a", "vendor b", "certificate a", "certificate b"]


def test_what_does_not_answer_in_time_has_failed() -> None:
    never = Event()

    def slow() -> list[Finding]:
        never.wait()
        return []

    try:
        late, right = examine([("slow", slow), ("quick", lambda: [Finding("quick", "ok", "yes")])])
    finally:
        never.set()
    assert (late.check, late.level, right.level) == ("slow", "fail", "ok")


def test_a_check_that_never_ends_keeps_nobody_waiting(tmp_path: Path) -> None:
    (tmp_path / "catalog").mkdir()
    # As a file of a network disk that has gone.
    os.mkfifo(tmp_path / "catalog" / "own.yaml")
    done = tokenline("doctor", "--data-dir", str(tmp_path))
    assert (done.returncode, done.stderr) == (1, "")
    assert "fail  catalog                 no answer within 2 s" in done.stdout


def test_what_does_not_answer_is_asked_once() -> None:
    class Silent(System):
        read_paths: ClassVar[list[str]] = []

        def ask(self, method: str, path: str, body: dict[str, Any] | None = None, timeout_s: float = 0) -> dict[str, Any]:
            raise NoAnswerError("it is silent")

        def read(self, path: str, timeout_s: float = 0) -> Page:
            self.read_paths.append(path)
            raise NoAnswerError("it is silent")

        def missing(self, timeout_s: float = 0) -> list[str]:
            raise NoAnswerError("it is silent")

    (told,) = examine(system_checks(Silent("http://127.0.0.1:9", "token", "")))
    assert (told.level, told.found) == ("fail", "it is silent")
    assert sorted(Silent.read_paths) == ["/healthz", "/metrics"]


def test_a_large_page_of_metrics_is_read_once_and_only_what_is_looked_at() -> None:
    class Counted(System):
        read_paths: ClassVar[list[str]] = []

        def ask(self, method: str, path: str, body: dict[str, Any] | None = None, timeout_s: float = 0) -> dict[str, Any]:
            return {"data": []}

        def read(self, path: str, timeout_s: float = 0) -> Page:
            self.read_paths.append(path)
            return Page(b"calls{no label} no number\nregistry_catalog_refused 1\nedge_requests_total 5\n", "")

    found = {each.check: each for each in examine(system_checks(Counted("http://127.0.0.1:9", "token", "")))}
    assert Counted.read_paths.count("/metrics") == 1
    assert "stays in force" in found["registry"].found
    assert "as this edge has them" in found["scope"].found
    assert found["export"].level == "ok"


class Told(System):
    """A system that says what it is made to say."""

    page: ClassVar[bytes] = b""
    partitions: ClassVar[list[dict[str, Any]]] = []
    waits_for: ClassVar[list[str]] = []

    def ask(self, method: str, path: str, body: dict[str, Any] | None = None, timeout_s: float = 0) -> dict[str, Any]:
        return {"data": self.partitions if path == "/partitions" else []}

    def read(self, path: str, timeout_s: float = 0) -> Page:
        return Page(self.page, "")

    def missing(self, timeout_s: float = 0) -> list[str]:
        return self.waits_for


@pytest.mark.parametrize("fault", [NoAnswerError("it is silent"), CommandError("it says so", "service_unavailable")])
def test_a_service_behind_the_edge_is_not_taken_for_the_edge(fault: CommandError) -> None:
    class Waiting(Told):
        def ask(self, method: str, path: str, body: dict[str, Any] | None = None, timeout_s: float = 0) -> dict[str, Any]:
            if path == "/partitions":
                raise fault
            return {"data": []}

    found = {each.check: each for each in examine(system_checks(Waiting("http://127.0.0.1:9", "token", "")))}
    assert found["edge"].level == "ok"
    assert found["owners"].found == "accounting or billing does not answer the edge, so calls may get 503"


def test_a_token_that_is_not_taken_is_no_fault_of_accounting() -> None:
    class Closed(Told):
        def ask(self, method: str, path: str, body: dict[str, Any] | None = None, timeout_s: float = 0) -> dict[str, Any]:
            raise CommandError("this needs the admin token", "invalid_admin_token")

    found = [each.found for each in examine(system_checks(Closed("http://127.0.0.1:9", "token", ""))) if each.level == "fail"]
    assert found == ["this needs the admin token"]


def partition(owner: str | None, lag: int) -> dict[str, Any]:
    return {"part_id": 0, "owner": owner, "lag": lag}


@pytest.mark.parametrize(
    ("told", "check", "level", "found"),
    [
        ({"waits_for": ["charging"]}, "edge", "fail", "not ready: charging"),
        ({"partitions": [partition("a", 0), partition("b", 0)]}, "owners", "ok", "2 replicas of accounting for 2 partitions"),
        ({"partitions": [partition("a", 0), partition(None, 0)]}, "owners", "fail", "nobody owns partition 0"),
        ({"page": b"billing_partitions_stopped 1\n"}, "export", "fail", "0 journal rows wait for their CDR: export has stopped"),
        ({"page": b"billing_export_lag_seconds 601\n"}, "export", "fail", "the last whole pass 601 s ago: export has stopped"),
        ({"page": b"billing_export_lag_seconds 61\n"}, "export", "warn", "the last whole pass 61 s ago"),
        ({"partitions": [partition(None, 10_001)]}, "export", "warn", "10,001 journal rows wait for their CDR"),
        ({"partitions": [partition(None, 10_000)]}, "export", "ok", "10,000 journal rows wait for their CDR"),
        ({"page": b'edge_route_state{vendor="v",model="m"} 2\n'}, "routes", "warn", "1 left out after failures: v/m"),
        ({"page": b'edge_route_state{vendor="v",model="m"} 1\n'}, "routes", None, ""),
        ({"page": b'certificate_end_timestamp_seconds{service="billing"} 1\n'}, "certificate of billing", "fail", "ended "),
        (
            {"page": b'disk_free_bytes{holds="cdr"} 1e8\ndisk_used_bytes{holds="cdr"} 9e11\n'},
            *("disk of the system", "fail", "95.4 MiB of 838.3 GiB are free; it holds cdr"),
        ),
        ({"page": b"edge_catalog_silence_seconds 61\n"}, "registry", "warn", "the edge has not heard of it for 61 s"),
        ({"page": b"edge_catalog_silence_seconds 60\n"}, "registry", None, ""),
    ],
)
def test_what_a_system_says_is_judged(told: dict[str, Any], check: str, level: str | None, found: str) -> None:
    system = type("System", (Told,), told)("http://127.0.0.1:9", "token", "")
    by_check = {each.check: each for each in examine(system_checks(system))}
    if level is None:
        assert check not in by_check
        return
    assert (by_check[check].level, found in by_check[check].found) == (level, True), by_check[check]

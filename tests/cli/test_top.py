"""The page of a running system: rates between two looks, and the state at the second."""

import os
import pty
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

import pytest
from rich.console import Console

from services.cli.client import Page, System
from services.cli.failures import CommandError, NoAnswerError
from services.cli.samples import read_samples
from services.cli.top import Look, look, page
from tests.cli.processes import ENVIRONMENT, Up, run, up
from tests.waiting import WAIT_S

PAGE = b"""\
# TYPE edge_calls_total counter
edge_calls_total{model="deepseek-v4-flash",ended="whole"} %d
edge_usage_total{model="deepseek-v4-flash",class="output"} %d
edge_usage_total{model="qwen-flash",class="output"} 100
edge_usage_total{model="deepseek-v4-flash",class="input"} 7
edge_refusals_total{reason="insufficient_quota"} %d
edge_refusals_total{reason="rate_limit_exceeded"} 3
edge_requests_total{route="/v1/chat/completions",status="200"} 5
edge_requests_total{route="/v1/chat/completions",status="503"} %d
edge_vendor_attempts_total{vendor="deepseek",outcome="answered"} %d
edge_vendor_attempts_total{vendor="deepseek",outcome="timeout"} 0
edge_route_state{vendor="deepseek",model="a",dialect="openai_chat"} 2
edge_route_state{vendor="deepseek",model="b",dialect="openai_chat"} 0
gen_ai_server_time_to_first_token_seconds_sum{gen_ai_provider_name="deepseek"} %d
gen_ai_server_time_to_first_token_seconds_count{gen_ai_provider_name="deepseek"} %d
charging_at_risk{kind="held",unit="CURRENCY:CNY"} 1250000
charging_at_risk{kind="debt",unit="TOKEN"} 7000000
charging_sessions_open 4
billing_export_lag_seconds 3
nothing_of_ours 5
charging_commits_total 9
process_start_time_seconds 1.7e+09
"""
PARTITIONS: list[dict[str, Any]] = [
    {"part_id": 0, "owner": "a:1", "lag": 5},
    {"part_id": 1, "owner": "b:1", "lag": 7},
    {"part_id": 2, "owner": None, "lag": 0},
]
BURNING: dict[str, Any] = {
    "window": "5m",
    "amounts_in": "micro_units",
    "units": [
        {
            **{"unit": "CURRENCY", "currency": "CNY", "charged": 50_000_000, "records": 12, "error": 0},
            "accounts": [{"account_id": "acct-a", "charged": 35_000_000}],
        }
    ],
    "silent": ["c:1"],
}


def at(time_s: float, numbers: tuple[int, ...], **changes: Any) -> Look:
    return Look(time_s, read_samples(PAGE % numbers), PARTITIONS, BURNING, [])._replace(**changes)


def shown(before: Look, now: Look, width: int = 80) -> list[str]:
    console = Console(width=width, highlight=False)
    with console.capture() as captured:
        for each in page("http://127.0.0.1:8081", before, now):
            console.print(each)
    return [" ".join(line.split()) for line in captured.get().splitlines() if line.strip()]


BEFORE = at(10, (100, 1_000, 0, 0, 10, 1, 10))


def test_an_export_that_has_all_is_not_late() -> None:
    exported = at(20, (100, 1_000, 0, 0, 10, 1, 10), partitions=[{"part_id": 0, "owner": None, "lag": 0}])
    assert "owners: 1 for 1 partitions export: 0 journal rows late" in shown(BEFORE, exported)


def test_rates_are_of_the_time_between_two_looks() -> None:
    lines = shown(BEFORE, at(20, (150, 3_000, 20, 10, 60, 26, 60)))
    assert lines[0].startswith("Tokenline at http://127.0.0.1:8081: ready, ")
    for line in (
        "calls 5.0/s refused 2.0/s shed 0.0/s answers of 5xx 1.0/s",
        "tokens: input 0.0/s cached input 0.0/s output 200/s reasoning 0.0/s",
        "held by open calls: 1.25 CNY",
        "owed: 7 TOKEN",
        "calls open 4",
        "owners: 2 for 3 partitions, 1 WITHOUT ONE export: 12 journal rows, 3 s late",
        "insufficient_quota 2.0/s 20",
        "rate_limit_exceeded 0.0/s 3",
        "deepseek 5.0/s 0% 500 ms 1",
        "acct-a 7 CNY",
        "all, in 12 charges 10 CNY",
        "without the part of c:1, which did not answer",
    ):
        assert line in lines, lines


def test_an_attempt_that_was_given_up_is_no_failure_of_its_vendor() -> None:
    attempts = b'edge_vendor_attempts_total{vendor="v",outcome="%s"} %d\n'
    samples = {number: read_samples(attempts % (b"given_up", 9 * number) + attempts % (b"answered", number)) for number in (0, 10)}
    before, now = (Look(10 + number, samples[number], PARTITIONS, None, []) for number in samples)
    assert "v 10.0/s 0% - 0" in shown(before, now)


def test_vendors_in_trouble_stand_before_all_others() -> None:
    def page(number: int) -> bytes:
        lines = [b'edge_vendor_attempts_total{vendor="busy-%d",outcome="answered"} %d' % (each, 100 * number) for each in range(9)]
        lines.append(b'edge_vendor_attempts_total{vendor="rare",outcome="timeout"} %d' % number)
        lines.append(b'edge_vendor_attempts_total{vendor="shut",outcome="timeout"} 1')
        lines.append(b'edge_route_state{vendor="shut",model="a",dialect="openai_chat"} 2')
        return b"\n".join(lines) + b"\n"

    before, now = (Look(10 + number, read_samples(page(number)), PARTITIONS, None, []) for number in (0, 10))
    lines = shown(before, now)
    assert "Vendors, 8 of 11" in lines
    rows = [line for line in lines if line.startswith(("busy-", "rare", "shut"))]
    assert rows[:3] == ["shut 0.0/s - - 1", "rare 1.0/s 100% - 0", "busy-0 100/s 0% - 0"]
    assert len(rows) == 8


def test_a_process_that_began_anew_and_parts_that_are_away_are_no_fault() -> None:
    again = shown(
        at(10, (100, 1_000, 50, 7, 60, 90, 100)), at(20, (3, 5, 0, 0, 2, 1, 1), burning=None, partitions=[], missing=["charging"])
    )
    assert "waiting for charging" in again[0]
    assert "calls 0.0/s refused 0.0/s shed 0.0/s answers of 5xx 0.0/s" in again
    assert "owners: not known, accounting or billing does not answer" in again
    assert not any("Burning" in line for line in again)


def test_an_edge_of_a_cell_says_that_its_numbers_are_its_own() -> None:
    of_an_edge = PAGE.replace(b"charging_", b"of_others_")
    alone = "calls, tokens, refusals and vendors are those of this edge alone; owners, export and accounts are the cell's"
    before, now = (at(time_s, (0,) * 7, samples=read_samples(of_an_edge % ((0,) * 7))) for time_s in (10, 20))
    assert shown(before, now, width=140)[1] == alone
    assert alone not in shown(BEFORE, at(20, (150, 3_000, 20, 10, 60, 26, 60)), width=140)
    other = now._replace(samples=read_samples(of_an_edge.replace(b"1.7e+09", b"1.8e+09") % ((0,) * 7)))
    assert shown(before, other, width=140)[1].startswith("ANOTHER PROCESS ANSWERED")


def test_only_the_samples_that_are_wanted_are_read() -> None:
    samples = read_samples(PAGE % ((0,) * 7), ["edge_calls_total", "charging_sessions_open", "edge_route"])
    assert (samples.total("charging_sessions_open"), samples.highest("edge_route_state"), samples.highest("nothing_of_ours")) == (
        *(4.0, None, None),
    )


@pytest.fixture(scope="module")
def system(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Up]:
    with up(tmp_path_factory.mktemp("data")) as running:
        yield running


def test_one_page_of_a_running_system(system: Up) -> None:
    request = urllib.request.Request(
        f"{system.demo.base_url}/chat/completions",
        data=b'{"model": "deepseek-v4-flash", "messages": [{"role": "user", "content": "Hello!"}]}',
        headers={"authorization": f"Bearer {system.demo.api_key}", "content-type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=WAIT_S) as answer:
        assert answer.status == 200
    done = run("top", "--once", "--interval", "0.2", "--data-dir", str(system.data_dir))
    assert done.exit_code == 0, done.output
    assert f"Tokenline at {system.demo.admin_url}: ready" in done.output
    assert "owners: 1 for 16 partitions" in done.output
    assert "deepseek" in done.output
    assert "Burning most, in 5m" in done.output
    assert f"{system.demo.account_id}   " in done.output
    assert max(map(len, done.output.splitlines())) <= 80


@pytest.mark.parametrize("terminal", ["xterm-256color", "dumb"])
def test_a_terminal_is_drawn_on_until_ctrl_c(system: Up, terminal: str) -> None:
    ours, theirs = pty.openpty()
    command = [sys.executable, "-m", "services", "top", "--interval", "0.2", "--data-dir", str(system.data_dir)]
    with subprocess.Popen(command, stdin=theirs, stdout=theirs, env={**ENVIRONMENT, "TERM": terminal}) as process:
        os.close(theirs)
        told = b""
        # Two pages.
        while told.count(b"Tokenline at") < 2:
            told += os.read(ours, 65_536)
        process.send_signal(signal.SIGINT)
        process.wait()
    os.close(ours)
    # The other screen is left again.
    assert (b"\x1b[?1049h" in told) == (terminal != "dumb")
    assert process.returncode in (0, 1, -signal.SIGINT)


class _Away(System):
    """An edge whose accounting does not answer, or answers after all time, or that another token opens."""

    fault: ClassVar[CommandError]

    def ask(self, method: str, path: str, body: dict[str, Any] | None = None, timeout_s: float = 0) -> dict[str, Any]:
        raise self.fault

    def read(self, path: str, timeout_s: float = 0) -> Page:
        return Page(b"edge_calls_total 5\n", "")

    def missing(self, timeout_s: float = 0) -> list[str]:
        return ["charging"]


@pytest.mark.parametrize(
    ("fault", "is_shown"),
    [
        (CommandError("no answer", "service_unavailable"), True),
        (NoAnswerError("no answer in time"), True),
        (CommandError("another token", "invalid_admin_token"), False),
    ],
)
def test_the_page_is_there_while_accounting_is_away(fault: CommandError, is_shown: bool) -> None:
    system = type("System", (_Away,), {"fault": fault})("http://127.0.0.1:9", "token", "")
    if not is_shown:
        with pytest.raises(CommandError, match="another token"):
            look(system)
        return
    found = look(system)
    assert (found.partitions, found.burning, found.missing) == ([], None, ["charging"])


def test_an_interval_that_is_no_number_is_wrong_usage() -> None:
    done = run("top", "--interval", "nan")
    assert (done.exit_code, "'nan' is no number of seconds" in done.output) == (2, True)


def test_a_system_that_is_not_there_is_named(tmp_path: Path) -> None:
    done = run("top", "--once", "--data-dir", str(tmp_path))
    assert (done.exit_code, "start it with `tokenline up" in done.output) == (2, True)

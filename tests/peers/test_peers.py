"""What of the comparison needs no peer: the search for a rate, what is told of a peer that cannot be had, CPU of processes."""

import math
import tempfile
from contextlib import ExitStack
from pathlib import Path

import pytest

from services.cli.processes import Processes
from tests.peers import install
from tests.peers.install import GoPeer, PeerMissing, go_program
from tests.peers.measure import Bench
from tests.peers.report import CLOSED_CONNECTIONS, Closed, Figures, Killed, Report, SmallAccount, markdown
from tests.peers.search import RateSearch
from tests.peers.systems import Room, Tokenline


def test_the_highest_rate_within_a_bound_is_found_to_a_fifth() -> None:
    tried = []

    def p99_ms_at(rate: float) -> float:
        tried.append(rate)
        # As of a queue with room for 1,000 calls/s.
        return 2 / (1 - rate / 1_000) if rate < 1_000 else math.inf

    search = RateSearch(p99_ms_at, 1_250)
    rates = {bound: search.rate(bound) for bound in (5.0, 10.0, 50.0)}
    for bound, rate in rates.items():
        true = 1_000 * (1 - 2 / bound)
        assert true / 1.2 <= rate <= true
    # What one bound tried serves the next.
    assert len(tried) == len(set(tried)) <= 12
    assert search.tried.keys() == set(tried)


def test_a_bound_that_no_rate_holds_is_0_and_the_search_ends() -> None:
    search = RateSearch(lambda _: 60.0, 640)
    assert search.rate(50.0) == 0
    assert min(search.tried) == 10


def test_a_system_that_holds_the_bound_at_the_highest_rate_is_tried_once() -> None:
    search = RateSearch(lambda _: 1.0, 640)
    assert search.rate(5.0) == 640
    assert search.tried == {640: 1.0}


def test_a_rate_above_one_that_failed_counts_for_nothing() -> None:
    search = RateSearch(lambda rate: 4.0 if rate <= 200 else 7.0, 800)
    search.tried = {800.0: 9.0, 600.0: 4.0, 400.0: 6.0}
    assert search.rate(5.0) == 200


def test_a_module_that_the_proxy_does_not_have_is_missing_with_what_go_says(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(install, "_CACHE", tmp_path)
    go = tmp_path / "bin" / "go"
    go.parent.mkdir()
    go.write_text('#!/bin/sh\necho "{\\"Error\\": \\"403 Forbidden\\"}"\nexit 1\n', encoding="ascii")
    go.chmod(0o700)
    monkeypatch.setenv("PATH", f"{go.parent}:/usr/bin:/bin")
    peer = GoPeer("somebody", "example.com/somebody", "v1.0.0", "h1:x=", "index.html")
    for _ in range(2):
        # What failed is tried again, not taken for installed.
        with pytest.raises(PeerMissing, match=r"^somebody: go mod download: 403 Forbidden$"):
            go_program(peer)


def test_a_peer_is_built_once_from_a_copy_with_a_page(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(install, "_CACHE", tmp_path / "cache")
    module = tmp_path / "module"
    module.mkdir()
    (module / "main.go").write_text("package main\n", encoding="ascii")
    (module / "main.go").chmod(0o400)
    go = tmp_path / "bin" / "go"
    go.parent.mkdir()
    downloaded = f'{{"Dir": "{module}", "Sum": "h1:x="}}'
    go.write_text(
        f"#!/bin/sh\nif [ $1 = mod ]; then echo '{downloaded}'; else cat main.go web/index.html > $3; fi\n", encoding="ascii"
    )
    go.chmod(0o700)
    monkeypatch.setenv("PATH", f"{go.parent}:/usr/bin:/bin")
    peer = GoPeer("somebody", "example.com/somebody", "v1.0.0", "h1:x=", "web/index.html")
    program = go_program(peer)
    assert program.read_text(encoding="ascii") == "package main\n<p>The console is not built.</p>"
    # The module itself is as it was, and nothing is asked of go again.
    assert not (module / "web").exists()
    go.unlink()
    assert go_program(peer) == program


def test_a_module_with_another_checksum_is_not_built(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(install, "_CACHE", tmp_path)
    go = tmp_path / "bin" / "go"
    go.parent.mkdir()
    go.write_text('#!/bin/sh\necho "{\\"Dir\\": \\"/nowhere\\", \\"Sum\\": \\"h1:y=\\"}"\n', encoding="ascii")
    go.chmod(0o700)
    monkeypatch.setenv("PATH", f"{go.parent}:/usr/bin:/bin")
    peer = GoPeer("somebody", "example.com/somebody", "v1.0.0", "h1:x=", "index.html")
    with pytest.raises(PeerMissing, match="has the checksum h1:y=; h1:x= is pinned"):
        go_program(peer)


def test_without_go_that_is_said(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(install, "_CACHE", tmp_path)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(PeerMissing, match="is built by Go, which is not in PATH"):
        go_program(install.NEW_API)


def test_tokenline_is_measured_and_a_small_account_pays_for_10_calls_and_no_more() -> None:
    with tempfile.TemporaryDirectory() as name, ExitStack() as stores, ExitStack() as stack:
        processes = Processes(Path(name))
        stack.callback(processes.stop)
        system = Tokenline(Room(stores, processes, Path(name)), "tokenline", postgresql=True)
        bench = Bench(processes, [system])
        (side,) = bench.sides
        for connections in CLOSED_CONNECTIONS:
            bench.closed(connections, side)
        bench.small(side)
        bench.kill(side)
        assert side.small is not None
        assert side.small.left is not None
        assert 0 < side.small.served <= 10
        assert side.small.served + side.small.left == pytest.approx(10)
        figures = bench.figures(side)
        closed = figures.closed[10]
        assert figures.failed == 0
        assert figures.charged == figures.made
        assert closed.gateway_cpu_us > closed.database_cpu_us > 0


def test_the_table_says_each_figure_where_it_belongs() -> None:
    closed = Closed(
        calls_per_second=1_234.4, p50_ms=6.26, p99_ms=28.0, gateway_cpu_us=800, database_cpu_us=44.4, cpu_us_min=810, cpu_us_max=899
    )
    figures = Figures(
        name="new-api",
        says="all on",
        closed=dict.fromkeys(CLOSED_CONNECTIONS, closed),
        calls_per_second_at_p99={5.0: [0, 10], 10.0: [100, 300], 50.0: [1_000, 1_000]},
        memory_mib=84.4,
        failed=3,
        charged=95,
        made=100,
        charged_unit="tokens",
        small=SmallAccount(sent=50, served=43, left=-33.0),
        killed=Killed(answered=1_900, charged=1_234),
    )
    report = Report(systems=[figures], missing=["one-api: go build: no space left"], load_average=[0.2, 2.4], seconds=480.4)
    lines = markdown(report).splitlines()
    cell = "1,234 | 6.3 / 28.0 | 800 + 44 = **844** (810 to 899)"
    assert f"| new-api: all on | {cell} | {cell} | 84 |" in lines
    rates = "5 (0 to 10) | 200 (100 to 300) | 1,000 (1,000 to 1,000)"
    assert f"| new-api | {rates} | 3 | 95 of 100 tokens | 43 of 50, -33.0 | 1,234 of 1,900 |" in lines
    assert lines[-1] == "Not measured: one-api: go build: no space left."
    widths = {line.count("|") for line in lines[:3]}
    assert widths == {9}

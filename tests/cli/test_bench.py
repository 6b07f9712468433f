from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import msgspec
import pytest

from services.cli.bench_cell import OWN_CHECKOUT
from services.cli.bench_charging import ChargingReport
from services.cli.bench_endurance import mib_per_hour
from services.cli.bench_report import (
    AffinityReport,
    AttacksReport,
    CallsReport,
    CatalogReport,
    EnduranceReport,
    Minute,
    OtherStreams,
    Spread,
    StreamsReport,
    print_endurance,
    print_report,
)
from services.cli.processes import Processes
from services.cli.prose import prose
from tests.cli.processes import run, tokenline

# Two cells start and audit.
TIMEOUT_S = 180


def test_calls_are_measured_against_another_checkout_and_both_bills_are_exact() -> None:
    result = tokenline(
        *("bench", "edge", "--seconds", "1", "--connections", "2", "--body-bytes", "2000"),
        *("--against", str(OWN_CHECKOUT), "--grpc-tls", "--telemetry-off", "--store", "postgresql", "--output", "json"),
        timeout_s=TIMEOUT_S,
    )
    assert result.returncode == 0, result.stderr
    report = msgspec.json.decode(result.stdout, type=CallsReport)
    assert report.calls > 0
    assert report.edge_cpu_us_per_call > 0
    assert (report.connections, report.body_bytes, report.failed, report.database) == (2, 2_000, 0, "postgresql")
    assert report.database_cpu_us_per_call > 0
    assert report.seconds == pytest.approx(1, abs=0.3)
    other = report.against
    assert other is not None
    assert other.folder == f"{OWN_CHECKOUT} without telemetry"
    assert (other.rounds, other.failed) == (5, 0)
    assert other.calls > 0
    ratio = other.edge_cpu_ratio
    # Rounds this short may have had less of the processor than its clock tells.
    assert 0 <= ratio.min <= ratio.median <= ratio.max
    assert ratio.max > 0
    assert report.breaches == report.differences == other.breaches == other.differences == []


def test_a_process_of_a_benchmark_has_the_variables_that_it_is_given(tmp_path: Path) -> None:
    processes = Processes(tmp_path)
    code = "import os; print(os.environ.get('OTEL_SDK_DISABLED'), 'PATH' in os.environ)"
    try:
        for environment, said in (({}, "None True"), ({"OTEL_SDK_DISABLED": "true"}, "true True")):
            assert processes.read_line(processes.start(f"told-{said[0]}", "-c", code, environment=environment)) == said
    finally:
        processes.stop()


def test_telemetry_is_switched_off_in_the_other_checkout_alone() -> None:
    refused = tokenline("bench", "edge", "--telemetry-off")
    assert refused.returncode == 2
    assert "--telemetry-off is for the other checkout; give --against FOLDER too" in refused.stderr


def test_a_large_catalog_is_checked_and_changed_at_two_edges() -> None:
    result = tokenline("bench", "catalog", "--models", "20", "--offerings", "3", "--output", "json", timeout_s=TIMEOUT_S)
    assert result.returncode == 0, result.stderr
    report = msgspec.json.decode(result.stdout, type=CatalogReport)
    assert (report.models, report.offerings, report.edges) == (20, 3, 2)
    for figure in (report.check_s, report.in_force_s, report.price_list_ms):
        assert 0 < figure.min <= figure.median <= figure.max


def test_streams_are_measured_by_the_chunk() -> None:
    result = tokenline(
        "bench", "edge", "--seconds", "1", "--streams", "10", "--tokens-per-second", "40", "--output", "json", timeout_s=TIMEOUT_S
    )
    assert result.returncode == 0, result.stderr
    report = msgspec.json.decode(result.stdout, type=StreamsReport)
    assert (report.streams, report.calls, report.failed) == (10, 10, 0)
    # 10 streams x 40 a second x 1 s.
    assert report.chunks == pytest.approx(400, rel=0.3)
    assert report.edge_cpu_us_per_chunk > 0
    assert 20 < report.edge_resident_mib < 1_000
    assert report.breaches == report.differences == []
    assert report.against is None


def test_charging_is_measured_on_as_many_owners_as_asked_for_and_says_of_what() -> None:
    result = tokenline(
        *("bench", "charging", "--seconds", "0.5", "--owners", "2", "--accounts", "20", "--active", "10", "--sessions", "8"),
        *("--buckets", "2", "--renewals", "30", "--output", "json"),
        timeout_s=TIMEOUT_S,
    )
    assert result.returncode == 0, result.stderr
    report = msgspec.json.decode(result.stdout, type=ChargingReport)
    assert (report.store, report.accounts, report.active, report.sessions) == ("postgresql", 20, 10, 8)
    assert (report.owners, len(set(report.server_pids))) == (2, 2)
    assert (report.buckets, report.mix, report.failures) == (2, "voltdb", {})
    assert min(report.operations_per_second, report.bare_operations_per_second, report.journal_bytes_per_entry) > 0
    # All were due as the server began.
    assert report.renewals == 30
    assert report.renewals_per_second > 0


def test_charging_is_measured_against_another_checkout() -> None:
    result = tokenline(
        *("bench", "charging", "--store", "sqlite", "--seconds", "1", "--accounts", "20", "--sessions", "8"),
        *("--against", str(OWN_CHECKOUT), "--output", "json"),
        timeout_s=TIMEOUT_S,
    )
    assert result.returncode == 0, result.stderr
    report = msgspec.json.decode(result.stdout, type=ChargingReport)
    other = report.against
    assert other is not None
    assert (other.folder, other.rounds, other.failures, report.failures) == (str(OWN_CHECKOUT), 5, {}, {})
    assert min(report.operations_per_second, other.operations_per_second) > 0
    ratio = other.server_cpu_ratio
    # It is one checkout, but rounds this short may have had less of the processor than its clock tells.
    assert 0 < ratio.min <= ratio.median <= ratio.max


def test_a_checkout_that_cannot_make_its_store_is_named(tmp_path: Path) -> None:
    for needed in ("services", "protos/gen/tokenline"):
        (tmp_path / needed).mkdir(parents=True)
    (tmp_path / "services" / "__init__.py").touch()
    (tmp_path / "services" / "__main__.py").touch()
    result = tokenline(
        "bench", "charging", "--store", "sqlite", "--seconds", "0.5", "--against", str(tmp_path), timeout_s=TIMEOUT_S
    )
    assert result.returncode == 2
    assert f"the code in {tmp_path} could not make the store: ModuleNotFoundError: No module named" in result.stderr


def test_caches_of_prompts_stay_warm_behind_several_edges_though_a_route_is_lost(tmp_path: Path) -> None:
    picture = tmp_path / "affinity.svg"
    result = tokenline(*("bench", "affinity", "--limit", "600", "--picture", str(picture), "--output", "json"), timeout_s=TIMEOUT_S)
    assert result.returncode == 0, result.stderr
    report = msgspec.json.decode(result.stdout, type=AffinityReport)
    assert (report.trace, report.calls, report.conversations) == ("generated", 600, 20)
    assert (report.routes, report.edges, report.failed) == (4, 3, 0)
    assert report.breaches == report.differences == []
    # The share that was lost is large where conversations are short; with all of a trace it is below 1 %.
    assert 80 < report.kept_percent < 100
    assert report.spread_percent < report.cached_percent < report.single_percent < 100
    # Whoever waited for the silent route did so once.
    assert report.slow_calls_a_period_max == (report.slow_calls > 0)
    assert 0 < report.routing_us_per_call < 1_000
    assert len(report.shares) == 50
    tree = ElementTree.parse(picture)
    lines = tree.findall("{http://www.w3.org/2000/svg}polyline")
    assert [len(line.attrib["points"].split()) for line in lines] == [50, 50, 50]


def test_a_trace_that_is_none_is_named(tmp_path: Path) -> None:
    trace = tmp_path / "trace.csv"
    trace.write_text("time,session\n")
    result = tokenline("bench", "affinity", "--trace", str(trace))
    assert result.returncode == 2
    assert f"{trace}:1: the header is 'time,session'" in result.stderr


def test_an_sqlite_file_has_one_owner() -> None:
    result = tokenline("bench", "charging", "--store", "sqlite", "--owners", "1,2")
    assert result.returncode == 2
    assert "--owners goes with --store postgresql: an SQLite file has one owner" in result.stderr


def test_attacks_are_carried_out_beside_honest_calls_and_the_bill_is_exact() -> None:
    result = tokenline(
        *("bench", "attacks", "--seconds", "1", "--attacks", "malformed,stopped-readers,runaway-agent", "--output", "json"),
        timeout_s=TIMEOUT_S,
    )
    assert result.returncode == 0, result.stderr
    report = msgspec.json.decode(result.stdout, type=AttacksReport)
    malformed, stopped, runaway = report.attacks
    for each in report.attacks:
        assert each.calls == report.calls_per_second
        assert (each.failed, each.failures) == (0, {})
        assert 0 < each.p50_ms <= each.p99_ms
        assert 0 < each.p50_ms_quiet <= each.p99_ms_quiet
        assert 0 <= each.edge_cores_quiet < 2
        assert 0 < each.edge_cores < 2
        assert 40 < each.resident_mib_quiet < 1_000
        assert 40 < each.resident_mib_peak < 1_000
    assert set(malformed.answers) == {"400"}
    assert malformed.answers["400"] > 0
    assert malformed.ended > 0
    # In each of two rounds.
    assert 0 < stopped.answers["200"] <= 40
    # Each of its calls is answered before its connections end, and so is in the bill.
    assert set(runaway.answers) <= {"200", "503"}
    assert runaway.answers["200"] > 0
    assert (runaway.connections, runaway.ended) == (2 * 256, 0)
    assert set(report.idle_mib) == {"silent", "answered"}
    assert all(0 < mib < 1_000 for mib in report.idle_mib.values())
    assert report.breaches == report.differences == []


def test_a_whole_system_is_measured_minute_by_minute_and_the_bill_is_exact() -> None:
    result = tokenline("bench", "endurance", "--seconds", "3", "--calls-per-second", "40", "--output", "json", timeout_s=TIMEOUT_S)
    assert result.returncode == 0, result.stderr
    report = msgspec.json.decode(result.stdout, type=EnduranceReport)
    # A run of less than six minutes has six turns.
    assert [minute.calls for minute in report.minutes] == [20] * 6
    assert (report.calls, report.failed, report.failures) == (120, 0, {})
    assert (report.calls_per_second, report.seconds) == (40, 3)
    after_s = [minute.after_s for minute in report.minutes]
    assert after_s == sorted(after_s)
    # The first of them has warmed up for 2 s.
    assert after_s[0] >= 2.5
    for minute in report.minutes:
        assert 40 < minute.resident_mib < 1_000
        assert 0 < minute.p50_ms <= minute.p99_ms
        assert set(minute.folder_mib) == {"cdr", "accounting", "billing", "outbox"}
        assert minute.folder_mib["accounting"] > 0
    assert report.breaches == report.differences == []


def test_memory_that_grows_in_the_second_half_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    minutes = [
        Minute(
            after_s=60.0 * number,
            resident_mib=mib,
            cores=0.5,
            calls=6_000,
            failed=0,
            p50_ms=4.0,
            p99_ms=20.25,
            folder_mib={"accounting": 6.0 * number, "cdr": 0.25},
        )
        for number, mib in enumerate([100.0, 300.0, 400.0, 401.0, 402.0, 403.0], 1)
    ]
    assert mib_per_hour(minutes) == 60.0
    report = EnduranceReport(
        minutes=minutes,
        calls_per_second=100.0,
        seconds=360.0,
        calls=36_000,
        failed=0,
        failures={},
        resident_mib_per_hour=60.0,
        breaches=[],
        differences=["one"],
    )
    print_endurance(report)
    printed = [" ".join(line.split()) for line in capsys.readouterr().out.splitlines()]
    assert "`tokenline up` under 100 calls a second" in printed
    assert "60 100 0.50 6,000 0 4.0 20.2 6.0 0.2" in printed
    assert "Resident memory over the second half: +60.0 MiB an hour" in printed
    assert "The bill is exact: NO" in printed


def test_attacks_that_are_not_known_are_named() -> None:
    result = run("bench", "attacks", "--attacks", "malformed,flood")
    assert result.exit_code == 2
    assert "no attack is named flood; there are headers, long-header," in " ".join(result.output.split())


def test_the_table_has_the_other_checkout_beside_this_one(capsys: pytest.CaptureFixture[str]) -> None:
    figures: dict[str, Any] = {
        **{"calls": 10, "failed": 0, "failures": {}, "breaches": [], "differences": []},
        **{"chunks": 4_000, "chunks_per_second": 400.0, "edge_cpu_us_per_chunk": 30.25, "accounting_cpu_us_per_chunk": 1.0},
        **{"edge_cores": 0.5, "edge_resident_mib": 100.0, "p50_ms_late": 1.0, "p99_ms_late": 2.0},
    }
    ratio = Spread(0.9, 1.0, 1.1)
    other = OtherStreams(
        **{**figures, "differences": ["one"]}, folder="/other", rounds=5, edge_cpu_ratio=ratio, accounting_cpu_ratio=ratio
    )
    report = StreamsReport(
        **figures,
        streams=10,
        tokens_per_second=40.0,
        edge_pids=[1],
        accounting_pids=[2],
        body_bytes=0,
        seconds=10.0,
        database="sqlite",
        against=other,
    )
    print_report(report)
    printed = [" ".join(line.split()) for line in capsys.readouterr().out.splitlines()]
    assert "this checkout /other" in printed
    assert "edge CPU a chunk 30.2 us 30.2 us" in printed
    assert "streams 10" in printed
    assert "the bill is exact yes NO" in printed
    assert "edge 1.00 (0.90 to 1.10); accounting 1.00 (0.90 to 1.10)" in printed


def test_options_that_say_nothing_together_are_refused(tmp_path: Path) -> None:
    for arguments, said in (
        (["--tokens-per-second", "5"], "give --streams N too"),
        (["--streams", "5", "--connections", "5"], "not both"),
        (["--against", str(tmp_path)], "is no checkout: it has no services/__main__.py"),
    ):
        result = run("bench", "edge", *arguments)
        assert result.exit_code == 2
        assert said in result.output.replace("\n", " ")


def test_prose_has_the_length_asked_for_and_reads_like_english() -> None:
    text = prose(50_000)
    assert len(text.encode()) == 50_000
    assert text == prose(50_000)
    words = text.split()
    assert 4 < len(text) / len(words) < 7
    assert text.count(". ") + text.count(".\n") > 300

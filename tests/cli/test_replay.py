import asyncio
import gzip
import json
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click.testing
import msgspec
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from services.cli.replay.bill import expected_charge, output_tokens_due, tokens_by_class
from services.cli.replay.calls import Answer, Usage, body_pieces, run_open_loop
from services.cli.replay.command import ReplayOptions, replay, replay_command
from services.cli.replay.plan import Call, Pricing, SaleModel, Tier, plan_calls
from services.cli.replay.report import Charged, Latency, ReplayReport, percentiles, report_table
from services.cli.replay.trace import ReplayError, Row, read_trace
from services.token_classes import TOKEN_CLASSES
from services.vendor_simulator.chat_request import parse_request
from services.vendor_simulator.completion import plan
from tests.simulation.virtual_time import VirtualLoop, run_virtually

HEADER = "timestamp_s,session,model,input_tokens,output_tokens"
TOKEN = Pricing("TOKEN", [Tier(-1, 10**12, 10**12, 10**12)])


@pytest.fixture
def trace(tmp_path: Path) -> Callable[[str], Path]:
    def write(content: str) -> Path:
        path = tmp_path / "trace.csv"
        path.write_text(content)
        return path

    return write


def model(name: str, context: int = 1_000_000, output_max: int = 8_000) -> SaleModel:
    return SaleModel(name, context, output_max, TOKEN)


def row(session: str = "", name: str = "", input_tokens: int = 10, output_tokens: int = 5, at_s: float = 0.0) -> Row:
    return Row(at_s, session, name, input_tokens, output_tokens)


# Reading


def test_a_trace_is_read_plain_and_gzipped(trace: Callable[[str], Path], tmp_path: Path) -> None:
    content = f"{HEADER},cached_input_tokens\n0.0,s1,m-1,71175,169,0\n19.5,s1,,72762,0,71168\n,,,0,1,\n"
    rows = [Row(0.0, "s1", "m-1", 71175, 169), Row(19.5, "s1", "", 72762, 0, 71168), Row(0.0, "", "", 0, 1)]
    assert read_trace(trace(content)) == rows
    zipped = tmp_path / "trace"
    zipped.write_bytes(gzip.compress(content.encode()))
    assert read_trace(zipped) == rows
    assert read_trace(zipped, limit=2) == rows[:2]


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("", ":1: the header is ''; it should be 'timestamp_s,session,model,input_tokens,output_tokens'"),
        ("timestamp_s,client,rate_rps\n", ":1: the header is 'timestamp_s,client,rate_rps'"),
        (f"{HEADER}\n", "no rows"),
        (f"{HEADER}\n0,,,1,1\n1,,,-3,1\n", ":3: input_tokens: '-3' should be a whole number, 0 or more"),
        (f"{HEADER}\n0,,,1,1.5\n", ":2: output_tokens: '1.5' should be"),
        (f"{HEADER}\n0,,,,1\n", ":2: input_tokens: '' should be"),
        (f"{HEADER}\n0,,,1,٣\n", ":2: output_tokens: '٣' should be"),
        (f"{HEADER}\n-1,,,1,1\n", ":2: timestamp_s: '-1' should be a number of seconds, 0 or more"),
        (f"{HEADER}\nnan,,,1,1\n", ":2: timestamp_s: 'nan' should be"),
        (f"{HEADER}\n0,,,1\n", ":2: has 4 cells; the header has 5"),
        (f"{HEADER},cached_input_tokens\n0,,,5,1,6\n", ":2: cached_input_tokens: 6 should not be more than input_tokens, 5"),
    ],
)
def test_a_wrong_trace_is_refused_with_its_line(trace: Callable[[str], Path], content: str, says: str) -> None:
    path = trace(content)
    with pytest.raises(ReplayError) as caught:
        read_trace(path)
    assert str(path) in str(caught.value)
    assert says in str(caught.value)


def test_a_file_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(ReplayError, match=r"none\.csv: cannot be read: No such file"):
        read_trace(tmp_path / "none.csv")
    broken = tmp_path / "broken.csv.gz"
    broken.write_bytes(gzip.compress(f"{HEADER}\n0,,,1,1\n".encode())[:-9])
    with pytest.raises(ReplayError, match=r"broken\.csv\.gz: is neither CSV nor gzipped CSV"):
        read_trace(broken)
    binary = tmp_path / "binary.csv"
    binary.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ReplayError, match="is neither CSV"):
        read_trace(binary)


# Planning


def test_a_row_takes_its_own_model_then_the_one_named_then_a_long_one() -> None:
    models = {m.id: m for m in (model("z-long"), model("b-long", 2_000_000), model("a-short", 128_000))}
    rows = [row(name="a-short"), row(name="unknown"), row()]
    calls, _ = plan_calls(rows, [models])
    assert [call.model.id for call in calls] == ["a-short", "b-long", "b-long"]
    calls, _ = plan_calls(rows, [models], "z-long")
    assert [call.model.id for call in calls] == ["a-short", "z-long", "z-long"]


def test_models_that_cannot_be_found() -> None:
    short = {"a-short": model("a-short", 128_000)}
    with pytest.raises(ReplayError, match="--model: no model 'zz' for this key; it may call a-short"):
        plan_calls([row()], [short], "zz")
    with pytest.raises(ReplayError, match="name one with --model"):
        plan_calls([row()], [short])
    assert len(plan_calls([row(name="a-short")], [short])[0]) == 1


def test_rows_beyond_the_context_or_the_output_limit_are_skipped() -> None:
    models = {"m": model("m", context=1_000, output_max=100)}
    fitting = [row("", "m", 900, 100), row("", "m", 1_000, 0), row("", "m", 0, 100)]
    too_long = [row("", "m", 901, 100), row("", "m", 1_001, 0), row("", "m", 0, 101)]
    calls, skipped = plan_calls([*fitting, *too_long], [models])
    assert [call.row for call in calls] == fitting
    assert skipped == 3


def test_keys_are_used_in_turn_and_a_session_keeps_its_key() -> None:
    models = {"m": model("m")}
    rows = [row("s1"), row(), row("s2"), row("s1"), row(), row("s2")]
    calls, _ = plan_calls(rows, [models, models])
    assert [call.key_index for call in calls] == [0, 1, 0, 0, 1, 0]


def test_calls_are_ordered_by_time_over_all_sessions() -> None:
    rows = [row("s1", at_s=0), row("s1", at_s=9), row("s2", at_s=0), row("s2", at_s=4)]
    calls, _ = plan_calls(rows, [{"m": model("m")}])
    assert [(call.row.session, call.row.timestamp_s) for call in calls] == [("s1", 0), ("s2", 0), ("s2", 4), ("s1", 9)]


def test_each_class_is_rounded_up_by_itself_in_the_tier_of_the_whole_input() -> None:
    tiers = [Tier(-1, 1_500_000, 100_000, 3), Tier(100, 7_000_000, 7, 9_000_000)]
    cheap, dear = Pricing("CURRENCY", tiers, "CNY"), Pricing("CURRENCY", tiers[::-1], "CNY")
    for pricing in (cheap, dear):
        assert expected_charge(Row(0, "", "", 100, 4, 91), pricing, 4) == 14 + 10 + 1
        assert expected_charge(Row(0, "", "", 101, 4, 91), pricing, 4) == 70 + 1 + 36
        assert expected_charge(Row(0, "", "", 0, 0), pricing, 0) == 0
    # Beyond what floats hold exactly.
    assert expected_charge(Row(0, "", "", 900_001, 18_195, 7), TOKEN, 18_195) == 918_196_000_000


def test_only_an_answer_that_quota_cut_is_due_by_its_text() -> None:
    assert output_tokens_due(row(output_tokens=100), "stop", 400) == 100
    assert output_tokens_due(row(output_tokens=100), "stop", 0) == 100
    assert output_tokens_due(row(output_tokens=100), "length", 120) == 30
    assert output_tokens_due(row(output_tokens=100), "length", 400) == 100


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize("input_tokens", [0, 1, 16_383, 16_384, 50_000])
def test_a_body_asks_the_simulator_for_what_the_row_says(input_tokens: int, stream: bool) -> None:
    call = Call(Row(0, "s", "", input_tokens, 7, input_tokens // 2), 0, model("m"))
    size, pieces = body_pieces(call, "replay-1", stream)
    body = b"".join(pieces)
    assert len(body) == size
    request = parse_request(body)
    assert request.messages[0].content is not None
    assert len(request.messages[0].content) == 4 * input_tokens
    assert (request.model, request.user, request.max_tokens) == ("m", "replay-1", 7)
    assert (bool(request.stream), request.stream_usage) == (stream, stream)
    completion = plan(request, "c", 0)
    assert (completion.input_tokens, completion.cached_input_tokens) == (input_tokens, input_tokens // 2)
    assert (completion.output_tokens, completion.finish_reason) == (7, "stop")


def test_a_row_without_output_still_has_an_output_limit() -> None:
    _, pieces = body_pieces(Call(row(output_tokens=0), 0, model("m")), "replay-1", True)
    request = parse_request(b"".join(pieces))
    assert request.max_tokens == 1
    assert plan(request, "c", 0).output_tokens == 0


# Running


def calls_of(rows: list[Row]) -> list[Call]:
    return plan_calls(rows, [{"m": model("m")}])[0]


async def test_calls_of_a_session_follow_one_another_and_others_overtake_them() -> None:
    calls = calls_of([row(f"s{i % 3}" if i % 4 else "", input_tokens=i, at_s=i) for i in range(60)])
    under_way: dict[str, int] = defaultdict(int)
    ended: dict[str, list[int]] = defaultdict(list)
    most = 0

    async def make_call(call: Call) -> None:
        nonlocal most
        session = call.row.session
        under_way[session] += 1
        most = max(most, sum(under_way.values()))
        if session:
            assert under_way[session] == 1
        await asyncio.sleep(0.002 if session == "s1" else 0)
        under_way[session] -= 1
        ended[session].append(call.row.input_tokens)

    await run_open_loop(calls, 1e9, 8, make_call)
    assert sum(len(order) for order in ended.values()) == 60
    for session in ("s0", "s1", "s2"):
        assert ended[session] == sorted(ended[session])
    assert 2 <= most <= 8


async def test_no_more_calls_than_allowed_run_at_once() -> None:
    running = most = 0

    async def make_call(_: Call) -> None:
        nonlocal running, most
        running += 1
        most = max(most, running)
        await asyncio.sleep(0)
        running -= 1

    await run_open_loop(calls_of([row() for _ in range(50)]), 1, 4, make_call)
    assert most == 4


def test_calls_start_at_their_time_whether_or_not_others_have_ended() -> None:
    loop = VirtualLoop()
    started_s = []
    release = asyncio.Event()

    async def make_call(call: Call) -> None:
        started_s.append(loop.time())
        if call.row.timestamp_s == 104:
            release.set()
        await release.wait()

    run_virtually(run_open_loop(calls_of([row(at_s=at_s) for at_s in (100, 102, 104)]), 40, 8, make_call), loop)
    assert [each - started_s[0] for each in started_s] == pytest.approx([0.0, 0.05, 0.1])


async def test_no_calls_at_all() -> None:
    async def make_call(_: Call) -> None:
        raise AssertionError

    await run_open_loop([], 1, 8, make_call)


class ScriptedEdge:
    """An edge that answers calls from a list of (status, error code; empty: an answer) and charges a fixed sum in two units."""

    def __init__(self, answers: list[tuple[int, str]]) -> None:
        self._answers = answers
        self._balances = 0

    async def models(self, _: web.Request) -> web.Response:
        tiers = [{"above_input_tokens": -1, "input": 10**12, "cached_input": 10**12, "output": 10**12}]
        model = {"id": "m", "context_window": 1_000_000, "max_output_tokens": 9, "pricing": {"unit": "TOKEN", "tiers": tiers}}
        return web.json_response({"data": [model]})

    async def balance(self, _: web.Request) -> web.Response:
        used = self._balances * 6_000_000
        self._balances += 1
        points = {"unit": "POINT", "remaining": 0, "consumed": used // 3}
        buckets = [{"unit": "TOKEN", "remaining": 9_000_000 - used, "consumed": used}, points]
        debt = [{"unit": "POINT", "incurred": used // 6}]
        return web.json_response({"account_id": "a", "buckets": buckets, "debt": debt})

    async def chat(self, _: web.Request) -> web.Response:
        status, code = self._answers.pop(0)
        if code:
            return web.json_response({"error": {"message": "no", "type": "insufficient_quota", "code": code}}, status=status)
        usage = {"prompt_tokens": 4, "completion_tokens": 2}
        return web.json_response({"choices": [{"message": {"content": "x" * 8}, "finish_reason": "stop"}], "usage": usage})


async def test_what_quota_and_limits_refuse_is_refused_and_each_unit_is_told_by_itself(trace: Callable[[str], Path]) -> None:
    edge = ScriptedEdge([(402, "insufficient_quota"), (200, ""), (429, "usage_limit_reached"), (403, "forbidden")])
    app = web.Application()
    app.add_routes([web.get("/v1/models", edge.models), web.get("/v1/me/balance", edge.balance)])
    app.add_routes([web.post("/v1/chat/completions", edge.chat)])
    async with TestServer(app) as server:
        rows = trace(HEADER + "\n" + "0,,m,4,2\n" * 4)
        url = f"http://127.0.0.1:{server.port}/v1"
        report = await replay(ReplayOptions(trace=rows, base_url=url, api_keys=["k"], stream=False, concurrency=1))
    assert report.refused == {"insufficient_quota": 1, "usage_limit_reached": 1}
    assert (report.succeeded, report.failures) == (1, {"403 forbidden": 1})
    # The tokens are exact; points were charged beside them.
    assert (report.unit, report.charged, report.expected) == ("TOKEN", 6_000_000, 6_000_000)
    assert report.other_charges == [Charged("POINT", "", 3_000_000)]
    assert not report.exact


# Printing


def test_percentiles_by_nearest_rank() -> None:
    assert percentiles([float(i) for i in range(100, 0, -1)]) == Latency(50, 90, 99)
    assert percentiles([1.234]) == Latency(1.23, 1.23, 1.23)
    assert percentiles([]) == Latency(None, None, None)


REPORT = ReplayReport(
    run_id="replay-1", calls=3, succeeded=1, cut=0, refused={"insufficient_quota": 1}, failed=1,
    failures={"503 overloaded": 1}, skipped=2, tokens={"input": 5}, latency_ms=Latency(None, None, None),
    charged=7_000_000, expected=5_500_000, other_charges=[], exact=False, balance_before=9_000_000, balance_after=2_000_000,
    unit="TOKEN", currency="",
)  # fmt: skip


def printed(report: ReplayReport) -> dict[Any, Any]:
    table = report_table(report)
    return dict(zip(table.columns[0].cells, table.columns[1].cells, strict=True))


def test_the_table_tells_a_difference() -> None:
    told = printed(REPORT)
    assert told["  insufficient_quota"] == "1"
    assert told["  503 overloaded"] == "1"
    assert told["the bill equals the sum"] == "NO, it differs by 1.5 TOKEN"


def test_the_table_tells_a_charge_in_another_unit() -> None:
    overage = [Charged("CURRENCY", "CNY", 47_300)]
    told = printed(msgspec.structs.replace(REPORT, charged=5_500_000, other_charges=overage))
    assert told["  and in another unit"] == "0.0473 CNY"
    assert told["the bill equals the sum"] == "NO, the rest is in another unit"


def test_json_says_once_what_its_integers_are_of() -> None:
    told = msgspec.to_builtins(REPORT)
    assert told["amounts_in"] == "micro_units"
    assert told["charged"] == 7_000_000


def test_tokens_are_told_by_class() -> None:
    usage = b'{"prompt_tokens":100,"completion_tokens":50,"prompt_tokens_details":{"cached_tokens":30,"audio_tokens":5,"x":[]}'
    details = b',"completion_tokens_details":{"reasoning_tokens":20,"audio_tokens":null}}'
    answer = msgspec.json.decode(b'{"usage":' + usage + details + b"}", type=Answer)
    assert answer.usage is not None
    by_class = {"input": 65, "cached_input": 30, "audio_input": 5, "output": 30, "reasoning": 20}
    assert tokens_by_class(answer.usage) == by_class
    assert set(by_class) <= set(TOKEN_CLASSES)
    assert tokens_by_class(msgspec.json.decode(b'{"prompt_tokens":7}', type=Usage)) == {"input": 7, "output": 0}


# The command


def test_errors_are_one_line_and_end_with_2(tmp_path: Path, trace: Callable[[str], Path]) -> None:
    good = str(trace(f"{HEADER}\n0,,,1,1\n"))
    nowhere = ["--base-url", "http://127.0.0.1:9/v1"]

    def run(*arguments: str) -> str:
        result = click.testing.CliRunner().invoke(replay_command, arguments)
        assert result.exit_code == 2
        assert result.stderr.count("\n") == 1
        assert result.stdout == ""
        return result.stderr

    assert "cannot be reached" in run(good, *nowhere, "--api-key", "k")
    assert "cannot be read" in run(str(tmp_path / "none"), *nowhere, "--api-key", "k")
    assert "should begin with http://" in run(good, "--base-url", "localhost:8080/v1", "--api-key", "k")
    assert "no demo key in" in run(good, *nowhere, "--data-dir", str(tmp_path))
    (tmp_path / "demo.json").write_text(json.dumps({"base_url": "http://127.0.0.1:9/v1"}))
    assert "missing required field `api_key`" in run(good, *nowhere, "--data-dir", str(tmp_path))
    (tmp_path / "demo.json").write_text(json.dumps({"base_url": "x", "api_key": "k"}))
    assert "cannot be reached" in run(good, *nowhere, "--data-dir", str(tmp_path))

"""Counts of calls: how they ended, what they used, whom quota refused, and what vendors did."""

from pathlib import Path

from services.edge.call.outcome import Ended
from services.edge.vendors.vendor import VendorFailure
from tests.edge.call.line_dialect import END, FINISH, counted, say
from tests.edge.call.scene import Scene
from tokenline.accounting.v1 import accounting_pb2 as pb

COUNT = counted(input=3, output=2)


async def test_a_call_is_counted_once_with_its_end_its_usage_and_each_attempt() -> None:
    scene = Scene()
    scene.vendors.answers(VendorFailure("refused", 503))
    scene.vendors.answers(say("hello"), FINISH, COUNT, END, vendor="beta")
    await scene.call("model=pair stream=yes")
    metrics = scene.metrics
    assert metrics.calls.counts == {("pair", "whole"): 1}
    assert metrics.usage.counts == {("pair", "input"): 3, ("pair", "output"): 2}
    assert metrics.attempts.counts == {("acme", "acme-pair", "refused"): 1, ("beta", "beta-pair", "answered"): 1}
    first = ("chat", "beta", "pair")
    assert metrics.first_tokens.series == [first]
    assert metrics.operations.series == [("chat", "acme", "pair", "refused"), (*first, "")]
    assert (metrics.first_tokens.buckets(*first)["+Inf"], metrics.operations.buckets(*first, "")["+Inf"]) == (1, 1)
    # From the second attempt on.
    assert max(metrics.first_tokens.sum_of(*first), metrics.operations.sum_of(*first, "")) < 10


async def test_the_time_that_a_call_waits_for_us_is_recorded_once_before_its_vendor_and_once_at_its_end() -> None:
    scene = Scene()
    scene.vendors.answers(VendorFailure("refused", 503))
    scene.vendors.answers(say("hello"), FINISH, COUNT, END, vendor="beta")
    await scene.call("model=pair stream=yes")
    added = scene.metrics.added
    assert {part: added.buckets(part)["+Inf"] for (part,) in added.series} == {"opening": 1, "settling": 1}


async def test_a_call_that_no_vendor_answers_is_as_many_failed_operations_as_attempts() -> None:
    scene = Scene()
    scene.vendors.answers(VendorFailure("refused", 503))
    scene.vendors.answers(VendorFailure("unreachable", 0), vendor="beta")
    await scene.call("model=pair stream=no")
    operations = scene.metrics.operations
    assert {
        (vendor, error): operations.buckets("chat", vendor, "pair", error)["+Inf"] for _, vendor, _, error in operations.series
    } == {
        ("acme", "refused"): 1,
        ("beta", "unreachable"): 1,
    }


async def test_an_answer_whose_vendor_breaks_off_is_an_operation_with_an_error() -> None:
    scene = Scene()
    scene.vendors.answers(say("hello"), VendorFailure("broken", 200))
    await scene.call("model=solo stream=yes")
    assert scene.metrics.operations.series == [("chat", "acme", "solo", "broken")]


async def test_a_whole_answer_has_no_time_to_its_first_token() -> None:
    scene = Scene()
    scene.vendors.answers(say("hello"), FINISH, COUNT, END)
    await scene.call("model=solo stream=no")
    assert scene.metrics.operations.buckets("chat", "acme", "solo", "")["+Inf"] == 1
    assert scene.metrics.first_tokens.series == []


async def test_a_call_whose_client_leaves_is_counted_as_left() -> None:
    scene = Scene()
    scene.vendors.answers(say("hello"), 0.5, say("there"), FINISH, COUNT, END)
    await scene.left("model=solo stream=yes", lambda client: b"hello" in client.body)
    assert scene.metrics.calls.counts == {("solo", "left"): 1}


async def test_a_refusal_is_counted_by_its_reason_and_is_no_call() -> None:
    scene = Scene()
    scene.charging.refuses = [pb.Refused(result_code=pb.RESULT_CODE_RATE_LIMITED, limit_id="calls@key", retry_after_ms=1_500)]
    await scene.call("stream=yes limit=100")
    assert (scene.metrics.refusals.counts, scene.metrics.calls.counts) == ({("rate_limit_exceeded",): 1}, {})


def test_the_page_of_metrics_names_every_end_of_a_call() -> None:
    page = (Path(__file__).parents[3] / "docs" / "metrics.md").read_text(encoding="utf-8")
    (row,) = (line for line in page.splitlines() if line.startswith("| `edge_calls_total`"))
    assert [ended.value for ended in Ended if f"`{ended.value}`" not in row] == []

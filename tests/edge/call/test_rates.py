"""What limits on rates leave, in the headers of answers and in the words of each dialect."""

from typing import Any

import pytest

from services.edge.app import CALLS
from services.edge.call.dialect import Rate
from services.edge.dialects.anthropic_messages.dialect import COUNT_TOKENS, MESSAGES
from services.edge.dialects.openai import time_to_go
from tests.edge.call.line_dialect import END, FINISH, counted, say
from tests.edge.call.scene import Scene
from tokenline.accounting.v1 import accounting_pb2 as pb

COUNT = counted(input=3, output=2)
REQUESTS = pb.RateLeft(limit=60, remaining=59, reset_ms=1_000)
TOKENS = pb.RateLeft(limit=9_000, remaining=100, reset_ms=360_000)


@pytest.mark.parametrize("head", ["model=solo stream=yes", "model=solo"])
async def test_an_answer_tells_what_rates_leave(head: str) -> None:
    scene = Scene()
    scene.charging.rates = {"request_rate": REQUESTS, "token_rate": TOKENS}
    scene.vendors.answers(say("hello"), FINISH, COUNT, END)
    caller = await scene.call(head)
    assert caller.status == 200
    assert caller.header("line-requests") == "59 of 60, 1000 ms"
    assert caller.header("line-tokens") == "100 of 9000, 360000 ms"


@pytest.mark.parametrize("rates", [{}, {"token_rate": TOKENS}])
async def test_a_rate_that_is_not_told_has_no_header(rates: dict[str, Any]) -> None:
    scene = Scene()
    scene.charging.rates = rates
    scene.vendors.answers(say("hello"), FINISH, COUNT, END)
    caller = await scene.call("model=solo")
    assert (caller.header("line-requests"), bool(caller.header("line-tokens"))) == (None, bool(rates))


async def test_a_refusal_tells_them_too_beside_when_to_come_again() -> None:
    scene = Scene()
    refused = pb.Refused(result_code=pb.RESULT_CODE_RATE_LIMITED, limit_id="rpm@account", retry_after_ms=1_500)
    refused.request_rate.CopyFrom(pb.RateLeft(limit=60, remaining=0, reset_ms=60_000))
    scene.charging.refuses.append(refused)
    caller = await scene.call("model=solo stream=yes")
    assert (caller.status, caller.header("line-requests")) == (429, "0 of 60, 60000 ms")
    told = [caller.header(name) for name in ("retry-after-ms", "retry-after", "x-should-retry")]
    assert told == ["1500", "2", "true"]


async def test_the_last_answer_of_accounting_counts() -> None:
    scene = Scene()
    first = pb.Refused(result_code=pb.RESULT_CODE_QUOTA_LIMIT_REACHED, needed_amount=9, free_amount=1)
    first.request_rate.CopyFrom(REQUESTS)
    scene.charging.refuses.append(first)
    scene.charging.rates = {"request_rate": pb.RateLeft(limit=60, remaining=7, reset_ms=1)}
    scene.vendors.answers(say("hello"), FINISH, COUNT, END)
    caller = await scene.call("model=exact", "人工智能" * 50)
    assert (caller.status, caller.header("line-requests")) == (200, "7 of 60, 1 ms")


RATES = [Rate("requests", 60, 59, 1_000), Rate("tokens", 9_000, 100, 360_001)]


def test_anthropics_headers_have_the_time_at_which_all_is_left_again() -> None:
    # 2023-11-14T22:13:20Z.
    assert MESSAGES.rate_headers(RATES, 1_700_000_000_000) == [
        (b"anthropic-ratelimit-requests-limit", b"60"),
        (b"anthropic-ratelimit-requests-remaining", b"59"),
        (b"anthropic-ratelimit-requests-reset", b"2023-11-14T22:13:21Z"),
        (b"anthropic-ratelimit-tokens-limit", b"9000"),
        (b"anthropic-ratelimit-tokens-remaining", b"100"),
        (b"anthropic-ratelimit-tokens-reset", b"2023-11-14T22:19:21Z"),
    ]


@pytest.mark.parametrize("dialect", [dialect for _, dialect in CALLS if dialect not in (MESSAGES, COUNT_TOKENS)])
def test_openais_headers_have_the_time_to_go(dialect: Any) -> None:
    assert dialect.rate_headers(RATES, 1_700_000_000_000) == [
        (b"x-ratelimit-limit-requests", b"60"),
        (b"x-ratelimit-remaining-requests", b"59"),
        (b"x-ratelimit-reset-requests", b"1s"),
        (b"x-ratelimit-limit-tokens", b"9000"),
        (b"x-ratelimit-remaining-tokens", b"100"),
        (b"x-ratelimit-reset-tokens", b"6m1s"),
    ]


@pytest.mark.parametrize(
    ("ms", "written"),
    [
        *((0, "0s"), (1, "1ms"), (999, "999ms"), (1_000, "1s"), (1_001, "2s"), (59_001, "1m0s"), (360_000, "6m0s")),
        *((3_599_001, "1h0m0s"), (3_600_000 * 25 + 61_000, "25h1m1s")),
    ],
)
def test_a_time_to_go_is_never_told_too_short(ms: int, written: str) -> None:
    assert time_to_go(ms) == written

"""Agents on little money under `expected`: nobody is refused for what others only reserve, and the overdraft is bounded."""

import random

import pytest

from tests.accounting.agents import STOCK, Call, calls_of, measure
from tests.accounting.ledger import usage
from tests.traces import TRACES, needs_traces

AT_ONCE = pytest.mark.parametrize("at_once", [1, 4])


def invented_calls(count: int) -> list[Call]:
    """Sessions that grow call by call, each call's input the cached one before and something new, as agents' are."""
    rng = random.Random(5)
    calls = []
    for session in range(count // 20):
        known = 0
        for _ in range(20):
            new = rng.randrange(200, 8_000)
            calls.append(Call(f"session-{session}", usage(input=new, cached_input=known, output=rng.randrange(1, 3_000))))
            known += new
    return calls


@AT_ONCE
def test_agents_with_three_times_their_largest_call_are_not_refused_for_nothing(at_once: int) -> None:
    measured = measure(invented_calls(1_000), at_once, STOCK)
    assert measured.charged > 0
    assert (measured.phantom, measured.beyond_bound) == (0, 0)


@AT_ONCE
def test_agents_with_less_than_their_largest_call_overdraw_within_the_bound(at_once: int) -> None:
    measured = measure(invented_calls(1_000), at_once, 0.6)
    assert (measured.phantom, measured.beyond_bound) == (0, 0)
    # So that the bound is put to the test.
    assert measured.bound > measured.overdraft > 0


@needs_traces
@AT_ONCE
def test_real_agents_are_not_refused_for_nothing(at_once: int) -> None:
    measured = measure(calls_of(TRACES / "agent_claude_code.csv.gz", 3_000), at_once)
    assert measured.calls == 3_000
    assert (measured.phantom, measured.overdraft) == (0, 0)

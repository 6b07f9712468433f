"""Which requests are kept: decided at their end, since only then it is known what became of them."""

from typing import Any

import pytest

from services.runtime.traces import Part, Sampling, Trace, Tracing

SECOND_NS = 1_000_000_000


class Kept(Tracing):
    """Draws nothing, and sends to nobody."""

    def __init__(self) -> None:
        self.sampling = Sampling(0, follows_parent=True, slow_s=2.0)
        self._second = 0
        self._kept = 0
        self.names: list[str] = []

    def span(self, part: Part, *_: Any, **__: Any) -> None:
        self.names.append(part.name)


def ended(tracing: Kept, status: int, *, failed: str = "", took_s: float = 0.0, second: int = 1) -> None:
    """A request that began as long before it ended, in a second of its own."""
    trace = Trace(tracing, f"{status} {failed}{took_s:g}", 7, None)
    trace.root.ended_ns = second * SECOND_NS
    trace.root.began_ns = trace.root.ended_ns - round(took_s * SECOND_NS)
    trace.failed = failed
    trace.end(status)


@pytest.mark.parametrize(
    ("status", "failed", "took_s", "is_kept"),
    [
        (200, "", 1.9, False),
        (200, "", 2.0, True),
        # An answer that broke off has begun with 200.
        (200, "broken", 0.0, True),
        (399, "", 0.0, False),
        (400, "", 0.0, True),
        (503, "", 0.0, True),
    ],
)
def test_what_fails_is_refused_or_is_slow_is_kept(status: int, failed: str, took_s: float, is_kept: bool) -> None:
    tracing = Kept()
    ended(tracing, status, failed=failed, took_s=took_s)
    assert len(tracing.names) == is_kept


def test_twenty_a_second_are_kept_of_those_that_were_not_drawn() -> None:
    tracing = Kept()
    for second in (1, 2):
        for _ in range(30):
            ended(tracing, 429, second=second)
    assert len(tracing.names) == 40

"""A call's trace: how it ended, and what it used."""

from typing import Final

import pytest

from services.edge.call.outcome import Ended, tell_trace
from services.edge.call.usage import Source, Used
from services.runtime.traces import Sampling, Trace, Tracing

# Of four hundred of input a hundred came from a cache, and of sixty of output twenty were thought.
USED: Final = Used((300, 100, 0, 40, 20), (), Source.VENDOR, ())


class NeverDraws(Tracing):
    """Draws nothing, and sends to nobody."""

    def __init__(self) -> None:
        self.sampling = Sampling(0, follows_parent=True, slow_s=2.0)


@pytest.mark.parametrize(("ended", "failed"), [(Ended.WHOLE, ""), (Ended.BROKEN, "broken"), (Ended.LEFT, "")])
def test_a_trace_tells_of_all_input_and_output_and_fails_where_an_answer_broke_off(ended: Ended, failed: str) -> None:
    trace = Trace(NeverDraws(), "chat", 7, None)
    tell_trace(trace, "qwen3", ended, USED)
    assert trace.root.attributes == {
        "gen_ai.request.model": "qwen3",
        "gen_ai.usage.input_tokens": 400,
        "gen_ai.usage.output_tokens": 60,
        "tokenline.ended": ended.value,
    }
    assert trace.failed == failed

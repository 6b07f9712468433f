"""A vendor's scores on their way to the client. Pure.

The answer is written anew, in one shape for every vendor: each result has the index of its document and its score, the best
first, as the vendor says them. Documents come from the request, where the client wants them back.
"""

import math
from collections.abc import Sequence
from typing import Any, Final

import msgspec

from services.edge.call.dialect import Ending, Step
from services.edge.dialects.json_text import NOT_JSON, encode
from services.edge.dialects.refusals import refusal_in
from services.edge.http.problems import Problem, problem_body
from services.edge.vendors.events import Event
from services.edge.vendors.profile import UsageReading
from services.edge.vendors.usage import EMBEDDINGS, VendorCount, at, read_usage
from services.edge.vendors.vendor import VendorFailure
from services.token_classes import INPUT_INDEXES, NOTHING, Vector, total_input, trimmed

_WORD_CHARACTERS_MAX: Final = 256
# Places of a count: Jina's and Alibaba's, Cohere's, SiliconFlow's.
_PLACES: Final = (("usage",), ("meta", "tokens"), ("meta", "billed_units"))


class _Result(msgspec.Struct, gc=False):
    index: int
    relevance_score: float


_results_type: Final = list[_Result]


class RerankAnswer:
    """See `services.edge.call.dialect.Answer`. It never streams."""

    content_type = "application/json"
    tells_usage = None

    def __init__(self, reading: UsageReading, model_id: str, documents: int, results: int, texts: Sequence[str]) -> None:
        """`results`: at most as many are wanted. `texts`: the documents, where the client wants them back; else empty."""
        self._reading = reading
        self._model_id = model_id
        self._documents = documents
        self._most = results
        self._texts = texts
        self._id = ""
        self._results: list[_Result] = []

    def feed(self, event: Event) -> Step:
        """See `services.edge.call.dialect.Answer`. No vendor streams ranks."""
        raise VendorFailure("garbage", 200)

    def feed_whole(self, body: bytes) -> Step:
        """See `services.edge.call.dialect.Answer`. Where the vendor gave no count, the input's own holds; the output is none."""
        try:
            whole = msgspec.json.decode(body)
        except NOT_JSON:
            raise refusal_in(body) from None
        found = at(whole, ("results",)) or at(whole, ("output", "results"))
        try:
            results = msgspec.convert(found, _results_type)
        except msgspec.ValidationError:
            raise refusal_in(body) from None
        indexes = {result.index for result in results}
        are_right = len(indexes) == len(results) and indexes <= set(range(self._documents))
        if not are_right or not results or not all(math.isfinite(result.relevance_score) for result in results):
            raise VendorFailure("garbage", 200)
        self._results = results[: self._most]
        named = at(whole, ("id",))
        self._id = named if isinstance(named, str) and len(named) <= _WORD_CHARACTERS_MAX else ""
        counted = self._count(whole)
        counts = NOTHING if counted is None else counted.counts
        is_odd = counted is not None and counted.is_odd
        has_input = counted is not None and counted.has_input
        # The output is none.
        return Step(counted=VendorCount(counts, has_input, has_output=True, is_odd=is_odd), finished=True, ended=True)

    def _count(self, whole: Any) -> VendorCount | None:
        for place in _PLACES:
            counted = read_usage(at(whole, place), EMBEDDINGS, self._reading)
            if counted is not None and counted.has_input:
                inputs = [tokens if index in INPUT_INDEXES else 0 for index, tokens in enumerate(counted.counts)]
                return counted._replace(counts=trimmed(inputs))
        return None

    def end(self, ending: Ending, used: Vector) -> bytes:
        """See `services.edge.call.dialect.Answer`. The usage that is told is the charged one."""
        tokens = total_input(used)
        answer: dict[str, Any] = {"id": self._id} if self._id else {}
        answer["model"] = self._model_id
        answer["results"] = [self._told(result) for result in self._results]
        answer["usage"] = {"prompt_tokens": tokens, "total_tokens": tokens}
        return encode(answer)

    def _told(self, result: _Result) -> dict[str, Any]:
        told: dict[str, Any] = {"index": result.index, "relevance_score": result.relevance_score}
        if self._texts:
            told["document"] = {"text": self._texts[result.index]}
        return told

    def interrupted(self, problem: Problem, charging_id: str) -> bytes:
        """See `services.edge.call.dialect.Answer`."""
        return problem_body(problem)

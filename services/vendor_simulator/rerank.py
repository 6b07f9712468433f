"""Ranks of documents: the request as it is read, and a score for each document, the same for the same texts."""

import zlib
from typing import Annotated, Final, Never, cast

import msgspec

from services.vendor_simulator.answer import CountedAnswer, count
from services.vendor_simulator.errors import RefusedError, error_body
from services.vendor_simulator.reading import Names, read_body
from services.vendor_simulator.simulate import PLAIN, Simulate
from services.vendor_simulator.text import count_tokens


class RerankRequest(msgspec.Struct, frozen=True):
    """The fields that change the answer; all others are accepted and ignored, as long as the body is JSON."""

    model: str
    query: str
    documents: list[str]
    top_n: Annotated[int, msgspec.Meta(ge=1)] | None = None
    user: str | None = None
    simulate: Simulate = PLAIN

    @property
    def stream(self) -> bool:
        """Ranks are not streamed."""
        return False

    @property
    def last_text(self) -> str:
        """The query."""
        return self.query


_strict_type: Final = msgspec.defstruct("StrictRerankRequest", [], bases=(RerankRequest,), frozen=True, forbid_unknown_fields=True)
_strict: Final = msgspec.json.Decoder(cast(type[RerankRequest], _strict_type))
_NAMES: Final[Names] = dict.fromkeys(("model", "query", "documents", "top_n", "user", "simulate"))


def parse_rerank(body: bytes) -> RerankRequest:
    """The request in `body`, read as Go reads it. Errors: `RefusedError` with status 400, which names the field at fault."""
    request = read_body(body, _strict, _NAMES, error_body)
    if not request.documents:
        raise RefusedError(
            400, error_body("Invalid 'documents': empty list.", "invalid_request_error", "invalid_value", "documents")
        )
    return request


class RerankAnswer(CountedAnswer, frozen=True):
    """The answer to one call: scores, the best first, and no output."""

    request: RerankRequest

    def answer(self) -> bytes:
        """The body of the answer."""
        request = self.request
        scores = [zlib.crc32(f"{request.query}\n{each}".encode()) / 2**32 for each in request.documents]
        ranked = sorted(range(len(scores)), key=lambda index: -scores[index])[: request.top_n]
        body: dict[str, object] = {
            "id": "rank-1",
            "results": [{"index": index, "relevance_score": scores[index]} for index in ranked],
        }
        if self.counts.simulate.usage_report.place != "none":
            body["meta"] = {"tokens": {"input_tokens": self.input_tokens, "output_tokens": 0}}
        return msgspec.json.encode(body)

    def events(self) -> Never:
        """Ranks are not streamed."""
        raise AssertionError("ranks are not streamed")


def plan_rerank(request: RerankRequest) -> RerankAnswer:
    """The answer to `request` if nothing fails."""
    simulate = request.simulate
    input_tokens = count_tokens([*request.documents, *([request.query] * len(request.documents))])
    return RerankAnswer(count(simulate, input_tokens + simulate.added_input_tokens, 0), request)

"""The dialect of OpenAI's responses, for the call path. Pure."""

from collections.abc import Mapping, Sequence
from typing import Final

from services.edge.call.dialect import Body, Charged, Rate
from services.edge.dialects.conversation import session_of
from services.edge.dialects.openai import rate_headers
from services.edge.dialects.responses.request import ResponsesRequest
from services.edge.http import problems
from services.edge.http.problems import Header, Problem

_PAYMENT_REQUIRED: Final = 402
_TOO_MANY: Final = 429
# Fields that problems name as chat completions do.
_PARAMS: Final = {"messages": "input"}


class Responses:
    """See `services.edge.call.dialect.Dialect`."""

    name = "openai_responses"
    charged = Charged.INPUT_AND_OUTPUT
    request_id_header = b"x-request-id"
    is_json = True

    def read(self, body: Body, headers: Mapping[bytes, bytes]) -> ResponsesRequest:
        """See `services.edge.call.dialect.Dialect`. No header changes what a body means; one may name its session."""
        return ResponsesRequest(body.content, session_of(headers))

    def problem_body(self, problem: Problem, charging_id: str) -> bytes:
        """See `services.edge.call.dialect.Dialect`. The charging_id stands in x-request-id alone."""
        return problems.problem_body(problem, _PARAMS)

    def status_of(self, problem: Problem) -> int:
        """429 for a quota that is used up: these clients take 402 for a failure, and try again."""
        return _TOO_MANY if problem.status == _PAYMENT_REQUIRED else problem.status

    def rate_headers(self, rates: Sequence[Rate], now_ms: int) -> list[Header]:
        """See `services.edge.call.dialect.Dialect`."""
        return rate_headers(rates)

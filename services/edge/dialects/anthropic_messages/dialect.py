"""The dialect of Anthropic's messages, for the call path: reading requests, wording problems."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Final

from services.edge.call.dialect import Body, Charged, Rate, Request
from services.edge.dialects.anthropic_messages.problems import problem_body, status_of
from services.edge.dialects.anthropic_messages.request import read_request
from services.edge.http.problems import Header, Problem


class AnthropicMessages:
    """One of the dialect's two requests: a message, or (`counting`) the free count of its tokens."""

    name: Final = "anthropic_messages"
    request_id_header: Final = b"request-id"
    is_json: Final = True

    def __init__(self, *, counting: bool = False) -> None:
        self._counting = counting
        self.charged = Charged.NOTHING if counting else Charged.INPUT_AND_OUTPUT

    def read(self, body: Body, headers: Mapping[bytes, bytes]) -> Request:
        """Reads a request. Errors: `Problem` 400 that names the field and says what would be right."""
        return read_request(body.content, headers, counting=self._counting)

    def problem_body(self, problem: Problem, charging_id: str) -> bytes:
        """An error answer's JSON body; also the data of an error event."""
        return problem_body(problem, charging_id)

    def status_of(self, problem: Problem) -> int:
        """The HTTP status under which Anthropic's clients understand the problem."""
        return status_of(problem)

    def rate_headers(self, rates: Sequence[Rate], now_ms: int) -> list[Header]:
        """Anthropic's headers of what rates leave; the reset is a time in whole seconds, rounded up, as RFC 3339."""
        headers = []
        for rate in rates:
            reset = datetime.fromtimestamp(-(-(now_ms + rate.reset_ms) // 1_000), UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
            for name, value in (("limit", rate.limit), ("remaining", rate.remaining), ("reset", reset)):
                headers.append((f"anthropic-ratelimit-{rate.of}-{name}".encode("ascii"), str(value).encode("ascii")))
        return headers


MESSAGES: Final = AnthropicMessages()
COUNT_TOKENS: Final = AnthropicMessages(counting=True)

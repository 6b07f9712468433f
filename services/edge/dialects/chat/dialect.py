"""The dialect of OpenAI's chat completions, for the call path. Pure."""

from collections.abc import Mapping

from services.edge.call.dialect import Body
from services.edge.dialects.chat.request import ChatRequest
from services.edge.dialects.conversation import session_of
from services.edge.http import problems
from services.edge.http.problems import Problem


class ChatCompletions:
    """See `services.edge.call.dialect.Dialect`."""

    name = "openai_chat"
    request_id_header = b"x-request-id"

    def read(self, body: Body, headers: Mapping[bytes, bytes]) -> ChatRequest:
        """See `services.edge.call.dialect.Dialect`. No header changes what a body means; one may name its session."""
        return ChatRequest(body.content, session_of(headers))

    def problem_body(self, problem: Problem, charging_id: str) -> bytes:
        """See `services.edge.call.dialect.Dialect`. The charging_id stands in x-request-id alone."""
        return problems.problem_body(problem)

    def status_of(self, problem: Problem) -> int:
        """The problem's own status: chat's clients understand each as it stands in `problems`."""
        return problem.status

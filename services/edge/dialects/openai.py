"""The parts that OpenAI's older dialects share: chat completions, completions, embeddings. Pure."""

from services.edge.http import problems
from services.edge.http.problems import Problem


class OpenAiWords:
    """The words of a dialect for problems, and the header of its answers. See `services.edge.call.dialect.Dialect`."""

    request_id_header = b"x-request-id"
    is_json = True

    def problem_body(self, problem: Problem, charging_id: str) -> bytes:
        """See `services.edge.call.dialect.Dialect`. The charging_id stands in x-request-id alone."""
        return problems.problem_body(problem)

    def status_of(self, problem: Problem) -> int:
        """The problem's own status: these dialects' clients understand each as it stands in `problems`."""
        return problem.status

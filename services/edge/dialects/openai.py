"""The parts that OpenAI's older dialects share: chat completions, completions, embeddings. Pure."""

from collections.abc import Sequence

from services.edge.call.dialect import Rate
from services.edge.http import problems
from services.edge.http.problems import Header, Problem


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

    def rate_headers(self, rates: Sequence[Rate], now_ms: int) -> list[Header]:
        """See `services.edge.call.dialect.Dialect`."""
        return rate_headers(rates)


def rate_headers(rates: Sequence[Rate]) -> list[Header]:
    """OpenAI's headers of what rates leave; times to go are like `20ms`, `1s` and `6m0s`."""
    headers = []
    for rate in rates:
        for name, value in (("limit", rate.limit), ("remaining", rate.remaining), ("reset", time_to_go(rate.reset_ms))):
            headers.append((f"x-ratelimit-{name}-{rate.of}".encode("ascii"), str(value).encode("ascii")))
    return headers


def time_to_go(ms: int) -> str:
    """A time as OpenAI's headers have it: milliseconds below a second, else seconds rounded up, with minutes and hours."""
    if 0 < ms < 1_000:
        return f"{ms}ms"
    minutes, seconds = divmod(-(-ms // 1_000), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours}h{minutes}m{seconds}s"
    return f"{minutes}m{seconds}s" if minutes else f"{seconds}s"

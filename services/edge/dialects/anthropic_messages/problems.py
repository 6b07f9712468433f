"""Problems in Anthropic's words: a status, a type and a message; the type stands for OpenAI's type and code."""

from typing import Final

from services.edge.dialects.json_text import encode
from services.edge.http.problems import INSUFFICIENT_QUOTA, Problem

_LIMIT_REACHED: Final = "usage_limit_reached"
_RETRIED: Final = (b"x-should-retry", b"true")
_BILLING: Final = 402
_UNAVAILABLE: Final = 503
_OVERLOADED: Final = 529
_TYPES: Final = {
    400: "invalid_request_error",
    401: "authentication_error",
    402: "billing_error",
    403: "permission_error",
    404: "not_found_error",
    413: "request_too_large",
    429: "rate_limit_error",
    500: "api_error",
    502: "api_error",
    504: "timeout_error",
    _OVERLOADED: "overloaded_error",
}


def status_of(problem: Problem) -> int:
    """402 for a balance that is used up, which clients show at once; a held balance, and a window, stay 429.

    Temporary failures are 529, as at Anthropic, whose clients wait and try again.
    """
    if problem.status == _UNAVAILABLE:
        return _OVERLOADED
    if problem.status == 429 and problem.code == INSUFFICIENT_QUOTA and _RETRIED not in problem.headers:
        return _BILLING
    return problem.status


def problem_body(problem: Problem, charging_id: str) -> bytes:
    """The JSON of an error."""
    status = status_of(problem)
    kind = _TYPES.get(status) or ("invalid_request_error" if status < 500 else "api_error")
    message = problem.message
    if problem.code == _LIMIT_REACHED and _LIMIT_REACHED not in message:
        # The message carries the code, because there is no field for it, and clients must tell a window from a rate limit.
        message = f"{_LIMIT_REACHED}: {message}"
    return encode({"type": "error", "error": {"type": kind, "message": message}, "request_id": charging_id})

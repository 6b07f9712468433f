"""Problems in Anthropic's words, as the official SDK reads them."""

import anthropic
import msgspec
import pytest

from services.edge.dialects.anthropic_messages.dialect import COUNT_TOKENS, MESSAGES
from services.edge.http import problems
from services.edge.http.problems import Problem
from tests.edge.dialects.anthropic_client import read_error


@pytest.mark.parametrize(
    ("problem", "status", "kind", "error"),
    [
        (problems.invalid_api_key("sk-1"), 401, "authentication_error", anthropic.AuthenticationError),
        (problems.quota_used_up(2, 1, "TOKEN"), 402, "billing_error", anthropic.APIStatusError),
        (Problem(402, "insufficient_quota", "insufficient_quota", "Used up."), 402, "billing_error", anthropic.APIStatusError),
        (problems.quota_held(2, 1, 1, "TOKEN", 500), 429, "rate_limit_error", anthropic.RateLimitError),
        (problems.rate_limited("rpm@key", 500), 429, "rate_limit_error", anthropic.RateLimitError),
        (Problem(429, "insufficient_quota", "usage_limit_reached", "Spent."), 429, "rate_limit_error", anthropic.RateLimitError),
        (problems.model_not_found("m"), 404, "not_found_error", anthropic.NotFoundError),
        (problems.too_large(9), 413, "request_too_large", anthropic.APIStatusError),
        (problems.by_server(408), 408, "invalid_request_error", anthropic.APIStatusError),
        (problems.context_length_exceeded("m", 9, 9), 400, "invalid_request_error", anthropic.BadRequestError),
        (problems.malformed("messages", "No."), 400, "invalid_request_error", anthropic.BadRequestError),
        (problems.key_ended("it has ended"), 403, "permission_error", anthropic.PermissionDeniedError),
        (problems.method_not_allowed("GET", "/v1/messages", "POST"), 405, "invalid_request_error", anthropic.APIStatusError),
        (problems.unavailable("accounting"), 529, "overloaded_error", anthropic.OverloadedError),
        (problems.vendor_unavailable("Busy."), 529, "overloaded_error", anthropic.OverloadedError),
        (problems.vendor_failed("Broken."), 502, "api_error", anthropic.InternalServerError),
        (problems.internal_error(), 500, "api_error", anthropic.InternalServerError),
    ],
)
def test_a_problem_has_a_status_and_a_type(problem: Problem, status: int, kind: str, error: type[anthropic.APIStatusError]) -> None:
    body = MESSAGES.problem_body(problem, "call-1")
    assert MESSAGES.status_of(problem) == COUNT_TOKENS.status_of(problem) == status
    decoded = msgspec.json.decode(body)
    assert decoded["type"] == "error"
    assert decoded["request_id"] == "call-1"
    assert decoded["error"]["type"] == kind
    assert problem.message in decoded["error"]["message"]
    raised = read_error(status, body)
    assert isinstance(raised, error)
    assert problem.message in raised.message


def test_a_window_that_is_used_up_is_told_from_a_rate_limit() -> None:
    body = MESSAGES.problem_body(Problem(429, "insufficient_quota", "usage_limit_reached", "The window is spent."), "call-1")
    assert msgspec.json.decode(body)["error"]["message"] == "usage_limit_reached: The window is spent."


def test_the_charging_id_goes_into_the_dialects_header() -> None:
    assert MESSAGES.request_id_header == b"request-id"
    assert MESSAGES.name == COUNT_TOKENS.name == "anthropic_messages"

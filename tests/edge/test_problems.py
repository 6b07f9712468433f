import json
import time
from collections.abc import Mapping

import pytest

from services.edge.http.problems import (
    Problem,
    context_length_exceeded,
    from_service_error,
    invalid_api_key,
    limit_used_up,
    malformed,
    masked,
    model_not_found,
    problem_body,
    quota_below_answer,
    quota_below_choices,
    quota_held,
    quota_held_below_answer,
    quota_used_up,
    too_large,
    unavailable,
    unknown_url,
    vendor_failed,
    vendor_unavailable,
    whole,
)
from services.runtime.errors import ServiceError
from tokenline.errors.v1 import errors_pb2


def headers(problem: Problem) -> Mapping[bytes, bytes]:
    return dict(problem.headers)


def test_the_body_has_openais_shape() -> None:
    problem = malformed("messages", 'messages must be a list, not "x"')
    assert json.loads(problem_body(problem)) == {
        "error": {
            "message": 'messages must be a list, not "x"',
            "type": "invalid_request_error",
            "param": "messages",
            "code": None,
        }
    }


@pytest.mark.parametrize(
    ("problem", "status", "kind", "code", "param"),
    [
        (invalid_api_key("tl-local-0123456789abcdefghij"), 401, "invalid_request_error", "invalid_api_key", None),
        (invalid_api_key(None), 401, "invalid_request_error", "invalid_api_key", None),
        (quota_used_up(2_000_000, 0, "TOKEN"), 402, "insufficient_quota", "insufficient_quota", None),
        (quota_below_choices(4), 402, "insufficient_quota", "insufficient_quota", "n"),
        (quota_below_answer(600), 402, "insufficient_quota", "insufficient_quota", None),
        (quota_held_below_answer(600), 429, "insufficient_quota", "insufficient_quota", None),
        (limit_used_up("cap@key-1", 0, "TOKEN", 0), 402, "insufficient_quota", "insufficient_quota", None),
        (limit_used_up("5h@acct-1", 0, "TOKEN", 60_000), 429, "insufficient_quota", "usage_limit_reached", None),
        (quota_held(2_000_000, 0, 9_000_000, "TOKEN", 200), 429, "insufficient_quota", "insufficient_quota", None),
        (model_not_found("acme/large"), 404, "invalid_request_error", "model_not_found", "model"),
        (context_length_exceeded("small", 1_000, 1_500), 400, "invalid_request_error", "context_length_exceeded", "messages"),
        (malformed("n", "n must be 1"), 400, "invalid_request_error", None, "n"),
        (too_large(1_000), 413, "invalid_request_error", "request_too_large", None),
        (unavailable("accounting does not answer"), 503, "server_error", "service_unavailable", None),
        (vendor_failed("the vendor answered with 500"), 502, "server_error", "vendor_error", None),
        (vendor_unavailable("no vendor can be reached"), 503, "server_error", "vendor_unavailable", None),
    ],
)
def test_each_case_has_the_published_status_type_and_code(
    problem: Problem, status: int, kind: str, code: str | None, param: str | None
) -> None:
    assert (problem.status, problem.type, problem.code, problem.param) == (status, kind, code, param)


def test_a_spent_balance_is_not_to_be_tried_again_and_says_what_is_missing() -> None:
    problem = quota_used_up(1_500_000, 250_000, "CNY")
    assert headers(problem) == {b"x-should-retry": b"false"}
    assert "1.5 CNY" in problem.message
    assert "0.25 CNY" in problem.message


def test_a_window_says_when_it_renews_and_is_not_to_be_tried_again_before() -> None:
    before_s = time.time()
    problem = limit_used_up("5h@acct-1", 250_000, "CNY", 59_001)
    assert headers(problem) == {b"x-should-retry": b"false", b"retry-after-ms": b"59001", b"retry-after": b"60"}
    assert before_s + 59 <= problem.resets_at <= time.time() + 61
    assert json.loads(problem_body(problem))["error"]["resets_at"] == problem.resets_at
    assert "ends in 60 s" in problem.message
    assert headers(limit_used_up("cap@key-1", 0, "TOKEN", 0)) == {b"x-should-retry": b"false"}


def test_a_held_balance_is_to_be_tried_again_soon() -> None:
    problem = quota_held(1_000_000, 0, 5_000_000, "TOKEN", 1_200)
    # Retry-After has whole seconds: rounded up, so that nobody comes too early.
    assert headers(problem) == {b"x-should-retry": b"true", b"retry-after-ms": b"1200", b"retry-after": b"2"}


@pytest.mark.parametrize("problem", [unavailable("x"), vendor_unavailable("x")])
def test_what_is_unavailable_says_when_to_come_again(problem: Problem) -> None:
    assert headers(problem) == {b"retry-after-ms": b"1000", b"retry-after": b"1"}


@pytest.mark.parametrize(
    "key", ["", "a", "sk-short", "sk-0123456789abcdefghi", "tl-local-0123456789abcdefghijklmnop", "\x00" * 30 + "é"]
)
def test_a_masked_key_does_not_give_it_away(key: str) -> None:
    shown = masked(key)
    assert "******" in shown
    assert shown.isascii()
    assert shown.isprintable()
    # At least half of the key stays unknown, and its length too.
    assert len(shown.replace("*", "")) <= len(key) / 2
    assert len(shown) <= 17


def test_a_key_can_be_recognised_in_the_message_but_not_used() -> None:
    message = invalid_api_key("tl-local-0123456789abcdefghij").message
    assert "tl-loca" in message
    assert "ghij" in message
    assert "0123456789" not in message


@pytest.mark.parametrize(
    ("reason", "status", "code"),
    [
        (errors_pb2.ERROR_REASON_INVALID_ARGUMENT, 400, "invalid_argument"),
        (errors_pb2.ERROR_REASON_AMOUNT_OVERFLOW, 400, "amount_overflow"),
        (errors_pb2.ERROR_REASON_ACCOUNT_UNKNOWN, 404, "account_not_found"),
        (errors_pb2.ERROR_REASON_OFFERING_UNKNOWN, 404, "offering_not_found"),
        (errors_pb2.ERROR_REASON_MODEL_UNKNOWN, 404, "model_not_found"),
        (errors_pb2.ERROR_REASON_KEY_UNKNOWN, 404, "key_not_found"),
        (errors_pb2.ERROR_REASON_RECORD_UNKNOWN, 404, "receipt_not_found"),
        (errors_pb2.ERROR_REASON_IDEMPOTENCY_CONFLICT, 409, "idempotency_conflict"),
        (errors_pb2.ERROR_REASON_ALREADY_EXISTS, 409, "already_exists"),
    ],
)
def test_a_refusal_of_another_service_keeps_its_message(reason: errors_pb2.ErrorReason, status: int, code: str) -> None:
    problem = from_service_error(ServiceError(reason, "amount must be above 0"))
    assert (problem.status, problem.code, problem.message) == (status, code, "amount must be above 0")


def test_every_other_reason_is_a_fault_of_ours_and_shows_nothing_of_the_inside() -> None:
    known = 0
    for name, _ in errors_pb2.ErrorReason.items():
        reason: errors_pb2.ErrorReason = getattr(errors_pb2, name)
        problem = from_service_error(ServiceError(reason, "/data/accounting.db: disk is full"))
        if problem.status < 500:
            known += 1
            continue
        assert problem.type == "server_error"
        assert "disk" not in problem.message
    assert known == 12


def test_a_conflict_is_not_to_be_tried_again() -> None:
    problem = from_service_error(ServiceError(errors_pb2.ERROR_REASON_IDEMPOTENCY_CONFLICT, "other content"))
    assert problem.status == 409
    assert headers(problem) == {b"x-should-retry": b"false"}


@pytest.mark.parametrize(
    ("amount", "text"),
    [
        (0, "0"),
        (1, "0.000001"),
        (1_000_000, "1"),
        (10_000_000, "10"),
        (1_230_000, "1.23"),
        (-500_000, "-0.5"),
        (2**63 - 1, "9223372036854.775807"),
    ],
)
def test_amounts_are_exact_in_whole_units(amount: int, text: str) -> None:
    assert whole(amount) == text


@pytest.mark.parametrize(
    ("path", "advice"),
    [
        ("/v1/v1/messages", "It has /v1 twice: leave it out of the client's base URL."),
        ("/chat/completions", "Paths of the API begin with /v1: the client's base URL must end in it."),
        ("/models", "Paths of the API begin with /v1: the client's base URL must end in it."),
        ("/v1/chat/completion", "Check the URL for typos."),
        ("/health", "Check the URL for typos."),
    ],
)
def test_an_unknown_url_says_what_clients_get_wrong(path: str, advice: str) -> None:
    problem = unknown_url("POST", path)
    assert (problem.status, str(problem)) == (404, f"Unknown request URL: POST {path}. {advice}")

"""Errors as bytes: each dialect's own object, the failures on request, and errors as real vendors word them."""

from typing import Final, Protocol

import msgspec

from services.vendor_simulator.simulate import VendorError


class RefusedError(Exception):
    """A request that gets an error instead of an answer: an HTTP status and the dialect's error object."""

    def __init__(self, status: int, body: bytes) -> None:
        super().__init__(body.decode())
        self.status = status
        self.body = body


class ErrorWriter(Protocol):
    """Words an error in one dialect."""

    def __call__(self, message: str, kind: str, code: str | None, param: str | None = None) -> bytes:
        """The error object as JSON; `kind` and `code` are OpenAI's."""
        ...


def error_body(message: str, kind: str, code: str | None, param: str | None = None) -> bytes:
    """OpenAI's error object as JSON; `kind` is its "type"."""
    return msgspec.json.encode({"error": {"message": message, "type": kind, "param": param, "code": code}})


def messages_error_body(message: str, kind: str, code: str | None, param: str | None = None) -> bytes:
    """Anthropic's error object as JSON, with the type that stands for OpenAI's `kind` and `code`."""
    of_anthropic = _ANTHROPIC_TYPES.get(code or "") or _ANTHROPIC_TYPES.get(kind) or "api_error"
    return msgspec.json.encode({"type": "error", "error": {"type": of_anthropic, "message": message}, "request_id": "req_error"})


_ANTHROPIC_TYPES: Final = {
    "invalid_api_key": "authentication_error",
    "overloaded": "overloaded_error",
    "unknown_url": "not_found_error",
    "invalid_request_error": "invalid_request_error",
    "rate_limit_error": "rate_limit_error",
    "server_error": "api_error",
}

REFUSALS: Final = {
    "refuse_400": (400, "the request was refused, as asked for", "invalid_request_error", "simulated_refusal"),
    "unauthorized_401": (401, "the API key is not valid here, as asked for", "invalid_request_error", "invalid_api_key"),
    "rate_limit_429": (429, "too many requests, as asked for", "rate_limit_error", "rate_limit_exceeded"),
    "error_500": (500, "the server failed, as asked for", "server_error", "simulated_error"),
    "overloaded_503": (503, "the server is overloaded, as asked for", "server_error", "overloaded"),
    "error_body": (200, "the server failed and says 200, as asked for", "server_error", "simulated_error"),
}


def _error(status: int, body: object, **headers: str) -> VendorError:
    return VendorError(status, msgspec.json.encode(body).decode(), headers={k.replace("_", "-"): v for k, v in headers.items()})


# After the vendors' public error pages and users' reports; the words are our own.
VENDOR_ERRORS: Final[dict[str, VendorError]] = {
    # Alibaba Cloud Model Studio.
    "arrearage_400": _error(
        400,
        {
            "error": {
                "message": "Access denied, please make sure your account is in good standing.",
                "type": "Arrearage",
                "param": None,
                "code": "Arrearage",
            },
            "request_id": "6f1c0000",
        },
    ),
    # DeepSeek.
    "insufficient_balance_402": _error(
        402,
        {
            "error": {
                "message": "Insufficient Balance",
                "type": "unknown_error",
                "param": None,
                "code": "invalid_request_error",
            }
        },
    ),
    # Zhipu.
    "arrears_1113_429": _error(429, {"error": {"code": "1113", "message": "您的账户已欠费，请充值后重试。"}}),
    # MiniMax.
    "insufficient_balance_1008_200": _error(
        200, {"id": "0601", "choices": None, "base_resp": {"status_code": 1008, "status_msg": "insufficient balance"}}
    ),
    # Volcano Engine.
    "account_overdue_403": _error(
        403,
        {
            "error": {
                "code": "AccountOverdueError",
                "message": "The request failed because your account has an overdue balance.",
                "param": "",
                "type": "Forbidden",
            }
        },
    ),
    # OpenAI.
    "insufficient_quota_429": _error(
        429,
        {
            "error": {
                "message": "You exceeded your current quota, please check your plan and billing details.",
                "type": "insufficient_quota",
                "param": None,
                "code": "insufficient_quota",
            }
        },
    ),
    # Moonshot.
    "quota_exceeded_429": _error(
        429,
        {
            "error": {
                "message": "Your account is suspended, please check your plan and billing details.",
                "type": "exceeded_current_quota_error",
            }
        },
    ),
    "retry_after_37_429": _error(
        429,
        {
            "error": {
                "message": "Rate limit reached.",
                "type": "rate_limit_error",
                "param": None,
                "code": "rate_limit_exceeded",
            }
        },
        Retry_After="37",
    ),
    "bad_key_401": _error(
        401,
        {
            "error": {
                "message": "Incorrect API key provided: {secret}.",
                "type": "invalid_request_error",
                "param": None,
                "code": "invalid_api_key",
            }
        },
    ),
    "bad_key_403": _error(403, {"error": {"message": "The key {secret} has no access.", "type": "permission_error"}}),
    # Anthropic.
    "billing_error_402": _error(
        402,
        {"type": "error", "error": {"type": "billing_error", "message": "Your account needs payment."}, "request_id": "req_1"},
    ),
    "credit_balance_400": _error(
        400,
        {
            "type": "error",
            "error": {
                "type": "invalid_request_error",
                "message": "Your credit balance is too low to access the API.",
            },
            "request_id": "req_1",
        },
    ),
    "overloaded_529": _error(
        529, {"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}, "request_id": "req_1"}
    ),
    "context_length_400": _error(
        400,
        {
            "error": {
                "message": "This model's maximum context length is 8192 tokens. However, your messages resulted in 9000 tokens.",
                "type": "invalid_request_error",
                "param": "messages",
                "code": "context_length_exceeded",
            }
        },
    ),
    "html_502": VendorError(502, "<html><body><h1>502 Bad Gateway</h1></body></html>", "text/html"),
}


def vendor_error(named: str | VendorError, secret: str) -> tuple[int, list[tuple[bytes, bytes]], bytes]:
    """Status, headers and body of the error; "{secret}" becomes `secret`."""
    error = VENDOR_ERRORS[named] if isinstance(named, str) else named
    body = error.body.replace("{secret}", secret).encode()
    headers = [(b"content-type", error.content_type.encode("latin-1", "replace")), (b"content-length", b"%d" % len(body))]
    for name, value in error.headers.items():
        headers.append((name.lower().encode("latin-1", "replace"), value.replace("{secret}", secret).encode("latin-1", "replace")))
    return error.status, headers, body

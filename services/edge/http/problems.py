"""Problems of clients: an HTTP status and an error in OpenAI's shape.

This is the one place where reasons of other services become problems of users. SDKs retry 408, 409, 429 and 5xx by themselves, and
obey `x-should-retry` first, so each problem says here whether trying again can help.
"""

import time
from collections.abc import Mapping
from typing import Any, Final

import msgspec

from services.edge.http.json_bounds import DEPTH_MAX
from services.runtime.errors import ServiceError
from tokenline.errors.v1 import errors_pb2

Header = tuple[bytes, bytes]

INVALID_REQUEST: Final = "invalid_request_error"
INSUFFICIENT_QUOTA: Final = "insufficient_quota"
SERVER_ERROR: Final = "server_error"

_NO_RETRY: Final[Header] = (b"x-should-retry", b"false")
# An ID that a message repeats is cut to this length.
_SHOWN_CHARACTERS_MAX: Final = 100
_encode = msgspec.json.Encoder().encode
# Paths of the API as clients send them whose base URL lacks its end.
_WITHOUT_V1: Final = (
    "/audio/",
    "/chat/",
    "/completions",
    "/embeddings",
    "/images/",
    "/me/",
    "/messages",
    "/models",
    "/rerank",
    "/responses",
)


# A model's ID or a field's name in a message is the caller's, and may have any length.
_MESSAGE_CHARACTERS_MAX: Final = 2_000
_PARAM_CHARACTERS_MAX: Final = 256


def _shown(text: str, characters_max: int) -> str:
    return text if len(text) <= characters_max else f"{text[:characters_max]}..."


class Problem(Exception):  # noqa: N818  # RFC 9457's word, and no error of ours
    """Ends a request with an error answer.

    `type`, `code`, `param` and `message` are the fields of OpenAI's error object; `headers` are added to the answer.
    """

    def __init__(
        self,
        status: int,
        kind: str,
        code: str | None,
        message: str,
        *,
        param: str | None = None,
        headers: tuple[Header, ...] = (),
        resets_after_ms: int = 0,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.type = kind
        self.code = code
        self.param = _shown(param, _PARAM_CHARACTERS_MAX) if param is not None else None
        self.message = _shown(message, _MESSAGE_CHARACTERS_MAX)
        self.headers = headers
        # The end of the window that is used up, in Unix time; 0: there is none.
        self.resets_at = -(-(time.time_ns() // 1_000_000 + resets_after_ms) // 1_000) if resets_after_ms else 0


def problem_body(problem: Problem, params: Mapping[str, str] | None = None) -> bytes:
    """The JSON body of an error answer; also what goes into a stream that has begun.

    `params` are a dialect's own names of fields, by those of chat completions.
    """
    param = (params or {}).get(problem.param or "", problem.param)
    error: dict[str, Any] = {"message": problem.message, "type": problem.type, "param": param, "code": problem.code}
    if problem.resets_at:
        error["resets_at"] = problem.resets_at
    return _encode({"error": error})


def invalid_api_key(key: str | None) -> Problem:
    """401. The key is missing (None), unknown or revoked; the message shows it masked. Some clients try again if nobody says no."""
    if key is None:
        message = "You did not provide an API key. Send it in the Authorization header: Authorization: Bearer YOUR_KEY."
    else:
        message = f"Incorrect API key provided: {masked(key)}. It is unknown here, or was revoked."
    return Problem(401, INVALID_REQUEST, "invalid_api_key", message, headers=((b"www-authenticate", b"Bearer"), _NO_RETRY))


def invalid_admin_token() -> Problem:
    """401. The administrative API takes the admin token alone."""
    message = "This needs the admin token: Authorization: Bearer ADMIN_TOKEN. An API key does not open it."
    return Problem(401, INVALID_REQUEST, "invalid_admin_token", message, headers=((b"www-authenticate", b"Bearer"), _NO_RETRY))


def masked(key: str) -> str:
    """A key that can be recognised and not used: at most its first 7 and last 4 characters, and only of a long one."""
    shown = "".join(character if 32 < ord(character) < 127 else "?" for character in key)
    return f"{shown[:7]}******{shown[-4:]}" if len(shown) >= 24 else f"{shown[:2] if len(shown) >= 8 else ''}******"


def quota_used_up(
    needed_amount: int, free_amount: int, unit: str, redirect_offering_id: str = "", message: str = "", unbounded: str = ""
) -> Problem:
    """402. Amounts in micro-units; `unit` is "TOKEN", "POINT" or a currency's code; `message` replaces the amounts.

    `unbounded`: the kind of content for which the model's whole context window is needed, such as "images".
    """
    if message:
        return Problem(402, INSUFFICIENT_QUOTA, "insufficient_quota", _sentence(message), headers=(_NO_RETRY,))
    remedy = f"Order {redirect_offering_id}, top" if redirect_offering_id else "Top"
    message = (
        f"You exceeded your current quota: this request needs at least {whole(needed_amount)} {unit} and "
        f"{whole(free_amount)} {unit} are left. {remedy} up the account, or ask for less output."
    )
    if unbounded:
        message += (
            f" The tokens of {unbounded} have no known bound for this model, so its whole context window is reserved before a call."
            " Send text alone, or choose another model."
        )
    return Problem(402, INSUFFICIENT_QUOTA, "insufficient_quota", message, headers=(_NO_RETRY,))


def quota_below_choices(choices: int) -> Problem:
    """402. The balance does not cover one token of output for each requested choice."""
    message = f"The balance covers fewer than {choices} output tokens, one for each choice. Top up the account, or lower n."
    return Problem(402, INSUFFICIENT_QUOTA, "insufficient_quota", message, param="n", headers=(_NO_RETRY,))


def quota_below_answer(output_tokens: int) -> Problem:
    """402. The balance does not cover output that can't be limited."""
    message = f"{_unlimited(output_tokens)} Top up the account, or ask for less."
    return Problem(402, INSUFFICIENT_QUOTA, "insufficient_quota", message, headers=(_NO_RETRY,))


def quota_held_below_answer(output_tokens: int) -> Problem:
    """429, to be tried again: the same, while other open calls of the account hold the rest."""
    message = f"{_unlimited(output_tokens)} Other open calls of this account hold the rest. Try again when one of them has ended."
    headers = ((b"x-should-retry", b"true"), *_retry_after(1_000))
    return Problem(429, INSUFFICIENT_QUOTA, "insufficient_quota", message, headers=headers)


def _unlimited(output_tokens: int) -> str:
    return (
        f"This request can make {output_tokens} tokens or images of output, which can't be limited, and what is free covers fewer."
    )


def quota_held(needed_amount: int, free_amount: int, held_amount: int, unit: str, retry_after_ms: int) -> Problem:
    """429, to be tried again: the balance would be enough, but other open calls of the account hold it."""
    message = (
        f"This request needs at least {whole(needed_amount)} {unit}; {whole(free_amount)} {unit} are free and "
        f"{whole(held_amount)} {unit} are held by other open calls of this account. Try again when one of them has ended."
    )
    headers = ((b"x-should-retry", b"true"), *_retry_after(retry_after_ms))
    return Problem(429, INSUFFICIENT_QUOTA, "insufficient_quota", message, headers=headers)


def call_in_progress(charging_id: str) -> Problem:
    """409, to be tried again: the call of this idempotency key has not ended."""
    message = (
        f"A call with this Idempotency-Key is under way: {charging_id}. Its answer goes to that request alone. Try again to hear "
        "whether it has ended, or send a new key to make another call."
    )
    headers = ((b"x-should-retry", b"true"), *_retry_after(1_000))
    return Problem(409, INVALID_REQUEST, "call_in_progress", message, param="Idempotency-Key", headers=headers)


def call_made(charging_id: str) -> Problem:
    """409. The call of this idempotency key has ended; its receipt is at the address in `location`."""
    receipt = f"/v1/me/receipts/{charging_id}"
    message = (
        f"The call with this Idempotency-Key was made, and is charged once. Its receipt: GET {receipt}. Answers are not kept; send "
        "a new key to make another call."
    )
    headers = ((b"location", receipt.encode("ascii")), _NO_RETRY)
    return Problem(409, INVALID_REQUEST, "call_made", message, param="Idempotency-Key", headers=headers)


def idempotency_key_reused(charging_id: str) -> Problem:
    """422. The idempotency key has a call with another body."""
    message = f"This Idempotency-Key was sent with another body before, for call {charging_id}. Send a new key with each call."
    return Problem(422, INVALID_REQUEST, "idempotency_key_reused", message, param="Idempotency-Key", headers=(_NO_RETRY,))


def rate_limited(limit_id: str, retry_after_ms: int, message: str = "") -> Problem:
    """429, to be tried again after `retry_after_ms`. `limit_id` is "limit@subject"; `message` explains the limit, if not empty."""
    message = f"{_sentence(message) or f'The limit {limit_id} is reached.'} Try again in {retry_after_ms / 1_000:g} s."
    headers = ((b"x-should-retry", b"true"), *_retry_after(retry_after_ms))
    return Problem(429, "rate_limit_error", "rate_limit_exceeded", message, headers=headers)


def limit_used_up(limit_id: str, free_amount: int, unit: str, window_ends_ms: int) -> Problem:
    """402 for a spent cap that never ends. 429 for a window that renews in `window_ends_ms`, not to be tried again before."""
    message = f"The limit {limit_id} leaves {whole(free_amount)} {unit}, less than this request needs"
    if not window_ends_ms:
        return Problem(402, INSUFFICIENT_QUOTA, "insufficient_quota", f"{message}.", headers=(_NO_RETRY,))
    message += f"; its window ends in {-(-window_ends_ms // 1_000)} s."
    headers = (_NO_RETRY, *_retry_after(window_ends_ms))
    return Problem(429, INSUFFICIENT_QUOTA, "usage_limit_reached", message, headers=headers, resets_after_ms=window_ends_ms)


def key_ended(message: str) -> Problem:
    """403. The key's, member's or account's time has ended."""
    return Problem(403, INVALID_REQUEST, "key_ended", _sentence(message))


def account_suspended() -> Problem:
    """403. The operator has suspended the key's account."""
    message = "The account of this API key is suspended, and its keys are refused. Ask the operator to resume it."
    return Problem(403, INVALID_REQUEST, "account_suspended", message)


def model_not_found(model_id: str) -> Problem:
    """404. The model is unknown, or the key's offering does not include it: the client can't tell which."""
    message = f"The model `{model_id}` does not exist or you do not have access to it. GET /v1/models lists those you may use."
    return Problem(404, INVALID_REQUEST, "model_not_found", message, param="model")


def context_length_exceeded(model_id: str, context_window_tokens: int, input_tokens: int, param: str = "messages") -> Problem:
    """400. The input does not fit the model; `param` is the field that it stands in."""
    message = (
        f"The maximum context length of {model_id} is {context_window_tokens} tokens. You asked for about {input_tokens} in the "
        f"{param}. Shorten the {param} or ask for less output."
    )
    return Problem(400, INVALID_REQUEST, "context_length_exceeded", message, param=param)


def malformed(param: str | None, message: str, code: str | None = None) -> Problem:
    """400. A field (or, without `param`, the whole body) is wrong; the message says what would be right."""
    return Problem(400, INVALID_REQUEST, code, message, param=param)


def content_refused(message: str) -> Problem:
    """400. The vendor's moderation refused the content of the request."""
    return Problem(400, INVALID_REQUEST, "content_policy_violation", message, param="messages")


def not_in_dialect(model_id: str, dialects: str) -> Problem:
    """400. No vendor of the model speaks the request's dialect; `dialects` names the URLs where it can be called."""
    message = f"The model `{model_id}` is not served in this dialect; call it at {dialects}."
    return Problem(400, INVALID_REQUEST, "unsupported_dialect", message, param="model")


def revoked() -> Problem:
    """401. The key was revoked while its call was under way."""
    return Problem(401, INVALID_REQUEST, "invalid_api_key", "The API key was revoked while this answer was under way.")


def suspended() -> Problem:
    """403. The account was suspended while its call was under way."""
    return Problem(403, INVALID_REQUEST, "account_suspended", "The account was suspended while this answer was under way.")


def answer_too_long(longest_s: float) -> Problem:
    """504. The answer was not whole after the longest time; another try would take as long."""
    message = (
        f"This answer was not whole after {longest_s:g} s, the longest time allowed. The part that was sent is charged. "
        "Ask for less at once, and read it as fast as it comes."
    )
    return Problem(504, SERVER_ERROR, "answer_too_long", message, headers=(_NO_RETRY,))


def by_server(status: int) -> Problem:
    """The problem of a request that the HTTP server itself refuses: 400, 408, 417, 431, 501, 505. Ends the connection."""
    status = status if status in _BY_SERVER else 400
    code, message = _BY_SERVER[status]
    return Problem(status, INVALID_REQUEST, code, message)


_BY_SERVER: Final = {
    400: ("invalid_http", "This is not a valid HTTP/1.1 request: its first line, a header or its body's frame is malformed."),
    408: ("request_timeout", "The request was not complete in time. Send it again."),
    417: ("expectation_failed", "This port supports only Expect: 100-continue. Leave the header out."),
    431: ("headers_too_large", "The first line and the headers are too large, or there are too many headers. Send fewer."),
    501: ("not_implemented", "CONNECT and transfer codings other than chunked are not supported here."),
    505: ("http_version_not_supported", "This port speaks HTTP/1.1, without TLS. HTTP/2 is not served here."),
}


def too_deep() -> Problem:
    """400. More objects or lists are within one another than are read."""
    return malformed(None, f"The body is nested more than {DEPTH_MAX} lists and objects deep. Send a flatter one.", "invalid_json")


def too_many_values(values_max: int) -> Problem:
    """400. One body has more values than are read."""
    message = f"The body has more than {values_max} values (names, texts, numbers, lists and objects). Send a smaller one."
    return malformed(None, message, "too_many_values")


def bodies_of_account(bytes_max: int) -> Problem:
    """429, to be tried again: other large requests of the account are on their way in."""
    message = f"More than {bytes_max} bytes of this account's requests are on their way in. Send fewer at once, and try again."
    headers = ((b"x-should-retry", b"true"), *_retry_after(1_000))
    return Problem(429, "rate_limit_error", "rate_limit_exceeded", message, headers=headers)


def too_large(body_bytes_max: int) -> Problem:
    """413. The connection can't be used any more, because the body was not read to its end."""
    message = f"The request body is too large; at most {body_bytes_max} bytes are accepted."
    return Problem(413, INVALID_REQUEST, "request_too_large", message, headers=((b"connection", b"close"),))


def unavailable(what: str, retry_after_ms: int = 1_000) -> Problem:
    """503. Something that a call needs does not answer; `what` names it, for example "accounting"."""
    message = f"The service cannot answer at the moment: {what}. Try again."
    return Problem(503, SERVER_ERROR, "service_unavailable", message, headers=_retry_after(retry_after_ms))


def overloaded() -> Problem:
    """503. There is more to do than can be done, and this account's calls are shed first."""
    message = "The service has too many calls at the moment, many of them of this account. Send fewer at once, and try again."
    return Problem(503, SERVER_ERROR, "overloaded", message, headers=_retry_after(1_000))


def vendor_failed(message: str) -> Problem:
    """502. The model's vendor answered with a failure, or with no valid answer."""
    return Problem(502, SERVER_ERROR, "vendor_error", message)


def vendor_unavailable(message: str, retry_after_ms: int = 1_000) -> Problem:
    """503. The model's vendor cannot be reached, or is overloaded."""
    return Problem(503, SERVER_ERROR, "vendor_unavailable", message, headers=_retry_after(retry_after_ms))


def vendors_left_out(retry_after_ms: int) -> Problem:
    """503. No vendor of the model may be called at the moment."""
    return vendor_unavailable("The model's vendor cannot be called at the moment. Try again.", max(1, retry_after_ms))


def unknown_url(method: str, path: str) -> Problem:
    """404. Nothing is served there; SDKs differ in whether their base URL ends in /v1."""
    advice = "Check the URL for typos."
    if path.startswith("/v1/v1/"):
        advice = "It has /v1 twice: leave it out of the client's base URL."
    elif path.startswith("/v1/responses/"):
        advice = "No response is kept here: send the whole conversation as input of POST /v1/responses, and read the answer there."
    elif path.startswith(_WITHOUT_V1):
        advice = "Paths of the API begin with /v1: the client's base URL must end in it."
    return Problem(404, INVALID_REQUEST, "unknown_url", f"Unknown request URL: {method} {path}. {advice}")


def method_not_allowed(method: str, path: str, allowed: str) -> Problem:
    """405. `allowed` is the value of the Allow header."""
    message = f"{path} does not take {method}; it takes {allowed}."
    return Problem(405, INVALID_REQUEST, "method_not_allowed", message, headers=((b"allow", allowed.encode("ascii")),))


def upgrade_not_supported(path: str) -> Problem:
    """426. The path does not speak WebSocket; clients that can do without use POST at once."""
    message = f"{path} does not speak WebSocket here. Send the request with POST, and read the answer as server-sent events."
    headers = ((b"connection", b"upgrade"), (b"upgrade", b"HTTP/1.1"))
    return Problem(426, INVALID_REQUEST, "websocket_not_supported", message, headers=headers)


def no_handshake(reason: str) -> Problem:
    """426. A request for WebSocket is not as RFC 6455 says; clients that can do without use POST at once."""
    message = (
        f"This is no handshake of a WebSocket: {reason}. Send the headers that RFC 6455 asks for, with version 13, or use POST."
    )
    headers = ((b"connection", b"upgrade"), (b"upgrade", b"websocket"), (b"sec-websocket-version", b"13"))
    return Problem(426, INVALID_REQUEST, "invalid_handshake", message, headers=headers)


def once_on_socket(header: str) -> Problem:
    """400. A WebSocket makes many calls, so that a name of one call can't hold for it."""
    message = (
        f"{header} names one call, and a WebSocket makes many. Leave it out, or send the call that is to be made once with POST."
    )
    return malformed(header, message, "unsupported_parameter")


def response_in_flight() -> Problem:
    """400. A WebSocket's client asked for a response before the one under way had ended."""
    message = "A response is under way on this connection. Ask for the next one after it has ended, or on another connection."
    return Problem(400, INVALID_REQUEST, "response_already_in_flight", message)


def previous_response_not_found(response_id: str) -> Problem:
    """400. It is not the last response on this connection."""
    message = (
        f"Previous response with id {response_id[:_SHOWN_CHARACTERS_MAX]!r} not found: of a connection the last response alone is "
        "kept. Send the whole conversation as input, without previous_response_id."
    )
    return Problem(400, INVALID_REQUEST, "previous_response_not_found", message, param="previous_response_id")


def connection_used_up(reason: str) -> Problem:
    """400. The WebSocket takes no further request; clients know the code, and go on by a new connection."""
    message = f"{reason} Open a new connection, and send the whole conversation as input."
    return Problem(400, INVALID_REQUEST, "websocket_connection_limit_reached", message)


def origin_not_allowed(origin: str) -> Problem:
    """403. Pages of this origin may not read answers."""
    shown = "".join(character if 32 < ord(character) < 127 else "?" for character in origin[:200])
    message = f"Pages of {shown} may not call this API. Its operator allows an origin in cors_origins."
    return Problem(403, INVALID_REQUEST, "origin_not_allowed", message)


def not_found(code: str, message: str, param: str | None = None) -> Problem:
    """404. A thing that the request names does not exist."""
    return Problem(404, INVALID_REQUEST, code, message, param=param)


def name_taken(message: str, param: str) -> Problem:
    """409. Something else has the name that this is to get."""
    return Problem(409, INVALID_REQUEST, "already_exists", message, param=param, headers=(_NO_RETRY,))


def internal_error() -> Problem:
    """500. A fault of ours; the log has it under the request's ID."""
    return Problem(500, SERVER_ERROR, "internal_error", "Internal error. Quote the request ID of this answer's header to support.")


def from_service_error(error: ServiceError) -> Problem:
    """The problem of another service's error. `Principals` tells a call's key errors apart, not this function."""
    match error.reason:
        case errors_pb2.ERROR_REASON_INVALID_ARGUMENT:
            return malformed(None, error.message, "invalid_argument")
        case errors_pb2.ERROR_REASON_AMOUNT_OVERFLOW:
            return malformed(None, error.message, "amount_overflow")
        case errors_pb2.ERROR_REASON_ACCOUNT_UNKNOWN:
            return not_found("account_not_found", error.message, "account_id")
        case errors_pb2.ERROR_REASON_OFFERING_UNKNOWN:
            return not_found("offering_not_found", error.message, "offering_id")
        case errors_pb2.ERROR_REASON_MODEL_UNKNOWN:
            return not_found("model_not_found", error.message, "model")
        case errors_pb2.ERROR_REASON_KEY_UNKNOWN:
            return not_found("key_not_found", error.message, "key_id")
        case errors_pb2.ERROR_REASON_RECORD_UNKNOWN:
            return not_found("receipt_not_found", error.message, "charging_id")
        case errors_pb2.ERROR_REASON_ITEM_UNKNOWN:
            return not_found("not_found", error.message)
        case errors_pb2.ERROR_REASON_PAYMENT_REQUIRED:
            return Problem(402, INSUFFICIENT_QUOTA, "payment_required", error.message, headers=(_NO_RETRY,))
        case errors_pb2.ERROR_REASON_NOT_POSSIBLE:
            return Problem(409, INVALID_REQUEST, "not_possible", error.message, headers=(_NO_RETRY,))
        case errors_pb2.ERROR_REASON_IDEMPOTENCY_CONFLICT:
            return _conflict("idempotency_conflict", error.message)
        case errors_pb2.ERROR_REASON_ALREADY_EXISTS:
            return _conflict("already_exists", error.message)
        case (
            errors_pb2.ERROR_REASON_UNAVAILABLE
            | errors_pb2.ERROR_REASON_STORE_UNAVAILABLE
            | errors_pb2.ERROR_REASON_CATALOG_UNAVAILABLE
            | errors_pb2.ERROR_REASON_NOT_OWNER
            # Clocks of two machines do not agree, which the log says.
            | errors_pb2.ERROR_REASON_CHARGING_ID_STALE
        ):
            return unavailable("one of its parts is starting, draining or out of reach")
        case errors_pb2.ERROR_REASON_OVERLOADED:
            return overloaded()
        case _:
            return internal_error()


def whole(amount: int) -> str:
    """An amount of micro-units in whole units, exactly, without needless zeros."""
    units, micro = divmod(abs(amount), 1_000_000)
    sign = "-" if amount < 0 else ""
    return f"{sign}{units}.{micro:06d}".rstrip("0").rstrip(".")


def _sentence(message: str) -> str:
    """Another service's message as a sentence."""
    return f"{message[0].upper()}{message[1:].removesuffix('.')}." if message else ""


def _conflict(code: str, message: str) -> Problem:
    # No retry, because SDKs try a 409 again by themselves, which can't help here.
    return Problem(409, INVALID_REQUEST, code, message, param="idempotency_key", headers=(_NO_RETRY,))


def _retry_after(retry_after_ms: int) -> tuple[Header, ...]:
    # Whole seconds, rounded up, so that a client that knows only the old header does not come too early.
    seconds = max(1, -(-retry_after_ms // 1_000))
    return (b"retry-after-ms", b"%d" % retry_after_ms), (b"retry-after", b"%d" % seconds)

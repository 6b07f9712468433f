"""The endings of a call, as a table: close cause and source of its counts; and the problems that clients get. Pure."""

import re
from collections.abc import Sequence
from enum import Enum
from typing import Final, NamedTuple

from services.edge.call.usage import Source, Used
from services.edge.http.problems import (
    Problem,
    content_refused,
    malformed,
    vendor_failed,
    vendor_unavailable,
    vendors_left_out,
)
from services.edge.routing.router import FailedAttempt
from services.edge.vendors.profile import Meaning
from services.runtime.traces import Trace
from services.token_classes import total_input, total_output
from tokenline.accounting.v1 import accounting_pb2 as pb


class Ended(Enum):
    """The ending of a call."""

    # An enumeration's own is made of the member's name, in Python, and each call looks several up.
    __hash__ = object.__hash__

    # The vendor finished.
    WHOLE = "whole"
    # The quota ended, or the vendor exceeded the limit it was told.
    CUT = "cut"
    # The vendor kept a limit below the client's, because the account could not pay for more.
    LIMITED = "limited"
    # The vendor broke the limit that it was told, in an answer that came as one and could not be cut.
    EXCEEDED = "exceeded"
    # The vendor broke off after output was relayed.
    BROKEN = "broken"
    # Accounting could not say whether the quota goes on.
    NOT_EXTENDED = "not_extended"
    # The client left.
    LEFT = "left"
    # The key was revoked, the time of the key, its member or account ended, or the account was suspended.
    REVOKED = "revoked"
    # The answer took longer than the longest allowed.
    TOO_LONG = "too_long"
    # No vendor answered.
    UNANSWERED = "unanswered"
    # The call ended before a vendor was called.
    REJECTED = "rejected"
    # The cause is a fault of ours, or the process stops.
    FAILED = "failed"


# Endings that an answer's status does not tell of, and that somebody looks for.
_TRACED: Final = frozenset(
    {Ended.EXCEEDED, Ended.BROKEN, Ended.NOT_EXTENDED, Ended.REVOKED, Ended.TOO_LONG, Ended.UNANSWERED, Ended.FAILED}
)


def tell_trace(trace: Trace, model_id: str, ended: Ended, used: Used) -> None:
    """Tells a call's trace how it ended, and what it used."""
    charged = used.charged
    trace.root.attributes |= {
        "gen_ai.request.model": model_id,
        "gen_ai.usage.input_tokens": total_input(charged),
        "gen_ai.usage.output_tokens": total_output(charged),
        "tokenline.ended": ended.value,
    }
    if ended in _TRACED:
        trace.failed = ended.value


class _Row(NamedTuple):
    cause: pb.CloseCause
    # Whether the answer came to its end; else counts of the whole are no counts of the part.
    is_whole: bool


_TABLE: Final = {
    Ended.WHOLE: _Row(pb.CLOSE_CAUSE_NORMAL, is_whole=True),
    Ended.CUT: _Row(pb.CLOSE_CAUSE_QUOTA_EXHAUSTED, is_whole=False),
    Ended.LIMITED: _Row(pb.CLOSE_CAUSE_QUOTA_EXHAUSTED, is_whole=True),
    Ended.EXCEEDED: _Row(pb.CLOSE_CAUSE_QUOTA_EXHAUSTED, is_whole=True),
    Ended.BROKEN: _Row(pb.CLOSE_CAUSE_VENDOR_ERROR, is_whole=False),
    Ended.NOT_EXTENDED: _Row(pb.CLOSE_CAUSE_QUOTA_EXHAUSTED, is_whole=False),
    Ended.LEFT: _Row(pb.CLOSE_CAUSE_CLIENT_GONE, is_whole=False),
    Ended.REVOKED: _Row(pb.CLOSE_CAUSE_REVOKED, is_whole=False),
    Ended.TOO_LONG: _Row(pb.CLOSE_CAUSE_CLIENT_GONE, is_whole=False),
    Ended.UNANSWERED: _Row(pb.CLOSE_CAUSE_VENDOR_ERROR, is_whole=True),
    Ended.REJECTED: _Row(pb.CLOSE_CAUSE_REJECTED, is_whole=True),
    Ended.FAILED: _Row(pb.CLOSE_CAUSE_VENDOR_ERROR, is_whole=False),
}


def cause_of(ended: Ended) -> pb.CloseCause:
    """The close cause of the session."""
    return _TABLE[ended].cause


def provenance_of(ended: Ended, used: Used) -> pb.UsageProvenance:
    """The provenance of the counts."""
    row = _TABLE[ended]
    if ended in (Ended.UNANSWERED, Ended.REJECTED):
        return pb.USAGE_PROVENANCE_VENDOR
    if used.source is Source.VENDOR and (row.is_whole or ended is Ended.LEFT):
        return pb.USAGE_PROVENANCE_VENDOR
    if not row.is_whole:
        return pb.USAGE_PROVENANCE_PARTIAL
    return pb.USAGE_PROVENANCE_TOKENIZER if used.source is Source.TOKENIZER else pb.USAGE_PROVENANCE_ESTIMATED


def problem_of(failed: Sequence[FailedAttempt], api_keys: Sequence[str], wait_ms: int) -> Problem:
    """The problem of a call that no route answered.

    A client's own fault is told with the beginning of the vendor's words, without its secrets; of the operator's trouble with a
    vendor nothing is told. `wait_ms`: the time until a route that was not called may be; 0: all were.
    """
    if not failed:
        return vendors_left_out(wait_ms)
    last = failed[-1]
    if last.is_clients_fault and last.fault is not None:
        return _clients_problem(last, api_keys)
    waits = [wait for wait in (wait_ms, *(each.failure.retry_after_ms for each in failed)) if wait]
    retry_after_ms = min(waits, default=1_000)
    if all(each.meaning in (Meaning.RATE_LIMIT, Meaning.OVERLOADED) and _is_busy(each) for each in failed):
        return vendor_unavailable("The model's vendor is overloaded at the moment. Try again.", retry_after_ms)
    if all(each.failure.outcome in ("unreachable", "timeout") for each in failed):
        return vendor_unavailable("The model's vendor cannot be reached at the moment. Try again.", retry_after_ms)
    return vendor_failed("The model's vendor failed to answer.")


def _is_busy(attempt: FailedAttempt) -> bool:
    return attempt.meaning is Meaning.RATE_LIMIT or attempt.failure.http_status in (503, 529)


def _clients_problem(attempt: FailedAttempt, api_keys: Sequence[str]) -> Problem:
    fault = attempt.fault
    assert fault is not None

    def told(word: str) -> str:
        return word if _WORD.fullmatch(word) and not _tells_secrets(word, api_keys) else ""

    quoted = ""
    if fault.message and not _tells_secrets(fault.message, api_keys):
        quoted = f' The vendor says: "{fault.message[:_QUOTED_CHARACTERS_MAX]}"'
    param = told(fault.param or "") or None
    if attempt.meaning is Meaning.CONTENT:
        return content_refused(f"The model's vendor refused the content of this request.{quoted}")
    if attempt.meaning is Meaning.CONTEXT:
        message = f"The input is longer than the model takes. Shorten the messages.{quoted}"
        return malformed(param or "messages", message, "context_length_exceeded")
    return malformed(param, f"The model's vendor refused the request as malformed.{quoted}", told(fault.code) or None)


# A refused request costs nothing, so a refusal may not bring a text in place of an answer.
_QUOTED_CHARACTERS_MAX: Final = 200
_WORD: Final = re.compile(r"[\w.\[\]/-]{1,64}", re.ASCII)
# This many characters of a secret give it away.
_TELLING_CHARACTERS: Final = 8


def _tells_secrets(text: str, api_keys: Sequence[str]) -> bool:
    """Whether a vendor's text has a part of a secret of ours, because vendors quote keys in their errors."""
    return any(
        api_key[start : start + _TELLING_CHARACTERS] in text
        for api_key in api_keys
        if api_key
        for start in range(max(1, len(api_key) - _TELLING_CHARACTERS + 1))
    )

"""Repeats are answered as before; other requests that came too late are told why they fail. Pure."""

from typing import Final

from services.accounting.core.account.sessions import CLOSED_MEMORY_US
from services.accounting.core.account.state import Account, Session
from services.accounting.core.commands import (
    CallName,
    ChargeEvent,
    CreateSession,
    Decision,
    Fault,
    KnownCall,
    ReleaseSession,
    UpdateSession,
    fail,
)
from services.runtime.identifiers import uuid7_time_us

# A charging_id this much ahead of the clock is refused, so that a closed one is remembered as long as it could be taken.
CLOCK_AHEAD_US_MAX: Final = 60 * 1_000_000
CHARGING_ID_AGE_US_MAX: Final = CLOSED_MEMORY_US - CLOCK_AHEAD_US_MAX


def known_session(account: Account, command: CreateSession | ChargeEvent, digest: bytes, now_us: int) -> Decision | None:
    """The answer to a Create or an Event whose charging_id is known; None when it is new."""
    session = account.sessions.get(command.charging_id)
    if session is not None:
        # Refused: an Event under a new number would charge beside the session and leave nobody to free its hold.
        return repeated(session, command.number, digest) or fail(
            Fault.IDEMPOTENCY_CONFLICT, f"session {command.charging_id} is open; charge it with its Release"
        )
    if command.charging_id in account.closed or command.charging_id in account.swept:
        return no_session(account, command, digest)
    time_us = uuid7_time_us(command.charging_id)
    if time_us is None or not now_us - CHARGING_ID_AGE_US_MAX <= time_us <= now_us + CLOCK_AHEAD_US_MAX:
        return fail(
            Fault.CHARGING_ID_STALE,
            f"the time in charging_id {command.charging_id} is more than {CHARGING_ID_AGE_US_MAX // 60_000_000} minutes old or "
            "lies in the future: it can't be taken for a new call; check the caller's clock",
        )
    return None


def known_call(account: Account, name: CallName) -> Decision | None:
    """The answer to a Create of a call whose name is known; None when it is new."""
    keyed = account.keyed.get(name.key)
    if keyed is None:
        return None
    has_other_content = keyed.content != name.content
    return Decision((), KnownCall(keyed.charging_id, is_open=not keyed.ended_us, has_other_content=has_other_content))


def repeated(session: Session, number: int, digest: bytes) -> Decision | None:
    """The answer when `number` is at most the session's last one; None when it is new."""
    if number > session.number:
        return None
    if number < session.number:
        return sequence_invalid(number, session.number)
    if digest != session.digest:
        return conflict(session.charging_id, number)
    return Decision((), session.answer)


def conflict(charging_id: str, number: int) -> Decision:
    """The answer to a number that came before with other content."""
    return fail(Fault.IDEMPOTENCY_CONFLICT, f"number {number} of session {charging_id} came before with other content")


def sequence_invalid(number: int, last: int) -> Decision:
    """The answer to a number that is not above the session's last."""
    return fail(Fault.SEQUENCE_INVALID, f"invocation_sequence_number {number} is not above {last}, the session's last")


def no_session(account: Account, command: CreateSession | UpdateSession | ReleaseSession | ChargeEvent, digest: bytes) -> Decision:
    """The answer for a session that is not open: the stored one for a repeat, else the reason of its failure."""
    closed = account.closed.get(command.charging_id)
    if closed is not None:
        if command.number == closed.number and digest == closed.digest:
            return Decision((), closed.answer)
        if command.number == closed.number:
            return conflict(command.charging_id, command.number)
        return fail(Fault.SESSION_CLOSED, f"session {command.charging_id} was settled under number {closed.number}")
    if command.charging_id in account.swept:
        return fail(Fault.SESSION_CLOSED, f"session {command.charging_id} was swept; it accepts only a Release")
    return fail(
        Fault.SESSION_UNKNOWN,
        f"no session {command.charging_id} is open on account {account.account_id}; charge usage without a session with an Event",
    )

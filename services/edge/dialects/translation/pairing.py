"""Calls and their results: each result has its call, each call its result, and every call an ID of its own. Pure."""

from services.edge.dialects.translation.conversation import ASSISTANT, TOOL, Call, Part, Result, Turn
from services.edge.dialects.translation.refusals import cannot
from services.edge.http.problems import malformed


def paired(turns: list[Turn]) -> list[Turn]:
    """The turns, with IDs that are unique in the whole conversation; some vendors repeat theirs in each turn.

    Errors: `Problem` 400 for a result without its call, or a call without its result.
    """
    if all(turn.role not in (ASSISTANT, TOOL) for turn in turns):
        return turns
    # Calls without a result, by the ID that the client knows.
    waiting: dict[str, list[Call]] = {}
    taken: set[str] = set()
    right: list[Turn] = []
    for turn in turns:
        if turn.role == TOOL:
            right.append(turn._replace(parts=[_answered(part, waiting) for part in turn.parts]))
            continue
        _check(waiting)
        right.append(turn._replace(parts=[_called(part, waiting, taken) for part in turn.parts]))
    _check(waiting)
    return right


def _called(part: Part, waiting: dict[str, list[Call]], taken: set[str]) -> Part:
    """A part of a turn; a call gets an ID of its own."""
    if type(part) is not Call:
        return part
    own = part.call_id
    number = len(taken)
    while not own or own in taken:
        number += 1
        own = f"{part.call_id or 'call'}_{number}"
    taken.add(own)
    called = part if own == part.call_id else part._replace(call_id=own)
    waiting.setdefault(part.call_id, []).append(called)
    return called


def _answered(part: Part, waiting: dict[str, list[Call]]) -> Part:
    """A result, with the ID of its call."""
    assert type(part) is Result
    if part.call_id not in waiting:
        message = (
            f"{part.where} is the result of {part.call_id!r}, but the turn before it makes no such call, or its result was given. "
            "Send each result once, directly after the turn that makes the call."
        )
        raise malformed(part.where, message, "unpaired_result")
    call = waiting[part.call_id].pop(0)
    if not waiting[part.call_id]:
        del waiting[part.call_id]
    return part._replace(call_id=call.call_id, is_custom=call.is_custom)


def _check(waiting: dict[str, list[Call]]) -> None:
    for call_id, calls in waiting.items():
        where = calls[0].where
        message = (
            f"{where} is the call {call_id!r}, which has no result. Send its result directly after the turn that makes the call."
        )
        raise malformed(where, message, "unpaired_call")


def refuse_begun(turns: list[Turn]) -> None:
    """Refuses a conversation that ends with the assistant's words: in messages alone an answer goes on with them."""
    if turns and turns[-1].role == ASSISTANT:
        raise cannot(turns[-1].where, "The last turn is the assistant's, whose words not every dialect goes on with. Leave it out.")

"""Explains why a session is not opened: its need, the free balance, what others hold, and the limit in the way. Pure."""

from collections.abc import Sequence
from itertools import takewhile
from typing import NamedTuple

import msgspec

from services.accounting.core import limits
from services.accounting.core.account.state import Account, named_by
from services.accounting.core.amounts import Estimate, PinnedTariff, in_unit
from services.accounting.core.balance import Reservation, Room, Source, free_sources, reserve, usable
from services.accounting.core.commands import Decision, Refused, ResultCode
from services.accounting.core.offerings import Plan


def refusal_of(refused: Refused, planned: Plan) -> Decision:
    """A refusal that names the offering, and its final unit action."""
    offering = planned.rules
    told = msgspec.structs.replace(refused, offering_id=offering.offering_id, final_action=offering.final_action)
    return Decision((), told)


class Need(NamedTuple):
    """The least that a session must have: its input, and enough output tokens for a useful answer."""

    lines: dict[str, PinnedTariff]
    estimates: dict[str, Estimate]
    input_tokens: int
    useful: int


def refused_for_balance(account: Account, need: Need, sources: Sequence[Source], reserved: int, now_us: int) -> Refused:
    """Refuses a session that the balance does not cover, with its need and the balance in the last line's unit."""
    lines, estimates, input_tokens, useful = need
    line = next(reversed(lines))
    unit = lines[line].unit
    earlier = [source for source in sources if lines[source.line].unit != unit]
    missing = reserve(earlier, estimates, input_tokens, 0).input_missing if earlier else input_tokens
    needed = estimates[line].amount(missing, useful)
    free = sum(source.amount for source in sources if lines[source.line].unit == unit)
    all_sources = _whole_sources(account, lines, now_us)
    held = reserved > 0 and _covers(reserve(all_sources, estimates, input_tokens, useful), useful)
    return Refused(ResultCode.QUOTA_LIMIT_REACHED, unit, needed, free, reserved, held)


def refused_outside_plan(account: Account, model_id: str, lines: dict[str, PinnedTariff], refused: Refused, now_us: int) -> Refused:
    """The refusal with words of its own, if nothing that the account has pays for this model, and something does for others."""
    if refused.held or refused.limit_id or any(bucket.remaining + bucket.reserved for bucket in usable(account, lines, now_us)):
        return refused
    left: dict[tuple[str, str], int] = {}
    for bucket in account.buckets.values():
        offering_id, model_group, unit = named_by(bucket.line)
        bound = bucket.line not in lines and (offering_id or model_group)
        if bound and bucket.remaining and bucket.valid_from_us <= now_us < bucket.valid_until_us:
            left[offering_id, unit] = left.get((offering_id, unit), 0) + bucket.remaining
    if not left:
        return refused
    told = [in_unit(amount, unit) + (f" of {offering_id}" if offering_id else "") for (offering_id, unit), amount in left.items()]
    message = (
        f"the account's plan does not hold model {model_id}: what is left, {' and '.join(told)}, pays for other models; call one "
        f"of those, order an offering that holds {model_id}, or top up at least {in_unit(refused.needed, refused.unit)}"
    )
    return msgspec.structs.replace(refused, message=message)


def _covers(reservation: Reservation, output: int) -> bool:
    return not reservation.input_missing and reservation.output >= output


def _whole_sources(account: Account, lines: dict[str, PinnedTariff], now_us: int) -> list[Source]:
    """The usable buckets with all their holds free, as if nobody held anything."""
    sources: list[Source] = []
    for bucket in usable(account, lines, now_us):
        if not sources or sources[-1].line != bucket.line:
            sources.append(Source(bucket.line))
        sources[-1].add(bucket.bucket_id, bucket.remaining + bucket.reserved)
    return sources


def refused_by_cap(account: Account, need: Need, refused: Refused, admission: limits.Admission, now_us: int) -> Refused:
    """The refusal in the name of a limit, if the balance would have covered the session without that limit."""
    if admission.room is None:
        return refused
    lines, estimates, input_tokens, useful = need
    whole = estimates[next(iter(estimates))].amount(input_tokens, useful)
    uncapped = free_sources(account, lines, now_us, None, whole, [])
    if not _covers(reserve(uncapped, estimates, input_tokens, useful), useful):
        return refused
    units = [unit for unit in dict.fromkeys(tariff.unit for tariff in lines.values()) if unit in admission.tightest]
    if not units:
        return refused
    unit = next((each for each in units if _covered_without(each, account, need, admission.room, now_us)), units[0])
    rule = admission.tightest[unit]
    line = next(line for line, tariff in lines.items() if tariff.unit == unit)
    earlier = list(takewhile(lambda source: lines[source.line].unit != unit, uncapped))
    missing = reserve(earlier, estimates, input_tokens, 0).input_missing if earlier else input_tokens
    needed = estimates[line].amount(missing, useful)
    counter = account.counters.get(rule.name)
    fresh = any(window.counter_id == rule.name for window in admission.windows_opened)
    reserved = 0 if counter is None or fresh else counter.reserved
    return Refused(
        ResultCode.QUOTA_LIMIT_REACHED,
        unit,
        needed,
        admission.room[unit],
        reserved,
        held=reserved > 0 and admission.room[unit] + reserved >= needed,
        limit_id=rule.name,
        retry_after_us=max(0, counter.end_us - now_us) if counter and not fresh and counter.end_us else 0,
    )


def _covered_without(unit: str, account: Account, need: Need, room: Room, now_us: int) -> bool:
    """Whether limits on all other units leave enough, so that it is the one on `unit` that stands in the way."""
    lines, estimates, input_tokens, useful = need
    others = {each: amount for each, amount in room.items() if each != unit}
    whole = estimates[next(iter(estimates))].amount(input_tokens, useful)
    return _covers(reserve(free_sources(account, lines, now_us, others, whole, []), estimates, input_tokens, useful), useful)

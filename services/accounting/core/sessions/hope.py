"""The output that the balance could pay for under the policy `expected`, if all sessions cost their least. Pure."""

from collections.abc import Sequence
from typing import Final

from services.accounting.core.account.state import Account, Session
from services.accounting.core.amounts import Estimate, PinnedTariff, charges_of, cheapest
from services.accounting.core.balance import Room, Source, held_sources, reserve

# Under the policy `expected`, the part of the expected input that is certain to come.
_CERTAIN_NUMERATOR: Final = 3
_CERTAIN_DENOMINATOR: Final = 4


def is_capped(
    room: Room | None, lines: dict[str, PinnedTariff], estimates: dict[str, Estimate], input_tokens: int, output_limit: int
) -> bool:
    """Whether limits on use may leave a session less than it is likely to cost, `room` being what they leave all of it.

    Nobody hopes then: a hope that fails is debt, up to its limit, but a cap has nothing that takes what passes it.
    """
    if room is None:
        return False
    return any(
        room[lines[line].unit] < estimate.amount(input_tokens, output_limit)
        for line, estimate in estimates.items()
        if lines[line].unit in room
    )


def hopeful_output(
    account: Account,
    lines: dict[str, PinnedTariff],
    sources: Sequence[Source],
    input_tokens: int,
    output_limit: int,
    session: Session | None,
) -> int:
    """Output tokens that the balance could pay for if all open sessions cost their least; -1: not even the input.

    Under the policy `expected`, quota that others only reserve must not refuse a session. Their least cost is all of their certain
    input from the cache. The rest of their holds counts as free here, though it is not taken from them.
    """
    floors = {line: cheapest(tariff) for line, tariff in lines.items()}
    slack: dict[str, int] = {}
    for other in account.sessions.values():
        if other is session or not (held_by := held_sources(account, other.hold)):
            continue
        line = held_by[0].line
        if line in floors:
            certain = other.input_reserved * _CERTAIN_NUMERATOR // _CERTAIN_DENOMINATOR
            tariff = other.lines[line]
            least = max(floors[line].amount(certain, 0), sum(charges_of(tariff, other.used)))
            held = sum(other.hold.values())
            slack[line] = slack.get(line, 0) + max(0, held - least)
    hopeful = list(sources)
    for line, amount in slack.items():
        source = Source(line)
        source.amount = amount
        hopeful.append(source)
    certain = input_tokens * _CERTAIN_NUMERATOR // _CERTAIN_DENOMINATOR
    payable = reserve(hopeful, floors, certain, output_limit)
    return -1 if payable.input_missing else payable.output

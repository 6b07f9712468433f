"""The balance: which buckets can pay for a session, in which order, and how tokens turn into amounts over several tariffs.

Pure. A source is a run of buckets, next to one another in burn order, that one tariff prices; nearly every session has one.
"""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from services.accounting.core.account.state import Account, Bucket
from services.accounting.core.amounts import RATE_BASE, Estimate, PinnedTariff, amount_of, charges_of, rates_for
from services.accounting.core.entries import BucketAmounts
from services.token_classes import FIRST, Vector, rate_of, total_input, trimmed

# By unit: the most that a session may take, because a limit says so; a unit that is missing has no limit.
Room = dict[str, int]


class Source:
    """Buckets that one line prices, and what each has to give."""

    __slots__ = ("amount", "line", "parts")

    def __init__(self, line: str) -> None:
        self.line = line
        self.amount = 0
        self.parts: list[tuple[str, int]] = []

    def add(self, bucket_id: str, amount: int) -> None:
        self.parts.append((bucket_id, amount))
        self.amount += amount


def usable(account: Account, lines: dict[str, PinnedTariff], now_us: int) -> Iterable[Bucket]:
    """The buckets that can pay now, in burn order, empty ones too."""
    buckets = account.buckets
    for bucket_id in account.burn_order:
        bucket = buckets[bucket_id]
        if bucket.line in lines and bucket.valid_from_us <= now_us < bucket.valid_until_us:
            yield bucket


def free_sources(
    account: Account, lines: dict[str, PinnedTariff], now_us: int, room: Room | None, enough: int, sources: list[Source]
) -> list[Source]:
    """Appends free amounts, in burn order, to `sources`; stops once one source of the first line alone has `enough`.

    Keep held and free money in separate sources: the hold must pay for its tokens first.
    """
    buckets = account.buckets
    first = next(iter(lines))
    source: Source | None = None
    for bucket_id in account.burn_order:
        bucket = buckets[bucket_id]
        amount = bucket.remaining
        if amount <= 0 or bucket.line not in lines or not bucket.valid_from_us <= now_us < bucket.valid_until_us:
            continue
        capped = False
        if room is not None and (limit := room.get(bucket.unit)) is not None:
            capped = amount >= limit
            amount = min(amount, limit)
            room[bucket.unit] = limit - amount
        if source is None or source.line != bucket.line:
            source = Source(bucket.line)
            sources.append(source)
        if amount:
            source.add(bucket_id, amount)
        if capped or (source.amount >= enough and source.line == first and len(sources) == 1):
            # Stop here: the next bucket, perhaps of money, must not give what the cap kept from this one.
            break
    last = next(reversed(lines))
    if not sources or sources[-1].line != last:
        # The line of the debt can always pay for what costs nothing.
        sources.append(Source(last))
    return sources


def held_sources(account: Account, hold: dict[str, int]) -> list[Source]:
    """The sources of a hold, in burn order."""
    sources: list[Source] = []
    for bucket_id, amount in hold.items():
        if (bucket := account.buckets.get(bucket_id)) is None:
            # The bucket ended long ago, and only what costs nothing was to come from it.
            continue
        line = bucket.line
        if not sources or sources[-1].line != line:
            sources.append(Source(line))
        sources[-1].add(bucket_id, amount)
    return sources


class Reservation(NamedTuple):
    """The tokens that the sources pay for: missing input, and output; and the amount that each source gives."""

    input_missing: int
    output: int
    amounts: list[int]


def reserve(sources: Sequence[Source], estimates: dict[str, Estimate], input_tokens: int, output_tokens: int) -> Reservation:
    """Spreads tokens over the sources, input first, whole tokens a source."""
    missing = input_tokens
    output = 0
    amounts = []
    for source in sources:
        estimate = estimates[source.line]
        budget = source.amount
        taken_input = missing
        if missing and estimate.input_amount(missing) > budget:
            taken_input = estimate.input_payable(budget, missing)
        spent = estimate.input_amount(taken_input)
        missing -= taken_input
        taken_output = 0
        if not missing and output < output_tokens:
            taken_output = estimate.output_payable(budget - spent, output_tokens - output)
            output += taken_output
        amounts.append(estimate.amount(taken_input, taken_output))
        if not missing and output >= output_tokens:
            break
    return Reservation(missing, output, amounts)


def take(sources: Sequence[Source], amounts: Sequence[int]) -> BucketAmounts:
    """The amounts, source by source, out of their buckets in order; a bucket that gives to two sources comes once.

    Record a zero hold for a free tariff, so settlement burns that source first.
    """
    if len(amounts) == 1 and (parts := sources[0].parts) and parts[0][1] >= amounts[0]:
        return ((parts[0][0], amounts[0]),)
    taken: dict[str, int] = {}
    for source, amount in zip(sources, amounts, strict=False):
        if not amount and source.parts:
            taken.setdefault(source.parts[0][0], 0)
        missing = amount
        for bucket_id, has in source.parts:
            if missing <= 0:
                break
            part = min(has, missing)
            taken[bucket_id] = taken.get(bucket_id, 0) + part
            missing -= part
        assert missing <= 0, "took more than there was"
    return tuple(taken.items())


def holding(account: Account, hold: dict[str, int], added: BucketAmounts) -> list[Source]:
    """The sources of a hold once `added` is in it."""
    merged = dict(hold)
    for bucket_id, amount in added:
        merged[bucket_id] = merged.get(bucket_id, 0) + amount
    return held_sources(account, merged)


def less_hold(taken: BucketAmounts, hold: dict[str, int]) -> BucketAmounts:
    """The part of `taken` that is not held yet."""
    return tuple(
        (bucket_id, amount - hold.get(bucket_id, 0))
        for bucket_id, amount in taken
        if bucket_id not in hold or amount > hold[bucket_id]
    )


class Charge:
    """A session's charge under one tariff."""

    __slots__ = ("amounts", "debits", "debt", "line", "tariff", "tokens")

    def __init__(self, line: str, tariff: PinnedTariff, classes: int = FIRST) -> None:
        self.line = line
        self.tariff = tariff
        self.tokens = [0] * classes
        self.amounts = [0] * classes
        # (bucket_id, amount), in order; then the amount that no bucket covered.
        self.debits: list[tuple[str, int]] = []
        self.debt = 0

    def pay(self, sources: Iterable[Source], amount: int) -> None:
        """Takes `amount` from the sources in order; the rest is debt."""
        for source in sources:
            for bucket_id, has in source.parts:
                if amount <= 0:
                    return
                part = min(has, amount)
                self.debits.append((bucket_id, part))
                amount -= part
        self.debt = amount

    @property
    def charged(self) -> int:
        return sum(self.amounts)

    @property
    def usage(self) -> Vector:
        return trimmed(self.tokens)


def settle(
    lines: dict[str, PinnedTariff], usage: Vector, sources: Sequence[Source], taken: dict[str, Charge] | None = None
) -> list[Charge]:
    """Charges `usage` to the sources in order, classes in their fixed order, whole tokens a source; the rest is debt.

    Each class rounds up once a line, however many sources of the line pay for it. Nothing else may need what the sources have.
    `taken` are the charges so far, when a part of the session was settled before: then `usage` is what came since.
    Debt is owed in the last line.
    """
    if len(lines) == 1 and not taken:
        ((line, tariff),) = lines.items()
        return [settle_one(line, tariff, usage, charges_of(tariff, usage), sources)]
    charges = dict(taken or {})
    classes = max([len(usage), *(len(charge.tokens) for charge in charges.values())])
    input_tokens = total_input(usage)
    for charge in charges.values():
        input_tokens += total_input(charge.tokens)
        charge.tokens += [0] * (classes - len(charge.tokens))
        charge.amounts += [0] * (classes - len(charge.amounts))
    rates = {}
    for line, tariff in lines.items():
        row = rates_for(tariff, input_tokens)
        rates[line] = row if classes == FIRST else tuple(rate_of(row, index) for index in range(classes))
    left = [*usage, *(0,) * (classes - len(usage))]
    for source in sources:
        if not any(left):
            break
        line = source.line
        charge = charges.get(line) or charges.setdefault(line, Charge(line, lines[line], classes))
        spent = 0
        for index, wanted in enumerate(left):
            if not wanted:
                continue
            tokens = wanted
            rate = rates[line][index]
            before = charge.amounts[index]
            budget = source.amount - spent
            after = amount_of(charge.tokens[index] + tokens, rate)
            if after - before > budget:
                tokens = max(0, (before + budget) * RATE_BASE // rate - charge.tokens[index])
                after = amount_of(charge.tokens[index] + tokens, rate) if tokens else before
            charge.tokens[index] += tokens
            charge.amounts[index] = after
            left[index] -= tokens
            spent += after - before
            if left[index]:
                # Classes keep their order: the rest of this class goes to the next source before the next class does.
                break
        for bucket_id, has in source.parts:
            if spent <= 0:
                break
            part = min(has, spent)
            charge.debits.append((bucket_id, part))
            spent -= part
    if any(left):
        line = next(reversed(lines))
        charge = charges.get(line) or charges.setdefault(line, Charge(line, lines[line], classes))
        for index, tokens in enumerate(left):
            if tokens:
                before = charge.amounts[index]
                charge.tokens[index] += tokens
                charge.amounts[index] = amount_of(charge.tokens[index], rates[line][index])
                charge.debt += charge.amounts[index] - before
    return [charge for charge in charges.values() if any(charge.tokens)]


def settle_one(line: str, tariff: PinnedTariff, usage: Vector, amounts: Vector, sources: Sequence[Source]) -> Charge:
    """Charges under one tariff, where a bucket may pay a part of a token; `amounts` are those of the classes."""
    charge = Charge(line, tariff)
    charge.tokens = list(usage)
    charge.amounts = list(amounts)
    charge.pay(sources, sum(amounts))
    return charge

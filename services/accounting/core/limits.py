"""Limits: rates by GCRA, use within windows, caps for good, sessions open at once; of a key, of a member, of an account.

Pure. Only entries change the state that is checked here. An entry gives the state of a limiter or a window after it, so that
replay needs neither the catalog nor a calendar. A session counts in the windows of its Create and is corrected there.

The generic cell rate algorithm (ITU-T I.371): a limiter keeps the theoretical arrival time of the next unit; a unit may come
`burst` emission intervals before it.
"""

from typing import Final, NamedTuple

from services.accounting.core.account.runs import lineage, name_of
from services.accounting.core.account.state import SESSION_UNIT, Account, Counter
from services.accounting.core.balance import Room
from services.accounting.core.commands import LimitLeft, RateLeft, RatesLeft, Refused, ResultCode
from services.accounting.core.cycles import period_bounds_us
from services.accounting.core.entries import Arrivals, WindowOpened
from services.accounting.core.terms import Limit, LimitKind, Scope

_MINUTE_NS: Final = 60_000_000_000
# In the year 2116, because an absurd use under a slow rate must stay an int64.
_ARRIVAL_MAX_NS: Final = 2**62
# Rules kept for subjects are dropped when there are more than this, as with very many keys of one account.
_KEPT_SUBJECTS_MAX: Final = 20_000


class Rule(NamedTuple):
    """A limit as it applies to one subject. `name` is "limit_id@subject"."""

    name: str
    limit: Limit
    # Nanoseconds between two units, for rates.
    interval_ns: int
    tolerance_ns: int

    @property
    def subject(self) -> str:
        """The subject of the limit: "account", "member:ID" or "key:ID"."""
        return self.name.split("@", 1)[1]


class Rules(NamedTuple):
    """All limits of one key of one member; no session begins or goes on from `valid_until_us` on (0: there is no end)."""

    request_rates: tuple[Rule, ...]
    token_rates: tuple[Rule, ...]
    counted: tuple[Rule, ...]
    # By name: amounts of the limits on use.
    amounts: dict[str, int]
    valid_until_us: int
    ended_subject: str
    # Units that a minted key's calls may be paid in, those of its budget; None: the key has no run.
    units: frozenset[str] | None = None
    # Models that a minted key may use; None: all of the account's.
    model_ids: frozenset[str] | None = None

    def ended_at(self, now_us: int) -> str:
        """Reason why nothing may begin or go on any more; empty while it may."""
        if not self.valid_until_us or now_us < self.valid_until_us:
            return ""
        return f"the time of {self.ended_subject} has ended; ask the operator for a longer one"


class Admission(NamedTuple):
    """Counters and windows of a session from its Create on."""

    counters: tuple[tuple[str, int], ...]
    windows_opened: tuple[WindowOpened, ...]
    arrivals: Arrivals
    room: Room | None
    # By unit: the limit that leaves the least room.
    tightest: dict[str, Rule]
    # No quota is granted beyond the room, even if sessions may cost less than they hold: a run's budget is exact.
    exact: bool = False


def rules_for(account: Account, base_limits: tuple[Limit, ...], key_id: str, member_id: str) -> Rules:
    """The limits in force for a key, `base_limits` being those of the account's offering.

    Derived once and kept, until limits, subscriptions or the offering change.
    """
    derived = account.derived
    kept = derived.rules
    if derived.base_limits is not base_limits or len(kept) > _KEPT_SUBJECTS_MAX:
        kept.clear()
        derived.base_limits = base_limits
    subject = (member_id, key_id)
    rules = kept.get(subject)
    if rules is None:
        rules = kept[subject] = _work_out(account, base_limits, key_id, member_id)
    return rules


def _work_out(account: Account, base_limits: tuple[Limit, ...], key_id: str, member_id: str) -> Rules:
    runs = lineage(account, key_id)
    # An offering's limits of a key hold for an issued key with all that it minted: else minting would multiply them.
    issued = runs[-1].root_key_id if runs else key_id
    subjects = {Scope.ACCOUNT: "account", Scope.MEMBER: f"member:{member_id}", Scope.KEY: f"key:{issued}"}
    offered: dict[str, Limit] = {limit.limit_id: limit for limit in base_limits}
    for subscription in account.subscriptions.values():
        if subscription.state == "active":
            # A later subscription's limit replaces an earlier one's of the same name.
            offered.update((limit.limit_id, limit) for limit in subscription.terms.limits)
    named = {f"{limit.limit_id}@{subjects[limit.scope]}": limit for limit in offered.values()}
    valid_until_us, ended_subject = 0, ""
    for subject in (*subjects.values(), *(f"key:{run.key_id}" for run in reversed(runs))):
        of_subject = account.limits.get(subject)
        if of_subject is None:
            continue
        named.update((f"{limit.limit_id}@{subject}", limit) for limit in of_subject.limits)
        if of_subject.valid_until_us and (not valid_until_us or of_subject.valid_until_us < valid_until_us):
            valid_until_us, ended_subject = of_subject.valid_until_us, subject
    for run in runs:
        named.update((name_of(limit, run.key_id), limit) for limit in run.limits)
        if not valid_until_us or run.ends_us < valid_until_us:
            valid_until_us, ended_subject = run.ends_us, f"key:{run.key_id}"
    rules = [_rule(name, limit) for name, limit in named.items()]

    def of(*kinds: LimitKind) -> tuple[Rule, ...]:
        return tuple(rule for rule in rules if rule.limit.kind in kinds)

    return Rules(
        request_rates=of(LimitKind.REQUEST_RATE),
        token_rates=of(LimitKind.TOKEN_RATE),
        counted=of(LimitKind.CONCURRENT_SESSIONS, LimitKind.USAGE),
        amounts={rule.name: rule.limit.amount for rule in of(LimitKind.USAGE)},
        valid_until_us=valid_until_us,
        ended_subject=ended_subject,
        # Each budget and each list of models is a part of the ones above it.
        units=frozenset(limit.unit for limit in runs[0].limits if limit.kind == LimitKind.USAGE) if runs else None,
        model_ids=next((frozenset(run.model_ids) for run in runs if run.model_ids), None),
    )


def _rule(name: str, limit: Limit) -> Rule:
    if limit.kind not in (LimitKind.REQUEST_RATE, LimitKind.TOKEN_RATE):
        return Rule(name, limit, 0, 0)
    interval_ns = max(1, _MINUTE_NS // limit.amount)
    return Rule(name, limit, interval_ns, interval_ns * limit.burst)


def admit(account: Account, rules: Rules, now_us: int, time_zone: str, tokens: int) -> Admission | Refused:
    """Admits a session, `tokens` of it counting against token rates, and names its counters; or refuses it.

    Checks the end of the subject, rates, sessions open at once, and that every window has any room at all.
    """
    if message := rules.ended_at(now_us):
        code = ResultCode.END_USER_SERVICE_REJECTED
        return Refused(code, *("", 0, 0, 0), held=False, limit_id=f"end@{rules.ended_subject}", message=message)
    arrivals = []
    for rule in rules.request_rates:
        arrival = _arrival(account, rule, now_us, 1)
        if isinstance(arrival, Refused):
            return arrival
        arrivals.append((rule.name, arrival))
    for rule in rules.token_rates:
        # A call larger than the burst passes once the burst is full again; all of its tokens are counted.
        arrival = _arrival(account, rule, now_us, tokens)
        if isinstance(arrival, Refused):
            return arrival
        arrivals.append((rule.name, arrival))
    if not rules.counted:
        return Admission((), (), tuple(arrivals), None, {})
    counters, opened = windows(account, rules, now_us, time_zone)
    fresh = {window.counter_id for window in opened}
    room: Room = {}
    tightest: dict[str, Rule] = {}
    for rule in rules.counted:
        limit = rule.limit
        used = reserved = end_us = 0
        if rule.name not in fresh:
            counter = account.counters[rule.name]
            used, reserved, end_us = counter.used, counter.reserved, counter.end_us
        free = limit.amount - used - reserved
        if free <= 0:
            held = used < limit.amount
            return Refused(
                ResultCode.RATE_LIMITED if limit.kind == LimitKind.CONCURRENT_SESSIONS else ResultCode.QUOTA_LIMIT_REACHED,
                limit.unit,
                1,
                0,
                reserved,
                held=held,
                limit_id=rule.name,
                retry_after_us=max(0, end_us - now_us) if not held else 0,
            )
        if limit.kind == LimitKind.USAGE and free < room.get(limit.unit, free + 1):
            room[limit.unit] = free
            tightest[limit.unit] = rule
    return Admission(counters, opened, tuple(arrivals), room or None, tightest, exact=rules.units is not None)


def windows(
    account: Account, rules: Rules, now_us: int, time_zone: str
) -> tuple[tuple[tuple[str, int], ...], tuple[WindowOpened, ...]]:
    """Counters of a session that begins now, as (counter_id, begin of its window), and the windows that begin with it."""
    counters = []
    opened = []
    for rule in rules.counted:
        limit = rule.limit
        unit = limit.unit or SESSION_UNIT
        counter = account.counters.get(rule.name)
        if counter is not None and counter.unit == unit and _in_window(counter, limit, now_us, time_zone):
            counters.append((rule.name, counter.start_us))
        else:
            window = _window(rule.name, limit, unit, now_us, time_zone)
            opened.append(window)
            counters.append((rule.name, window.start_us))
    return tuple(counters), tuple(opened)


def _arrival(account: Account, rule: Rule, now_us: int, units: int) -> int | Refused:
    now_ns = now_us * 1_000
    due_ns = max(account.arrivals.get(rule.name, 0), now_ns)
    early_ns = due_ns + min(units * rule.interval_ns, rule.tolerance_ns) - now_ns - rule.tolerance_ns
    if early_ns > 0:
        return Refused(
            ResultCode.RATE_LIMITED, *("", 0, 0, 0), held=False, limit_id=rule.name, retry_after_us=-(-early_ns // 1_000)
        )
    return min(_ARRIVAL_MAX_NS, due_ns + units * rule.interval_ns)


def rates_left(account: Account, rules: Rules, now_us: int, arrivals: Arrivals = ()) -> RatesLeft | None:
    """The limits on rates after `arrivals`, which are not noted yet; None where there is none."""
    if not rules.request_rates and not rules.token_rates:
        return None
    later = dict(arrivals)

    def least(group: tuple[Rule, ...]) -> RateLeft | None:
        left = [_rate_left(rule, later.get(rule.name) or account.arrivals.get(rule.name, 0), now_us) for rule in group]
        return min(left, key=lambda each: (each.remaining, -each.reset_us), default=None)

    return RatesLeft(least(rules.request_rates), least(rules.token_rates))


def _rate_left(rule: Rule, due_ns: int, now_us: int) -> RateLeft:
    ahead_ns = max(0, due_ns - now_us * 1_000)
    return RateLeft(rule.limit.burst, max(0, rule.tolerance_ns - ahead_ns) // rule.interval_ns, -(-ahead_ns // 1_000))


def limits_left(account: Account, rules: Rules, now_us: int, time_zone: str) -> tuple[LimitLeft, ...]:
    """All limits at this moment: on rates, then on sessions at once and on use."""
    left = []
    for rule in (*rules.request_rates, *rules.token_rates):
        rate = _rate_left(rule, account.arrivals.get(rule.name, 0), now_us)
        reset_us = now_us + rate.reset_us if rate.reset_us else 0
        left.append(LimitLeft(rule.subject, rule.limit, 0, 0, rate.remaining, 0, reset_us))
    _, opened = windows(account, rules, now_us, time_zone)
    fresh = {window.counter_id: window for window in opened}
    for rule in rules.counted:
        limit = rule.limit
        if (window := fresh.get(rule.name)) is None:
            counter = account.counters[rule.name]
            used, reserved, start_us, end_us = counter.used, counter.reserved, counter.start_us, counter.end_us
        else:
            # A window of the calendar goes on whether anybody calls or not.
            used = reserved = 0
            start_us, end_us = (window.start_us, window.end_us) if limit.calendar is not None else (0, 0)
        remaining = max(0, limit.amount - used - reserved)
        left.append(LimitLeft(rule.subject, limit, used, reserved, remaining, start_us, end_us))
    return tuple(left)


def counted_tokens(account: Account, rules: Rules, now_us: int, tokens: int) -> Arrivals:
    """Arrival times of token rates after `tokens` more (or fewer) than were counted. Never refuses: the tokens are used."""
    if not tokens:
        return ()
    earliest_ns = now_us * 1_000 if tokens > 0 else 0
    arrivals = []
    for rule in rules.token_rates:
        due_ns = account.arrivals.get(rule.name, 0)
        arrivals.append((rule.name, min(_ARRIVAL_MAX_NS, max(due_ns, earliest_ns) + tokens * rule.interval_ns)))
    return tuple(arrivals)


def room_of(account: Account, rules: Rules, counters: tuple[tuple[str, int], ...]) -> Room | None:
    """Room that a session's windows leave it, by unit; None: nothing limits it."""
    room: Room = {}
    amounts = rules.amounts
    for counter_id, start_us in counters:
        counter = account.counters.get(counter_id)
        # A limit that is gone, or whose window is over, no longer applies.
        if counter is None or counter.start_us != start_us or (amount := amounts.get(counter_id)) is None:
            continue
        free = amount - counter.used - counter.reserved
        unit = counter.unit
        if unit not in room or free < room[unit]:
            room[unit] = free if free > 0 else 0
    return room or None


def left_of_budgets(account: Account, key_id: str) -> Room:
    """By unit, the least that the budgets of a minted key and of all keys above it leave beside what is used and held.

    Below 0: more was used than there was. Empty for an issued key.
    """
    room: Room = {}
    for run in lineage(account, key_id):
        for limit in run.limits:
            if limit.kind == LimitKind.USAGE:
                counter = account.counters.get(name_of(limit, run.key_id))
                left = limit.amount - (counter.used + counter.reserved if counter else 0)
                room[limit.unit] = min(left, room.get(limit.unit, left))
    return room


def _in_window(counter: Counter, limit: Limit, now_us: int, time_zone: str) -> bool:
    if counter.end_us and now_us >= counter.end_us:
        return False
    # A limit with another window begins a new one.
    if limit.calendar is not None:
        return (counter.start_us, counter.end_us) == period_bounds_us(limit.calendar, time_zone, now_us)
    return counter.end_us == (counter.start_us + limit.window_us if limit.window_us else 0)


def _window(name: str, limit: Limit, unit: str, now_us: int, time_zone: str) -> WindowOpened:
    if limit.calendar is not None:
        return WindowOpened(name, unit, *period_bounds_us(limit.calendar, time_zone, now_us))
    if limit.window_us:
        return WindowOpened(name, unit, now_us, now_us + limit.window_us)
    return WindowOpened(name, unit, 0, 0)

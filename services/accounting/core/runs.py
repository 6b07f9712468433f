"""Runs: the narrower keys that a key mints, each with a budget. Opened, ended, listed. Pure.

A budget is a cap, not a hold: a parent may hand out more than it has, and the first to come uses it. All limits of a run stand in
`Account.runs`, and `limits.rules_for` puts those of all keys above it to its own, so that a call counts in each of them.
"""

from collections.abc import Iterator
from typing import Final

from services.accounting.core.account.runs import family, is_below, lineage, name_of
from services.accounting.core.account.state import Account, Run
from services.accounting.core.commands import (
    Decision,
    Done,
    EndRuns,
    Fault,
    ListRuns,
    OpenRun,
    RunsFound,
    RunView,
    SpentBudget,
    digest_of,
    fail,
    some_of,
)
from services.accounting.core.entries import RunOpened, RunsEnded
from services.accounting.core.limits import Rules
from services.accounting.core.offerings import ChargingCatalog
from services.accounting.core.sessions.limited import rules_of
from services.accounting.core.terms import Limit, LimitKind, Scope

# Minted keys above one another.
DEPTH_MAX: Final = 4
# Living runs below an issued key, at whatever depth.
LIVING_MAX: Final = 1_000
LIFE_US_MAX: Final = 30 * 24 * 3_600 * 1_000_000
_PARALLEL: Final = "parallel-calls"
_SECOND_US: Final = 1_000_000


def open_run(account: Account, command: OpenRun, now_us: int, catalog: ChargingCatalog) -> Decision:
    """Opens the run of a key to be minted, or names what of it is wider than its parent's, and what is allowed."""
    digest = digest_of(command)
    known = account.runs.get(command.key_id)
    if known is not None:
        if known.digest != digest:
            return fail(Fault.IDEMPOTENCY_CONFLICT, f"the idempotency key made the key {command.key_id} with other content")
        return Decision((), RunsFound((_view(account, known),)))
    if not catalog.runs:
        return fail(Fault.UNAVAILABLE, "a replica of accounting is of a release that knows no runs; mint once all are updated")
    above = lineage(account, command.parent_key_id)
    rules = rules_of(account, catalog, command.parent_key_id, command.member_id)
    ended = rules.ended_at(now_us)
    if ended or (command.parent_is_minted and not above):
        return fail(Fault.SUBJECT_ENDED, ended or f"the time of key:{command.parent_key_id} has ended")
    root_key_id = above[-1].root_key_id if above else command.parent_key_id
    if (crowded := _crowded(account, command.key_id, root_key_id, len(above), now_us)) is not None:
        return crowded
    if (wider := next(_wider(command, above, rules, now_us, catalog), None)) is not None:
        return fail(Fault.INVALID_ARGUMENT, wider)
    ends_us = now_us + (command.valid_for_us or LIFE_US_MAX)
    if rules.valid_until_us:
        ends_us = min(ends_us, rules.valid_until_us)
    limits = [Limit(budget_id(unit), Scope.KEY, LimitKind.USAGE, amount, unit=unit) for unit, amount in command.budgets]
    if command.parallel_calls:
        limits.append(Limit(_PARALLEL, Scope.KEY, LimitKind.CONCURRENT_SESSIONS, command.parallel_calls))
    opened = RunOpened(
        account_id=account.account_id,
        time_us=now_us,
        key_id=command.key_id,
        parent_key_id=command.parent_key_id,
        root_key_id=root_key_id,
        limits=tuple(limits),
        model_ids=command.model_ids,
        ends_us=ends_us,
        digest=digest,
    )
    models = command.model_ids or next((run.model_ids for run in above if run.model_ids), ())
    run = Run(opened.key_id, opened.parent_key_id, root_key_id, opened.limits, models, now_us, ends_us, digest)
    return Decision((opened,), RunsFound((_view(account, run),)))


def budget_id(unit: str) -> str:
    """The limit_id of a run's budget in a unit."""
    return f"budget-{_name(unit)}"


def _name(unit: str) -> str:
    return unit.rpartition(":")[2]


def _crowded(account: Account, key_id: str, root_key_id: str, depth: int, now_us: int) -> Decision | None:
    """Refuses a run that is too deep, or one too many; None when there is room."""
    if key_id == root_key_id or any(run.parent_key_id == key_id for run in account.runs.values()):
        return fail(Fault.INVALID_ARGUMENT, f"key_id {key_id} is that of a key that mints; give a new one")
    if depth >= DEPTH_MAX:
        return fail(
            Fault.NOT_POSSIBLE,
            f"the key was minted {DEPTH_MAX} levels below an issued key, the most; let a key above it mint for it",
        )
    living = sum(run.root_key_id == root_key_id and now_us < run.ends_us for run in account.runs.values())
    if living >= LIVING_MAX:
        return fail(
            Fault.NOT_POSSIBLE,
            f"{LIVING_MAX} minted keys live below {root_key_id}, the most; revoke one that is not needed, or wait until one ends",
        )
    return None


def _wider(command: OpenRun, above: list[Run], rules: Rules, now_us: int, catalog: ChargingCatalog) -> Iterator[str]:
    """Names each thing that the parent itself does not have, and its bound. `rules` are the parent's."""
    caps: dict[str, int] = {}
    parallel_max = 0
    for rule in rules.counted:
        limit = rule.limit
        if limit.kind == LimitKind.CONCURRENT_SESSIONS:
            parallel_max = min(parallel_max or limit.amount, limit.amount)
        elif not limit.window_us and limit.calendar is None:
            caps[limit.unit] = min(caps.get(limit.unit, limit.amount), limit.amount)
    for unit, amount in command.budgets:
        if rules.units is not None and unit not in rules.units:
            yield f"budget: the key that mints has none in {_name(unit)}; give it in {' or '.join(map(_name, sorted(rules.units)))}"
        elif unit in caps and amount > caps[unit]:
            yield f"budget: {amount} micro-units of {_name(unit)} are more than the key that mints has; give at most {caps[unit]}"
    if rules.valid_until_us and now_us + command.valid_for_us > rules.valid_until_us:
        left_s = (rules.valid_until_us - now_us) // _SECOND_US
        yield f"valid_seconds: the key that mints lives for {left_s} s; give at most that, or leave it out to live as long"
    known = catalog.model_ids if rules.model_ids is None else rules.model_ids
    for model_id in command.model_ids:
        if model_id not in known:
            yield f"models: the key that mints may not use {model_id!r}; it may use {some_of(known)}"
    if parallel_max and command.parallel_calls > parallel_max:
        yield f"parallel_calls: the key that mints may have {parallel_max}; give at most that"


def end_runs(account: Account, command: EndRuns, now_us: int, catalog: ChargingCatalog) -> Decision:
    """Ends the runs of a key and of all keys below it; those that have ended stay as they are."""
    if command.by_key_id:
        run = account.runs.get(command.key_id)
        if run is None or not is_below(account, run, command.by_key_id):
            return fail(Fault.ITEM_UNKNOWN, f"no key {command.key_id} is below {command.by_key_id}")
    if all(run.ends_us <= now_us for run in family(account, command.key_id)):
        return Decision((), Done())
    return Decision((RunsEnded(account.account_id, now_us, command.key_id, command.by_key_id),), Done())


def list_runs(account: Account, command: ListRuns, now_us: int, catalog: ChargingCatalog) -> Decision:
    """The run of a key, where it has one, and those of all keys below it."""
    return Decision((), RunsFound(tuple(_view(account, run) for run in family(account, command.key_id))))


def _view(account: Account, run: Run) -> RunView:
    budgets = []
    parallel_calls = 0
    for limit in run.limits:
        if limit.kind == LimitKind.CONCURRENT_SESSIONS:
            parallel_calls = limit.amount
            continue
        counter = account.counters.get(name_of(limit, run.key_id))
        used, held = (counter.used, counter.reserved) if counter else (0, 0)
        budgets.append(SpentBudget(limit.unit, limit.amount, used, held))
    # A key without a list of its own has that of the next key above it.
    model_ids = run.model_ids or next((each.model_ids for each in lineage(account, run.key_id) if each.model_ids), ())
    return RunView(run.key_id, run.parent_key_id, tuple(budgets), run.opened_us, run.ends_us, model_ids, parallel_calls, run.calls)

"""Applies entries to runs, and drops runs that ended long ago."""

from typing import Final

from services.accounting.core.account.state import Account, Applies, Run
from services.accounting.core.entries import CallLabelled, RunOpened, RunsEnded
from services.accounting.core.terms import Limit

# A run is remembered this long after its end, but only the last ones of an account. A swept session is remembered as long.
ENDED_RUN_MEMORY_US: Final = 7 * 24 * 3_600 * 1_000_000
ENDED_RUNS_MAX: Final = 1_000


def name_of(limit: Limit, key_id: str) -> str:
    """The name under which a run's limit counts."""
    return f"{limit.limit_id}@key:{key_id}"


def lineage(account: Account, key_id: str) -> list[Run]:
    """The run of a minted key and those above it, its own first; empty for a key that was issued."""
    found = []
    while (run := account.runs.get(key_id)) is not None:
        found.append(run)
        key_id = run.parent_key_id
    return found


def family(account: Account, key_id: str) -> list[Run]:
    """The run of a key, where it has one, and those of all keys below it, in the order of opening."""
    runs = account.runs
    # Nothing is below a key that has minted nothing.
    if key_id not in runs and all(run.root_key_id != key_id for run in runs.values()):
        return []
    return [run for run in runs.values() if run.key_id == key_id or is_below(account, run, key_id)]


def is_below(account: Account, run: Run, key_id: str) -> bool:
    """Whether a run's key was minted by another key, or by one that this one minted in its turn."""
    return any(each.parent_key_id == key_id for each in lineage(account, run.key_id))


def _opened(account: Account, entry: RunOpened, seq: int) -> None:
    _forget_ended(account, entry.time_us)
    account.runs[entry.key_id] = Run(
        key_id=entry.key_id,
        parent_key_id=entry.parent_key_id,
        root_key_id=entry.root_key_id,
        limits=entry.limits,
        model_ids=entry.model_ids,
        opened_us=entry.time_us,
        ends_us=entry.ends_us,
        digest=entry.digest,
    )
    account.forget_derived()


def _ended(account: Account, entry: RunsEnded, seq: int) -> None:
    for run in family(account, entry.key_id):
        run.ends_us = min(run.ends_us, entry.time_us)
    account.forget_derived()


def _forget_ended(account: Account, now_us: int) -> None:
    """Drops runs that ended long ago, and the earliest of too many that ended. A child goes before its parent."""
    ended = [run for run in account.runs.values() if run.ends_us <= now_us]
    ended.sort(key=lambda run: (run.ends_us, -len(lineage(account, run.key_id))))
    excess = len(ended) - ENDED_RUNS_MAX
    if not ended or (excess <= 0 and ended[0].ends_us >= now_us - ENDED_RUN_MEMORY_US):
        return
    # A session that is settled later counts in them still.
    key_ids = {each.key_id for each in account.sessions.values()} | {each.key_id for each in account.swept.values()}
    charging = {run.key_id for key_id in key_ids for run in lineage(account, key_id)}
    for number, run in enumerate(ended):
        if (number < excess or run.ends_us < now_us - ENDED_RUN_MEMORY_US) and run.key_id not in charging:
            del account.runs[run.key_id]
            for limit in run.limits:
                account.counters.pop(name_of(limit, run.key_id), None)


def _labelled(account: Account, entry: CallLabelled, seq: int) -> None:
    # The row that settles a swept session has one for its readers alone.
    if (session := account.sessions.get(entry.charging_id)) is not None:
        session.run_label = entry.run_label


APPLY: Final[Applies] = {RunOpened: _opened, RunsEnded: _ended, CallLabelled: _labelled}

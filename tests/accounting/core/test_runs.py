"""Runs: minted keys whose use counts in every key above them, within what their parents have."""

import random
from typing import Any

import msgspec
import pytest

from services.accounting.core.account.runs import ENDED_RUN_MEMORY_US, ENDED_RUNS_MAX
from services.accounting.core.account.state import Run
from services.accounting.core.commands import (
    Answer,
    CloseCause,
    CreateSession,
    Done,
    EndRuns,
    Failed,
    Granted,
    GrantedNow,
    ListRuns,
    OpenRun,
    ReadAccount,
    Refused,
    ResultCode,
    RunsFound,
    RunView,
    Settled,
    SpentBudget,
    UpdateSession,
    some_of,
)
from services.accounting.core.entries import CallLabelled, RunOpened, RunsEnded, SessionCreated, SessionSettled
from services.accounting.core.losses import UNPAID_WAIT_US, UNPAID_WORK
from services.accounting.core.runs import DEPTH_MAX, LIFE_US_MAX, LIVING_MAX
from services.accounting.core.terms import LimitKind, Scope
from services.accounting.writer.asking import view_of
from tests.accounting.ledger import (
    ACCOUNT_ID,
    DAY,
    EACH,
    HOUR,
    MINUTE,
    SECOND,
    TCC_US,
    UNIT,
    audited,
    catalog_of,
    event_command,
    fault_of,
    flat,
    offering,
    release_command,
    replayed,
    state_of,
    usage,
)
from tests.accounting.shop import CNY, MONEY, Shopper, limit

ISSUED = "key-issued"


class Agent(Shopper):
    """An account whose issued key mints others."""

    def open(self, key_id: str, parent: str = ISSUED, tokens: int = 100, **more: Any) -> Answer:
        """Opens a run; `tokens` whole TOKEN unless `budgets` says otherwise."""
        command = OpenRun(
            account_id=ACCOUNT_ID,
            key_id=key_id,
            parent_key_id=parent,
            parent_is_minted=more.pop("parent_is_minted", parent != ISSUED),
            member_id="mbr-1",
            budgets=more.pop("budgets", (("TOKEN", tokens * UNIT),)),
            valid_for_us=more.pop("valid_for_us", 0),
            model_ids=more.pop("model_ids", ()),
            parallel_calls=more.pop("parallel_calls", 0),
        )
        assert not more
        return self.ask(command)

    def mint(self, key_id: str, parent: str = ISSUED, tokens: int = 100, **more: Any) -> RunView:
        answer = self.open(key_id, parent, tokens, **more)
        assert isinstance(answer, RunsFound), answer
        (run,) = answer.runs
        return run

    def refused(self, key_id: str, parent: str = ISSUED, tokens: int = 100, **more: Any) -> tuple[str, str]:
        """The fault and the message of a run that must not be opened, and changes nothing."""
        before = state_of(self.state)
        answer = self.open(key_id, parent, tokens, **more)
        assert isinstance(answer, Failed), answer
        assert state_of(self.state) == before
        return fault_of(answer), answer.message

    def use(self, key: str, tokens: int) -> None:
        """A call by a key that uses as many tokens as it reserves."""
        charging_id = self.open_call(tokens, 0, key=key)
        self.release(charging_id, 2, usage(input=tokens))

    def open_metered(self, key: str, input_bound: int, output_limit: int) -> tuple[str, Granted]:
        """A call that sees its output as it is made."""
        command = self.create_command(input_bound, output_limit, metered=True)
        answer = self.ask(msgspec.structs.replace(command, key_id=key))
        assert isinstance(answer, Granted), answer
        return command.charging_id, answer

    def runs(self, key_id: str = ISSUED) -> dict[str, RunView]:
        """The runs below a key; with its own, where it has one."""
        answer = self.unchanged_by(ListRuns(ACCOUNT_ID, key_id))
        assert isinstance(answer, RunsFound)
        return {run.key_id: run for run in answer.runs}

    def spent(self) -> dict[str, tuple[int, int, int]]:
        """By key: used and held tokens of its run, and calls."""
        return {
            key_id: (run.budgets[0].used // UNIT, run.budgets[0].held // UNIT, run.calls) for key_id, run in self.runs().items()
        }


@pytest.fixture
def agent() -> Agent:
    agent = Agent()
    agent.grant(1_000_000 * UNIT, valid_for_us=300 * DAY)
    return agent


def refusal(answer: Answer) -> Refused:
    assert isinstance(answer, Refused), answer
    return answer


def test_a_childs_use_counts_in_every_key_above_it(agent: Agent) -> None:
    agent.mint("a", tokens=100)
    agent.mint("b", "a", 80)
    agent.mint("c", "b", 60)
    agent.mint("sister", "a", 50)
    agent.use("c", 20)
    agent.use("b", 5)
    agent.use("sister", 7)
    charging_id = agent.open_call(3, 4, key="c")
    assert agent.spent() == {"a": (32, 7, 3), "b": (25, 7, 2), "c": (20, 7, 1), "sister": (7, 0, 1)}
    agent.release(charging_id, 2, usage(input=3, output=1))
    assert agent.spent() == {"a": (36, 0, 4), "b": (29, 0, 3), "c": (24, 0, 2), "sister": (7, 0, 1)}
    assert state_of(replayed(agent.rows)) == state_of(agent.state)


def test_a_budget_is_a_cap_and_not_a_hold(agent: Agent) -> None:
    agent.mint("parent", tokens=100)
    # Together they could spend twice what the parent has; nothing is held for them.
    agent.mint("one", "parent", 100)
    agent.mint("two", "parent", 100)
    assert agent.free == {"TOKEN": 1_000_000}
    agent.use("one", 70)
    refused = refusal(agent.call(31, 0, key="two"))
    assert (refused.code, refused.limit_id, refused.free) == (
        ResultCode.QUOTA_LIMIT_REACHED,
        "budget-TOKEN@key:parent",
        30 * UNIT,
    )
    agent.use("two", 30)
    for key in ("one", "two", "parent"):
        refused = refusal(agent.call(1, 0, key=key))
        assert (refused.limit_id, refused.held) == ("budget-TOKEN@key:parent", False)
    # Nobody else is touched.
    agent.use(ISSUED, 1_000)


def test_the_last_token_of_a_budget_goes_to_one_call(agent: Agent) -> None:
    agent.mint("parent", tokens=10)
    keys = [f"child-{number}" for number in range(5)]
    for key in keys:
        agent.mint(key, "parent", 10)
    agent.use("parent", 9)
    first = agent.open_call(1, 0, key=keys[0])
    for key in keys[1:]:
        assert refusal(agent.call(1, 0, key=key)).held
    agent.release(first, 2, usage(input=1))
    for key in keys:
        assert not refusal(agent.call(1, 0, key=key)).held
    assert agent.spent()["parent"] == (10, 0, 2)


def test_a_call_ends_with_the_budget_of_a_key_above_it(agent: Agent) -> None:
    agent.mint("parent", tokens=100)
    agent.mint("child", "parent", 100)
    charging_id, _ = agent.open_metered("child", 10, 1_000)
    agent.use("parent", 20)
    granted = agent.update(charging_id, 2, usage(input=10, output=64), 200)
    assert (granted.output_granted, granted.final) == (70, True)
    agent.release(charging_id, 3, usage(input=10, output=70))
    assert agent.spent() == {"parent": (100, 0, 2), "child": (80, 0, 1)}


# Narrower than its parent


def test_a_budget_is_at_most_the_parents(agent: Agent) -> None:
    agent.mint("parent", budgets=(("TOKEN", 100 * UNIT), (CNY, 5 * UNIT)))
    said = agent.refused("child", "parent", 101)
    assert said == (
        "INVALID_ARGUMENT",
        "budget: 101000000 micro-units of TOKEN are more than the key that mints has; give at most 100000000",
    )
    said = agent.refused("child", "parent", budgets=(("TOKEN", UNIT), (CNY, 5 * UNIT + 1)))
    assert said == (
        "INVALID_ARGUMENT",
        "budget: 5000001 micro-units of CNY are more than the key that mints has; give at most 5000000",
    )
    said = agent.refused("child", "parent", budgets=(("POINT", UNIT),))
    assert said == ("INVALID_ARGUMENT", "budget: the key that mints has none in POINT; give it in CNY or TOKEN")
    agent.mint("child", "parent", 100)
    # Its own is in tokens alone now.
    assert agent.refused("grandchild", "child", budgets=((CNY, 1),))[1] == (
        "budget: the key that mints has none in CNY; give it in TOKEN"
    )


def test_a_budget_is_at_most_what_the_operator_lets_the_parent_have(agent: Agent) -> None:
    agent.limits(f"key:{ISSUED}", limit("cap", Scope.KEY, LimitKind.USAGE, 50 * UNIT, unit="TOKEN"))
    assert agent.refused("child", tokens=51)[1].endswith("give at most 50000000")
    agent.limits("member:mbr-1", limit("cap", Scope.MEMBER, LimitKind.USAGE, 40 * UNIT, unit="TOKEN"))
    assert agent.refused("child", tokens=41)[1].endswith("give at most 40000000")
    # A window begins anew; it holds beside the budget.
    agent.limits(f"key:{ISSUED}", limit("day", Scope.KEY, LimitKind.USAGE, 5 * UNIT, unit="TOKEN", window_us=DAY))
    agent.mint("child", tokens=40)
    assert refusal(agent.call(6, 0, key="child")).limit_id == f"day@key:{ISSUED}"


def test_a_life_is_at_most_the_parents(agent: Agent) -> None:
    assert agent.mint("month").ends_us == agent.now_us + LIFE_US_MAX == agent.now_us + 30 * DAY
    parent = agent.mint("parent", valid_for_us=HOUR)
    agent.pass_time(MINUTE)
    said = agent.refused("child", "parent", valid_for_us=59 * MINUTE + 1)
    assert said == (
        "INVALID_ARGUMENT",
        "valid_seconds: the key that mints lives for 3540 s; give at most that, or leave it out to live as long",
    )
    assert agent.mint("child", "parent", valid_for_us=59 * MINUTE).ends_us == parent.ends_us
    assert agent.mint("as-long", "parent").ends_us == parent.ends_us
    agent.limits("member:mbr-1", valid_until_us=agent.now_us + 10 * SECOND)
    assert agent.mint("shorter", "parent").ends_us == agent.now_us + 10 * SECOND


def test_models_are_the_parents(agent: Agent) -> None:
    said = agent.refused("parent", model_ids=("flat", "unknown"))
    assert said == ("INVALID_ARGUMENT", "models: the key that mints may not use 'unknown'; it may use flat, other")
    agent.mint("parent", model_ids=("flat",))
    said = agent.refused("child", "parent", model_ids=("other",))
    assert said == ("INVALID_ARGUMENT", "models: the key that mints may not use 'other'; it may use flat")
    # Without a list of its own it has the parent's.
    assert agent.mint("child", "parent").model_ids == ("flat",)
    for key in ("parent", "child"):
        assert refusal(agent.call(1, 0, key=key, model="other")).code == ResultCode.END_USER_SERVICE_DENIED
        agent.use(key, 1)


def test_of_very_many_models_some_are_named() -> None:
    agent = Agent(base=offering({f"model-{number:03}": flat(EACH) for number in range(300)}))
    agent.grant(UNIT)
    _, message = agent.refused("a", model_ids=("none",))
    names = ", ".join(f"model-{number:03}" for number in range(10))
    assert message == f"models: the key that mints may not use 'none'; it may use {names}, ..."


def test_parallel_calls_are_the_parents_and_count_in_it(agent: Agent) -> None:
    agent.mint("parent", parallel_calls=2)
    assert agent.refused("child", "parent", parallel_calls=3) == (
        "INVALID_ARGUMENT",
        "parallel_calls: the key that mints may have 2; give at most that",
    )
    assert agent.mint("one", "parent", parallel_calls=1).parallel_calls == 1
    assert agent.mint("two", "parent").parallel_calls == 0
    first = agent.open_call(1, 0, key="one")
    assert refusal(agent.call(1, 0, key="one")).limit_id == "parallel-calls@key:one"
    agent.open_call(1, 0, key="two")
    assert refusal(agent.call(1, 0, key="two")).limit_id == "parallel-calls@key:parent"
    agent.release(first, 2, usage(input=1))
    agent.open_call(1, 0, key="two")


def test_an_offerings_limits_of_a_key_are_not_multiplied_by_minting() -> None:
    agent = Agent(
        base=offering({"flat": flat(EACH)}, limits=(limit("parallel", Scope.KEY, LimitKind.CONCURRENT_SESSIONS, 2),)),
    )
    agent.grant(1_000 * UNIT)
    agent.mint("one")
    agent.mint("two", "one")
    agent.open_call(1, 0, key="one")
    agent.open_call(1, 0, key="two")
    for key in (ISSUED, "one", "two"):
        assert refusal(agent.call(1, 0, key=key)).limit_id == f"parallel@key:{ISSUED}"
    agent.open_call(1, 0, key="another")


def test_keys_are_at_most_four_levels_below_an_issued_one(agent: Agent) -> None:
    parent = ISSUED
    for level in range(1, DEPTH_MAX + 1):
        agent.mint(f"level-{level}", parent)
        parent = f"level-{level}"
    assert DEPTH_MAX == 4
    assert agent.refused("level-5", parent) == (
        "NOT_POSSIBLE",
        "the key was minted 4 levels below an issued key, the most; let a key above it mint for it",
    )
    agent.use("level-4", 3)
    assert agent.spent() == {f"level-{level}": (3, 0, 1) for level in range(1, 5)}


def test_at_most_a_thousand_keys_live_below_an_issued_one(agent: Agent) -> None:
    agent.mint("short", valid_for_us=MINUTE)
    for number in range(LIVING_MAX - 1):
        agent.mint(f"child-{number}", "short" if number % 2 else ISSUED)
    assert LIVING_MAX == 1_000
    for parent in (ISSUED, "short", "child-0"):
        fault, message = agent.refused("one-more", parent)
        assert fault == "NOT_POSSIBLE"
        assert message.startswith(f"1000 minted keys live below {ISSUED}, the most; revoke one")
    # Another issued key has its own.
    assert agent.mint("elsewhere", "key-another", parent_is_minted=False).parent_key_id == "key-another"
    agent.ask(EndRuns(ACCOUNT_ID, "child-0", ISSUED))
    agent.mint("one-more")
    agent.refused("and-another")
    # With a parent all below it make room.
    agent.pass_time(MINUTE)
    agent.mint("and-another")


def test_a_repeat_is_the_same_run_and_other_content_is_a_conflict(agent: Agent) -> None:
    run = agent.mint("child", tokens=10, valid_for_us=HOUR)
    assert isinstance(agent.last_entries[0], RunOpened)
    agent.pass_time(MINUTE)
    assert agent.mint("child", tokens=10, valid_for_us=HOUR) == run
    assert agent.last_entries == []
    assert agent.refused("child", tokens=11, valid_for_us=HOUR)[0] == "IDEMPOTENCY_CONFLICT"


def test_no_run_is_of_a_key_that_mints(agent: Agent) -> None:
    agent.mint("child")
    assert agent.refused(ISSUED, "child")[0] == "INVALID_ARGUMENT"
    assert agent.refused("self", "self", parent_is_minted=False)[0] == "INVALID_ARGUMENT"


def test_none_is_opened_while_a_member_of_the_cell_would_not_read_it(agent: Agent) -> None:
    agent.mint("known")
    agent.catalog = agent.catalog.for_members(extended=True, runs=False, sales=True)
    assert agent.refused("child")[0] == "UNAVAILABLE"
    # Labels are dropped without a word.
    agent.ask(msgspec.structs.replace(agent.create_command(1, 0), run_label="night"))
    assert [type(entry) for entry in agent.last_entries] == [SessionCreated]
    agent.use("known", 1)
    assert not agent.catalog.for_first_release().runs


# Ends


def test_the_end_of_a_life_ends_its_calls_and_those_of_all_keys_below(agent: Agent) -> None:
    agent.mint("parent", valid_for_us=HOUR)
    agent.mint("child", "parent")
    charging_id, granted = agent.open_metered("child", 10, 100)
    assert isinstance(granted, GrantedNow)
    assert (granted.ends_in_us, granted.ending_subject) == (HOUR, "key:child")
    for number in range(2, 121):
        agent.pass_time(30 * SECOND)
        agent.update(charging_id, number, usage(input=10), 0)
    agent.pass_time(30 * SECOND)
    update = UpdateSession(ACCOUNT_ID, charging_id, 121, usage(input=10), 0)
    assert fault_of(agent.unchanged_by(update)) == "SUBJECT_ENDED"
    for key in ("child", "parent"):
        refused = refusal(agent.call(1, 0, key=key))
        assert (refused.code, refused.limit_id) == (ResultCode.END_USER_SERVICE_REJECTED, f"end@key:{key}")
    assert agent.refused("late", "parent") == (
        "SUBJECT_ENDED",
        "the time of key:parent has ended; ask the operator for a longer one",
    )
    agent.release(charging_id, 122, usage(input=10, output=5))
    assert agent.spent() == {"parent": (15, 0, 1), "child": (15, 0, 1)}


def test_the_end_of_a_run_is_the_end_of_all_below_it(agent: Agent) -> None:
    for key, parent in (("a", ISSUED), ("b", "a"), ("c", "b"), ("sister", "a")):
        agent.mint(key, parent)
    open_ = {key: agent.open_metered(key, 1, 10)[0] for key in ("a", "b", "c", "sister")}
    assert agent.ask(EndRuns(ACCOUNT_ID, "b", "a")) == Done()
    assert agent.last_entries == [RunsEnded(ACCOUNT_ID, agent.now_us, "b", "a")]
    for key, ended in (("a", False), ("b", True), ("c", True), ("sister", False)):
        answer = agent.ask(UpdateSession(ACCOUNT_ID, open_[key], 2, usage(input=1), 0))
        assert isinstance(answer, Failed if ended else GrantedNow), key
        assert isinstance(agent.call(1, 0, key=key), Refused if ended else Granted), key
    assert agent.unchanged_by(EndRuns(ACCOUNT_ID, "b", "a")) == Done()
    # The operator ends an issued key's whole family.
    agent.ask(EndRuns(ACCOUNT_ID, ISSUED, ""))
    assert refusal(agent.call(1, 0, key="sister")).code == ResultCode.END_USER_SERVICE_REJECTED
    agent.unchanged_by(EndRuns(ACCOUNT_ID, "key-without-runs", ""))
    assert {run.ends_us for run in agent.runs().values()} == {agent.now_us}


def test_only_a_key_above_it_ends_a_run(agent: Agent) -> None:
    agent.mint("a")
    agent.mint("b", "a")
    agent.mint("sister")
    for key_id, by in (("a", "b"), ("a", "a"), ("b", "sister"), ("unknown", ISSUED), (ISSUED, ISSUED)):
        assert fault_of(agent.unchanged_by(EndRuns(ACCOUNT_ID, key_id, by))) == "ITEM_UNKNOWN"


def test_a_key_is_shown_the_runs_below_it(agent: Agent) -> None:
    agent.mint("a", tokens=10, model_ids=("flat",), parallel_calls=3, valid_for_us=HOUR)
    agent.mint("b", "a", 5)
    agent.mint("sister")
    agent.use("b", 2)
    assert list(agent.runs()) == ["a", "b", "sister"]
    assert list(agent.runs("a")) == ["a", "b"]
    assert list(agent.runs("b")) == ["b"]
    assert agent.runs("key-another") == {}
    # A key without a list of models has its parent's.
    assert (agent.runs()["b"].model_ids, agent.runs()["sister"].model_ids) == (("flat",), ())
    assert agent.runs()["a"] == RunView(
        key_id="a",
        parent_key_id=ISSUED,
        budgets=(SpentBudget("TOKEN", 10 * UNIT, 2 * UNIT, 0),),
        opened_us=agent.now_us,
        ends_us=agent.now_us + HOUR,
        model_ids=("flat",),
        parallel_calls=3,
        calls=1,
    )


def test_an_account_is_shown_without_its_runs(agent: Agent) -> None:
    agent.limits("key:a", limit("day", Scope.KEY, LimitKind.USAGE, 5 * UNIT, unit="TOKEN", window_us=DAY))
    agent.mint("a", parallel_calls=2)
    agent.use("a", 1)
    shown = view_of(agent.unchanged_by(ReadAccount(ACCOUNT_ID)))
    assert (shown.runs, list(shown.counters)) == ({}, ["day@key:a"])
    assert len(agent.state.counters) == 3


# Counted once, whatever the end


PAST = usage(input=100, output=8_910)


def past(agent: Agent, key: str) -> Settled:
    """A call that reserves 300 and whose vendor, which keeps no limit, counts 9,010."""
    charging_id = agent.open_call(100, 200, key=key)
    answer = agent.ask(release_command(charging_id, 2, PAST))
    assert isinstance(answer, Settled)
    return answer


def books(agent: Agent) -> list[str]:
    """What the auditor finds; the state must be that of the journal."""
    assert state_of(replayed(agent.rows)) == state_of(agent.state)
    return audited(agent)


@pytest.mark.parametrize(
    ("budget", "parents", "charged"), [(300, 300, 300), (1_000, 1_000, 1_000), (400, 350, 350), (350, 9_000, 350)]
)
def test_a_count_beyond_the_grant_is_charged_up_to_the_budgets_and_absorbed_above(
    agent: Agent, budget: int, parents: int, charged: int
) -> None:
    agent.mint("parent", tokens=max(budget, parents))
    agent.mint("child", "parent", tokens=budget)
    agent.use("parent", max(budget, parents) - parents)
    used = agent.spent()["parent"][0]
    assert past(agent, "child") == Settled("TOKEN", charged * UNIT, 0, (), (9_010 - charged) * UNIT)
    assert {key: spent[:2] for key, spent in agent.spent().items()} == {"parent": (used + charged, 0), "child": (charged, 0)}
    assert agent.free == {"TOKEN": 1_000_000 - used - charged}
    assert agent.state.losses["TOKEN"].absorbed == (9_010 - charged) * UNIT
    assert books(agent) == []


def test_a_key_without_a_budget_pays_what_the_vendor_counted(agent: Agent) -> None:
    agent.mint("child", tokens=300)
    assert past(agent, ISSUED) == Settled("TOKEN", 9_010 * UNIT, 0, (), 0)
    assert agent.spent() == {"child": (0, 0, 0)}


def test_what_other_calls_hold_of_a_budget_stays_theirs(agent: Agent) -> None:
    agent.mint("a", tokens=1_000)
    other = agent.open_call(100, 500, key="a")
    # Of 1,000 it has its own 300, and the 100 that nobody holds.
    assert past(agent, "a").charged == 400 * UNIT
    assert agent.spent() == {"a": (400, 600, 1)}
    agent.release(other, 2, usage(input=100, output=500))
    assert agent.spent() == {"a": (1_000, 0, 2)}
    assert books(agent) == []


def test_a_call_within_its_hold_is_charged_whatever_else_passed_the_budget(agent: Agent) -> None:
    agent.mint("a", tokens=1_000)
    charging_id = agent.open_call(100, 200, key="a")
    agent.ask(msgspec.structs.replace(event_command(agent.charging_id(), usage(input=900)), key_id="a"))
    answer = agent.ask(release_command(charging_id, 2, usage(input=100, output=250)))
    assert answer == Settled("TOKEN", 300 * UNIT, 0, (), 50 * UNIT)
    assert agent.spent() == {"a": (1_200, 0, 2)}
    assert books(agent) == []


def test_of_several_buckets_those_that_burn_last_are_spared() -> None:
    agent = Agent()
    for _ in range(3):
        agent.grant(350 * UNIT)
    agent.mint("a", tokens=800)
    assert past(agent, "a").charged == 800 * UNIT
    state = agent.state
    assert [state.buckets[bucket_id].consumed // UNIT for bucket_id in state.burn_order] == [350, 350, 100]
    assert books(agent) == []


def test_debt_is_no_way_past_a_budget() -> None:
    agent = Agent()
    agent.grant(310 * UNIT)
    agent.mint("a", tokens=500)
    assert past(agent, "a") == Settled("TOKEN", 500 * UNIT, 190 * UNIT, (), 8_510 * UNIT)
    assert agent.spent() == {"a": (500, 0, 1)}
    assert books(agent) == []


def test_an_estimate_passes_a_budget_by_at_most_what_may_be_owed(agent: Agent) -> None:
    agent.catalog = catalog_of(offering({"flat": flat(EACH)}, expected=True, window=16, debt_limits={"TOKEN": 50 * UNIT}))

    def begin() -> str:
        command = agent.create_command(100, 200, metered=True)
        assert isinstance(agent.ask(msgspec.structs.replace(command, key_id="a", input_expected=100)), Granted)
        return command.charging_id

    agent.mint("a", tokens=300)
    first, second = begin(), begin()
    assert agent.spent() == {"a": (0, 232, 0)}
    # Its own 116, the 68 that nobody holds, and 50 beyond the budget.
    assert agent.ask(release_command(first, 2, PAST)) == Settled("TOKEN", 234 * UNIT, 0, (), 8_776 * UNIT)
    # The other one has its hold, and no more.
    assert agent.ask(release_command(second, 2, usage(input=100, output=40))) == Settled("TOKEN", 116 * UNIT, 0, (), 24 * UNIT)
    assert agent.spent() == {"a": (350, 0, 2)}
    assert isinstance(agent.call(1, 0, key="a"), Refused)
    assert books(agent) == []


def test_a_late_release_has_what_is_left_of_a_budget(agent: Agent) -> None:
    agent.mint("a", tokens=1_000)
    charging_id, _ = agent.open_metered("a", 100, 200)
    agent.update(charging_id, 2, usage(input=100, output=50), 200)
    agent.pass_time(TCC_US)
    agent.use("a", 700)
    assert agent.spent() == {"a": (850, 0, 2)}
    assert agent.ask(release_command(charging_id, 3, PAST)) == Settled("TOKEN", 150 * UNIT, 0, (), 8_710 * UNIT)
    assert agent.spent() == {"a": (1_000, 0, 2)}
    assert books(agent) == []


def test_budgets_in_two_units_are_kept_each() -> None:
    base = offering({"flat": flat(EACH)})
    agent = Agent(base=base._replace(schedules=(*base.schedules, *offering({"flat": MONEY}).schedules)))
    agent.grant(10_000 * UNIT)
    agent.money(100)
    agent.mint("a", budgets=(("TOKEN", 300 * UNIT), (CNY, UNIT)))
    answer = past(agent, "a")
    assert (answer.charged, answer.absorbed, answer.others) == (300 * UNIT, 8_710 * UNIT, ())
    assert agent.free == {"TOKEN": 9_700, CNY: 100}
    assert books(agent) == []


def test_budgets_that_are_passed_again_and_again_close_the_account_for_a_while() -> None:
    """Work of vendors that budgets leave unpaid is as any that nobody pays: small budgets are no way to get it for nothing."""
    agent = Agent(base=offering({"flat": flat(EACH, CNY)}))
    agent.money(100_000)
    agent.mint("a", budgets=((CNY, 90_000 * UNIT),))
    agent.mint("b", "a", budgets=((CNY, 300 * UNIT),))
    past(agent, "a")
    assert [(each.paid, each.unpaid) for each in agent.state.work] == [(9_010 * UNIT, 0)]
    past(agent, "b")
    assert [(each.paid, each.unpaid) for each in agent.state.work] == [(9_310 * UNIT, 8_710 * UNIT)]
    closed = refusal(agent.call(1, 0, key=ISSUED))
    assert (closed.code, closed.limit_id) == (ResultCode.RATE_LIMITED, UNPAID_WORK)
    assert "cost more than the budgets of their keys" in closed.message
    agent.pass_time(UNPAID_WAIT_US)
    agent.use(ISSUED, 1)
    assert books(agent) == []


def test_a_swept_call_and_its_late_release_count_once_in_every_key_above(agent: Agent) -> None:
    agent.mint("a")
    agent.mint("b", "a")
    charging_id, _ = agent.open_metered("b", 10, 100)
    agent.update(charging_id, 2, usage(input=10, output=5), 20)
    agent.pass_time(TCC_US)
    agent.ask(ListRuns(ACCOUNT_ID, ISSUED))
    assert agent.spent() == {"a": (15, 0, 1), "b": (15, 0, 1)}
    # The run has ended before its Release comes.
    agent.ask(EndRuns(ACCOUNT_ID, "b", "a"))
    late = release_command(charging_id, 3, usage(input=10, output=9))
    agent.ask(late)
    assert agent.spent() == {"a": (19, 0, 1), "b": (19, 0, 1)}
    agent.unchanged_by(late)
    assert state_of(replayed(agent.rows)) == state_of(agent.state)


def test_an_event_counts_and_a_call_that_never_was_is_none(agent: Agent) -> None:
    agent.mint("a")
    agent.ask(msgspec.structs.replace(event_command(agent.charging_id(), usage(input=7)), key_id="a"))
    charging_id = agent.open_call(5, 0, key="a")
    agent.ask(release_command(charging_id, 2, usage(), close_cause=CloseCause.REJECTED))
    assert agent.spent() == {"a": (7, 0, 1)}


def test_a_call_is_paid_in_the_units_of_its_budget_alone() -> None:
    base = offering({"flat": flat(EACH), "other": flat(EACH)})
    money = offering({"flat": MONEY, "other": MONEY}).schedules
    agent = Agent(base=base._replace(schedules=(*base.schedules, *money)))
    agent.grant(10 * UNIT)
    agent.money(100)
    agent.mint("in-tokens")
    agent.mint("in-money", budgets=((CNY, UNIT),))
    agent.mint("in-both", budgets=(("TOKEN", 100 * UNIT), (CNY, UNIT)))
    agent.mint("in-points", budgets=(("POINT", UNIT),))
    agent.use("in-money", 4)
    assert agent.free == {"TOKEN": 10, CNY: 99}
    # What the tokens do not cover is not paid in money, as it is for a key without a budget.
    assert refusal(agent.call(11, 0, key="in-tokens")).unit == "TOKEN"
    agent.use("in-both", 11)
    assert [(each.unit, each.used) for each in agent.runs()["in-both"].budgets] == [("TOKEN", 10 * UNIT), (CNY, 2)]
    refused = refusal(agent.call(1, 0, key="in-points"))
    told = (refused.code, refused.unit, refused.needed, refused.free, refused.reserved, refused.held, refused.limit_id)
    assert told == (ResultCode.QUOTA_LIMIT_REACHED, "TOKEN", 1, 0, 0, False, "budget-TOKEN@key:in-points")
    rich = Agent(base=offering({"flat": MONEY, "other": MONEY}))
    rich.money(100)
    rich.mint("in-points", budgets=(("POINT", UNIT),))
    refused = refusal(rich.call(1, 0, key="in-points"))
    assert (refused.unit, refused.limit_id) == (CNY, "budget-CNY@key:in-points")


def test_a_budget_is_no_softer_where_quota_is_reserved_for_the_likely_cost(agent: Agent) -> None:
    agent.catalog = catalog_of(offering({"flat": flat(EACH)}, expected=True, window=16))

    def begin(key: str, tokens: int) -> tuple[str, Answer]:
        command = agent.create_command(tokens, 30, metered=True)
        return command.charging_id, agent.ask(msgspec.structs.replace(command, key_id=key, input_expected=tokens))

    agent.mint("a", tokens=100)
    agent.mint("b", tokens=60)
    # A call of another key may cost far less than it holds; that is hope for others, and none for a budget.
    assert isinstance(begin(ISSUED, 10_000)[1], Granted)
    granted = [answer.output_granted for _, answer in [begin("a", 20) for _ in range(30)] if isinstance(answer, Granted)]
    assert granted == [16, 16]
    charging_id, answer = begin("b", 20)
    assert isinstance(answer, Granted)
    agent.ask(msgspec.structs.replace(event_command(agent.charging_id(), usage(input=15)), key_id="b"))
    # 9 are left, beside the 36 that are held.
    answer = agent.update(charging_id, 2, usage(input=20, output=5), 30)
    assert (answer.output_granted, answer.final) == (25, True)
    assert [(run.budgets[0].used + run.budgets[0].held) // UNIT for run in agent.runs().values()] == [72, 60]


# Memory


def test_ended_runs_are_forgotten_but_not_while_a_call_counts_in_them(agent: Agent) -> None:
    agent.mint("gone", valid_for_us=HOUR)
    agent.mint("parent", valid_for_us=2 * HOUR)
    agent.mint("swept", "parent", valid_for_us=HOUR)
    agent.use("gone", 1)
    charging_id = agent.open_call(3, 0, key="swept")
    agent.pass_time(TCC_US)
    agent.ask(ListRuns(ACCOUNT_ID, ISSUED))
    agent.pass_time(HOUR)
    agent.mint("early")
    assert set(agent.runs()) == {"gone", "parent", "swept", "early"}
    # The sweep is remembered for seven days; the runs ended an hour later.
    agent.pass_time(ENDED_RUN_MEMORY_US - HOUR - 2 * SECOND)
    agent.mint("later")
    agent.ask(release_command(charging_id, 2, usage(input=3)))
    assert agent.spent()["parent"] == (3, 0, 1)
    agent.pass_time(3 * HOUR)
    agent.mint("last")
    assert set(agent.runs()) == {"early", "later", "last"}
    assert list(agent.state.counters) == []
    assert state_of(replayed(agent.rows)) == state_of(agent.state)


def test_of_many_ended_runs_the_last_thousand_are_kept(agent: Agent) -> None:
    agent.mint("held", valid_for_us=SECOND)
    agent.open_call(1, 0, key="held")
    agent.pass_time(SECOND)
    for number in range(ENDED_RUNS_MAX + 10):
        agent.pass_time(1)
        agent.mint(f"run-{number}")
        agent.ask(EndRuns(ACCOUNT_ID, f"run-{number}", ISSUED))
    assert ENDED_RUNS_MAX == 1_000
    kept = list(agent.runs())
    # The one that a call is open of, and the last one, which ended after the count, come on top.
    assert len(kept) == ENDED_RUNS_MAX + 2
    assert kept[0] == "held"
    assert kept[-1] == f"run-{ENDED_RUNS_MAX + 9}"


def test_a_minted_key_without_its_run_is_refused(agent: Agent) -> None:
    create = msgspec.structs.replace(agent.create_command(1, 0), key_id="forgotten", key_is_minted=True)
    refused = refusal(agent.unchanged_by(create))
    code, ended = ResultCode.END_USER_SERVICE_REJECTED, "the time of key:forgotten has ended"
    assert refused == Refused(
        code, "", 0, 0, 0, held=False, limit_id="end@key:forgotten", message=ended, offering_id=refused.offering_id
    )
    assert agent.refused("child", "forgotten") == ("SUBJECT_ENDED", "the time of key:forgotten has ended")
    agent.mint("forgotten")
    assert isinstance(agent.ask(create), Granted)


def test_a_checkpoint_of_older_code_has_no_runs(agent: Agent) -> None:
    fields = msgspec.msgpack.decode(msgspec.msgpack.encode(agent.state))
    assert msgspec.convert(fields[:-1], type(agent.state)).runs == {}


# Labels


def label_of(agent: Agent) -> list[str]:
    return [entry.run_label for entry in agent.last_entries if isinstance(entry, CallLabelled)]


def test_a_label_stands_where_its_call_begins_and_in_the_row_that_settles_it(agent: Agent) -> None:
    create = msgspec.structs.replace(agent.create_command(5, 0), run_label="nightly build")
    agent.ask(create)
    assert [type(entry) for entry in agent.last_entries] == [SessionCreated, CallLabelled]
    agent.release(create.charging_id, 2, usage(input=5))
    assert agent.last_entries[0] == CallLabelled(ACCOUNT_ID, agent.now_us, create.charging_id, "nightly build")
    assert isinstance(agent.last_entries[1], SessionSettled)
    # A call without one leaves no trace of labels.
    agent.use("key-1", 5)
    assert label_of(agent) == []


def test_a_label_outlives_the_sweep(agent: Agent) -> None:
    create: CreateSession = msgspec.structs.replace(agent.create_command(5, 20, metered=True), run_label="x")
    agent.ask(create)
    agent.pass_time(TCC_US)
    agent.ask(ListRuns(ACCOUNT_ID, ISSUED))
    assert label_of(agent) == ["x"]
    agent.ask(release_command(create.charging_id, 2, usage(input=5, output=2)))
    assert label_of(agent) == ["x"]
    assert state_of(replayed(agent.rows)) == state_of(agent.state)


# All of it together


class _Naive:
    """Sums by walking up from each call's key; shares no code with the rules."""

    def __init__(self) -> None:
        self.parents: dict[str, str] = {}
        self.used: dict[str, int] = {}

    def count(self, key: str, tokens: int) -> None:
        while key in self.parents:
            self.used[key] = self.used.get(key, 0) + tokens
            key = self.parents[key]


@pytest.mark.parametrize("seed", range(12))
def test_whatever_happens_no_budget_is_passed_and_every_sum_is_right(seed: int, agent: Agent) -> None:
    rng = random.Random(seed)
    naive = _Naive()
    running: dict[str, tuple[str, int, int]] = {}
    for number in range(250):
        keys = [ISSUED, *naive.parents]
        what = rng.choice(("mint", "call", "call", "call", "update", "release", "release", "end", "time"))
        if what == "mint":
            parent, key = rng.choice(keys), f"run-{number}"
            if isinstance(agent.open(key, parent, rng.randint(1, 120), valid_for_us=rng.choice([0, HOUR])), RunsFound):
                naive.parents[key] = parent
        elif what == "call":
            key = rng.choice(keys)
            command = msgspec.structs.replace(
                agent.create_command(rng.randint(0, 20), rng.randint(1, 40), metered=rng.random() < 0.7), key_id=key
            )
            if isinstance(answer := agent.ask(command), Granted):
                running[command.charging_id] = (key, command.input_bound, answer.output_granted)
        elif what == "update" and running:
            charging_id = rng.choice(list(running))
            key, bound, granted = running[charging_id]
            answer = agent.ask(UpdateSession(ACCOUNT_ID, charging_id, number + 2, usage(bound, granted // 2), granted + 20))
            if isinstance(answer, Granted):
                running[charging_id] = (key, bound, answer.output_granted)
        elif what == "release" and running:
            charging_id = rng.choice(list(running))
            key, bound, granted = running.pop(charging_id)
            # Vendors keep no limit.
            used = usage(rng.randint(0, bound), rng.randint(0, 2 * granted))
            settled = agent.release(charging_id, number + 2, used)
            assert settled.charged + settled.absorbed == sum(used) * UNIT
            naive.count(key, settled.charged // UNIT)
        elif what == "end":
            agent.ask(EndRuns(ACCOUNT_ID, rng.choice(keys[1:] or keys), ""))
        elif what == "time":
            agent.pass_time(rng.choice([SECOND, 20 * SECOND]))
        # Sweeps that are due come first.
        agent.ask(ListRuns(ACCOUNT_ID, ISSUED))
        for charging_id in running.keys() - agent.state.sessions.keys():
            # It was swept: what it reported was charged.
            key, _, _ = running.pop(charging_id)
            naive.count(key, agent.state.swept[charging_id].charged // UNIT)
        for key, run in agent.runs().items():
            (budget,) = run.budgets
            assert budget.used == naive.used.get(key, 0) * UNIT, key
            assert budget.used + budget.held <= budget.amount, key
    assert books(agent) == []
    assert isinstance(next(iter(agent.state.runs.values())), Run)


def test_a_refusal_names_ten_of_a_catalogs_names() -> None:
    names = {f"model-{number:03}" for number in range(400)}
    assert some_of(names) == ", ".join(f"model-{number:03}" for number in range(10)) + ", ..."
    assert some_of(["b", "a"]) == "a, b"


def test_an_untouched_budget_has_nothing_used_or_held(agent: Agent) -> None:
    agent.mint("a", tokens=10)
    assert agent.runs()["a"].budgets == (SpentBudget("TOKEN", 10 * UNIT, 0, 0),)

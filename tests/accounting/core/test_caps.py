"""A cap of a member holds under parallel calls: whatever the policy of reservation, and however calls begin, go on and end."""

from typing import Any, NamedTuple

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.accounting.core.commands import Granted, Refused, UpdateSession
from services.accounting.core.offerings import Schedule, TariffVersion
from services.accounting.core.terms import LimitKind, Period, Scope
from tests.accounting.ledger import ACCOUNT_ID, EACH, HOUR, SECOND, TARIFFS, UNIT, flat, offering, release_command, tariff, usage
from tests.accounting.shop import CNY, Shopper, for_sale, lasting, limit

CAP = 1_000
POLICIES: dict[str, dict[str, Any]] = {"worst_case": {}, "calibrated": {"calibrated": True}, "expected": {"expected": True}}
WINDOWS: list[dict[str, Any]] = [{}, {"window_us": HOUR}, {"calendar": Period.DAY}]


class Step(NamedTuple):
    """Something that happens to a call after a pause: it begins, goes on or ends."""

    what: str
    pause_us: int
    which: int
    input: int
    output: int


STEPS = st.lists(
    st.builds(
        Step,
        st.sampled_from(["begin", "begin", "more", "end"]),
        st.sampled_from([0, 1, SECOND, 20 * SECOND]),
        st.integers(0, 50),
        st.integers(1, 200),
        st.integers(1, 400),
    ),
    min_size=20,
    max_size=80,
)


class Capped:
    """A member whose use of tokens is capped, on an account that has plenty, some of it bought."""

    def __init__(self, policy: str, window: dict[str, Any]) -> None:
        tariffs = {"flat": flat(EACH), "tiered": TARIFFS["tiered"]}
        bought = for_sale("bought", lasting(300), cycle=None, tariffs={"flat": flat(2 * EACH), "tiered": flat(EACH)})
        self.shopper = Shopper(bought, base=offering(tariffs, **POLICIES[policy]))
        self.shopper.grant(100_000 * UNIT)
        self.shopper.order("bought")
        self.shopper.limits("member:mbr-1", limit("cap", Scope.MEMBER, LimitKind.USAGE, CAP * UNIT, unit="TOKEN", **window))
        # By call: the number of its last request, its input, the output that it was granted and that it made.
        self.calls: dict[str, list[int]] = {}

    def take(self, step: Step) -> None:
        self.shopper.now_us += step.pause_us
        open_calls = [each for each in self.calls if each in self.shopper.state.sessions]
        if step.what == "begin":
            model = ("flat", "tiered")[step.which % 2]
            command = self.shopper.create_command(step.input, step.output, model=model, metered=step.which % 3 > 0)
            command = msgspec.structs.replace(
                command, key_id=f"key-{step.which % 4}", input_expected=step.input, input_calibrated=step.input
            )
            answer = self.shopper.ask(command)
            if isinstance(answer, Granted):
                self.calls[command.charging_id] = [1, step.input, answer.output_granted, 0]
        elif open_calls:
            charging_id = open_calls[step.which % len(open_calls)]
            call = self.calls[charging_id]
            call[0] += 1
            call[3] = min(call[2], call[3] + step.output)
            used = usage(call[1], call[3])
            if step.what == "end":
                self.shopper.ask(release_command(charging_id, call[0], used))
                return
            answer = self.shopper.ask(UpdateSession(ACCOUNT_ID, charging_id, call[0], used, call[3] + 64))
            if isinstance(answer, Granted):
                call[2] = answer.output_granted

    def counted(self) -> int:
        """What the cap counts: used and held, in whole tokens."""
        counter = self.shopper.state.counters.get("cap@member:mbr-1")
        return -(-(counter.used + counter.reserved) // UNIT) if counter else 0


@pytest.mark.parametrize("policy", POLICIES)
@settings(max_examples=25, deadline=None)
@given(steps=STEPS, window=st.sampled_from(WINDOWS))
def test_no_cap_is_passed_by_calls_at_once(policy: str, steps: list[Step], window: dict[str, Any]) -> None:
    capped = Capped(policy, window)
    for step in steps:
        capped.take(step)
        assert capped.counted() <= CAP


def test_calls_at_once_that_hope_for_one_another_do_not_pass_a_cap_together() -> None:
    # Each was let through because the others might cost a tenth of what they held: 2,763 of 1,000 were used once.
    capped = Capped("expected", {})
    for number in range(30):
        capped.take(Step("begin", SECOND, number, 190, 60))
    assert len(capped.calls) > 3
    for number in range(30):
        capped.take(Step("end", 0, number, 0, 60))
    assert CAP * 3 // 4 < capped.counted() <= CAP


@pytest.mark.parametrize(("cap", "begun"), [(10**9, 15), (600, 12)])
def test_a_cap_that_is_far_away_takes_no_hope_from_agents(cap: int, begun: int) -> None:
    shopper = Shopper(base=offering({"tiered": TARIFFS["tiered"]}, expected=True))
    shopper.grant(600 * UNIT)
    shopper.limits("member:mbr-1", limit("cap", Scope.MEMBER, LimitKind.USAGE, cap * UNIT, unit="TOKEN"))
    # Each holds 8 and 20 times 2, so twelve fit into the balance; they cost less where the cache has their input.
    answers = [shopper.call(8, 20, model="tiered") for _ in range(15)]
    assert sum(isinstance(answer, Granted) for answer in answers) == begun


def test_a_cap_in_money_takes_the_hope_of_a_call_that_tokens_pay_first() -> None:
    rates = {unit: tariff(unit, (-1, EACH, EACH // 10, EACH, EACH, EACH)) for unit in ("TOKEN", CNY)}
    schedules = tuple(Schedule(unit, (TariffVersion(0, {"flat": each}),)) for unit, each in rates.items())
    shopper = Shopper(base=offering({"flat": rates["TOKEN"]}, expected=True)._replace(schedules=schedules))
    shopper.grant(10 * UNIT)
    shopper.money(100)
    shopper.limits("account", limit("cap", Scope.ACCOUNT, LimitKind.USAGE, 50 * UNIT, unit=CNY))
    # 30 of its 40 are held of the cap; the next one would find 20, and a tenth of its input in the cache would do.
    shopper.open_call(40, 0)
    refused = shopper.call(40, 0)
    assert isinstance(refused, Refused)
    assert (refused.limit_id, refused.held) == ("cap@account", True)


def test_a_cap_in_a_unit_that_does_not_pay_leaves_a_session_its_window() -> None:
    shopper = Shopper()
    shopper.grant(1_000 * UNIT)
    shopper.limits(
        "account",
        limit("tokens", Scope.ACCOUNT, LimitKind.USAGE, 900 * UNIT, unit="TOKEN"),
        limit("money", Scope.ACCOUNT, LimitKind.USAGE, UNIT, unit=CNY),
    )
    charging_id, _ = shopper.create(10, 500, metered=True)
    shopper.pass_time(SECOND)
    assert shopper.update(charging_id, 2, usage(10, 60), 500).output_payable == 500

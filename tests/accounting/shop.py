"""Offerings on sale for the tests of orders, limits and lines, and an account that buys them."""

from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

import msgspec

from services.accounting.core.amounts import PinnedTariff
from services.accounting.core.commands import (
    Answer,
    CancelOrder,
    CancelSubscription,
    ChangeSubscription,
    ConfirmPayment,
    Granted,
    Ordered,
    PlaceOrder,
    SetLimits,
)
from services.accounting.core.offerings import OfferingRules
from services.accounting.core.terms import Allowance, Cycle, FinalAction, Limit, LimitKind, Payment, Period, Scope, Terms
from tests.accounting.ledger import ACCOUNT_ID, DAY, EACH, UNIT, Ledger, catalog_of, flat, offering, tariff

CNY = "CURRENCY:CNY"
SHANGHAI = "Asia/Shanghai"
MONTHLY = Cycle(Period.MONTH, 1, calendar=False, prorated=False)
CALENDAR = Cycle(Period.MONTH, 1, calendar=True, prorated=True)
DAILY = Cycle(Period.DAY, 1, calendar=True, prorated=False)
# Two yuan a million tokens in, eight out, a tenth of the input's price from the cache.
MONEY = tariff(CNY, (-1, 2 * UNIT, UNIT // 5, 2 * UNIT, 8 * UNIT, 8 * UNIT))
# Three points a token.
POINTS = flat(3 * EACH, "POINT")


def allowance(amount: int, unit: str = "TOKEN", **more: Any) -> Allowance:
    """An allowance of `amount` whole units."""
    fields: dict[str, Any] = {
        "allowance_id": "main",
        "unit": unit,
        "amount": amount * UNIT,
        "model_group": "",
        "priority": 100,
        "valid_for_us": 0,
        "rollover_cap": 0,
        "postpaid": False,
        "transferable": False,
        "notice_percents": (),
    }
    return Allowance(**fields | more)


def lasting(amount: int, unit: str = "TOKEN", **more: Any) -> Allowance:
    """An allowance of a pack that lasts."""
    return allowance(amount, unit, valid_for_us=30 * DAY, **more)


def for_sale(
    offering_id: str,
    *allowances: Allowance,
    price: int = 0,
    cycle: Cycle | None = MONTHLY,
    tariffs: dict[str, PinnedTariff] | None = None,
    payments: frozenset[Payment] = frozenset(Payment),
    limits: tuple[Limit, ...] = (),
    final_action: FinalAction = FinalAction.TERMINATE,
    **more: Any,
) -> OfferingRules:
    """An offering that is ordered, at `price` micro-yuan; `more`: `grace_days` (3), `automatic` (true), and fields of its rules."""
    terms = Terms(
        offering_id=offering_id,
        price=price,
        price_unit=CNY if price else "",
        cycle=cycle,
        automatic_renewal=more.pop("automatic", True),
        grace_us=more.pop("grace_days", 3) * DAY,
        allowances=allowances,
        limits=limits,
        final_action=final_action,
        time_zone=SHANGHAI,
        refundable=more.pop("refundable", True),
        once=more.pop("once", False),
        once_a=more.pop("once_a", None),
    )
    return offering(
        tariffs or {"flat": flat(EACH), "other": flat(EACH)},
        offering_id=offering_id,
        terms=terms,
        payments=payments,
        limits=limits,
        final_action=final_action,
        **more,
    )


def limit(limit_id: str, scope: Scope, kind: LimitKind, amount: int, **more: Any) -> Limit:
    """A limit; rates burst as much as a minute's."""
    if kind in (LimitKind.REQUEST_RATE, LimitKind.TOKEN_RATE):
        more.setdefault("burst", amount)
    return Limit(limit_id, scope, kind, amount, **more)


class Shopper(Ledger):
    """An account that orders."""

    def __init__(self, *offerings: OfferingRules, base: OfferingRules | None = None, **catalog: Any) -> None:
        base = base or offering({"flat": flat(EACH), "other": flat(EACH)})
        super().__init__(catalog_of(base, *offerings, time_zone=SHANGHAI, **catalog))

    def order(self, offering_id: str, payment: Payment = Payment.FREE, key: str | None = None) -> Ordered:
        """An order that must be taken."""
        answer = self.ask(self.order_command(offering_id, payment, key))
        assert isinstance(answer, Ordered), answer
        return answer

    def order_command(self, offering_id: str, payment: Payment = Payment.FREE, key: str | None = None) -> PlaceOrder:
        return PlaceOrder(ACCOUNT_ID, offering_id, payment, key if key is not None else f"order-{len(self.rows)}")

    def confirm(self, order: Ordered, reference: str = "paid") -> Ordered:
        answer = self.ask(ConfirmPayment(ACCOUNT_ID, order.order_id, reference))
        assert isinstance(answer, Ordered), answer
        return answer

    def give_up(self, order: Ordered) -> Answer:
        return self.ask(CancelOrder(ACCOUNT_ID, order.order_id, "the buyer has gone"))

    def change(
        self,
        subscription_id: str,
        offering_id: str,
        payment: Payment = Payment.FREE,
        *,
        at_once: bool = True,
        key: str | None = None,
    ) -> Answer:
        key = key if key is not None else f"change-{len(self.rows)}"
        return self.ask(ChangeSubscription(ACCOUNT_ID, subscription_id, offering_id, payment, at_once, key))

    def cancel(self, subscription_id: str, *, at_once: bool = False) -> Answer:
        return self.ask(CancelSubscription(ACCOUNT_ID, subscription_id, at_once))

    def money(self, yuan: int, **more: Any) -> Any:
        """Topped-up money."""
        return self.grant(yuan * UNIT, unit=CNY, **more)

    def limits(self, subject: str, *limits: Limit, valid_until_us: int = 0) -> Answer:
        return self.ask(SetLimits(ACCOUNT_ID, subject, limits, valid_until_us))

    def call(
        self, input_bound: int, output_limit: int, *, key: str = "key-1", member: str = "mbr-1", model: str = "flat"
    ) -> Answer:
        """A session by a key of a member."""
        command = self.create_command(input_bound, output_limit, model=model)
        self.last_charging_id = command.charging_id
        return self.ask(msgspec.structs.replace(command, key_id=key, member_id=member))

    def open_call(self, *arguments: Any, **more: Any) -> str:
        """A session that must be granted."""
        answer = self.call(*arguments, **more)
        assert isinstance(answer, Granted), answer
        return self.last_charging_id

    @property
    def free(self) -> dict[str, int]:
        """What remains by unit, in whole units, of buckets that can be used now."""
        free: dict[str, int] = {}
        for bucket in self.state.buckets.values():
            if bucket.valid_from_us <= self.now_us < bucket.valid_until_us:
                free[bucket.unit] = free.get(bucket.unit, 0) + bucket.remaining
        return {unit: amount // UNIT for unit, amount in free.items()}

    def state_of_subscription(self, subscription_id: str) -> tuple[str, int, str]:
        """(state, cycle number, offering)."""
        subscription = self.state.subscriptions[subscription_id]
        return subscription.state, subscription.cycle_number, subscription.terms.offering_id


def go_to(shopper: Shopper, text: str) -> None:
    """To a time in the cell's zone."""
    shopper.now_us = int(datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(SHANGHAI)).timestamp()) * 1_000_000

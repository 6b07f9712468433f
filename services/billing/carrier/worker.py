"""Carries demands through, beside the export: plans what was exported, and takes each demand as far as it goes."""

import asyncio
import logging
from collections.abc import Sequence
from itertools import groupby
from operator import attrgetter
from typing import Final

from services.billing.carrier.client import Carrier, DisputedError, Paid, Refunded, RefusedError, UnclearError
from services.billing.carrier.demands import FAILED, STEP, Demand, Source, State, again, of_order, of_use
from services.billing.carrier.planning import plan
from services.billing.carrier.steps import Steps
from services.billing.carrier.store import CarrierStore, StaleError
from services.runtime.clock import Clock
from services.runtime.errors import ServiceError
from services.runtime.instruments import Counter
from tokenline.errors.v1 import errors_pb2

logger = logging.getLogger(__name__)

# Rows of the journal that are planned at once.
_PLANNED_ROWS: Final = 5_000
# An order waits for its payment for 24 h, by accounting's clock.
_ORDERS_US: Final = 25 * 3_600 * 1_000_000
_DEMANDS_AT_ONCE: Final = 500
_ACCOUNTS_AT_ONCE: Final = 8
# Steps that a demand takes in one go at most; a way to its end has fewer.
_STEPS_MAX: Final = 12


class Worker:
    """One a store, as the export is."""

    def __init__(
        self, store: CarrierStore, steps: Steps, clock: Clock, *, interval_ms: int, usage_interval_s: int, ended: Counter
    ) -> None:
        """`ended` counts demands that came to an end by source and state."""
        self._store = store
        self._steps = steps
        self._clock = clock
        self._interval_s = interval_ms / 1_000
        self._usage_interval_us = usage_interval_s * 1_000_000
        self._ended = ended
        self._trouble = ""
        # Held while items are planned, so that a comparison sees whole plans.
        self.planning = asyncio.Lock()
        # As the last round found them.
        self.open = 0
        self.failed = 0

    async def run(self) -> None:
        """Plans and works at every interval, for ever."""
        while True:
            try:
                await self.round()
                self._tell("")
            except (ServiceError, StaleError) as error:
                self._tell(str(error))
            await asyncio.sleep(self._interval_s)

    async def round(self) -> None:
        """Plans what is exported, then takes what is due as far as it goes. Errors: `ServiceError`, `StaleError`."""
        async with self.planning:
            await self._plan()
        due = await self._store.due(self._clock.now_us(), _DEMANDS_AT_ONCE)
        # One after the other within an account, because a refund looks at the account's payments.
        groups = [
            list(of_account) for _, of_account in groupby(sorted(due, key=attrgetter("account_id")), attrgetter("account_id"))
        ]
        limit = asyncio.Semaphore(_ACCOUNTS_AT_ONCE)
        done = await asyncio.gather(*(self._work(group, limit) for group in groups))
        self.open, self.failed = await self._store.counts()
        self._tell(next(filter(None, done), ""))

    async def _plan(self) -> None:
        now_us = self._clock.now_us()
        for each in await self._store.ranges():
            planned = each.planned_seq
            while planned < each.exported_seq:
                to_seq = min(planned + _PLANNED_ROWS, each.exported_seq)
                items = await self._store.items(each.part_id, planned, to_seq)
                await self._store.take(each.part_id, planned, to_seq, plan(items), now_us)
                planned = to_seq
        orders = await self._store.orders(now_us - _ORDERS_US)
        if demands := [demand for demand in map(of_order, orders) if demand.amount]:
            await self._store.add(demands)
        for use in await self._store.uses(now_us - self._usage_interval_us, STEP):
            await self._store.bill(use, of_use(use, now_us))

    async def _work(self, demands: Sequence[Demand], limit: asyncio.Semaphore) -> str:
        """Takes an account's demands; returns what stopped it, if something of ours did."""
        async with limit:
            for demand in demands:
                try:
                    await self._carry(demand)
                except ServiceError as error:
                    return error.message
                except StaleError:
                    # Somebody showed a code meanwhile; the next round sees what came of it.
                    continue
        return ""

    async def _carry(self, demand: Demand) -> None:
        for _ in range(_STEPS_MAX):
            if not demand.is_open or demand.next_us > self._clock.now_us():
                return
            before, demand = demand, await self._steps.take(demand)
            self._log(before, demand)

    def _log(self, before: Demand, after: Demand) -> None:
        what = f"{'refund' if after.is_refund else 'payment'} {after.demand_id} of account {after.account_id}"
        if after.state in FAILED:
            logger.error("phone bill: %s is %s: %s", what, after.state, after.reason)
        elif after.state == before.state and after.reason != before.reason:
            logger.warning("phone bill: %s waits: %s", what, after.reason)
        if not after.is_open:
            self._ended.add(after.source, after.state)

    def _tell(self, trouble: str) -> None:
        """Logs trouble of ours once when it begins."""
        if trouble and trouble != self._trouble:
            logger.warning("the phone bill waits: %s", trouble)
        self._trouble = trouble


async def ask_again(store: CarrierStore, carrier: Carrier, demand_id: str) -> Demand:
    """Has what the carrier denied asked for again, under a new name, unless the carrier has it: then it goes on from there.

    Errors: `ServiceError` with what is wrong.
    """
    denied = await store.find(demand_id)
    if denied is None:
        raise ServiceError(errors_pb2.ERROR_REASON_ITEM_UNKNOWN, f"nothing is asked of the carrier by the name {demand_id}")
    if denied.state != State.DENIED:
        raise ServiceError(
            errors_pb2.ERROR_REASON_NOT_POSSIBLE, f"{demand_id} is {denied.state}; only what is denied is asked for again"
        )
    if denied.source == Source.ORDER:
        message = f"{demand_id} is of an order, which has ended with it; let order {denied.order_id} be placed again"
        raise ServiceError(errors_pb2.ERROR_REASON_NOT_POSSIBLE, message)
    kept = await _kept(carrier, denied)
    anew = again(denied)
    try:
        if kept:
            return await store.move(denied, denied.to(State.ASKING, f"the carrier denied it, and has {kept}"))
        await store.move(denied, denied.to(State.CANCELLED, f"asked for again as {anew.demand_id}"), anew)
    except StaleError:
        # Somebody else was faster.
        return await store.find(anew.demand_id) or await store.find(demand_id) or anew
    return anew


async def _kept(carrier: Carrier, denied: Demand) -> str:
    """The name of what the carrier has for a demand that it denied; empty: nothing that bills or gives back.

    Errors: `ServiceError` where that can't be known: asked for again, it could be billed twice.
    """
    if not denied.asked_us:
        return ""
    kept: Paid | Refunded | None
    try:
        kept = await (carrier.find_refund(denied) if denied.is_refund else carrier.find_payment(denied))
    except UnclearError as error:
        message = (
            f"nothing was asked for, because nobody knows whether the carrier has {denied.demand_id} already: {error}; try again"
        )
        raise ServiceError(errors_pb2.ERROR_REASON_UNAVAILABLE, message) from error
    except DisputedError as error:
        message = f"{error}; look at what the carrier has, and settle it with the carrier"
        raise ServiceError(errors_pb2.ERROR_REASON_NOT_POSSIBLE, message) from error
    if isinstance(kept, Paid):
        return "" if kept.payment_status in ("denied", "cancelled") else kept.payment_id
    return "" if kept is None or kept.refund_status == "denied" else kept.refund_id


async def show_code(store: CarrierStore, carrier: Carrier, demand_id: str, code: str) -> Demand:
    """Shows the carrier the code that a line's user got. Errors: `ServiceError` with what is wrong."""
    demand = await store.find(demand_id)
    if demand is None:
        raise ServiceError(errors_pb2.ERROR_REASON_ITEM_UNKNOWN, f"nothing is asked of the carrier by the name {demand_id}")
    if demand.state != State.VALIDATING or not demand.authorization_id:
        raise ServiceError(
            errors_pb2.ERROR_REASON_NOT_POSSIBLE, f"{demand_id} is {demand.state} and waits for no code that can be shown here"
        )
    try:
        await carrier.validate(demand, code)
    except RefusedError as error:
        raise ServiceError(errors_pb2.ERROR_REASON_NOT_POSSIBLE, f"the carrier refuses the code: {error}") from error
    except UnclearError as error:
        raise ServiceError(errors_pb2.ERROR_REASON_UNAVAILABLE, str(error)) from error
    try:
        return await store.move(demand, demand._replace(next_us=0, reason="the code was shown"))
    except StaleError:
        return await store.find(demand_id) or demand

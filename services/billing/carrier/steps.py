"""The steps of a demand: what is done with it in each state, and the state that it comes to.

Each step does one thing at the carrier or in accounting, and its outcome is durable before the next. So a process that is killed
anywhere goes on from there: what may have been done is looked up, and what accounting was told may be told again.
"""

from collections.abc import Awaitable, Callable
from typing import Any, Final

from services.billing.carrier.client import Carrier, DisputedError, Paid, Refunded, RefusedError, UnclearError
from services.billing.carrier.demands import Demand, Source, State, return_of, share_of
from services.billing.carrier.orders import Orders
from services.billing.carrier.store import CarrierStore
from services.runtime.clock import Clock
from services.runtime.identifiers import derived_name

# Seconds after which something is tried again, at first and at most.
_RETRY_S: Final = 2
_RETRY_S_MAX: Final = 600
# A line that nobody has told is not missed more often than this.
_NO_LINE: Final = "no phone number is known for the account; tell it with `tokenline carrier line`"


class LaterError(Exception):
    """The step can't be done now."""


class Steps:
    """Takes demands from state to state. Errors of `take`: `ServiceError` of the store or accounting, `StaleError`."""

    def __init__(self, store: CarrierStore, carrier: Carrier, orders: Orders, clock: Clock, *, reserves: bool) -> None:
        self._store = store
        self._carrier = carrier
        self._orders = orders
        self._clock = clock
        self._reserves = reserves

    async def take(self, demand: Demand) -> Demand:
        """Does the next step of an open demand; returns it as it is then."""
        return await self._guarded(demand, self._step_of_refund if demand.is_refund else self._step_of_payment)

    async def _guarded(self, demand: Demand, step: Callable[[Demand], Awaitable[Demand]]) -> Demand:
        """Does a step of a demand that is durable as it is given."""
        try:
            return await step(demand)
        except LaterError as error:
            return await self._later(demand, str(error))
        except UnclearError as error:
            return await self._later(demand, str(error), error.retry_after_s)
        except DisputedError as error:
            return await self._move(demand, demand.to(State.DISPUTED, str(error)))

    async def _step_of_payment(self, demand: Demand) -> Demand:
        match demand.state:
            case State.WAITING:
                return await self._begin(demand)
            case State.ASKING:
                return await self._ask_again(demand)
            case State.PROCESSING | State.VALIDATING:
                return await self._adopt(demand, await self._carrier.payment(demand))
            case State.RESERVED:
                return await self._take_reserved(demand)
            case State.PAID:
                return await self._carry_out(demand, State.SUCCEEDED, State.RETURNED)
            case State.CONFIRMING:
                return await self._confirm(demand)
            case State.CANCELLING:
                return await self._cancel(demand)
        raise AssertionError(demand.state)

    async def _begin(self, demand: Demand) -> Demand:
        """Asks for the first time."""
        if (gone := await self._obstacle(demand)) is not None:
            return gone
        phone_number = await self._store.line(demand.account_id)
        if not phone_number:
            raise LaterError(_NO_LINE)
        asked_us = self._clock.now_us()
        demand = await self._move(demand, demand.to(State.ASKING, phone_number=phone_number, asked_us=asked_us))
        return await self._guarded(demand, self._pay)

    async def _ask_again(self, demand: Demand) -> Demand:
        """Looks at what the carrier has first, because it may have heard of it."""
        if (found := await self._carrier.find_payment(demand)) is not None:
            return await self._adopt(demand, found)
        if (gone := await self._obstacle(demand)) is not None:
            return gone
        return await self._pay(demand)

    async def _pay(self, demand: Demand) -> Demand:
        try:
            told = await self._carrier.pay(demand, reserves=self._reserves)
        except RefusedError as error:
            # Its identifier is known there, or so the carrier says in one way or another.
            found = await self._carrier.find_payment(demand) if error.status in (400, 409) else None
            if found is not None:
                return await self._adopt(demand, found)
            if error.status == 409:
                raise LaterError(str(error)) from error
            return await self._deny(demand, str(error))
        return await self._adopt(demand, told)

    async def _obstacle(self, demand: Demand) -> Demand | None:
        """The demand given up, if nobody needs its payment any more."""
        if demand.source != Source.ORDER:
            return None
        obstacle = await self._orders.obstacle(demand.account_id, demand.order_id)
        return await self._move(demand, demand.to(State.CANCELLED, obstacle)) if obstacle else None

    async def _adopt(self, demand: Demand, told: Paid) -> Demand:
        """Goes on from what the carrier has."""
        names: dict[str, Any] = {"payment_id": told.payment_id}
        if told.validation_info.authorization_id:
            names["authorization_id"] = told.validation_info.authorization_id
        match told.payment_status:
            case "succeeded":
                return await self._move(demand, demand.to(State.PAID, **names))
            case "reserved":
                return await self._move(demand, demand.to(State.RESERVED, **names))
            case "denied":
                return await self._deny(demand._replace(**names), "the carrier denied the payment", before=demand)
            case "cancelled":
                return await self._deny(demand._replace(**names), "the carrier ended the reservation", before=demand)
        state = State(told.payment_status)
        reason = "the carrier waits for a code that it sent to the line: `tokenline carrier validate`"
        if demand.state == state:
            return await self._later(demand, demand.reason)
        waits = reason if state == State.VALIDATING else "the carrier has not finished"
        after = demand.to(state, waits, **names)._replace(next_us=self._clock.now_us() + _RETRY_S * 1_000_000)
        return await self._move(demand, after)

    async def _take_reserved(self, demand: Demand) -> Demand:
        """Carries out what is still reserved: while accounting was away the carrier may have ended the reservation."""
        told = await self._carrier.payment(demand)
        if told.payment_status != "reserved":
            return await self._adopt(demand, told)
        return await self._carry_out(demand, State.CONFIRMING, State.CANCELLING)

    async def _carry_out(self, demand: Demand, done: State, refused: State) -> Demand:
        """Tells accounting of a payment that is sure, unless its goods were delivered before."""
        reason = ""
        if demand.source == Source.ORDER:
            reason = await self._orders.confirm(demand.account_id, demand.order_id, demand.payment_id)
        if not reason:
            return await self._move(demand, demand.to(done))
        if refused != State.RETURNED:
            return await self._move(demand, demand.to(refused, reason))
        return await self._move(demand, demand.to(refused, reason), return_of(demand))

    async def _confirm(self, demand: Demand) -> Demand:
        told = await self._carrier.payment(demand)
        if told.payment_status == "reserved":
            try:
                await self._carrier.confirm(demand)
            except RefusedError as error:
                raise LaterError(str(error)) from error
            told = await self._carrier.payment(demand)
        match told.payment_status:
            case "succeeded":
                return await self._move(demand, demand.to(State.SUCCEEDED))
            case "denied" | "cancelled":
                reason = f"the carrier has {told.payment_status} what it had reserved"
                return await self._move(demand, demand.to(State.DENIED, reason))
        raise LaterError(f"the carrier has not billed it yet: it is {told.payment_status}")

    async def _cancel(self, demand: Demand) -> Demand:
        told = await self._carrier.payment(demand)
        match told.payment_status:
            case "denied" | "cancelled":
                return await self._move(demand, demand.to(State.CANCELLED, demand.reason))
            case "succeeded":
                return await self._move(demand, demand.to(State.RETURNED, demand.reason), return_of(demand))
            case "reserved" | "pending_validation":
                try:
                    await self._carrier.cancel(demand)
                except RefusedError as error:
                    raise LaterError(str(error)) from error
        raise LaterError(demand.reason)

    async def _deny(self, demand: Demand, reason: str, before: Demand | None = None) -> Demand:
        """Ends a payment that will not be, and the order that waits for it."""
        if demand.source == Source.ORDER:
            await self._orders.give_up(demand.account_id, demand.order_id, f"the phone bill did not pay: {reason}")
        return await self._move(before or demand, demand.to(State.DENIED, reason))

    # Refunds

    async def _step_of_refund(self, demand: Demand) -> Demand:
        match demand.state:
            case State.WAITING:
                return await self._begin_refund(demand)
            case State.ASKING:
                found = await self._carrier.find_refund(demand)
                return await (self._give_back(demand) if found is None else self._adopt_refund(demand, found))
            case State.PROCESSING:
                return await self._adopt_refund(demand, await self._carrier.refund(demand))
        raise AssertionError(demand.state)

    async def _begin_refund(self, demand: Demand) -> Demand:
        """Finds the payment that gives it back; what that can't give is a demand of its own."""
        try:
            share = share_of(demand, await self._store.of_account(demand.account_id))
        except LookupError as error:
            raise LaterError(str(error)) from error
        if isinstance(share, str):
            return await self._move(demand, demand.to(State.DENIED, share))
        paid, rest = share.paid, demand.amount - share.amount
        names = {"payment_id": paid.payment_id, "of_demand": paid.demand_id, "phone_number": paid.phone_number}
        asking = demand.to(State.ASKING, amount=share.amount, asked_us=self._clock.now_us(), **names)
        more = [demand._replace(demand_id=derived_name("ref", demand.demand_id), amount=rest)] if rest else []
        return await self._guarded(await self._move(demand, asking, *more), self._give_back)

    async def _give_back(self, demand: Demand) -> Demand:
        try:
            told = await self._carrier.give_back(demand)
        except RefusedError as error:
            found = await self._carrier.find_refund(demand) if error.status in (400, 409) else None
            if found is not None:
                return await self._adopt_refund(demand, found)
            if error.status == 409 or error.code.endswith(".INVALID_PAYMENT_STATUS"):
                raise LaterError(str(error)) from error
            return await self._move(demand, demand.to(State.DENIED, str(error)))
        return await self._adopt_refund(demand, told)

    async def _adopt_refund(self, demand: Demand, told: Refunded) -> Demand:
        names = {"refund_id": told.refund_id}
        match told.refund_status:
            case "succeeded":
                return await self._move(demand, demand.to(State.SUCCEEDED, **names))
            case "denied":
                return await self._move(demand, demand.to(State.DENIED, "the carrier denied the refund", **names))
        if demand.state == State.PROCESSING:
            return await self._later(demand, demand.reason)
        after = demand.to(State.PROCESSING, "the carrier has not finished", **names)
        return await self._move(demand, after._replace(next_us=self._clock.now_us() + _RETRY_S * 1_000_000))

    # Moving

    async def _move(self, before: Demand, after: Demand, *more: Demand) -> Demand:
        return await self._store.move(before, after, *more)

    async def _later(self, demand: Demand, reason: str, retry_after_s: int = 0) -> Demand:
        wait_s = max(min(_RETRY_S * 2 ** min(demand.tries, 20), _RETRY_S_MAX), retry_after_s)
        next_us = self._clock.now_us() + wait_s * 1_000_000
        return await self._move(demand, demand._replace(reason=reason, tries=demand.tries + 1, next_us=next_us))

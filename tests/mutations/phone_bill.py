"""Faults of the phone bill: money that is asked for twice, never, or of somebody else."""

from typing import Final

from tests.mutations.planting import Mutation, one

_CLIENT: Final = "services/billing/carrier/client.py"
_DEMANDS: Final = "services/billing/carrier/demands.py"
_PLANNING: Final = "services/billing/carrier/planning.py"
_STEPS: Final = "services/billing/carrier/steps.py"
_STORE: Final = "services/billing/carrier/store.py"
_COMPARISON: Final = "services/billing/carrier/comparison.py"

_OF_STEPS: Final = "tests/billing/carrier/test_steps.py"
_OF_CLIENT: Final = "tests/billing/carrier/test_client.py"
_OF_STORE: Final = "tests/stores/test_carrier_store.py"
_OF_COMPARISON: Final = "tests/billing/carrier/test_comparison.py"

PHONE_BILL: Final[tuple[Mutation, ...]] = (
    one(
        "the carrier is asked again before it is looked at",
        _STEPS,
        "        if (found := await self._carrier.find_payment(demand)) is not None:\n"
        "            return await self._adopt(demand, found)\n"
        "        if (gone",
        "        if (gone",
        _OF_STEPS,
    ),
    one(
        "an answer about another amount is believed",
        _CLIENT,
        "        if (total.micro, total.currency) != (Decimal(demand.amount), demand.currency):\n",
        "        if total.currency != demand.currency:\n",
        _OF_CLIENT,
    ),
    one(
        "an answer about another demand is believed",
        _CLIENT,
        '        if asked.client_correlator not in ("", demand.demand_id) or asked.reference_code != demand.demand_id:\n'
        '            return f"it is about {self.asked_as[:100]}"\n'
        "        if (total.micro",
        "        if (total.micro",
        _OF_CLIENT,
    ),
    one(
        "a refund in another currency is believed",
        _CLIENT,
        "(part.micro, part.currency) != (Decimal(demand.amount), demand.currency)",
        "part.micro != Decimal(demand.amount)",
        _OF_CLIENT,
    ),
    one(
        "a payment that the carrier took with an error is given up",
        _STEPS,
        "find_payment(demand) if error.status in (400, 409) else None",
        "find_payment(demand) if error.status == 409 else None",
        _OF_STEPS,
    ),
    one(
        "an account that accounting has trouble with ends the round of all",
        "services/billing/carrier/worker.py",
        "                    return error.message\n",
        "                    raise\n",
        _OF_STEPS,
    ),
    one(
        "the carrier is asked for less than it can count",
        "services/billing/carrier/worker.py",
        "self._usage_interval_us, STEP)",
        "self._usage_interval_us, 1)",
        _OF_STEPS,
    ),
    one(
        "a retry bills what the carrier has in spite of its word",
        "services/billing/carrier/worker.py",
        "        if kept:\n",
        "        if False:\n",
        _OF_STEPS,
    ),
    one(
        "a retry gives back once more what the carrier gave in spite of its word",
        "services/billing/carrier/worker.py",
        'if kept is None or kept.refund_status == "denied" else kept.refund_id',
        'if kept else ""',
        _OF_STEPS,
    ),
    one(
        "a retry leaves unpaid what the carrier has cancelled",
        "services/billing/carrier/worker.py",
        'kept.payment_status in ("denied", "cancelled")',
        'kept.payment_status == "denied"',
        _OF_STEPS,
    ),
    one(
        "a retry bills a third time what the carrier has twice",
        "services/billing/carrier/worker.py",
        "        raise ServiceError(errors_pb2.ERROR_REASON_NOT_POSSIBLE, message) from error\n",
        '        return ""\n',
        _OF_STEPS,
    ),
    one(
        "a list that is gone on with leaves out what shares its time",
        _CLIENT,
        "            begin = last - _OVERLAP\n",
        "            begin = last + _OVERLAP\n",
        _OF_CLIENT,
    ),
    one(
        "a list that is gone on with tells some twice",
        _CLIENT,
        "                    if paid.payment_id not in made:\n",
        "                    if paid:\n",
        _OF_CLIENT,
    ),
    one(
        "what is reserved still is taken for billed",
        _STEPS,
        '        raise LaterError(f"the carrier has not billed it yet',
        "        return await self._move(demand, demand.to(State.SUCCEEDED))\n"
        '        raise LaterError(f"the carrier has not billed it yet',
        _OF_STEPS,
    ),
    one(
        "what was billed in the place of its cancellation stays",
        _STEPS,
        "demand.to(State.RETURNED, demand.reason), return_of(demand))",
        "demand.to(State.RETURNED, demand.reason))",
        _OF_STEPS,
    ),
    one(
        "a refund is asked for again before the carrier is looked at",
        _STEPS,
        "                found = await self._carrier.find_refund(demand)\n",
        "                found = None\n",
        _OF_STEPS,
    ),
    one(
        "a payment of another purchase gives a refund back",
        _DEMANDS,
        'same_subscription = refund.subscription_id != "" and paid',
        "same_subscription = paid",
        "tests/billing/carrier/test_demands.py",
    ),
    one(
        "one of two payments of a demand is taken",
        _CLIENT,
        '        if len(found) > 1:\n            raise DisputedError(f"the carrier has {len(found)} payments',
        '        if len(found) > 2:\n            raise DisputedError(f"the carrier has {len(found)} payments',
        _OF_STEPS,
    ),
    one(
        "a right that is missing is a refusal of the payment",
        _CLIENT,
        ' and error.code != "PERMISSION_DENIED"',
        "",
        _OF_STEPS,
    ),
    one(
        "a payment is asked for before it is durable",
        _STEPS,
        "        demand = await self._move(demand, demand.to(State.ASKING, phone_number=phone_number, asked_us=asked_us))\n"
        "        return await self._guarded(demand, self._pay)\n",
        "        return await self._guarded(demand._replace(phone_number=phone_number, asked_us=asked_us), self._pay)\n",
        _OF_STEPS,
    ),
    one(
        "an order that has ended is paid",
        _STEPS,
        "        if (gone := await self._obstacle(demand)) is not None:\n            return gone\n        phone_number",
        "        phone_number",
        _OF_STEPS,
    ),
    one(
        "a reservation that the carrier has ended is carried out",
        _STEPS,
        '        if told.payment_status != "reserved":\n            return await self._adopt(demand, told)\n        return',
        '        if told.payment_status == "denied":\n            return await self._adopt(demand, told)\n        return',
        _OF_STEPS,
    ),
    one(
        "a payment whose order came to nothing stays",
        _STEPS,
        "        return await self._move(demand, demand.to(refused, reason), return_of(demand))\n",
        "        return await self._move(demand, demand.to(refused, reason))\n",
        _OF_STEPS,
    ),
    one(
        "a refused payment leaves its order waiting",
        _STEPS,
        "        if demand.source == Source.ORDER:\n            await self._orders.give_up(",
        "        if demand.is_refund:\n            await self._orders.give_up(",
        _OF_STEPS,
    ),
    one(
        "a refund forgets what went back before",
        _DEMANDS,
        "        left = each.amount - sum(other.amount for other in back if",
        "        left = each.amount - sum(0 * other.amount for other in back if",
        _OF_STEPS,
    ),
    one(
        "a refund does not wait for its payment",
        _DEMANDS,
        "    if any(each.is_open for each in payments):\n",
        "    if refund.amount == 0:\n",
        _OF_STEPS,
    ),
    one(
        "what is less than a thousandth is lost",
        _PLANNING,
        "            rest = item.amount - demand.amount if item.amount > 0 else item.amount + demand.amount\n",
        "            rest = 0\n",
        _OF_STEPS,
    ),
    one(
        "a range is planned twice",
        _STORE,
        "WHERE part_id = $1 AND planned_seq = $2 RETURNING part_id",
        "WHERE part_id = $1 AND planned_seq + $2 >= 0 RETURNING part_id",
        _OF_STORE,
    ),
    one(
        "use is billed twice",
        _STORE,
        "WHERE account_id = $1 AND currency = $2 AND number = $3 RETURNING number",
        "WHERE account_id = $1 AND currency = $2 AND number >= $3 RETURNING number",
        _OF_STORE,
    ),
    one(
        "what was charged before the beginning is billed",
        _STORE,
        " SELECT part_id, exported_seq, exported_seq FROM cursor",
        " SELECT part_id, 0, 0 FROM cursor",
        _OF_STORE,
    ),
    one(
        "a demand moves from where it is not",
        _STORE,
        "WHERE demand_id = $1 AND state = $2 AND tries = $3 RETURNING demand_id",
        "WHERE demand_id = $1 AND (state = $2 OR tries = $3) RETURNING demand_id",
        _OF_STORE,
    ),
    one(
        "an assertion is for any place where tokens are given",
        "services/billing/carrier/identity.py",
        '        "aud": config.token_url,\n',
        '        "aud": config.address,\n',
        _OF_CLIENT,
    ),
    one(
        "parts of a thousandth that go back are a difference",
        _COMPARISON,
        "item.amount if item.paid_by == CREDIT_LINE or item.amount < 0 else 0",
        "item.amount if item.paid_by == CREDIT_LINE else 0",
        _OF_COMPARISON,
    ),
    one(
        "a payment that nobody asked for is no difference",
        _COMPARISON,
        '            elif paid.payment_status == "succeeded" and not await self._is_under_way(paid):\n',
        '            elif paid.payment_status == "lost" and not await self._is_under_way(paid):\n',
        _OF_COMPARISON,
    ),
    one(
        "a returned payment is given back by any of its order",
        _DEMANDS,
        "        return paid.demand_id == refund.of_demand\n",
        "        return paid.order_id == refund.order_id\n",
        "tests/billing/carrier/test_demands.py",
    ),
    one(
        "a carrier that asks for time gets none",
        _STEPS,
        "_RETRY_S_MAX), retry_after_s)",
        "_RETRY_S_MAX), 0)",
        _OF_STEPS,
    ),
)

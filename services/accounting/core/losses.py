"""Debt that an account may owe, the operator's losses beyond it, and vendors' unpaid work. Pure.

debt = min(uncovered, max(0, limit - outstanding)); the rest is absorbed and never becomes debt. Only entries change the state that
is counted here.
"""

from typing import Final

from services.accounting.core.account.state import HOUR_US, WORK_HOURS, Account
from services.accounting.core.amounts import PinnedTariff, amount_of, in_unit, rates_for
from services.accounting.core.commands import Refused, ResultCode
from services.accounting.core.offerings import Plan
from services.token_classes import Vector, rate_of, total_input

UNPAID_WORK: Final = "unpaid_work@account"
# An account closes for a while if its unpaid work is above this part of the paid, and at least of this worth in micro-yuan.
_UNPAID_DIVISOR: Final = 10
_UNPAID_WORTH_MIN: Final = 1_000_000
# It stays closed this long after the last unpaid session, because hanging up must not pay. The owner of a broken client shall still
# see the refusal while looking for the reason.
UNPAID_WAIT_US: Final = 5 * 60 * 1_000_000


def outstanding(account: Account, unit: str) -> int:
    """The amount that the account owes in a unit."""
    debt = account.debts.get(unit)
    return debt.outstanding if debt else 0


def beyond_limit(account: Account, unit: str, uncovered: int, limit: int) -> int:
    """The uncovered amount that the account may not owe; `limit` -1: it may owe all."""
    return 0 if limit < 0 else max(0, uncovered - max(0, limit - outstanding(account, unit)))


def refusal(account: Account, plan: Plan, now_us: int) -> Refused | None:
    """Refuses a session whose account owes what it may, or left too much of the work for it unpaid."""
    unit = plan.lines[next(reversed(plan.lines))].unit
    owed = outstanding(account, unit)
    if owed > 0 and 0 <= plan.debt_limit <= owed:
        return Refused(
            *(ResultCode.QUOTA_LIMIT_REACHED, unit, owed, 0, 0),
            held=False,
            message=f"the account owes {in_unit(owed, unit)} and may owe at most {in_unit(plan.debt_limit, unit)}; top up more "
            "than it owes, then call again",
        )
    if now_us < account.last_unpaid_us + UNPAID_WAIT_US and is_unpaid_work_high(account, now_us):
        return Refused(
            *(ResultCode.RATE_LIMITED, "", 0, 0, 0),
            held=False,
            limit_id=UNPAID_WORK,
            retry_after_us=account.last_unpaid_us + UNPAID_WAIT_US - now_us,
            message="too many answers of the last 24 hours were not waited for, or cost more than the budgets of their keys; wait "
            "for them, or stream them, and give minted keys larger budgets",
        )
    return None


def is_unpaid_work_high(account: Account, now_us: int) -> bool:
    """Whether vendors' unpaid work in the last 24 hours is above a tenth of the paid, and at least a yuan's worth."""
    since = now_us // HOUR_US - WORK_HOURS
    paid = sum(each.paid for each in account.work if each.hour > since)
    unpaid = sum(each.unpaid for each in account.work if each.hour > since)
    return unpaid >= _UNPAID_WORTH_MIN and unpaid * _UNPAID_DIVISOR > paid


def rated_unpaid(tariff: PinnedTariff, used: Vector, unpaid: Vector) -> Vector:
    """Amounts of unpaid usage by class, at the tier of all that the vendor took in."""
    rates = rates_for(tariff, total_input(used) + total_input(unpaid))
    return tuple(amount_of(count, rate_of(rates, index)) for index, count in enumerate(unpaid))

"""Offerings that are sold once to an account, for good or in a period of the calendar. Pure."""

from services.accounting.core.account.state import Account
from services.accounting.core.commands import AskOffering, Decision, Failed, Fault, OfferingHad, fail
from services.accounting.core.cycles import period_bounds_us
from services.accounting.core.offerings import ChargingCatalog
from services.accounting.core.terms import Terms


def ask_offering(account: Account, command: AskOffering, now_us: int, catalog: ChargingCatalog) -> Decision:
    """Tells whether the account may buy an offering now, as far as that is sold once."""
    rules = catalog.offerings.get(command.offering_id)
    if rules is None or rules.terms is None:
        return fail(Fault.OFFERING_UNKNOWN, f"no offering {command.offering_id!r} that is ordered is in the catalog")
    refused = bought_already(account, rules.terms, now_us)
    if refused is None:
        return Decision((), OfferingHad(""))
    assert isinstance(refused.answer, Failed)
    return Decision((), OfferingHad(refused.answer.message))


def bought_already(account: Account, terms: Terms, now_us: int, changed_id: str = "") -> Decision | None:
    """Refuses an offering that is sold once and that the account has, had or waits for; None where it may be bought.

    `changed_id`: the subscription that would be put on it.
    """
    if not terms.once:
        return None
    offering_id = terms.offering_id
    sold = f"offering {offering_id} is sold once to an account" + (f" in a {terms.once_a.name.lower()}" if terms.once_a else "")
    for subscription in account.subscriptions.values():
        offerings = {each.offering_id for each in (subscription.terms, subscription.next_terms) if each is not None}
        if subscription.state != "ended" and offering_id in offerings and subscription.subscription_id != changed_id:
            return fail(Fault.NOT_POSSIBLE, f"{sold}, and subscription {subscription.subscription_id} has it")
    for order in account.orders.values():
        if order.state == "awaiting_payment" and order.terms.offering_id == offering_id:
            return fail(Fault.NOT_POSSIBLE, f"{sold}, and order {order.order_id} waits for its payment; pay it or cancel it first")
    bought_us = account.bought.get(offering_id)
    if bought_us is None:
        return None
    if terms.once_a is None:
        return fail(Fault.NOT_POSSIBLE, f"{sold}, and this one has had it")
    if bought_us >= period_bounds_us(terms.once_a, terms.time_zone, now_us)[0]:
        return fail(Fault.NOT_POSSIBLE, f"{sold}, and this one has had it; order it in the next {terms.once_a.name.lower()}")
    return None

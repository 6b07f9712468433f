"""The limits of a session's key, and what they say of its grant at the moment. Pure."""

from services.accounting.core import limits
from services.accounting.core.account.state import Account
from services.accounting.core.commands import Decision, Granted, GrantedNow, RatesLeft
from services.accounting.core.offerings import ChargingCatalog


def as_it_stands(
    account: Account,
    catalog: ChargingCatalog,
    key_id: str,
    member_id: str,
    now_us: int,
    decision: Decision,
    left: RatesLeft | None = None,
) -> Decision:
    """The decision; its grant says when the session must end, where its key, member or account has an end, and what rates leave."""
    answer = decision.answer
    # Only limits that were set on a subject have an end, and few accounts have any.
    if type(answer) is not Granted or not (account.limits or left):
        return decision
    rules = rules_of(account, catalog, key_id, member_id)
    if not rules.valid_until_us and left is None:
        return decision
    now = GrantedNow(
        answer.output_granted,
        answer.output_payable,
        answer.output_threshold,
        answer.validity_us,
        answer.final,
        answer.offering_id,
        answer.final_action,
        max(0, rules.valid_until_us - now_us),
        rules.ended_subject,
        left,
    )
    return Decision(decision.entries, now)


def rules_of(account: Account, catalog: ChargingCatalog, key_id: str, member_id: str) -> limits.Rules:
    """All limits in force for a key of a member."""
    base = catalog.offerings.get(account.offering_id)
    return limits.rules_for(account, base.limits if base else (), key_id, member_id)

"""The limits of a session's key, and the end that they set for it. Pure."""

from services.accounting.core import limits
from services.accounting.core.account.state import Account
from services.accounting.core.commands import Decision, Granted, GrantedUntil
from services.accounting.core.offerings import ChargingCatalog


def until_its_end(
    account: Account, catalog: ChargingCatalog, key_id: str, member_id: str, now_us: int, decision: Decision
) -> Decision:
    """The decision; its grant says when the session must end, where its key, member or account has an end."""
    answer = decision.answer
    # Only limits that were set on a subject have an end, and few accounts have any.
    if not account.limits or type(answer) is not Granted:
        return decision
    rules = rules_of(account, catalog, key_id, member_id)
    if not rules.valid_until_us:
        return decision
    until = GrantedUntil(
        answer.output_granted,
        answer.output_payable,
        answer.output_threshold,
        answer.validity_us,
        answer.final,
        answer.offering_id,
        answer.final_action,
        max(0, rules.valid_until_us - now_us),
        rules.ended_subject,
    )
    return Decision(decision.entries, until)


def rules_of(account: Account, catalog: ChargingCatalog, key_id: str, member_id: str) -> limits.Rules:
    """All limits in force for a key of a member."""
    base = catalog.offerings.get(account.offering_id)
    return limits.rules_for(account, base.limits if base else (), key_id, member_id)

"""The limits of a session's key, and what they say of its grant at the moment. Pure."""

from services.accounting.core import limits
from services.accounting.core.account.state import Account
from services.accounting.core.commands import CreateSession, Decision, Granted, GrantedNow, RatesLeft, Refused, ResultCode
from services.accounting.core.offerings import ChargingCatalog, Plan, within


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
    # Only runs, and limits that were set on a subject, have an end, and few accounts have any.
    if type(answer) is not Granted or not (account.limits or account.runs or left):
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


def narrowed(
    account: Account, command: CreateSession, planned: Plan, rules: limits.Rules, now_us: int, catalog: ChargingCatalog
) -> Plan | Refused:
    """The plan of a minted key's call, in the units of its budget alone; refuses another model, and a key without its run.

    The plan of any other call stays as it is.
    """
    if rules.units is None:
        if not command.key_is_minted:
            return planned
        # The run ended, and is forgotten; an edge may know its key longer.
        subject = f"key:{command.key_id}"
        ended = f"the time of {subject} has ended"
        code = ResultCode.END_USER_SERVICE_REJECTED
        return Refused(code, *("", 0, 0, 0), held=False, limit_id=f"end@{subject}", message=ended)
    if rules.model_ids is not None and command.model_id not in rules.model_ids:
        return Refused(ResultCode.END_USER_SERVICE_DENIED, *("", 0, 0, 0), held=False)
    plan = within(account, catalog, planned, rules.units, command.model_id, now_us)
    if plan is None:
        # The balance that could pay is in a unit that the budget does not name.
        unit = next(iter(planned.lines.values())).unit
        limit_id = f"budget-{unit.rpartition(':')[2]}@key:{command.key_id}"
        return Refused(ResultCode.QUOTA_LIMIT_REACHED, unit, 1, 0, 0, held=False, limit_id=limit_id)
    return plan


def rules_of(account: Account, catalog: ChargingCatalog, key_id: str, member_id: str) -> limits.Rules:
    """All limits in force for a key of a member."""
    base = catalog.offerings.get(account.offering_id)
    return limits.rules_for(account, base.limits if base else (), key_id, member_id)

"""Create: opens a session and holds quota for it. Pure."""

from typing import Final, NamedTuple

import msgspec

from services.accounting.core import limits, losses
from services.accounting.core.account.state import Account
from services.accounting.core.amounts import GRANTED_MAX, TOKENS_MAX, Estimate, expected, worst_case_in, worst_cases
from services.accounting.core.balance import free_sources, reserve, take, usable
from services.accounting.core.commands import (
    CallName,
    CreateSession,
    Decision,
    Fault,
    Granted,
    Refused,
    ResultCode,
    digest_of,
    fail,
)
from services.accounting.core.entries import BucketAmounts, CallLabelled, SessionCreated
from services.accounting.core.offerings import ChargingCatalog, Plan, plan
from services.accounting.core.sessions.extend import THRESHOLD_DIVISOR
from services.accounting.core.sessions.hope import hopeful_output, is_capped
from services.accounting.core.sessions.limited import as_it_stands, narrowed, rules_of
from services.accounting.core.sessions.refuse import Need, refusal_of, refused_by_cap, refused_for_balance, refused_outside_plan
from services.accounting.core.sessions.repeats import known_call, known_session
from services.token_classes import IN_TOKENS, Measure

# A metered session waits if less than this part of a window is free and others hold the rest.
_SMALL_WINDOW_DIVISOR: Final = 8
# An answer of fewer output tokens than it asks for and than these is of no use: the next call is refused whatever is left.
_USEFUL_OUTPUT: Final = 64


class _Quota(NamedTuple):
    """Output tokens that are granted and payable at most, whether the grant is final, and the hold."""

    granted: int
    payable: int
    final: bool
    hold: BucketAmounts


def create(account: Account, command: CreateSession, now_us: int, catalog: ChargingCatalog) -> Decision:
    """Opens a session and holds quota for it, or says what it lacks."""
    name = CallName.of(command)
    digest = digest_of(command) + b"".join(name or ())
    if (known := known_session(account, command, digest, now_us)) is not None:
        return as_it_stands(account, catalog, command.key_id, command.member_id, now_us, known)
    if name is not None and (called := known_call(account, name)) is not None:
        return called
    tokens = command.input_bound if command.input_expected < 0 else min(command.input_expected, command.input_bound)
    if not (0 <= command.input_bound <= TOKENS_MAX and 0 <= command.output_limit <= TOKENS_MAX):
        return fail(Fault.AMOUNT_OVERFLOW, f"input_tokens_bound and output_tokens_limit must be 0 to {TOKENS_MAX}")
    planned = plan(account, catalog, command.model_id, now_us)
    if isinstance(planned, ResultCode):
        return Decision((), Refused(planned, "", 0, 0, 0, held=False))
    if (account.debts or account.last_unpaid_us) and (refusal := losses.refusal(account, planned, now_us)) is not None:
        return refusal_of(refusal, planned)
    rules = rules_of(account, catalog, command.key_id, command.member_id)
    within = narrowed(account, command, planned, rules, now_us, catalog)
    if isinstance(within, Refused):
        return refusal_of(within, planned)
    planned, lines, offering = within, within.lines, within.rules
    counted = _counted(command, tokens)
    admission = limits.admit(account, rules, now_us, catalog.time_zone, counted)
    if isinstance(admission, Refused):
        left = limits.rates_left(account, rules, now_us)
        return refusal_of(msgspec.structs.replace(admission, rates=left), planned)
    input_tokens, estimates = _estimates(account, command, planned, tokens)
    quota = _quota(account, command, planned, admission, input_tokens, estimates, now_us)
    if isinstance(quota, Decision):
        return quota
    created = SessionCreated(
        account_id=account.account_id,
        time_us=now_us,
        charging_id=command.charging_id,
        number=command.number,
        digest=digest,
        model_id=command.model_id,
        key_id=command.key_id,
        member_id=command.member_id,
        offering_id=offering.offering_id,
        tariff=next(iter(lines.values())),
        input_bound=command.input_bound,
        output_limit=command.output_limit,
        output_granted=quota.granted,
        output_payable=quota.payable,
        output_threshold=quota.granted // THRESHOLD_DIVISOR,
        final=quota.final,
        validity_us=catalog.validity_us,
        hold=quota.hold,
        line=next(iter(lines)),
        more_lines=dict(list(lines.items())[1:]) if len(lines) > 1 else {},
        estimates=estimates,
        input_reserved=input_tokens,
        expected=offering.expected and command.measures == IN_TOKENS,
        counters=admission.counters,
        windows_opened=admission.windows_opened,
        arrivals=admission.arrivals,
        tokens_counted=counted if rules.token_rates else 0,
        output_window=offering.output_window,
        final_action=offering.final_action,
        wholesale=catalog.wholesale(command.model_id, now_us),
        debt_limit=planned.debt_limit,
    )
    threshold, validity_us = created.output_threshold, catalog.validity_us
    answer = Granted(
        *(quota.granted, quota.payable, threshold, validity_us, quota.final, offering.offering_id, offering.final_action)
    )
    left = limits.rates_left(account, rules, now_us, admission.arrivals)
    decision = Decision((created, *_labels(command, now_us, catalog)), answer)
    return as_it_stands(account, catalog, command.key_id, command.member_id, now_us, decision, left)


def _labels(command: CreateSession, now_us: int, catalog: ChargingCatalog) -> tuple[CallLabelled, ...]:
    """The label that the client gave its call, where it gave one and every member of the cell reads it."""
    if not command.run_label or not catalog.runs:
        return ()
    return (CallLabelled(command.account_id, now_us, command.charging_id, command.run_label),)


def _counted(command: CreateSession, tokens: int) -> int:
    """The likely input as rates of tokens count it: they count no characters, and no time."""
    return tokens if command.input_measure is Measure.TOKEN else 0


def _estimates(account: Account, command: CreateSession, planned: Plan, tokens: int) -> tuple[int, dict[str, Estimate]]:
    """Input tokens to reserve for, and their cost by line; `tokens` are the likely ones."""
    offering, measures = planned.rules, command.measures
    input_tokens = command.input_bound
    if offering.expected:
        input_tokens = tokens
    elif offering.calibrated and 0 <= command.input_calibrated < input_tokens:
        input_tokens = command.input_calibrated
    if measures != IN_TOKENS:
        cases = {line: worst_cases(tariff, measures) for line, tariff in planned.lines.items()}
        return input_tokens, {line: worst_case_in(each, input_tokens) for line, each in cases.items()}
    if offering.expected:
        share = account.cached_shares.get(command.model_id, 0)
        return input_tokens, {line: expected(tariff, input_tokens, share) for line, tariff in planned.lines.items()}
    return input_tokens, {line: worst_case_in(cases, input_tokens) for line, cases in planned.worst_cases.items()}


def _quota(
    account: Account,
    command: CreateSession,
    planned: Plan,
    admission: limits.Admission,
    input_tokens: int,
    estimates: dict[str, Estimate],
    now_us: int,
) -> _Quota | Decision:
    """The quota that balance and limits have for a session, or its refusal."""
    lines, offering = planned.lines, planned.rules
    window = offering.output_window
    wanted = min(command.output_limit, window) if command.metered else command.output_limit
    # A metered session can begin on a small window, because more may come; any other gets all it wants or all there is.
    enough = min(wanted, max(1, window // _SMALL_WINDOW_DIVISOR)) if command.metered else wanted
    first, estimate = next(iter(estimates.items()))
    whole = estimate.amount(input_tokens, command.output_limit)
    if whole > GRANTED_MAX:
        return fail(Fault.AMOUNT_OVERFLOW, "what this session could cost is more than an account can have")
    room = dict(admission.room) if admission.room else None
    sources = free_sources(account, lines, now_us, room, whole, [])
    if len(sources) == 1 and sources[0].line == first and sources[0].amount >= whole:
        granted, payable_output = wanted, command.output_limit
    else:
        payable = reserve(sources, estimates, input_tokens, command.output_limit)
        granted = -1 if payable.input_missing else min(wanted, payable.output)
        payable_output = payable.output
    others_hold = False
    hopes = offering.expected and not admission.exact and command.measures == IN_TOKENS
    hopes = hopes and not is_capped(admission.room, lines, estimates, input_tokens, command.output_limit)
    useful = min(command.output_limit, _USEFUL_OUTPUT)
    if granted < wanted or payable_output < useful:
        reserved = sum(bucket.reserved for bucket in usable(account, lines, now_us))
        others_hold = reserved > 0
    if granted < enough or payable_output < useful:
        hopeful = hopeful_output(account, lines, sources, input_tokens, command.output_limit, None) if hopes else -1
        if hopeful >= useful and (hopeful >= enough or not others_hold):
            granted, payable_output = min(hopeful, wanted), hopeful
        elif others_hold or granted < 0 or payable_output < useful:
            # While others hold balance, the rest is no measure: waiting is better than an answer that ends too soon.
            need = Need(lines, estimates, input_tokens, useful)
            refused = refused_for_balance(account, need, sources, reserved, now_us)
            refused = refused_by_cap(account, need, refused, admission, now_us)
            return refusal_of(refused_outside_plan(account, command.model_id, lines, refused, now_us), planned)
    needed = reserve(sources, estimates, input_tokens, granted)
    return _Quota(granted, max(granted, payable_output), granted < wanted and not others_hold, take(sources, needed.amounts))

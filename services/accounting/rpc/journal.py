"""Writes the journal's entries as messages, for billing and the command line."""

from collections.abc import Iterator

from services.accounting.core import entries
from services.accounting.core.amounts import rates_for
from services.accounting.core.sales.credit import returned_by
from services.accounting.core.terms import LimitKind
from services.accounting.journal.codec import decode_attributed_row
from services.accounting.journal.store import JournalRow
from services.accounting.rpc.account import limit_message
from services.accounting.rpc.fields import bucket_amounts, returned_message, unit_message, usage_message
from services.token_classes import TOKEN_CLASSES, Vector, rate_of, total_input
from tokenline.accounting.v1 import accounting_pb2 as pb
from tokenline.registry.v1 import registry_pb2


def journal_row_messages(row: JournalRow) -> Iterator[pb.JournalEntry]:
    """The entries of a row as messages, in their order; a settled session has the label that the row gives it.

    Errors: `JournalError`.
    """
    attributed = decode_attributed_row(row.body, f"journal row {row.part_id}/{row.seq}")
    labels = {entry.charging_id: entry.run_label for entry, _ in attributed if isinstance(entry, entries.CallLabelled)}
    for index, (entry, actor) in enumerate(attributed):
        message = journal_entry_message(row.part_id, row.seq, index, entry, actor)
        if labels and isinstance(entry, entries.SessionSettled):
            message.session_settled.run_label = labels.get(entry.charging_id, "")
        yield message


def journal_entry_message(
    part_id: int, seq: int, index: int, entry: entries.Entry, actor: entries.Actor | None = None
) -> pb.JournalEntry:
    """An entry as a message; `actor` gave its command."""
    message = pb.JournalEntry(part_id=part_id, sequence_number=seq, index=index, account_id=entry.account_id, time_us=entry.time_us)
    if actor is not None:
        message.actor.CopyFrom(pb.Actor(subject=actor.subject, proof=actor.proof, role=actor.role))
    match entry:
        case entries.AccountOpened():
            message.account_opened.offering_id = entry.offering_id
        case entries.BucketGranted():
            message.bucket_granted.CopyFrom(
                pb.BucketGranted(
                    bucket_id=entry.bucket_id,
                    unit=unit_message(entry.unit),
                    amount=entry.amount,
                    valid_from_us=entry.valid_from_us,
                    valid_until_us=entry.valid_until_us,
                    priority=entry.priority,
                    idempotency_key=entry.idempotency_key,
                    offering_id=entry.offering_id,
                    model_group=entry.model_group,
                    source=entry.source,
                    reason=entry.reason,
                    subscription_id=entry.subscription_id,
                    postpaid=entry.postpaid,
                )
            )
        case entries.DebtRepaid():
            message.debt_repaid.CopyFrom(
                pb.DebtRepaid(bucket_id=entry.bucket_id, unit=unit_message(entry.unit), amount=entry.amount)
            )
        case entries.BucketExpired():
            message.bucket_expired.CopyFrom(pb.BucketExpired(bucket_id=entry.bucket_id, amount=entry.amount))
        case entries.SessionCreated():
            message.session_created.CopyFrom(_created_message(entry))
        case entries.SessionUpdated():
            message.session_updated.CopyFrom(
                pb.SessionUpdated(
                    charging_id=entry.charging_id,
                    invocation_sequence_number=entry.number,
                    used=usage_message(entry.used),
                    hold_added=bucket_amounts(entry.hold_added),
                    output_tokens_granted=entry.output_granted,
                    output_tokens_payable=entry.output_payable,
                    final=entry.final,
                    attempts=_attempt_messages(entry.attempts),
                )
            )
        case entries.SessionSettled():
            message.session_settled.CopyFrom(_settled_message(entry))
        case entries.NoticeReached():
            message.notice_reached.bucket_id, message.notice_reached.percent = entry.bucket_id, entry.percent
        case entries.BucketRolledOver():
            message.bucket_rolled_over.CopyFrom(
                pb.BucketRolledOver(bucket_id=entry.bucket_id, expired_amount=entry.expired, valid_until_us=entry.valid_until_us)
            )
        case _:
            _correction_message(message, entry)
    return message


def _correction_message(message: pb.JournalEntry, entry: entries.Entry) -> None:
    """Writes entries of operators' corrections, and of transfers."""
    match entry:
        case entries.BucketReduced():
            message.bucket_reduced.CopyFrom(pb.BucketReduced(bucket_id=entry.bucket_id, amount=entry.amount, reason=entry.reason))
        case entries.BucketToppedUp():
            message.bucket_topped_up.CopyFrom(
                pb.BucketToppedUp(bucket_id=entry.bucket_id, amount=entry.amount, idempotency_key=entry.idempotency_key)
            )
        case entries.DebtWrittenOff():
            message.debt_written_off.CopyFrom(
                pb.DebtWrittenOff(unit=unit_message(entry.unit), amount=entry.amount, reason=entry.reason)
            )
        case entries.LimitsSet():
            message.limits_set.CopyFrom(
                pb.LimitsSet(
                    subject=entry.subject,
                    limit_count=len(entry.limits),
                    valid_until_us=entry.valid_until_us,
                    limits=map(limit_message, entry.limits),
                )
            )
        case entries.TransferSent():
            message.transfer_sent.CopyFrom(
                pb.TransferSent(
                    transfer_id=entry.transfer_id,
                    to_account_id=entry.to_account_id,
                    bucket_id=entry.bucket_id,
                    amount=entry.amount,
                )
            )
        case entries.TransferConfirmed():
            message.transfer_confirmed.transfer_id = entry.transfer_id
        case entries.TransferReturned():
            message.transfer_returned.CopyFrom(pb.TransferReturned(transfer_id=entry.transfer_id, reason=entry.reason))
        case _:
            _sale_message(message, entry)


def _sale_message(message: pb.JournalEntry, entry: entries.Entry) -> None:
    """Writes entries of orders and subscriptions."""
    match entry:
        case entries.OrderPlaced():
            message.order_placed.CopyFrom(
                pb.OrderPlaced(
                    order_id=entry.order_id,
                    offering_id=entry.terms.offering_id,
                    payment_method=int(entry.payment),  # type: ignore[arg-type]  # the numbers are the contract's
                    unit=unit_message(entry.terms.price_unit),
                    amount=entry.amount,
                    expires_us=entry.expires_us,
                    subscription_id=entry.subscription_id,
                )
            )
        case entries.PriceCharged():
            message.price_charged.CopyFrom(
                pb.PriceCharged(
                    order_id=entry.order_id,
                    offering_id=entry.offering_id,
                    unit=unit_message(entry.unit),
                    amount=entry.amount,
                    debits=bucket_amounts(entry.debits),
                )
            )
        case entries.PriceReturned():
            message.price_returned.CopyFrom(
                pb.PriceReturned(
                    purchase_id=entry.purchase_id,
                    order_id=entry.order_id,
                    offering_id=entry.offering_id,
                    returned=returned_message(returned_by(entry)),
                    payment_method=int(entry.payment),  # type: ignore[arg-type]  # the numbers are the contract's
                    credits=bucket_amounts(entry.credits),
                    reason=entry.reason,
                )
            )
        case entries.OrderCompleted():
            message.order_completed.CopyFrom(pb.OrderCompleted(order_id=entry.order_id, payment_reference=entry.payment_reference))
        case entries.OrderFailed():
            message.order_failed.CopyFrom(pb.OrderFailed(order_id=entry.order_id, reason=entry.reason))
        case entries.SubscriptionStarted():
            message.subscription_started.CopyFrom(
                pb.SubscriptionStarted(
                    subscription_id=entry.subscription_id,
                    offering_id=entry.terms.offering_id,
                    payment_method=int(entry.payment),  # type: ignore[arg-type]  # the numbers are the contract's
                )
            )
        case entries.CycleStarted():
            message.cycle_started.CopyFrom(
                pb.CycleStarted(subscription_id=entry.subscription_id, number=entry.number, end_us=entry.end_us, price=entry.price)
            )
        case entries.RenewalChanged():
            message.renewal_changed.CopyFrom(
                pb.RenewalChanged(subscription_id=entry.subscription_id, offering_id=entry.terms.offering_id if entry.terms else "")
            )
        case entries.SubscriptionSuspended():
            message.subscription_suspended.CopyFrom(
                pb.SubscriptionSuspended(subscription_id=entry.subscription_id, grace_end_us=entry.grace_end_us)
            )
        case entries.SubscriptionEnded():
            message.subscription_ended.CopyFrom(pb.SubscriptionEnded(subscription_id=entry.subscription_id, reason=entry.reason))
        case _:
            _run_message(message, entry)


def _run_message(message: pb.JournalEntry, entry: entries.Entry) -> None:
    """Writes entries of runs and of labels."""
    match entry:
        case entries.RunOpened():
            message.run_opened.CopyFrom(
                pb.RunOpened(
                    key_id=entry.key_id,
                    parent_key_id=entry.parent_key_id,
                    budgets=[
                        pb.Budget(unit=unit_message(each.unit), amount=each.amount)
                        for each in entry.limits
                        if each.kind == LimitKind.USAGE
                    ],
                    ends_us=entry.ends_us,
                    model_ids=entry.model_ids,
                    parallel_calls=sum(each.amount for each in entry.limits if each.kind == LimitKind.CONCURRENT_SESSIONS),
                )
            )
        case entries.RunsEnded():
            message.runs_ended.key_id, message.runs_ended.by_key_id = entry.key_id, entry.by_key_id
        case entries.CallLabelled():
            message.call_labelled.charging_id, message.call_labelled.run_label = entry.charging_id, entry.run_label
        case _:
            raise AssertionError(f"{type(entry).__name__} has no message")


def _created_message(entry: entries.SessionCreated) -> pb.SessionCreated:
    return pb.SessionCreated(
        charging_id=entry.charging_id,
        model_id=entry.model_id,
        key_id=entry.key_id,
        member_id=entry.member_id,
        hold=bucket_amounts(entry.hold),
        output_tokens_granted=entry.output_granted,
        offering_id=entry.offering_id,
        tariff_id=entry.tariff.tariff_id,
        tariff_version=entry.tariff.version,
        unit=unit_message(entry.tariff.unit),
        input_tokens_bound=entry.input_bound,
        input_tokens_reserved=entry.input_bound if entry.input_reserved < 0 else entry.input_reserved,
        output_tokens_limit=entry.output_limit,
        output_tokens_payable=entry.output_payable,
        likely=entry.expected,
        final=entry.final,
        counter_ids=[counter_id for counter_id, _ in entry.counters],
    )


def _settled_message(entry: entries.SessionSettled) -> pb.SessionSettled:
    usage = entry.usage
    # The input of the whole session chooses the tier; this record may be a part of the session.
    rates = rates_for(entry.tariff, total_input(usage) if entry.total_input < 0 else entry.total_input)
    debits: dict[str, int] = {}
    for bucket_id, amount in (*entry.held_debits, *entry.free_debits):
        debits[bucket_id] = debits.get(bucket_id, 0) + amount
    return pb.SessionSettled(
        charging_id=entry.charging_id,
        record_sequence_number=entry.record_number,
        model_id=entry.model_id,
        key_id=entry.key_id,
        member_id=entry.member_id,
        offering_id=entry.offering_id,
        tariff_id=entry.tariff.tariff_id,
        tariff_version=entry.tariff.version,
        unit=unit_message(entry.tariff.unit),
        usage=usage_message(usage),
        class_charges=_class_charges(usage, rates, entry.class_amounts),
        charged_amount=entry.charged,
        debits=bucket_amounts(tuple(debits.items())),
        debt_amount=entry.debt,
        close_cause=entry.close_cause,  # type: ignore[arg-type]  # the numbers are the contract's
        provenance=entry.provenance,  # type: ignore[arg-type]
        attempts=_attempt_messages(entry.attempts),
        create_time_us=entry.created_us,
        released=bucket_amounts(entry.released),
        more_records=entry.more_records,
        wholesale=_wholesale_message(entry) if entry.wholesale else None,
        absorbed_amount=entry.absorbed,
        unpaid=usage_message(entry.unpaid) if entry.unpaid else None,
    )


def _attempt_messages(attempts: tuple[entries.VendorAttempt, ...]) -> list[pb.VendorAttempt]:
    return [
        pb.VendorAttempt(
            vendor_id=each.vendor_id,
            vendor_model_id=each.vendor_model_id,
            outcome=each.outcome,
            http_status=each.http_status,
            duration_ms=each.duration_ms,
        )
        for each in attempts
    ]


def _wholesale_message(entry: entries.SessionSettled) -> pb.WholesaleCharge:
    owed = entry.wholesale
    assert owed is not None
    usage = entry.wholesale_usage
    rates = rates_for(owed.tariff, total_input(usage))
    return pb.WholesaleCharge(
        vendor_id=owed.vendor_id,
        vendor_model_id=owed.vendor_model_id,
        tariff_id=owed.tariff.tariff_id,
        tariff_version=owed.tariff.version,
        unit=unit_message(owed.tariff.unit),
        amount=sum(entry.wholesale_amounts) - entry.wholesale_claimed,
        class_charges=_class_charges(usage, rates, entry.wholesale_amounts),
        fees=registry_pb2.FeeShares(platform=owed.fees[0], compute=owed.fees[1], channel=owed.fees[2]) if owed.fees else None,
    )


def _class_charges(usage: Vector, rates: Vector, amounts: Vector) -> list[pb.ClassCharge]:
    return [
        pb.ClassCharge(token_class=TOKEN_CLASSES[index], tokens=count, rate=rate_of(rates, index), amount=amount)
        for index, (count, amount) in enumerate(zip(usage, amounts, strict=True))
        if count
    ]

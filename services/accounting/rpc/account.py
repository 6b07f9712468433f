"""Writes an account as a message."""

from services.accounting.core.account.state import (
    SESSION_UNIT,
    Account,
    Bucket,
    Counter,
    Order,
    Session,
    SubjectLimits,
    Subscription,
    Transfer,
    named_by,
)
from services.accounting.core.commands import AccountView, LimitLeft
from services.accounting.core.terms import Limit, LimitKind
from services.accounting.rpc.fields import bucket_amounts, returned_message, unit_message, usage_message
from services.runtime.clock import timestamp
from tokenline.accounting.v1 import accounting_pb2 as pb
from tokenline.registry.v1 import registry_pb2


def account_message(account: Account) -> pb.Account:
    """An account with buckets in burn order and open sessions, oldest first."""
    buckets = sorted(account.buckets.values(), key=Bucket.burn_key)
    return pb.Account(
        account_id=account.account_id,
        offering_id=account.offering_id,
        create_time=timestamp(account.created_us),
        buckets=[_bucket(bucket) for bucket in buckets],
        debts=[
            pb.Debt(
                unit=unit_message(unit),
                incurred=debt.incurred,
                repaid=debt.repaid,
                written_off=debt.written_off,
                outstanding=debt.outstanding,
            )
            for unit, debt in sorted(account.debts.items())
        ],
        sessions=[_session(session) for session in account.sessions.values()],
        subscriptions=[_subscription(each) for each in account.subscriptions.values()],
        orders=[_order(each) for each in account.orders.values()],
        transfers=[_transfer(each) for each in account.transfers.values()],
        counters=[_counter(counter_id, each) for counter_id, each in account.counters.items()],
        limits=[_subject_limits(subject, each) for subject, each in account.limits.items()],
        losses=losses_message({unit: loss.absorbed for unit, loss in account.losses.items()}),
    )


def usage_response(view: AccountView) -> pb.GetUsageResponse:
    """An account with what limits leave the key that asked."""
    message = pb.GetUsageResponse(account=account_message(view.account), limits=[_limit_left(each) for each in view.limits])
    if view.valid_until_us:
        message.valid_until_time.CopyFrom(timestamp(view.valid_until_us))
    return message


def _limit_left(left: LimitLeft) -> pb.LimitLeft:
    message = pb.LimitLeft(
        subject=left.subject,
        limit=limit_message(left.limit),
        used=left.used,
        reserved=left.reserved,
        remaining=left.remaining,
    )
    if left.start_us:
        message.start_time.CopyFrom(timestamp(left.start_us))
    if left.reset_us:
        message.reset_time.CopyFrom(timestamp(left.reset_us))
    return message


def losses_message(absorbed: dict[str, int]) -> list[pb.Loss]:
    """Absorbed amounts by unit."""
    return [pb.Loss(unit=unit_message(unit), absorbed=amount) for unit, amount in sorted(absorbed.items())]


def transits_message(in_transit: dict[str, int]) -> list[pb.Transit]:
    """Amounts in transit by unit."""
    return [pb.Transit(unit=unit_message(unit), amount=amount) for unit, amount in sorted(in_transit.items())]


def _subscription(subscription: Subscription) -> pb.Subscription:
    message = pb.Subscription(
        subscription_id=subscription.subscription_id,
        offering_id=subscription.terms.offering_id,
        state=subscription.state,
        payment_method=int(subscription.payment),  # type: ignore[arg-type]  # the numbers are the contract's
        cycle_number=subscription.cycle_number,
        cycle_start_time=timestamp(subscription.cycle_start_us),
        cycle_end_time=timestamp(subscription.cycle_end_us),
        next_offering_id=subscription.next_terms.offering_id if subscription.next_terms else "",
    )
    if subscription.state == "suspended":
        message.grace_end_time.CopyFrom(timestamp(subscription.grace_end_us))
    return message


def _order(order: Order) -> pb.Order:
    return pb.Order(
        order_id=order.order_id,
        offering_id=order.terms.offering_id,
        state=order.state,
        payment_method=int(order.payment),  # type: ignore[arg-type]  # the numbers are the contract's
        unit=unit_message(order.terms.price_unit),
        amount=order.amount,
        expire_time=timestamp(order.expires_us),
        subscription_id=order.subscription_id,
        bucket_ids=order.bucket_ids,
        remark=order.remark,
        returned=returned_message(order.returned),
    )


def _transfer(transfer: Transfer) -> pb.Transfer:
    return pb.Transfer(
        transfer_id=transfer.transfer_id,
        to_account_id=transfer.to_account_id,
        bucket_id=transfer.bucket_id,
        amount=transfer.amount,
        state=transfer.state,
        remark=transfer.remark,
    )


def _counter(counter_id: str, counter: Counter) -> pb.Counter:
    message = pb.Counter(counter_id=counter_id, used=counter.used, reserved=counter.reserved)
    if counter.unit != SESSION_UNIT:
        message.unit.CopyFrom(unit_message(counter.unit))
    if counter.start_us:
        message.start_time.CopyFrom(timestamp(counter.start_us))
    if counter.end_us:
        message.end_time.CopyFrom(timestamp(counter.end_us))
    return message


def _subject_limits(subject: str, limits: SubjectLimits) -> pb.SubjectLimits:
    message = pb.SubjectLimits(subject=subject, limits=[limit_message(limit) for limit in limits.limits])
    if limits.valid_until_us:
        message.valid_until_time.CopyFrom(timestamp(limits.valid_until_us))
    return message


def limit_message(limit: Limit) -> registry_pb2.Limit:
    """A limit as a message."""
    message = registry_pb2.Limit(limit_id=limit.limit_id, per=int(limit.scope))  # type: ignore[arg-type]  # the contract's numbers
    if limit.kind == LimitKind.REQUEST_RATE:
        message.request_rate.requests_per_minute, message.request_rate.burst = limit.amount, limit.burst
    elif limit.kind == LimitKind.TOKEN_RATE:
        message.token_rate.tokens_per_minute, message.token_rate.burst = limit.amount, limit.burst
    elif limit.kind == LimitKind.CONCURRENT_SESSIONS:
        message.concurrent_sessions = limit.amount
    else:
        unit = unit_message(limit.unit)
        message.usage.amount, message.usage.unit, message.usage.currency = limit.amount, unit.unit, unit.currency
        if limit.calendar is not None:
            message.usage.calendar_window = int(limit.calendar)  # type: ignore[assignment]  # the contract's numbers
        elif limit.window_us:
            message.usage.window_seconds = limit.window_us // 1_000_000
    return message


def _bucket(bucket: Bucket) -> pb.Bucket:
    return pb.Bucket(
        bucket_id=bucket.bucket_id,
        unit=unit_message(bucket.unit),
        granted=bucket.granted,
        remaining=bucket.remaining,
        reserved=bucket.reserved,
        consumed=bucket.consumed,
        expired=bucket.expired,
        transferred=bucket.transferred,
        valid_from_time=timestamp(bucket.valid_from_us),
        valid_until_time=timestamp(bucket.valid_until_us),
        priority=bucket.priority,
        offering_id=named_by(bucket.line).offering_id,
        model_group=named_by(bucket.line).model_group,
        source=bucket.source,
        subscription_id=bucket.subscription_id,
        rollover_cap=bucket.rollover_cap,
        postpaid=bucket.postpaid,
        transferable=bucket.transferable,
    )


def _session(session: Session) -> pb.Session:
    return pb.Session(
        charging_id=session.charging_id,
        model_id=session.model_id,
        key_id=session.key_id,
        hold=bucket_amounts(tuple(session.hold.items())),
        output_tokens_granted=session.answer.output_granted,
        used=usage_message(session.used),
        create_time=timestamp(session.created_us),
        sweep_time=timestamp(session.sweep_us),
    )

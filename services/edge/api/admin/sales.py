"""The operator's administration of what accounts buy, give away and may use: orders, subscriptions, transfers, limits, refunds.

Amounts are integers of micro-units. A request with an idempotency key may be repeated.
"""

from collections.abc import Sequence
from typing import Annotated, Any, Final, Literal

import msgspec
from google.protobuf.duration_pb2 import Duration
from google.protobuf.json_format import MessageToDict, ParseDict, ParseError
from litestar import Request, delete, get, post, put
from litestar.handlers import BaseRouteHandler
from litestar.params import FromPath

from services.edge.api.account_json import bucket_json, rfc3339, unit_json
from services.edge.api.admin.body import AMOUNT_MAX, DAY_S, Name, parse, wrong
from services.edge.http.problems import malformed
from services.runtime.clients import answer
from tokenline.accounting.v1 import accounting_pb2 as pb
from tokenline.accounting.v1 import accounting_pb2_grpc
from tokenline.registry.v1 import registry_pb2

_TIMEOUT_S: Final = 5.0
_Amount = Annotated[int, msgspec.Meta(ge=1, le=AMOUNT_MAX)]
_Reason = Annotated[str, msgspec.Meta(min_length=1, max_length=500)]
_Payment = Literal["prepaid", "phone_bill", "external"]


class _Order(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    offering_id: Name
    idempotency_key: Name
    payment_method: _Payment | None = None


class _Paid(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    payment_reference: Name


class _GivenUp(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    reason: _Reason


class _Change(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    offering_id: Name
    idempotency_key: Name
    payment_method: _Payment | None = None
    at_once: bool = False


class _End(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    at_once: bool = False


class _Transfer(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    to_account_id: Name
    bucket_id: Name
    amount: _Amount
    idempotency_key: Name


_LIMIT_NAMES: Final = (
    "per is LIMIT_SCOPE_ACCOUNT, LIMIT_SCOPE_MEMBER or LIMIT_SCOPE_KEY; a unit is UNIT_TOKEN, UNIT_POINT or UNIT_CURRENCY."
)


class _Limits(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    subject: Name
    limits: list[dict[str, Any]] = []
    valid_until: str | None = None


class _Refund(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    charging_id: Name
    sequence_number: Annotated[int, msgspec.Meta(ge=1, le=AMOUNT_MAX)]
    amount: _Amount
    valid_days: Annotated[int, msgspec.Meta(ge=1, le=36_500)]
    reason: _Reason
    idempotency_key: Name
    record_sequence_number: Annotated[int, msgspec.Meta(ge=1, le=2**31 - 1)] = 1


class _Reduction(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    bucket_id: Name
    amount: _Amount
    reason: _Reason
    idempotency_key: Name


class _WriteOff(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    unit: Literal["TOKEN", "POINT", "CURRENCY"]
    amount: _Amount
    reason: _Reason
    idempotency_key: Name
    currency: Annotated[str, msgspec.Meta(pattern=r"^[A-Z]{3}\Z")] | None = None


def sales_routes(accounting: "accounting_pb2_grpc.AccountingServiceAsyncStub") -> Sequence[BaseRouteHandler]:
    """The routes, for the router of the administration."""

    @post("/accounts/{account_id:str}/orders")
    async def place_order(request: Request[Any, Any, Any], account_id: FromPath[str]) -> dict[str, Any]:
        wanted = parse(await request.body(), _Order)
        placing = pb.PlaceOrderRequest(
            account_id=account_id,
            offering_id=wanted.offering_id,
            payment_method=_payment(wanted.payment_method),
            idempotency_key=wanted.idempotency_key,
        )
        return order_json((await answer(accounting.PlaceOrder(placing, timeout=_TIMEOUT_S))).order)

    @post("/accounts/{account_id:str}/orders/{order_id:str}/payment", status_code=200)
    async def confirm_payment(
        request: Request[Any, Any, Any], account_id: FromPath[str], order_id: FromPath[str]
    ) -> dict[str, Any]:
        paid = parse(await request.body(), _Paid)
        confirming = pb.ConfirmPaymentRequest(account_id=account_id, order_id=order_id, payment_reference=paid.payment_reference)
        return order_json((await answer(accounting.ConfirmPayment(confirming, timeout=_TIMEOUT_S))).order)

    @delete("/accounts/{account_id:str}/orders/{order_id:str}", status_code=200)
    async def cancel_order(request: Request[Any, Any, Any], account_id: FromPath[str], order_id: FromPath[str]) -> dict[str, Any]:
        given_up = parse(await request.body(), _GivenUp)
        cancelling = pb.CancelOrderRequest(account_id=account_id, order_id=order_id, reason=given_up.reason)
        return order_json((await answer(accounting.CancelOrder(cancelling, timeout=_TIMEOUT_S))).order)

    @put("/accounts/{account_id:str}/subscriptions/{subscription_id:str}")
    async def change_subscription(
        request: Request[Any, Any, Any], account_id: FromPath[str], subscription_id: FromPath[str]
    ) -> dict[str, Any]:
        wanted = parse(await request.body(), _Change)
        changing = pb.ChangeSubscriptionRequest(
            account_id=account_id,
            subscription_id=subscription_id,
            offering_id=wanted.offering_id,
            payment_method=_payment(wanted.payment_method),
            at_once=wanted.at_once,
            idempotency_key=wanted.idempotency_key,
        )
        return order_json((await answer(accounting.ChangeSubscription(changing, timeout=_TIMEOUT_S))).order)

    @delete("/accounts/{account_id:str}/subscriptions/{subscription_id:str}", status_code=200)
    async def cancel_subscription(
        request: Request[Any, Any, Any], account_id: FromPath[str], subscription_id: FromPath[str]
    ) -> dict[str, Any]:
        end = parse(await request.body(), _End)
        cancelling = pb.CancelSubscriptionRequest(account_id=account_id, subscription_id=subscription_id, at_once=end.at_once)
        await answer(accounting.CancelSubscription(cancelling, timeout=_TIMEOUT_S))
        return {"subscription_id": subscription_id, "at_once": end.at_once}

    @post("/accounts/{account_id:str}/transfers")
    async def send_transfer(request: Request[Any, Any, Any], account_id: FromPath[str]) -> dict[str, Any]:
        wanted = parse(await request.body(), _Transfer)
        sending = pb.SendTransferRequest(
            account_id=account_id,
            to_account_id=wanted.to_account_id,
            bucket_id=wanted.bucket_id,
            amount=wanted.amount,
            idempotency_key=wanted.idempotency_key,
        )
        sent = await answer(accounting.SendTransfer(sending, timeout=_TIMEOUT_S))
        return {"transfer_id": sent.transfer_id, "state": sent.state, "remark": sent.remark}

    @put("/accounts/{account_id:str}/limits")
    async def set_limits(request: Request[Any, Any, Any], account_id: FromPath[str]) -> dict[str, Any]:
        wanted = parse(await request.body(), _Limits)
        try:
            subject_limits = ParseDict({"subject": wanted.subject, "limits": wanted.limits}, pb.SubjectLimits())
        except ParseError as error:
            raise malformed("limits", f"limits: {error}. {_LIMIT_NAMES}", "invalid_value") from None
        if wanted.valid_until is not None:
            try:
                subject_limits.valid_until_time.FromJsonString(wanted.valid_until)
            except ValueError:
                raise wrong("valid_until") from None
        await answer(
            accounting.SetLimits(pb.SetLimitsRequest(account_id=account_id, subject_limits=subject_limits), timeout=_TIMEOUT_S)
        )
        return limits_json(subject_limits)

    @post("/accounts/{account_id:str}/refunds")
    async def refund(request: Request[Any, Any, Any], account_id: FromPath[str]) -> dict[str, Any]:
        wanted = parse(await request.body(), _Refund)
        refunding = pb.RefundSessionRequest(
            account_id=account_id,
            charging_id=wanted.charging_id,
            sequence_number=wanted.sequence_number,
            record_sequence_number=wanted.record_sequence_number,
            amount=wanted.amount,
            valid_for=Duration(seconds=wanted.valid_days * DAY_S),
            reason=wanted.reason,
            idempotency_key=wanted.idempotency_key,
        )
        refunded = await answer(accounting.RefundSession(refunding, timeout=_TIMEOUT_S))
        return {**bucket_json(refunded.bucket), "repaid_amount": refunded.repaid_amount}

    @post("/accounts/{account_id:str}/reductions")
    async def reduce_bucket(request: Request[Any, Any, Any], account_id: FromPath[str]) -> dict[str, Any]:
        wanted = parse(await request.body(), _Reduction)
        reducing = pb.ReduceBucketRequest(
            account_id=account_id,
            bucket_id=wanted.bucket_id,
            amount=wanted.amount,
            reason=wanted.reason,
            idempotency_key=wanted.idempotency_key,
        )
        await answer(accounting.ReduceBucket(reducing, timeout=_TIMEOUT_S))
        return {"bucket_id": wanted.bucket_id, "amount": wanted.amount}

    @post("/accounts/{account_id:str}/write-offs")
    async def write_off(request: Request[Any, Any, Any], account_id: FromPath[str]) -> dict[str, Any]:
        wanted = parse(await request.body(), _WriteOff)
        if (wanted.currency is not None) != (wanted.unit == "CURRENCY"):
            raise wrong("currency")
        writing_off = pb.WriteOffDebtRequest(
            account_id=account_id,
            unit=pb.UnitOfAmount(unit=f"UNIT_{wanted.unit}", currency=wanted.currency or ""),
            amount=wanted.amount,
            reason=wanted.reason,
            idempotency_key=wanted.idempotency_key,
        )
        await answer(accounting.WriteOffDebt(writing_off, timeout=_TIMEOUT_S))
        return {"unit": wanted.unit, "currency": wanted.currency, "amount": wanted.amount}

    @get("/refusals/{charging_id:str}")
    async def explain_refusal(charging_id: FromPath[str]) -> dict[str, Any]:
        explained = await answer(accounting.ExplainRefusal(pb.ExplainRefusalRequest(charging_id=charging_id), timeout=_TIMEOUT_S))
        refused = explained.refused
        return {
            "charging_id": charging_id,
            "account_id": explained.account_id,
            "model_id": explained.model_id,
            "key_id": explained.key_id,
            "refused_at": rfc3339(explained.refuse_time),
            "result_code": pb.ResultCode.Name(refused.result_code).removeprefix("RESULT_CODE_"),
            "limit_id": refused.limit_id or None,
            **unit_json(refused.unit),
            "needed": refused.needed_amount,
            "free": refused.free_amount,
            "held": refused.held_amount,
            "short": max(0, refused.needed_amount - refused.free_amount),
            "retry_after_ms": refused.retry_after_ms or None,
            "help": _help(refused),
        }

    return [
        place_order,
        confirm_payment,
        cancel_order,
        change_subscription,
        cancel_subscription,
        send_transfer,
        set_limits,
        refund,
        reduce_bucket,
        write_off,
        explain_refusal,
    ]


def _help(refused: pb.Refused) -> str:
    """A change that would have let the call pass."""
    if refused.result_code == pb.RESULT_CODE_RATING_FAILED:
        return "No tariff of the account's offerings prices this model: sell it in one of them."
    if refused.result_code == pb.RESULT_CODE_END_USER_SERVICE_DENIED:
        return f"Offering {refused.offering_id} does not include this model: use one that it includes, or order another offering."
    if refused.message:
        return f"{refused.message[0].upper()}{refused.message[1:]}."
    if refused.held:
        return "Only other open calls stand in the way: the same call passes when one of them has ended."
    if refused.limit_id and refused.retry_after_ms:
        return f"The limit {refused.limit_id} lets it pass after {refused.retry_after_ms / 1_000:g} s; or raise the limit."
    if refused.limit_id:
        return f"Raise the limit {refused.limit_id}."
    return "Top up the account or order a pack; or ask for less input or output."


def order_json(order: pb.Order) -> dict[str, Any]:
    """One order."""
    return {
        "order_id": order.order_id,
        "offering_id": order.offering_id,
        "state": order.state,
        "payment_method": _payment_name(order.payment_method),
        **unit_json(order.unit),
        "amount": order.amount,
        "expires_at": rfc3339(order.expire_time) if order.state == "awaiting_payment" else None,
        "subscription_id": order.subscription_id or None,
        "bucket_ids": list(order.bucket_ids),
        "remark": order.remark or None,
    }


def subscription_json(subscription: pb.Subscription) -> dict[str, Any]:
    """One subscription with its running cycle."""
    return {
        "subscription_id": subscription.subscription_id,
        "offering_id": subscription.offering_id,
        "state": subscription.state,
        "payment_method": _payment_name(subscription.payment_method),
        "cycle_number": subscription.cycle_number,
        "cycle_start": rfc3339(subscription.cycle_start_time),
        "cycle_end": rfc3339(subscription.cycle_end_time),
        "next_offering_id": subscription.next_offering_id or None,
        "grace_end": rfc3339(subscription.grace_end_time),
    }


def transfer_json(transfer: pb.Transfer) -> dict[str, Any]:
    """One transfer."""
    return {
        "transfer_id": transfer.transfer_id,
        "to_account_id": transfer.to_account_id,
        "bucket_id": transfer.bucket_id,
        "amount": transfer.amount,
        "state": transfer.state,
        "remark": transfer.remark or None,
    }


def counter_json(counter: pb.Counter) -> dict[str, Any]:
    """The count of a limit; a unit of null counts the sessions open at once."""
    unit = unit_json(counter.unit) if counter.HasField("unit") else {"unit": None, "currency": None}
    return {
        "counter_id": counter.counter_id,
        **unit,
        "used": counter.used,
        "reserved": counter.reserved,
        "window_start": rfc3339(counter.start_time),
        "window_end": rfc3339(counter.end_time),
    }


def limits_json(limits: pb.SubjectLimits) -> dict[str, Any]:
    """The limits of one subject, as they are set."""
    return {
        "subject": limits.subject,
        "limits": [MessageToDict(limit, preserving_proto_field_name=True) for limit in limits.limits],
        "valid_until": rfc3339(limits.valid_until_time),
    }


def _payment(name: str | None) -> registry_pb2.PaymentMethod:
    return pb.Order(payment_method=f"PAYMENT_METHOD_{(name or 'unspecified').upper()}").payment_method


def _payment_name(method: registry_pb2.PaymentMethod) -> str | None:
    name = registry_pb2.PaymentMethod.Name(method).removeprefix("PAYMENT_METHOD_").lower()
    return None if name == "unspecified" else name

"""Orders and subscriptions of accounts over HTTP, for the operator."""

from typing import Any, Literal

import msgspec
from litestar import Request, delete, post, put
from litestar.handlers import HTTPRouteHandler
from litestar.params import FromPath

from services.edge.api.account_json import AMOUNTS_IN, rfc3339, unit_json
from services.edge.api.admin.body import Name, Reason, parse
from services.edge.api.admin.command import give
from services.edge.api.admin.entitlements import Sales, entitled
from tokenline.accounting.v1 import accounting_pb2 as pb
from tokenline.accounting.v1 import accounting_pb2_grpc
from tokenline.registry.v1 import registry_pb2

_Payment = Literal["prepaid", "phone_bill", "external"]


class _Order(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    offering_id: Name
    idempotency_key: Name
    payment_method: _Payment | None = None
    identity: Name | None = None


class _Paid(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    payment_reference: Name


class _GivenUp(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    reason: Reason


class _Change(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    offering_id: Name
    idempotency_key: Name
    payment_method: _Payment | None = None
    at_once: bool = False
    identity: Name | None = None


class _Refund(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    reason: Reason
    idempotency_key: Name


class _End(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    at_once: bool = False


def order_routes(sales: Sales) -> list[HTTPRouteHandler]:
    """The routes, without the guard that opens them."""
    accounting = sales.accounting

    @post("/accounts/{account_id:str}/orders")
    async def place_order(request: Request[Any, Any, Any], account_id: FromPath[str]) -> dict[str, Any]:
        wanted = parse(await request.body(), _Order)
        placing = pb.PlaceOrderRequest(
            account_id=account_id,
            offering_id=wanted.offering_id,
            payment_method=_payment(wanted.payment_method),
            idempotency_key=wanted.idempotency_key,
        )
        async with entitled(sales, placing, wanted.identity):
            placed = await give(request, accounting.PlaceOrder, placing)
        return {**AMOUNTS_IN, **order_json(placed.order)}

    @post("/accounts/{account_id:str}/orders/{order_id:str}/payment", status_code=200)
    async def confirm_payment(
        request: Request[Any, Any, Any], account_id: FromPath[str], order_id: FromPath[str]
    ) -> dict[str, Any]:
        paid = parse(await request.body(), _Paid)
        confirming = pb.ConfirmPaymentRequest(account_id=account_id, order_id=order_id, payment_reference=paid.payment_reference)
        return {**AMOUNTS_IN, **order_json((await give(request, accounting.ConfirmPayment, confirming)).order)}

    @delete("/accounts/{account_id:str}/orders/{order_id:str}", status_code=200)
    async def cancel_order(request: Request[Any, Any, Any], account_id: FromPath[str], order_id: FromPath[str]) -> dict[str, Any]:
        given_up = parse(await request.body(), _GivenUp)
        cancelling = pb.CancelOrderRequest(account_id=account_id, order_id=order_id, reason=given_up.reason)
        return {**AMOUNTS_IN, **order_json((await give(request, accounting.CancelOrder, cancelling)).order)}

    @post("/accounts/{account_id:str}/orders/{order_id:str}/refund", status_code=200)
    async def refund_order(request: Request[Any, Any, Any], account_id: FromPath[str], order_id: FromPath[str]) -> dict[str, Any]:
        wanted = parse(await request.body(), _Refund)
        return await _refund(accounting, request, account_id, order_id, wanted)

    return [place_order, confirm_payment, cancel_order, refund_order]


def subscription_routes(sales: Sales) -> list[HTTPRouteHandler]:
    """The routes, without the guard that opens them."""
    accounting = sales.accounting

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
        async with entitled(sales, changing, wanted.identity):
            changed = await give(request, accounting.ChangeSubscription, changing)
        return {**AMOUNTS_IN, **order_json(changed.order)}

    @delete("/accounts/{account_id:str}/subscriptions/{subscription_id:str}", status_code=200)
    async def cancel_subscription(
        request: Request[Any, Any, Any], account_id: FromPath[str], subscription_id: FromPath[str]
    ) -> dict[str, Any]:
        end = parse(await request.body(), _End)
        cancelling = pb.CancelSubscriptionRequest(account_id=account_id, subscription_id=subscription_id, at_once=end.at_once)
        await give(request, accounting.CancelSubscription, cancelling)
        return {"subscription_id": subscription_id, "at_once": end.at_once}

    @post("/accounts/{account_id:str}/subscriptions/{subscription_id:str}/refund", status_code=200)
    async def refund_subscription(
        request: Request[Any, Any, Any], account_id: FromPath[str], subscription_id: FromPath[str]
    ) -> dict[str, Any]:
        wanted = parse(await request.body(), _Refund)
        return await _refund(accounting, request, account_id, subscription_id, wanted)

    return [change_subscription, cancel_subscription, refund_subscription]


async def _refund(
    accounting: "accounting_pb2_grpc.AccountingServiceAsyncStub",
    request: Request[Any, Any, Any],
    account_id: str,
    purchase_id: str,
    wanted: _Refund,
) -> dict[str, Any]:
    refunding = pb.RefundPurchaseRequest(
        account_id=account_id, purchase_id=purchase_id, reason=wanted.reason, idempotency_key=wanted.idempotency_key
    )
    return {**AMOUNTS_IN, **returned_json((await give(request, accounting.RefundPurchase, refunding)).returned)}


def returned_json(returned: pb.Returned) -> dict[str, Any]:
    """A part of a price that went back. `outside_amount` of it is to be given back to the payments named."""
    return {
        **unit_json(returned.unit),
        "amount": returned.amount,
        "outside_amount": returned.outside_amount,
        "payment_references": list(returned.payment_references),
    }


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
        "returned": returned_json(order.returned) if order.HasField("returned") else None,
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


def _payment(name: str | None) -> registry_pb2.PaymentMethod:
    return pb.Order(payment_method=f"PAYMENT_METHOD_{(name or 'unspecified').upper()}").payment_method


def _payment_name(method: registry_pb2.PaymentMethod) -> str | None:
    name = registry_pb2.PaymentMethod.Name(method).removeprefix("PAYMENT_METHOD_").lower()
    return None if name == "unspecified" else name

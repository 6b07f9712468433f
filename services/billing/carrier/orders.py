"""Accounting, as the phone bill needs it: orders that wait for their payment."""

from typing import Final

from services.runtime.clients import answer
from services.runtime.errors import TRANSIENT, ServiceError
from tokenline.accounting.v1 import accounting_pb2 as pb
from tokenline.accounting.v1 import accounting_pb2_grpc
from tokenline.errors.v1 import errors_pb2

_TIMEOUT_S: Final = 5.0
_ACTOR: Final = pb.Actor(subject="billing", proof="carrier_billing", role="service")
_TROUBLE: Final = TRANSIENT | {
    errors_pb2.ERROR_REASON_INTERNAL,
    errors_pb2.ERROR_REASON_OVERLOADED,
    errors_pb2.ERROR_REASON_CATALOG_UNAVAILABLE,
}


class Orders:
    """Errors of all methods: `ServiceError` where accounting can't say now; what it refuses is no error."""

    def __init__(self, stub: "accounting_pb2_grpc.AccountingServiceAsyncStub") -> None:
        self._stub = stub

    async def obstacle(self, account_id: str, order_id: str) -> str:
        """Why an order needs no payment any more; empty: it waits for one."""
        try:
            account = (await answer(self._stub.GetAccount(pb.GetAccountRequest(account_id=account_id), timeout=_TIMEOUT_S))).account
        except ServiceError as error:
            return _refusal(error)
        for order in account.orders:
            if order.order_id == order_id:
                return "" if order.state == "awaiting_payment" else f"the order is {order.state}"
        return "accounting has no such order any more"

    async def confirm(self, account_id: str, order_id: str, payment_id: str) -> str:
        """Carries out an order whose payment is sure. Returns why accounting refuses it; empty: it is carried out."""
        confirming = pb.ConfirmPaymentRequest(account_id=account_id, order_id=order_id, payment_reference=payment_id, actor=_ACTOR)
        try:
            await answer(self._stub.ConfirmPayment(confirming, timeout=_TIMEOUT_S))
        except ServiceError as error:
            return _refusal(error)
        return ""

    async def give_up(self, account_id: str, order_id: str, reason: str) -> None:
        """Ends an order that will not be paid."""
        cancelling = pb.CancelOrderRequest(account_id=account_id, order_id=order_id, reason=reason[:500], actor=_ACTOR)
        try:
            await answer(self._stub.CancelOrder(cancelling, timeout=_TIMEOUT_S))
        except ServiceError as error:
            # One that has ended otherwise meanwhile needs no end.
            _refusal(error)


def _refusal(error: ServiceError) -> str:
    """Says why accounting refuses, in its words. Errors: the error itself where it can't say now."""
    if error.reason in _TROUBLE:
        raise error
    return error.message

"""Orders of what is sold once to an identity: entitled by authentication, placed at accounting, told of to authentication.

Authentication keeps which account may buy an offering for an identity; accounting knows whether an account has it, waits for it or
has had it. An entitlement binds for as long as accounting says so, so nothing need be freed when an order comes to nothing.
"""

import logging
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from typing import Final, NamedTuple

from google.protobuf.timestamp_pb2 import Timestamp

from services.edge.api.admin.body import TIMEOUT_S
from services.edge.api.admin.command import ask_updated
from services.edge.catalog import CatalogHolder
from services.edge.http.problems import malformed
from services.runtime.errors import TRANSIENT, ServiceError
from tokenline.accounting.v1 import accounting_pb2, accounting_pb2_grpc
from tokenline.authentication.v1 import authentication_pb2, authentication_pb2_grpc
from tokenline.errors.v1 import errors_pb2

logger = logging.getLogger(__name__)

# After one of these the order may still come to something.
_UNKNOWN_OUTCOME: Final = TRANSIENT | {errors_pb2.ERROR_REASON_INTERNAL}


class Sales(NamedTuple):
    """Everything that an order goes through."""

    catalog: CatalogHolder
    authentication: "authentication_pb2_grpc.AuthenticationServiceAsyncStub"
    accounting: "accounting_pb2_grpc.AccountingServiceAsyncStub"


@asynccontextmanager
async def entitled(
    sales: Sales, placing: accounting_pb2.PlaceOrderRequest | accounting_pb2.ChangeSubscriptionRequest, identity: str | None
) -> AsyncIterator[None]:
    """Has the account entitled while the block places its order, where the offering is sold once to an identity.

    Errors: `Problem` 400 for an identity that is missing; `ServiceError` NOT_POSSIBLE where it has had the offering.
    """
    snapshot = sales.catalog.current
    offering = snapshot.offering(placing.offering_id) if snapshot else None
    if offering is None or not offering.once_per_identity:
        yield
        return
    if identity is None:
        raise malformed(
            "identity",
            f"identity is missing: offering {offering.offering_id} is sold once to a person or company; give the subscriber's, "
            "like phone:+8613800138000, company:91310000MA1FL0000X or person:NUMBER.",
            "missing_field",
        )
    until = await _entitle(sales, placing.account_id, placing.offering_id, identity)
    placing.entitled_until_time.CopyFrom(until)
    ending = authentication_pb2.EndEntitlementRequest(
        account_id=placing.account_id, offering_id=placing.offering_id, until_time=until
    )
    try:
        yield
    except ServiceError as error:
        if error.reason not in _UNKNOWN_OUTCOME:
            await _end(sales, ending)
        raise
    await _end(sales, ending)


async def _entitle(sales: Sales, account_id: str, offering_id: str, identity: str) -> Timestamp:
    request = authentication_pb2.EntitleAccountRequest(account_id=account_id, offering_id=offering_id, identity=identity)
    answered = await _ask(sales, request)
    if not answered.HasField("until_time"):
        await _expect_over(sales, account_id, offering_id, answered.in_the_way)
        request.over.extend(answered.in_the_way)
        answered = await _ask(sales, request)
    if not answered.HasField("until_time"):
        # Another order of the identity came between.
        raise _refused(offering_id, account_id, answered.in_the_way[0], "")
    return answered.until_time


async def _ask(sales: Sales, request: authentication_pb2.EntitleAccountRequest) -> authentication_pb2.EntitleAccountResponse:
    return await ask_updated(sales.authentication.EntitleAccount(request, timeout=TIMEOUT_S), "authentication")


async def _expect_over(
    sales: Sales, account_id: str, offering_id: str, in_the_way: Iterable[authentication_pb2.Entitlement]
) -> None:
    """Errors: `ServiceError` NOT_POSSIBLE where one of them still binds."""
    for each in in_the_way:
        remark = "" if each.under_way else await had(sales, each.account_id, offering_id)
        if each.under_way or remark:
            raise _refused(offering_id, account_id, each, remark)


async def had(sales: Sales, account_id: str, offering_id: str) -> str:
    """Why an account may not buy an offering now, in the words of accounting; empty: it may."""
    asking = accounting_pb2.HasOfferingRequest(account_id=account_id, offering_id=offering_id)
    try:
        return (await ask_updated(sales.accounting.HasOffering(asking, timeout=TIMEOUT_S), "accounting")).remark
    except ServiceError as error:
        if error.reason != errors_pb2.ERROR_REASON_ACCOUNT_UNKNOWN:
            raise
        # Accounting was restored to a state before the account.
        return ""


def _refused(offering_id: str, account_id: str, entitlement: authentication_pb2.Entitlement, remark: str) -> ServiceError:
    """The error for an entitlement that binds; `remark`: what accounting says, empty where an order may be under way."""
    holder = entitlement.account_id
    other = f"account {holder} ordered offering {offering_id} for another identity"
    whose = other if holder == account_id else f"this identity ordered offering {offering_id} by account {holder}"
    why = remark or "the order is under way; if it comes to nothing, order again after two minutes"
    return ServiceError(errors_pb2.ERROR_REASON_NOT_POSSIBLE, f"{whose}: {why}")


async def _end(sales: Sales, ending: authentication_pb2.EndEntitlementRequest) -> None:
    try:
        await ask_updated(sales.authentication.EndEntitlement(ending, timeout=TIMEOUT_S), "authentication")
    except ServiceError as error:
        # The order is answered all the same; the entitlement's own time ends what is under way.
        logger.warning("the order of %s by %s was answered, which authentication was not told: %s", *_named(ending), error.message)


def _named(ending: authentication_pb2.EndEntitlementRequest) -> tuple[str, str]:
    return ending.offering_id, ending.account_id

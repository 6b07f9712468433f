"""An identity that was ordered for by mistake is freed, for the operator, as long as nothing was granted for it."""

import logging
from typing import Any

import msgspec
from litestar import Request, post
from litestar.handlers import HTTPRouteHandler

from services.edge.api.admin.body import TIMEOUT_S, Name, parse
from services.edge.api.admin.command import ask_updated
from services.edge.api.admin.entitlements import Sales, had
from services.edge.http.problems import unavailable
from services.edge.identity.actors import actor_of
from services.runtime.errors import ServiceError
from tokenline.authentication.v1 import authentication_pb2
from tokenline.errors.v1 import errors_pb2

logger = logging.getLogger(__name__)


class _Freed(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    offering_id: Name
    identity: Name


def identity_routes(sales: Sales) -> list[HTTPRouteHandler]:
    """The routes, without the guard that opens them."""

    @post("/identities/free", status_code=200)
    async def free_identity(request: Request[Any, Any, Any]) -> dict[str, Any]:
        wanted = parse(await request.body(), _Freed)
        _expect_sold_once(sales, wanted.offering_id)
        freeing = authentication_pb2.FreeIdentityRequest(offering_id=wanted.offering_id, identity=wanted.identity)
        found = (await _ask(sales, freeing)).found
        whose = f"account {found.account_id} ordered offering {wanted.offering_id} for this identity"
        if found.under_way:
            raise _refused(f"{whose}, and the order is under way; if it comes to nothing, try again after two minutes")
        if remark := await had(sales, found.account_id, wanted.offering_id):
            raise _refused(f"{whose}, and it stays bound: {remark}")
        freeing.over.CopyFrom(found)
        if not (await _ask(sales, freeing)).freed:
            raise _refused(f"{whose} once more at this moment; try again after two minutes")
        # The number is kept nowhere, and so not here.
        actor = actor_of(request)
        logger.warning(
            "an identity of offering %s, account %s, was freed by %s", wanted.offering_id, found.account_id, actor.subject
        )
        return {"offering_id": wanted.offering_id, "account_id": found.account_id, "freed": True}

    return [free_identity]


def _expect_sold_once(sales: Sales, offering_id: str) -> None:
    """Errors: `Problem` 503, `ServiceError` for an offering of which no identity is kept: freed, nothing would be otherwise."""
    snapshot = sales.catalog.current
    if snapshot is None:
        raise unavailable("no catalog is loaded yet")
    offering = snapshot.offering(offering_id)
    if offering is None:
        message = f"no offering {offering_id!r} is in the catalog; `tokenline offering list` shows those that are"
        raise ServiceError(errors_pb2.ERROR_REASON_OFFERING_UNKNOWN, message)
    if not offering.once_per_identity:
        raise _refused(f"offering {offering_id} is not sold once to a person or company: no identity is kept from ordering it")


async def _ask(sales: Sales, request: authentication_pb2.FreeIdentityRequest) -> authentication_pb2.FreeIdentityResponse:
    return await ask_updated(sales.authentication.FreeIdentity(request, timeout=TIMEOUT_S), "authentication")


def _refused(message: str) -> ServiceError:
    return ServiceError(errors_pb2.ERROR_REASON_NOT_POSSIBLE, message)

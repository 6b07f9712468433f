"""/v1/me/keys: keys that a key mints for others, such as an agent for its sub-agents, each with a part of its budget.

What a minted key charges counts in the budget of every key above it. Accounting opens the run before authentication issues the key,
so that no key can spend without its budget; at a revocation authentication comes first, so that no key passes meanwhile.
"""

import secrets
from typing import Annotated, Any, Final, Literal

import msgspec
from google.protobuf.duration_pb2 import Duration
from litestar import Request, delete, get, post
from litestar.handlers import HTTPRouteHandler
from litestar.params import FromPath

from services.api_keys import MINT
from services.edge.api.account_json import AMOUNTS_IN, rfc3339, unit_json
from services.edge.api.admin.body import AMOUNT_MAX, Name, Scope, parse, wrong
from services.edge.api.readers import Readers
from services.edge.http.problems import INVALID_REQUEST, Problem, key_ended, malformed, revoked
from services.edge.identity.principals import Principal
from services.runtime.clients import answer
from services.runtime.errors import ServiceError
from services.runtime.http.asgi import exchange_of
from services.runtime.identifiers import derived_name
from tokenline.accounting.v1 import accounting_pb2 as pb
from tokenline.accounting.v1 import accounting_pb2_grpc
from tokenline.authentication.v1 import authentication_pb2, authentication_pb2_grpc
from tokenline.errors.v1 import errors_pb2

_TIMEOUT_S: Final = 5.0
# Fields whose names begin the messages of accounting about what is wider than the key that mints.
_NARROWER: Final = ("budget", "valid_seconds", "models", "parallel_calls")


class _Budget(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    amount: Annotated[int, msgspec.Meta(ge=1, le=AMOUNT_MAX)]
    unit: Literal["TOKEN", "POINT", "CURRENCY"]
    currency: Annotated[str, msgspec.Meta(pattern=r"^[A-Z]{3}\Z")] | None = None


class _KeyToMint(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    budget: Annotated[list[_Budget], msgspec.Meta(min_length=1, max_length=8)]
    valid_seconds: Annotated[int, msgspec.Meta(ge=1, le=2_592_000)] | None = None
    models: Annotated[list[Name], msgspec.Meta(max_length=100)] = []
    parallel_calls: Annotated[int, msgspec.Meta(ge=1, le=1_000_000)] | None = None
    scopes: list[Scope] = []
    idempotency_key: Name | None = None


def minting_routes(
    readers: Readers,
    accounting: "accounting_pb2_grpc.AccountingServiceAsyncStub",
    authentication: "authentication_pb2_grpc.AuthenticationServiceAsyncStub",
) -> list[HTTPRouteHandler]:
    """POST and GET /v1/me/keys, DELETE /v1/me/keys/{key_id}."""

    @post("/v1/me/keys")
    async def mint_key(request: Request[Any, Any, Any]) -> dict[str, Any]:
        principal, body = await readers.read(exchange_of(request.scope))
        if MINT not in principal.scopes:
            raise _may_not_mint()
        wanted = parse(body, _KeyToMint)
        # A repeat means the same key, also where the first try came no further than its run.
        key_id = derived_name("key", principal.key_id, wanted.idempotency_key or secrets.token_hex(16))
        run = await _open_run(accounting, principal, key_id, wanted)
        minting = authentication_pb2.MintKeyRequest(
            parent_key_id=principal.key_id, key_id=key_id, scopes=wanted.scopes, end_time=run.end_time
        )
        try:
            minted = await answer(authentication.MintKey(minting, timeout=_TIMEOUT_S))
        except ServiceError as error:
            if error.reason in (errors_pb2.ERROR_REASON_KEY_UNKNOWN, errors_pb2.ERROR_REASON_KEY_REVOKED):
                raise revoked() from error
            raise
        return {
            "object": "key",
            **AMOUNTS_IN,
            "api_key": minted.api_key,
            "account_id": minted.key.account_id,
            "scopes": list(minted.key.scopes),
            **run_json(run),
        }

    @get("/v1/me/keys")
    async def list_keys(request: Request[Any, Any, Any]) -> dict[str, Any]:
        principal = await readers.resolve(exchange_of(request.scope))
        listing = pb.ListRunsRequest(account_id=principal.account_id, key_id=principal.key_id)
        runs = (await answer(accounting.ListRuns(listing, timeout=_TIMEOUT_S))).runs
        own = next((run_json(run) for run in runs if run.key_id == principal.key_id), None)
        below = [run_json(run) for run in runs if run.key_id != principal.key_id]
        return {"object": "list", **AMOUNTS_IN, "own": own, "data": below}

    @delete("/v1/me/keys/{key_id:str}", status_code=200)
    async def revoke_key(request: Request[Any, Any, Any], key_id: FromPath[str]) -> dict[str, Any]:
        principal = await readers.resolve(exchange_of(request.scope))
        revoking = authentication_pb2.RevokeMintedKeyRequest(parent_key_id=principal.key_id, key_id=key_id)
        gone = (await answer(authentication.RevokeMintedKey(revoking, timeout=_TIMEOUT_S))).key
        ending = pb.EndRunsRequest(account_id=principal.account_id, key_id=key_id, by_key_id=principal.key_id)
        try:
            await answer(accounting.EndRuns(ending, timeout=_TIMEOUT_S))
        except ServiceError as error:
            # Accounting has forgotten a run that ended long ago.
            if error.reason != errors_pb2.ERROR_REASON_ITEM_UNKNOWN:
                raise
        return {"key_id": gone.key_id, "revoked_at": rfc3339(gone.revoke_time)}

    return [mint_key, list_keys, revoke_key]


async def _open_run(
    accounting: "accounting_pb2_grpc.AccountingServiceAsyncStub", principal: Principal, key_id: str, wanted: _KeyToMint
) -> pb.Run:
    """Opens the run of the key to be minted. Errors: `Problem` that names the field which is wider than the principal's."""
    opening = pb.OpenRunRequest(
        account_id=principal.account_id,
        key_id=key_id,
        parent_key_id=principal.key_id,
        parent_is_minted=principal.is_minted,
        member_id=principal.member_id,
        valid_for=Duration(seconds=wanted.valid_seconds) if wanted.valid_seconds else None,
        model_ids=wanted.models,
        parallel_calls=wanted.parallel_calls or 0,
    )
    for budget in wanted.budget:
        if (budget.currency is not None) != (budget.unit == "CURRENCY"):
            raise wrong("currency")
        unit = pb.UnitOfAmount(unit=f"UNIT_{budget.unit}", currency=budget.currency or "")
        opening.budgets.append(pb.Budget(unit=unit, amount=budget.amount))
    try:
        return (await answer(accounting.OpenRun(opening, timeout=_TIMEOUT_S))).run
    except ServiceError as error:
        field = error.message.partition(":")[0]
        if error.reason == errors_pb2.ERROR_REASON_INVALID_ARGUMENT and field in _NARROWER:
            raise malformed(field, f"{error.message}.", "invalid_value") from error
        if error.reason == errors_pb2.ERROR_REASON_SUBJECT_ENDED:
            raise key_ended(error.message) from error
        raise


def run_json(run: pb.Run) -> dict[str, Any]:
    """A minted key and what it did, in one line: the statement of its run."""
    return {
        "key_id": run.key_id,
        "parent_key_id": run.parent_key_id,
        "budget": [
            {**unit_json(each.unit), "amount": each.amount, "used": each.used_amount, "held": each.held_amount}
            for each in run.budgets
        ],
        "models": list(run.model_ids) or None,
        "parallel_calls": run.parallel_calls or None,
        "calls": run.calls,
        "created_at": rfc3339(run.create_time),
        "ends_at": rfc3339(run.end_time),
    }


def _may_not_mint() -> Problem:
    message = f"This key may not mint others: it lacks the scope {MINT}. Ask the operator, or the holder of the key that minted it."
    return Problem(403, INVALID_REQUEST, "scope_missing", message)

"""Limits of accounts, members and keys over HTTP, for the operator, and why a call was refused."""

from collections.abc import Collection
from typing import Any, Final

import msgspec
from google.protobuf.json_format import MessageToDict, ParseDict, ParseError
from litestar import Request, get, put
from litestar.handlers import HTTPRouteHandler
from litestar.params import FromPath

from services.edge.api.account_json import AMOUNTS_IN, rfc3339, unit_json
from services.edge.api.admin.body import TIMEOUT_S, Name, parse, valid_until
from services.edge.api.admin.command import give
from services.edge.http.problems import malformed
from services.runtime.clients import answer
from tokenline.accounting.v1 import accounting_pb2 as pb
from tokenline.accounting.v1 import accounting_pb2_grpc
from tokenline.authentication.v1 import authentication_pb2, authentication_pb2_grpc

_SUBJECTS: Final = {
    "key": "Its keys: GET /v1/admin/accounts/{account_id}/keys.",
    "member": "POST /v1/admin/accounts tells the first member, and the list of keys the member of each.",
}
_LIMIT_HELP: Final = (
    'a limit is like {"limit_id": "month", "per": "LIMIT_SCOPE_MEMBER", "usage": {"amount": 5000000000, "unit": "UNIT_TOKEN", '
    '"calendar_window": "PERIOD_MONTH"}}, its amount in micro-units; per is LIMIT_SCOPE_ACCOUNT, LIMIT_SCOPE_MEMBER or '
    "LIMIT_SCOPE_KEY; a unit is UNIT_TOKEN, UNIT_POINT or UNIT_CURRENCY."
)


class _Limits(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    subject: Name
    limits: list[dict[str, Any]] = []
    valid_until: str | None = None


def limit_routes(
    accounting: "accounting_pb2_grpc.AccountingServiceAsyncStub",
    authentication: "authentication_pb2_grpc.AuthenticationServiceAsyncStub",
) -> list[HTTPRouteHandler]:
    """The routes, without the guard that opens them."""

    @put("/accounts/{account_id:str}/limits")
    async def set_limits(request: Request[Any, Any, Any], account_id: FromPath[str]) -> dict[str, Any]:
        wanted = parse(await request.body(), _Limits)
        try:
            subject_limits = ParseDict({"subject": wanted.subject, "limits": wanted.limits}, pb.SubjectLimits())
        except ParseError as error:
            # Without the path of fields that leads there.
            why = str(error).rpartition("field: ")[2].rstrip(".")
            raise malformed("limits", f"limits can't be read: {why}; {_LIMIT_HELP}", "invalid_value") from None
        if wanted.valid_until is not None:
            subject_limits.valid_until_time.CopyFrom(valid_until(wanted.valid_until))
        if wanted.limits or wanted.valid_until is not None:
            # Limits of a name that nobody has can still be removed.
            await _expect_subject(authentication, account_id, wanted.subject)
        setting = pb.SetLimitsRequest(account_id=account_id, subject_limits=subject_limits)
        await give(request, accounting.SetLimits, setting)
        return {**AMOUNTS_IN, **limits_json(subject_limits)}

    @get("/refusals/{charging_id:str}")
    async def explain_refusal(charging_id: FromPath[str]) -> dict[str, Any]:
        explained = await answer(accounting.ExplainRefusal(pb.ExplainRefusalRequest(charging_id=charging_id), timeout=TIMEOUT_S))
        return {**AMOUNTS_IN, **refusal_json(charging_id, explained)}

    return [set_limits, explain_refusal]


def refusal_json(charging_id: str, explained: pb.ExplainRefusalResponse) -> dict[str, Any]:
    """Why a call was refused: the limit, the amount short, and what would help."""
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


async def _expect_subject(
    authentication: "authentication_pb2_grpc.AuthenticationServiceAsyncStub", account_id: str, subject: str
) -> None:
    """Refuses a key or a member that the account does not have, whose limits nobody would ever meet. Errors: `Problem` 400."""
    kind, _, name = subject.partition(":")
    if kind not in _SUBJECTS:
        # Accounting says which subjects there are.
        return
    listing = authentication_pb2.ListKeysRequest(account_id=account_id)
    found = await answer(authentication.ListKeys(listing, timeout=TIMEOUT_S))
    if kind == "key":
        there: Collection[str] = [key.key_id for key in found.keys]
    else:
        # In a rolling update: the release before names members by their keys alone.
        there = found.member_ids or (name,)
    if name not in there:
        message = f"Account {account_id} has no {kind} {name!r}. {_SUBJECTS[kind]}"
        raise malformed("subject", message, "invalid_value")


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

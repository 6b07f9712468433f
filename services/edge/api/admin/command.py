"""The ways of administrative commands: to accounting each says who gives it; a service of the release before may not know one."""

from typing import Any, Protocol, TypeVar

import grpc
from litestar import Request

from services.edge.api.admin.body import TIMEOUT_S
from services.edge.http.problems import unavailable
from services.edge.identity.actors import actor_of
from services.runtime.clients import answer
from services.runtime.errors import from_rpc
from tokenline.accounting.v1 import accounting_pb2


class _Command(Protocol):
    @property
    def actor(self) -> accounting_pb2.Actor: ...


C = TypeVar("C", bound=_Command)
R = TypeVar("R")


async def ask_updated(call: "grpc.aio.UnaryUnaryCall[Any, R]", service: str) -> R:
    """The answer to a call of a method that the release before does not have. Errors: `ServiceError`; `Problem` 503 meanwhile."""
    try:
        return await call
    except grpc.aio.AioRpcError as error:
        if error.code() is grpc.StatusCode.UNIMPLEMENTED:
            raise unavailable(f"{service} is being updated") from None
        raise from_rpc(error) from error


async def give(request: Request[Any, Any, Any], method: "grpc.aio.UnaryUnaryMultiCallable[C, R]", command: C) -> R:
    """Gives a command in the name of whoever sent the request. Errors: `ServiceError`."""
    command.actor.CopyFrom(actor_of(request))
    return await answer(method(command, timeout=TIMEOUT_S))

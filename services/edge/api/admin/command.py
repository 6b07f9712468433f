"""The way of administrative commands to accounting, which all of them take: each says who gives it."""

from typing import Any, Protocol, TypeVar

import grpc
from litestar import Request

from services.edge.api.admin.body import TIMEOUT_S
from services.edge.identity.actors import actor_of
from services.runtime.clients import answer
from tokenline.accounting.v1 import accounting_pb2


class _Command(Protocol):
    @property
    def actor(self) -> accounting_pb2.Actor: ...


C = TypeVar("C", bound=_Command)
R = TypeVar("R")


async def give(request: Request[Any, Any, Any], method: "grpc.aio.UnaryUnaryMultiCallable[C, R]", command: C) -> R:
    """Gives a command in the name of whoever sent the request. Errors: `ServiceError`."""
    command.actor.CopyFrom(actor_of(request))
    return await answer(method(command, timeout=TIMEOUT_S))

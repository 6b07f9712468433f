"""Actors of administrative commands: let in at the door, named in every command, kept in the journal."""

from typing import Any, Final

from litestar import Request
from litestar.connection import ASGIConnection

from tokenline.accounting.v1 import accounting_pb2

# The holder of the admin token. There is one token, so there is one name for all who have it.
ADMINISTRATOR: Final = accounting_pb2.Actor(subject="administrator", proof="admin_token", role="operator")


def let_in(connection: ASGIConnection[Any, Any, Any, Any], actor: accounting_pb2.Actor) -> None:
    """Notes whose request it is, once the proof was seen."""
    connection.state.actor = actor


def actor_of(request: Request[Any, Any, Any]) -> accounting_pb2.Actor:
    """The actor whose request it is; it has come through the guard that lets in."""
    actor: accounting_pb2.Actor = request.state.actor
    return actor

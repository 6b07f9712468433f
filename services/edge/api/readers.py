"""Requests of customers that are no model calls: questions of balances, receipts and models, and keys that keys mint.

They have places as model calls do, and take turns, because they cost an edge, and the services that it asks, about as much. So an
account that asks without a pause keeps others waiting no more than one that calls without a pause.
"""

import asyncio
from typing import Final

from services.edge.call.turns import Turns
from services.edge.http.bodies import Bodies
from services.edge.http.connection import Client, ClientGoneError
from services.edge.http.problems import malformed
from services.edge.identity.principals import Principal, Principals
from services.runtime.http.exchange import Exchange

_BODY_BYTES_MAX: Final = 1_000_000


class Readers:
    """Finds who asks, and lets him wait for his turn."""

    def __init__(self, principals: Principals, turns: Turns, bodies: Bodies) -> None:
        """`turns` and `bodies` are those of calls."""
        self._principals = principals
        self._turns = turns
        self._bodies = bodies

    async def resolve(self, exchange: Exchange) -> Principal:
        """The principal, once it is its turn, which lasts until the task ends that serves the request.

        Errors: those of `Principals.resolve`; `Problem` 503 where its account asks too much, 400 where it has left meanwhile.
        """
        account_id = (await self._principals.resolve(exchange)).account_id
        await self._begin(account_id, Client(exchange))
        # The key may have been revoked while the request waited.
        return await self._principals.resolve(exchange)

    async def read(self, exchange: Exchange) -> tuple[Principal, bytes]:
        """The principal and the body, which comes before its turn, because it may take a minute.

        Errors: those of `resolve`; `Problem` 413 when the body is too large, 429 or 503 when too much is coming.
        """
        account_id = (await self._principals.resolve(exchange)).account_id
        client = Client(exchange)
        with self._bodies.coming(account_id) as coming:
            try:
                body = await client.read_body(_BODY_BYTES_MAX, coming, lambda _: 0.0)
            except ClientGoneError:
                raise malformed(None, "The request body did not come to its end.") from None
            await self._begin(account_id, client)
        return await self._principals.resolve(exchange), body

    async def _begin(self, account_id: str, client: Client) -> None:
        try:
            turn = await self._turns.take(account_id, client)
        except ClientGoneError:
            raise malformed(None, "The connection was closed before it was this request's turn.") from None
        serving = asyncio.current_task()
        assert serving is not None
        serving.add_done_callback(lambda _: turn.leave())

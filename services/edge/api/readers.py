"""Requests of customers that are no model calls: questions of balances, receipts and models, and keys that keys mint.

They take the turns of model calls, because they cost an edge, and the services that it asks, about as much. So an account that asks
without a pause keeps others waiting no more than one that calls without a pause.
"""

import asyncio

from services.edge.call.turns import Turns
from services.edge.http.connection import Client
from services.edge.identity.principals import Principal, Principals
from services.runtime.http.exchange import Exchange


class Readers:
    """Finds who asks, and lets him wait for his turn."""

    def __init__(self, principals: Principals, turns: Turns) -> None:
        self._principals = principals
        self._turns = turns

    async def resolve(self, exchange: Exchange) -> Principal:
        """The principal, once it is its turn, which lasts until the task ends that serves the request.

        Errors: those of `Principals.resolve`; `Problem` 503 where its account asks too much.
        """
        principal = await self._principals.resolve(exchange)
        client = Client(exchange)
        turn = await self._turns.enter(principal.account_id, client)
        serving = asyncio.current_task()
        assert serving is not None
        serving.add_done_callback(lambda _: turn.leave())
        await turn.begin(client)
        # The key may have been revoked while the request waited.
        return await self._principals.resolve(exchange)

"""Requests that make no output and cost nothing: the vendor counts the tokens of an input."""

from typing import Final

from services.edge.api.models import AccountOfferings
from services.edge.call.admission import Interpreter, counted, model_of
from services.edge.call.dialect import CountsHere, Dialect, Ending, Request
from services.edge.call.outcome import problem_of
from services.edge.call.shares import Places
from services.edge.catalog import CatalogHolder, Route, SellableModel
from services.edge.http.connection import Client
from services.edge.http.problems import model_not_found, overloaded, unavailable, vendor_unavailable
from services.edge.http.stream import ClientAnswer
from services.edge.identity.principals import Principal
from services.edge.routing.router import FailedAttempt, Router, failed_attempt
from services.edge.vendors.vendor import VendorClient, VendorFailure
from services.token_classes import NOTHING

# Counts under way at once. Of an account at most as many as are free, which is half of them where it is alone.
_AT_ONCE: Final = 512


class TokenCounts:
    """Asks a vendor's free count, for models that the account's offering includes.

    It heeds what calls have told of a route's health, and tells nothing itself, because a vendor may lack the count alone.
    """

    def __init__(
        self,
        catalog: CatalogHolder,
        vendors: VendorClient,
        router: Router,
        offerings: AccountOfferings,
        interpreter: Interpreter,
    ) -> None:
        self._catalog = catalog
        self._vendors = vendors
        self._router = router
        self._offerings = offerings
        self._interpreter = interpreter
        self._places = Places(_AT_ONCE)

    async def serve(self, dialect: Dialect, request: Request, principal: Principal, client: Client, answer: ClientAnswer) -> None:
        """Serves one request. Errors: `Problem`, 503 where many of its account are under way; `ServiceError`, `ClientGoneError`."""
        account_id = principal.account_id
        if not self._places.take(account_id, 1.0):
            client.shed()
            raise overloaded()
        try:
            await self._serve(dialect, request, principal, client, answer)
        finally:
            self._places.give_back(account_id, 1.0)

    async def _serve(self, dialect: Dialect, request: Request, principal: Principal, client: Client, answer: ClientAnswer) -> None:
        snapshot = self._catalog.current
        if snapshot is None:
            raise unavailable("no catalog is loaded yet")
        model = model_of(snapshot, request.model_id)
        # A count is of no run and has no equivalent: what is wrong is told here, before the call that it is asked for.
        client.allows_equivalents()
        client.run_label()
        with client.interruptible():
            usable = await self._offerings.usable(snapshot, principal)
            if usable is None or (offering := usable.get(model.model_id)) is None:
                raise model_not_found(request.model_id)
            _, spoken = await self._interpreter.interpret(dialect, request, model)
            if isinstance(spoken, CountsHere):
                await self._count(spoken, model, answer)
                return
            routes = model.routes.get(dialect.name, ())
            if not routes:
                raise vendor_unavailable(f"No vendor of {model.model_id} is configured here.")
            failed: list[FailedAttempt] = []
            plan = self._router.plan(routes, principal.account_id, request.conversation)
            offering_id, required = offering.offering_id, offering.required_regions
            plan.keep(lambda route: route.is_open_to(offering_id, required), offering.preferred_regions)
            if not plan.routes:
                raise model_not_found(request.model_id)
            while (turn := await plan.next()) is not None:
                try:
                    body, content_type = await self._ask(request, turn.route)
                except VendorFailure as failure:
                    failed.append(failed_attempt(turn.route, failure))
                    if failed[-1].is_clients_fault:
                        break
                else:
                    await answer.whole(200, content_type, body)
                    return
                finally:
                    turn.leave()
        raise problem_of(failed, [route.endpoint.api_key for route in routes], plan.wait_ms)

    async def _count(self, request: CountsHere, model: SellableModel, answer: ClientAnswer) -> None:
        """Answers our own count, because no vendor of the model has a free one in the client's dialect. The answer says so."""
        tokens = await counted(request.size(), model)
        body = request.count_body(tokens.estimate)
        answer.add_header(b"x-count-provenance", b"tokenizer" if tokens.is_exact else b"estimated")
        await answer.whole(200, body.content_type, body.content)

    async def _ask(self, request: Request, route: Route) -> tuple[bytes, str]:
        """The route's answer. Errors: `VendorFailure`; `Problem` where the vendor's profile refuses a field."""
        asked = request.vendor_request(route.endpoint, route.vendor_model_id, None, streamed=False)
        url = route.endpoint.base_url + asked.path
        vendor = await self._vendors.post(url, asked.headers_for(route.endpoint), asked.body.content)
        try:
            taken = request.answer(route.endpoint)
            taken.feed_whole(await vendor.read())
        finally:
            vendor.close()
        return taken.end(Ending.COMPLETE, NOTHING), taken.content_type

"""Decides which route is called next, from the routes' health at this edge and from what became of a call on each.

Edges share nothing: each learns of a dead route by its own calls.
"""

import asyncio
import logging
import time
from collections.abc import Callable, Iterable
from typing import Final, NamedTuple

from services.edge.catalog import Route
from services.edge.routing.affinity import Seed, draw, seed_of, tie_of
from services.edge.routing.breaker import LOST_IN_A_ROW, Breaker
from services.edge.routing.pace import Booked
from services.edge.routing.places import PLACE_S, Places
from services.edge.vendors.errors import fault_of
from services.edge.vendors.profile import CLIENTS, Endpoint, Meaning
from services.edge.vendors.vendor import VendorFailure, VendorFault
from services.runtime.instruments import Gauge, Values, export

logger = logging.getLogger(__name__)

# A vendor counts no tokens of a call that ended so.
_NOT_WORKED: Final = ("refused", "unreachable")
_LOST: Final = ("unreachable", "timeout", "broken")
# Shorter times to wait are a vendor's everyday business: they show in the metric, and are no line in the log.
_LOGGED_S: Final = 5.0
# A route that fails now and then is a line in the log this often.
_TOLD_AGAIN_S: Final = 60.0
# Clients are told this time where all routes are full, or busy otherwise.
_FULL_S: Final = 1.0
# The era of a call that no breaker has let pass.
_NO_ERA: Final = -1
# Orders of conversations that are kept, some 370 bytes each, 6 MB in all; the next one begins anew.
_ORDERS_MAX: Final = 16_384


class FailedAttempt(NamedTuple):
    """A route that did not answer, and its failure's meaning; None: there was no answer to read a meaning from."""

    route: Route
    failure: VendorFailure
    fault: VendorFault | None
    meaning: Meaning | None

    @property
    def is_clients_fault(self) -> bool:
        """Whether another route would fail in the same way."""
        return self.meaning in CLIENTS

    @property
    def word(self) -> str:
        """The meaning for logs and metrics; without one `certificate` where that was not taken, else the outcome."""
        if self.meaning is not None:
            return self.meaning.name.lower()
        return "certificate" if self.failure.certificate_fault else self.failure.outcome


def failed_attempt(route: Route, failure: VendorFailure) -> FailedAttempt:
    """A route's failure with its meaning."""
    fault = failure.fault
    if fault is None and failure.outcome == "refused":
        fault = fault_of(failure.http_status, failure.body, failure.retry_after_ms)
    return FailedAttempt(route, failure, fault, None if fault is None else route.endpoint.meaning(fault))


class _Health:
    """One route as this edge knows it."""

    __slots__ = ("breaker", "endpoint", "failed_in_a_row", "is_told", "told_s")

    def __init__(self, endpoint: Endpoint) -> None:
        self.endpoint = endpoint
        self.breaker = Breaker(asks_first=bool(endpoint.probe_path))
        # Its faults since its last answer.
        self.failed_in_a_row = 0
        # Whether the log says that it fails or is left out, and when it last said that it fails.
        self.is_told = False
        self.told_s = float("-inf")

    def begins_to_fail(self, now_s: float) -> bool:
        """Counts a fault; whether the log is to say that the route fails."""
        self.failed_in_a_row += 1
        if self.is_told or self.failed_in_a_row < LOST_IN_A_ROW or now_s - self.told_s < _TOLD_AGAIN_S:
            return False
        self.is_told = True
        self.told_s = now_s
        return True


class Mix(NamedTuple):
    """Tokens that a call is expected to have, at most."""

    input_tokens: int = 0
    output_tokens: int = 0


class Turn:
    """A call's turn on a route, with a place there. Say what became of it; leave it in any case."""

    __slots__ = ("_account_id", "_began_s", "_booked", "_clock_s", "_era", "_has_place", "_way")

    def __init__(self, way: "Way", account_id: str, era: int, clock_s: Callable[[], float], booked: Booked | None = None) -> None:
        self._way = way
        self._booked = booked
        self._account_id = account_id
        self._has_place = True
        self._era = era
        self._clock_s = clock_s
        self._began_s = clock_s()

    @property
    def route(self) -> Route:
        """The route."""
        return self._way.route

    def answered(self) -> None:
        """Notes that output has come. A failure may still follow."""
        health, route = self._way.health, self._way.route
        health.breaker.answered(self._account_id, self._era, self._clock_s())
        health.failed_in_a_row = 0
        if health.is_told and health.breaker.is_closed:
            health.is_told = False
            logger.info("vendor %s answers for %s again, and gets its calls", route.vendor_id, route.vendor_model_id)

    def failed(self, failure: VendorFailure) -> FailedAttempt:
        """Notes a failure, unless the client has caused it; its meaning."""
        attempt = failed_attempt(self.route, failure)
        if failure.outcome in _NOT_WORKED:
            self.used(0)
        if attempt.is_clients_fault:
            return attempt
        now_s, health = self._clock_s(), self._way.health
        breaker = health.breaker
        if failure.retry_after_ms:
            opened = breaker.hold(self._account_id, now_s, failure.retry_after_ms / 1_000)
        else:
            is_lost = failure.outcome in _LOST
            opened = breaker.failed(self._account_id, self._era, self._began_s, now_s, is_lost=is_lost)
        wait_s = breaker.wait_s(self._account_id, now_s)
        route = self.route
        if opened and wait_s >= _LOGGED_S:
            health.is_told = True
            logger.warning(
                "vendor %s gets no calls%s for %s for %.0f s: they fail, the last with %s",
                route.vendor_id,
                "" if breaker.only is None else f" of account {breaker.only}",
                route.vendor_model_id,
                wait_s,
                attempt.word,
            )
        elif not failure.retry_after_ms and health.begins_to_fail(now_s):
            logger.warning(
                "vendor %s fails for %s: %d calls in a row, the last with %s",
                route.vendor_id,
                route.vendor_model_id,
                health.failed_in_a_row,
                attempt.word,
            )
        return attempt

    def used(self, tokens: int) -> None:
        """Notes the tokens of the call, once they are known: they count within what the contract allows a minute."""
        if self._booked is not None:
            self._way.places.pace.correct(self._booked, tokens)
            self._booked = None

    def leave(self) -> None:
        """Ends the turn, once its call is no longer under way; again: nothing."""
        self._way.health.breaker.leave(self._account_id, self._era)
        self._era = _NO_ERA
        if self._has_place:
            self._has_place = False
            self._way.places.give_back()


class RetryBudget(NamedTuple):
    """The bounds of one call's attempts, until a route answers."""

    attempts_max: int = 4
    # From the first failure on, further attempts are begun for this long.
    seconds: float = 60.0


_BUDGET: Final = RetryBudget()
_NO_TOKENS: Final = Mix()


class Way:
    """A route, and what this edge knows of it."""

    __slots__ = ("breaker", "health", "places", "route", "seed")

    def __init__(self, route: Route, health: _Health, places: Places) -> None:
        self.route = route
        self.health = health
        self.breaker = health.breaker
        self.places = places
        self.seed: Seed = seed_of(route.vendor_id, route.vendor_model_id)

    def wait_s(self, account_id: str, now_s: float, tokens: int) -> float:
        """The time until the route may be called, if only as the last resort; 0: now, perhaps after a wait for a place."""
        breaker = self.breaker
        if breaker.is_costly and (wait_s := breaker.wait_s(account_id, now_s)):
            return wait_s
        pace = self.places.pace
        if pace.is_bounded and (wait_s := pace.wait_s(now_s, tokens)) > PLACE_S:
            return wait_s
        return _FULL_S if self.places.is_crowded(self.route.concurrency_max) else 0.0

    def is_busy(self, now_s: float, tokens: int) -> bool:
        """Whether a call must wait for a place, or because it would come too soon."""
        pace = self.places.pace
        return self.places.is_full(self.route.concurrency_max) or (pace.is_bounded and pace.wait_s(now_s, tokens) > 0)

    @property
    def is_free(self) -> bool:
        """Whether the route is healthy and has a place, as nearly all are."""
        places, bound = self.places, self.route.concurrency_max
        return self.breaker.is_closed and not places.pace.is_bounded and (not bound or places.under_way < bound)

    def enter_at_once(self, account_id: str, clock_s: Callable[[], float]) -> Turn | None:
        """A turn on a free route; None: it must be looked at closer."""
        if not self.is_free:
            return None
        self.places.under_way += 1
        return Turn(self, account_id, self.breaker.era, clock_s)

    async def enter(
        self, account_id: str, clock_s: Callable[[], float], tokens: int, *, waits: bool, last_resort: bool
    ) -> Turn | None:
        """A turn on the route; None while it may not be called.

        `waits`: for a place on a full one, or for its pace. `last_resort`: also on a left-out one that costs no time.
        """
        breaker, places, bound = self.breaker, self.places, self.route.concurrency_max
        is_resort = last_resort and not breaker.is_costly
        if not is_resort and breaker.wait_s(account_id, clock_s()):
            return None
        if places.is_full(bound) and (not waits or places.is_crowded(bound)):
            return None
        try:
            await places.take(bound)
        except TimeoutError:
            return None
        booked = None
        if places.pace.is_bounded and (booked := await self._paced(clock_s, tokens, waits=waits)) is None:
            places.give_back()
            return None
        era = breaker.enter(account_id, clock_s())
        if era is None:
            if not is_resort:
                # It was closed to calls while this one waited.
                if booked is not None:
                    places.pace.unbook(booked)
                places.give_back()
                return None
            era = _NO_ERA
        return Turn(self, account_id, era, clock_s, booked)

    async def _paced(self, clock_s: Callable[[], float], tokens: int, *, waits: bool) -> Booked | None:
        """Books a call within the contract's pace, and waits for it; None: it would come too soon.

        Gives the place back where it is interrupted.
        """
        booked = self.places.pace.book(clock_s(), tokens, PLACE_S if waits else 0.0)
        if booked is not None and booked.wait_s:
            try:
                await asyncio.sleep(booked.wait_s)
            except BaseException:
                self.places.pace.unbook(booked)
                self.places.give_back()
                raise
        return booked


class Plan:
    """The routes of one call in the order of trying, each tried at most once."""

    __slots__ = (
        "_account_id",
        "_ahead",
        "_attempts",
        "_budget",
        "_clock_s",
        "_failed_s",
        "_may_wait",
        "_passed",
        "_tokens",
        "routes",
    )

    def __init__(self, order: "_Order", account_id: str, tokens: int, clock_s: Callable[[], float], budget: RetryBudget) -> None:
        self.routes = order.routes
        self._account_id = account_id
        # Tokens of each attempt, at most.
        self._tokens = tokens
        self._clock_s = clock_s
        self._ahead = order.ways.copy()
        # Routes that were passed over, because they are left out at present.
        self._passed: list[Way] = []
        self._may_wait = True
        self._budget = budget
        self._attempts = 0
        # The time of the first failure.
        self._failed_s = 0.0

    def keep(self, is_kept: Callable[[Route], bool], preferred: frozenset[str] = frozenset()) -> None:
        """Leaves out the other routes, before the first turn; those of preferred regions go first."""
        self._ahead = [way for way in self._ahead if is_kept(way.route)]
        if preferred:
            self._ahead.sort(key=lambda way: way.route.region not in preferred)
        self.routes = tuple([way.route for way in self._ahead])

    def go_on_with(self, other: "Plan") -> None:
        """Tries another plan's routes after its own."""
        self._ahead += other._ahead
        self.routes += other.routes

    @property
    def wait_ms(self) -> int:
        """The time until one of the routes that were not called may be; 0: all were called."""
        now_s = self._clock_s()
        waits = [way.wait_s(self._account_id, now_s, self._tokens) or _FULL_S for way in (*self._passed, *self._ahead)]
        return -(-round(min(waits, default=0.0) * 1_000_000) // 1_000)

    @property
    def is_closed(self) -> bool:
        """Whether no route may be called now."""
        if self._ahead and self._ahead[0].is_free:
            return False
        now_s = self._clock_s()
        for way in self._ahead:  # noqa: SIM110  # a generator costs more than all that it looks at
            if not way.wait_s(self._account_id, now_s, self._tokens):
                return False
        return True

    def _is_spent(self) -> bool:
        """Whether the call's budget is used up; its time counts from the second turn that is asked for."""
        if not self._attempts:
            return False
        now_s = self._clock_s()
        if self._attempts == 1:
            self._failed_s = now_s
        return self._attempts >= self._budget.attempts_max or now_s - self._failed_s > self._budget.seconds

    def next_at_once(self) -> Turn | None:
        """A turn on the first route, where nothing speaks against it, as for nearly all calls; None: ask `next`."""
        if self._attempts or not self._ahead:
            return None
        turn = self._ahead[0].enter_at_once(self._account_id, self._clock_s)
        if turn is not None:
            self._attempts = 1
            del self._ahead[0]
        return turn

    async def next(self) -> Turn | None:
        """A turn on the next route; None: there is none.

        A call waits for a place on the first route that is full, and on no other. A route that fails at once is tried after all
        others although it is left out: that costs a client no time.
        """
        if self._is_spent():
            return None
        self._attempts += 1
        while self._ahead:
            way = self._ahead.pop(0)
            if (turn := way.enter_at_once(self._account_id, self._clock_s)) is not None:
                return turn
            waits = self._may_wait
            if waits and way.is_busy(self._clock_s(), self._tokens):
                self._may_wait = False
            turn = await way.enter(self._account_id, self._clock_s, self._tokens, waits=waits, last_resort=False)
            if turn is not None:
                return turn
            self._passed.append(way)
        for index, way in enumerate(self._passed):
            turn = await way.enter(self._account_id, self._clock_s, self._tokens, waits=False, last_resort=True)
            if turn is not None:
                del self._passed[index]
                return turn
        return None


class Probe(NamedTuple):
    """A question to a vendor whose route is left out, which is no call. Say how it ended."""

    endpoint: Endpoint
    breaker: Breaker
    era: int
    clock_s: Callable[[], float]

    def ended(self, *, is_answered: bool) -> None:
        """Notes whether the vendor has answered with 200."""
        self.breaker.asked(self.era, self.clock_s(), is_answered=is_answered)


class Router:
    """The routes of the catalog as this edge knows them."""

    def __init__(self, clock_s: Callable[[], float] = time.monotonic, budget: RetryBudget = _BUDGET, edges_max: int = 1) -> None:
        """`edges_max`: at most this many edges share what vendors' contracts allow a minute."""
        self._edges_max = edges_max
        self._clock_s = clock_s
        self._budget = budget
        # By vendor, its model and dialect.
        self._known: dict[tuple[str, str, str], _Health] = {}
        # By vendor and its model, because a contract does not tell dialects apart.
        self._places: dict[tuple[str, str], Places] = {}
        # The ways of each model and dialect by the identity of its routes, which are kept with them.
        self._ways: dict[int, _Ways] = {}
        # Orders that ties alone decide, by the routes' identity and the tie: a conversation has many calls.
        self._orders: dict[tuple[int, int], _Order] = {}

    def plan(self, routes: tuple[Route, ...], account_id: str, conversation: Callable[[], bytes], mix: Mix = _NO_TOKENS) -> Plan:
        """The order for one call: routes that may be called, by priority, price where that counts, and the conversation's ties.

        Then come the others. `conversation` gives its mark, and is asked only where there is a choice.
        """
        known = self._ways.get(id(routes)) or self._known_ways(routes)
        order = known.only
        if order is None:
            tie = tie_of(account_id, conversation())
            if not known.is_cheapest and known.are_closed():
                order = self._orders.get((id(routes), tie)) or self._kept_order(known, tie)
            else:
                order = known.ordered(account_id, tie, mix, self._clock_s())
        return Plan(order, account_id, mix.input_tokens + mix.output_tokens, self._clock_s, self._budget)

    def keep(self, routes: Iterable[Route]) -> None:
        """Forgets what is known of routes that are not among these, or whose endpoint has changed."""
        routes = tuple(routes)
        kept = {_key(route): route.endpoint for route in routes}
        self._known = {key: health for key, health in self._known.items() if kept.get(key) == health.endpoint}
        # Turns under way hold their places themselves: a place of which nothing is under way is made anew when it is needed.
        models = {(vendor_id, model) for vendor_id, model, _ in kept}
        self._places = {key: places for key, places in self._places.items() if key in models}
        for places in self._places.values():
            places.pace.unbind()
        for route in routes:
            self._bounded_places(route)
        self._ways.clear()
        self._orders.clear()

    def probes_due(self) -> list[Probe]:
        """Questions that are to be asked now, each by its endpoint's free path."""
        now_s = self._clock_s()
        asked = [(health, health.breaker.ask(now_s)) for health in self._known.values() if health.endpoint.probe_path]
        return [Probe(health.endpoint, health.breaker, era, self._clock_s) for health, era in asked if era is not None]

    def export(self) -> None:
        """Shows the routes' states from now on."""
        description = "Routes: 0 called, 1 tried by one call, 2 left out, 3 left out for one account"
        export(Gauge("edge.route.state", description, self.states, ("vendor", "model", "dialect")))

    def states(self) -> dict[Values, float]:
        """The state of each route that was called, by vendor, the model there and dialect."""
        now_s = self._clock_s()
        # Copied in one step, because another thread reads.
        return {route: health.breaker.state(now_s).value for route, health in list(self._known.items())}

    def _bounded_places(self, route: Route) -> Places:
        """The places of a route's vendor and model, at this edge's share of the pace that all routes to it allow."""
        places = self._places.setdefault((route.vendor_id, route.vendor_model_id), Places())
        allowed = (route.requests_per_minute, route.tokens_per_minute)
        places.pace.bound(*(each // self._edges_max if each else None for each in allowed))
        return places

    def _known_ways(self, routes: tuple[Route, ...]) -> "_Ways":
        ways = []
        for route in routes:
            health = self._known.get(_key(route))
            if health is None:
                health = self._known[_key(route)] = _Health(route.endpoint)
            ways.append(Way(route, health, self._bounded_places(route)))
        only = _Order(ways, routes) if len(ways) == 1 else None
        known = self._ways[id(routes)] = _Ways(routes, ways, any(route.prices for route in routes), only)
        return known

    def _kept_order(self, known: "_Ways", tie: int) -> "_Order":
        """The order of healthy ways that have no price, kept for a conversation's next calls."""
        if len(self._orders) >= _ORDERS_MAX:
            self._orders.clear()
        order = self._orders[id(known.routes), tie] = known.ordered("", tie, _NO_TOKENS, 0.0)
        return order


class _Order(NamedTuple):
    """Ways in the order of trying, and their routes. Not to be changed."""

    ways: list[Way]
    routes: tuple[Route, ...]


class _Ways(NamedTuple):
    """The ways of one model in one dialect."""

    routes: tuple[Route, ...]
    ways: list[Way]
    # Whether the cheapest goes first.
    is_cheapest: bool
    # The order where there is no choice.
    only: _Order | None

    def are_closed(self) -> bool:
        """Whether all breakers are closed."""
        for way in self.ways:  # noqa: SIM110  # as in `Plan.is_closed`
            if not way.breaker.is_closed:
                return False
        return True

    def ordered(self, account_id: str, tie: int, mix: Mix, now_s: float) -> _Order:
        """The ways for one call: those that are not left out, by priority, price and ties; then the others."""
        order = []
        for index, way in enumerate(self.ways):
            route = way.route
            is_out = not way.breaker.is_closed and way.breaker.wait_s(account_id, now_s) > 0
            cost = route.cost(mix.input_tokens, mix.output_tokens) if self.is_cheapest else 0.0
            order.append((is_out, route.priority, cost, draw(way.seed, route.weight, tie), index))
        order.sort()
        ways = [self.ways[each[4]] for each in order]
        return _Order(ways, tuple([way.route for way in ways]))


def _key(route: Route) -> tuple[str, str, str]:
    return route.vendor_id, route.vendor_model_id, route.endpoint.dialect

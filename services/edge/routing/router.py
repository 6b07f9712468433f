"""Decides which route is called next, from the routes' health at this edge and from what became of a call on each.

Edges share nothing: each learns of a dead route by its own calls.
"""

import logging
import time
from collections.abc import Callable, Iterable
from typing import Final, NamedTuple

from opentelemetry import metrics
from opentelemetry.metrics import CallbackOptions, Observation

from services.edge.catalog import Route
from services.edge.routing.breaker import Breaker
from services.edge.vendors.errors import fault_of
from services.edge.vendors.profile import CLIENTS, Endpoint, Meaning
from services.edge.vendors.vendor import VendorFailure, VendorFault

logger = logging.getLogger(__name__)

_LOST: Final = ("unreachable", "timeout", "broken")
# Shorter times to wait are a vendor's everyday business: they show in the metric, and are no line in the log.
_LOGGED_S: Final = 5.0
# The era of a call that no breaker has let pass.
_NO_ERA: Final = -1


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


def failed_attempt(route: Route, failure: VendorFailure) -> FailedAttempt:
    """A route's failure with its meaning."""
    fault = failure.fault
    if fault is None and failure.outcome == "refused":
        fault = fault_of(failure.http_status, failure.body, failure.retry_after_ms)
    return FailedAttempt(route, failure, fault, None if fault is None else route.endpoint.meaning(fault))


class _Health:
    """One route as this edge knows it."""

    __slots__ = ("breaker", "endpoint", "is_told")

    def __init__(self, endpoint: Endpoint) -> None:
        self.endpoint = endpoint
        self.breaker = Breaker()
        # Whether the log says that it is left out.
        self.is_told = False


class Turn:
    """A call's turn on a route. Say what became of it; leave it in any case."""

    __slots__ = ("_began_s", "_era", "_health", "_now_s", "route")

    def __init__(self, route: Route, health: _Health, era: int, now_s: Callable[[], float]) -> None:
        self.route = route
        self._health = health
        self._era = era
        self._now_s = now_s
        self._began_s = now_s()

    def answered(self) -> None:
        """Notes that output has come. A failure may still follow."""
        if self._health.breaker.answered(self._era, self._now_s()) and self._health.is_told:
            self._health.is_told = False
            logger.info("vendor %s answers for %s again, and gets its calls", self.route.vendor_id, self.route.vendor_model_id)

    def failed(self, failure: VendorFailure) -> FailedAttempt:
        """Notes a failure, unless the client has caused it; its meaning."""
        attempt = failed_attempt(self.route, failure)
        if attempt.is_clients_fault:
            return attempt
        now_s, breaker = self._now_s(), self._health.breaker
        if failure.retry_after_ms:
            opened = breaker.hold(now_s, failure.retry_after_ms / 1_000)
        else:
            opened = breaker.failed(self._era, self._began_s, now_s, is_lost=failure.outcome in _LOST)
        wait_s = breaker.wait_s(now_s)
        if opened and wait_s >= _LOGGED_S:
            self._health.is_told = True
            logger.warning(
                "vendor %s gets no calls for %s for %.0f s: they fail, the last with %s",
                self.route.vendor_id,
                self.route.vendor_model_id,
                wait_s,
                attempt.meaning.name.lower() if attempt.meaning is not None else failure.outcome,
            )
        return attempt

    def leave(self) -> None:
        """Ends the turn; again: nothing."""
        self._health.breaker.leave(self._era)
        self._era = _NO_ERA


class Plan:
    """The routes of one call in the order of trying, each tried at most once."""

    def __init__(self, router: "Router", routes: tuple[Route, ...]) -> None:
        self.routes: Final = routes
        self._router = router
        self._ahead = list(routes)
        # Routes that were passed over, because they are left out at present.
        self._passed: list[Route] = []

    @property
    def wait_ms(self) -> int:
        """The time until one of the routes that were not called may be; 0: one may be now, or all were called."""
        waits = [self._router.wait_s(route) for route in (*self._passed, *self._ahead)]
        return -(-round(min(waits, default=0.0) * 1_000_000) // 1_000)

    @property
    def is_closed(self) -> bool:
        """Whether no route may be called now."""
        return all(self._router.wait_s(route) for route in self.routes)

    def next(self) -> Turn | None:
        """A turn on the next route; None: there is none.

        A route that fails at once is tried after all others although it is left out: that costs a client no time.
        """
        while self._ahead:
            route = self._ahead.pop(0)
            if (turn := self._router.enter(route)) is not None:
                return turn
            self._passed.append(route)
        for index, route in enumerate(self._passed):
            if (turn := self._router.enter(route, last_resort=True)) is not None:
                del self._passed[index]
                return turn
        return None


class Router:
    """The routes of the catalog as this edge knows them."""

    def __init__(self, now_s: Callable[[], float] = time.monotonic) -> None:
        self._now_s = now_s
        # By vendor, its model and dialect.
        self._known: dict[tuple[str, str, str], _Health] = {}

    def plan(self, routes: tuple[Route, ...]) -> Plan:
        """The order for one call: routes that may be called first, by priority; then the others."""
        if len(routes) > 1:
            # Sorting is stable.
            routes = tuple(sorted(routes, key=self._is_out))
        return Plan(self, routes)

    def keep(self, routes: Iterable[Route]) -> None:
        """Forgets what is known of routes that are not among these, or whose endpoint has changed."""
        kept = {_key(route): route.endpoint for route in routes}
        self._known = {key: health for key, health in self._known.items() if kept.get(key) == health.endpoint}

    def enter(self, route: Route, *, last_resort: bool = False) -> Turn | None:
        """A turn on a route; None while it may not be called. `last_resort`: also a left-out one that costs no time."""
        health = self._health(route)
        breaker = health.breaker
        era = breaker.enter(self._now_s())
        if era is None and last_resort and not breaker.is_costly:
            era = _NO_ERA
        return None if era is None else Turn(route, health, era, self._now_s)

    def wait_s(self, route: Route) -> float:
        """The time until a route may be called, if only as the last resort; 0: now."""
        breaker = self._health(route).breaker
        return breaker.wait_s(self._now_s()) if breaker.is_costly else 0.0

    def export(self) -> None:
        """Shows the routes' states to OpenTelemetry from now on."""
        metrics.get_meter("tokenline.edge").create_observable_gauge(
            "edge.route.state", callbacks=[self.states], description="Routes: 0 called, 1 tried by one call, 2 left out"
        )

    def states(self, options: CallbackOptions) -> Iterable[Observation]:
        """The state of each route that was called."""
        now_s = self._now_s()
        # Copied in one step, because OpenTelemetry reads from another thread.
        return [
            Observation(health.breaker.state(now_s).value, {"vendor": vendor_id, "model": model, "dialect": dialect})
            for (vendor_id, model, dialect), health in list(self._known.items())
        ]

    def _is_out(self, route: Route) -> bool:
        return self._health(route).breaker.wait_s(self._now_s()) > 0

    def _health(self, route: Route) -> _Health:
        health = self._known.get(_key(route))
        if health is None:
            health = self._known[_key(route)] = _Health(route.endpoint)
        return health


def _key(route: Route) -> tuple[str, str, str]:
    return route.vendor_id, route.vendor_model_id, route.endpoint.dialect

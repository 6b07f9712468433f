"""Counts and durations of the edge's requests."""

from http.client import SWITCHING_PROTOCOLS
from typing import Final

from services.edge.http import access
from services.runtime.http.exchange import Exchange
from services.runtime.instruments import Counter, Gauge, Histogram, export

# The status that counts where the client left before there was any.
_CLIENT_GONE: Final = 499
# Upper ends in seconds. A stream lasts until its last byte, so they go on where those that OpenTelemetry advises end.
_BOUNDS_S: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0)


class RequestMetrics:
    """Requests by route and status, and their durations by route."""

    def __init__(self, *, logs_access: bool = False) -> None:
        self._logs_access = logs_access
        self.requests = Counter("edge.requests", "Requests by route and status", ("route", "status"))
        self.durations = Histogram("http.server.request.duration", "Durations of requests by route", ("http.route",), _BOUNDS_S)
        # WebSockets that are open now.
        self.sockets_open = 0

    def served(self, exchange: Exchange, route: str, duration_s: float) -> None:
        """Counts one request; its status is 499 when the client went away before any answer."""
        status = exchange.status or _CLIENT_GONE
        self.requests.add(route, str(status))
        # A WebSocket lasts as long as its client likes.
        if status != SWITCHING_PROTOCOLS:
            self.durations.record(duration_s, route)
        if self._logs_access:
            access.tell(exchange, route, status, duration_s)

    def export(self) -> None:
        """Shows the counts from now on."""
        export(self.requests, self.durations, Gauge("edge.sockets", "Open WebSockets", lambda: self.sockets_open))

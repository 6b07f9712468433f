"""Counts and durations of the edge's requests, and its doors."""

from collections.abc import Mapping
from http.client import SWITCHING_PROTOCOLS
from typing import Final

from services.edge.http import access
from services.runtime.http.exchange import Exchange
from services.runtime.http.listener import Listener
from services.runtime.instruments import Counter, Gauge, Histogram, Total, Values, export

# The status that counts where the client left before there was any.
CLIENT_GONE: Final = 499
# Upper ends in seconds. A stream lasts until its last byte, so they go on where those that OpenTelemetry advises end.
_BOUNDS_S: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0)
_METHODS: Final = frozenset({"CONNECT", "DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT", "QUERY", "TRACE"})
# OpenTelemetry's word for all others, because clients may invent some.
_OTHER_METHOD: Final = "_OTHER"


class RequestMetrics:
    """Requests by route and status, and their durations by method too."""

    def __init__(self, *, logs_access: bool = False) -> None:
        self._logs_access = logs_access
        self.requests = Counter("edge.requests", "Requests by route and status", ("route", "status"))
        self.durations = Histogram(
            "http.server.request.duration",
            "Durations of requests by route, method and status",
            ("http.route", "http.request.method", "http.response.status_code"),
            _BOUNDS_S,
        )
        # WebSockets that are open now.
        self.sockets_open = 0

    def served(self, exchange: Exchange, route: str, duration_s: float) -> None:
        """Counts one request; its status is 499 when the client went away before any answer."""
        status = exchange.status or CLIENT_GONE
        word = str(status)
        self.requests.add(route, word)
        # A WebSocket lasts as long as its client likes.
        if status != SWITCHING_PROTOCOLS:
            method = exchange.method
            self.durations.record(duration_s, route, method if method in _METHODS else _OTHER_METHOD, word)
        if self._logs_access:
            access.tell(exchange, route, status, duration_s)

    def export(self) -> None:
        """Shows the counts from now on."""
        export(self.requests, self.durations, Gauge("edge.sockets", "Open WebSockets", lambda: self.sockets_open))


def export_doors(doors: Mapping[str, Listener]) -> None:
    """Shows what listeners hold and whom they turned away, by their names, from now on."""

    def by_door(field: str) -> dict[Values, float]:
        return {(name,): getattr(door, field) for name, door in doors.items()}

    export(
        Gauge("http.server.active_requests", "Requests in hand", lambda: by_door("answering"), ("listener",)),
        Gauge("http.server.connections", "Open connections", lambda: by_door("connected"), ("listener",)),
        Gauge("http.server.connections.waiting", "Connections that wait for a place", lambda: by_door("waiting"), ("listener",)),
        Total(
            "http.server.refused",
            "Connections and requests that a listener itself turned away, by the reason or the status",
            lambda: {(name, reason): count for name, door in doors.items() for reason, count in door.refusals.copy().items()},
            ("listener", "reason"),
        ),
    )

"""Counts and durations of the edge's requests."""

from typing import Final

from services.runtime.instruments import Counter, Gauge, Histogram, export

# Upper ends in seconds. A stream lasts until its last byte, so they go on where those that OpenTelemetry advises end.
_BOUNDS_S: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0)


class RequestMetrics:
    """Requests by route and status, and their durations by route."""

    def __init__(self) -> None:
        self.requests = Counter("edge.requests", "Requests by route and status", ("route", "status"))
        self.durations = Histogram("http.server.request.duration", "Durations of requests by route", ("http.route",), _BOUNDS_S)
        # WebSockets that are open now.
        self.sockets_open = 0

    def count(self, route: str, status: int) -> None:
        """Counts one request that has no duration, such as one for a WebSocket, which lasts as long as its client likes."""
        self.requests.add(route, str(status))

    def record(self, route: str, status: int, duration_s: float) -> None:
        """Counts one request. `status` is 499 when the client went away before any answer."""
        self.count(route, status)
        self.durations.record(duration_s, route)

    def export(self) -> None:
        """Shows the counts from now on."""
        export(self.requests, self.durations, Gauge("edge.sockets", "Open WebSockets", lambda: self.sockets_open))

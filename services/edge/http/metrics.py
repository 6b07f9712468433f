"""Counters of the edge's requests: plain integers on the way, OpenTelemetry only when somebody reads them."""

from bisect import bisect_left
from collections.abc import Iterable
from itertools import accumulate
from typing import Final

from opentelemetry import metrics
from opentelemetry.metrics import CallbackOptions, Observation

# Upper ends in seconds, "le" as Prometheus has it. A stream counts until its last byte.
_BUCKETS_S: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0)
_BUCKET_LABELS: Final = (*(f"{bound:g}" for bound in _BUCKETS_S), "+Inf")


class RequestMetrics:
    """Requests by route and status, and their durations by route.

    A histogram of OpenTelemetry costs 6 us a record, this a tenth of a microsecond; Prometheus reads the buckets the same way:
    `histogram_quantile(0.99, sum by (le) (rate(edge_request_duration_bucket_total[5m])))`. Another thread reads the counts, so they
    are copied first, in one step.
    """

    def __init__(self) -> None:
        self._requests: dict[tuple[str, int], int] = {}
        self._durations: dict[str, list[int]] = {}
        self._duration_sums_s: dict[str, float] = {}
        # WebSockets that are open now.
        self.sockets_open = 0

    def count(self, route: str, status: int) -> None:
        """Counts one request that has no duration, such as one for a WebSocket, which lasts as long as its client likes."""
        key = (route, status)
        self._requests[key] = self._requests.get(key, 0) + 1

    def record(self, route: str, status: int, duration_s: float) -> None:
        """Counts one request. `status` is 499 when the client went away before any answer."""
        self.count(route, status)
        buckets = self._durations.get(route)
        if buckets is None:
            buckets = self._durations[route] = [0] * len(_BUCKET_LABELS)
            self._duration_sums_s[route] = 0.0
        buckets[bisect_left(_BUCKETS_S, duration_s)] += 1
        self._duration_sums_s[route] += duration_s

    def export(self) -> None:
        """Shows the counts to OpenTelemetry from now on."""
        meter = metrics.get_meter("tokenline.edge")
        for name, callback, description in (
            ("edge.requests", self.requests, "Requests by route and status"),
            ("edge.request.duration.bucket", self.duration_buckets, "Requests that took at most le seconds, by route"),
            ("edge.request.duration.sum", self.duration_sums, "Seconds that requests took, by route"),
        ):
            meter.create_observable_counter(name, callbacks=[callback], description=description)
        meter.create_observable_up_down_counter("edge.sockets", callbacks=[self.sockets], description="Open WebSockets")

    def sockets(self, options: CallbackOptions) -> Iterable[Observation]:
        """Open WebSockets."""
        return [Observation(self.sockets_open)]

    def requests(self, options: CallbackOptions) -> Iterable[Observation]:
        """Counts by route and status."""
        return [Observation(count, {"route": route, "status": status}) for (route, status), count in list(self._requests.items())]

    def duration_buckets(self, options: CallbackOptions) -> Iterable[Observation]:
        """Cumulative counts by route and upper end."""
        return [
            Observation(count, {"route": route, "le": label})
            for route, buckets in list(self._durations.items())
            for label, count in zip(_BUCKET_LABELS, accumulate(buckets), strict=True)
        ]

    def duration_sums(self, options: CallbackOptions) -> Iterable[Observation]:
        """Seconds by route."""
        return [Observation(seconds, {"route": route}) for route, seconds in list(self._duration_sums_s.items())]

"""Counters and histograms for the hot path, which Prometheus reads beside OpenTelemetry's own.

A histogram of OpenTelemetry costs 9 us a record, and 30 ms to read where it has a hundred series; one of these costs a third of a
microsecond. Names and attributes are OpenTelemetry's, written as its exporter for Prometheus writes them. Prometheus' page is
made in another thread, so counts are copied in one step first. Values of attributes come from a bounded set: routes,
models of the catalog, vendors, reasons; never from a client's text.
"""

from bisect import bisect_left
from collections.abc import Callable, Iterable, Mapping
from itertools import accumulate
from typing import Final, Protocol

from prometheus_client import REGISTRY
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

Values = tuple[str, ...]


class Instrument(Protocol):
    """A metric."""

    def family(self) -> Metric:
        """The metric as it is now, for Prometheus."""
        ...


class Counter:
    """Counts by attributes."""

    def __init__(self, name: str, description: str, attributes: Values) -> None:
        self._name = name
        self._description = description
        self._attributes = attributes
        self._counts: dict[Values, int] = {}

    def add(self, *values: str, count: int = 1) -> None:
        """Counts; `values` are those of the attributes, in their order."""
        self._counts[values] = self._counts.get(values, 0) + count

    @property
    def counts(self) -> Mapping[Values, int]:
        """The counts, by the values of the attributes."""
        return self._counts.copy()

    def family(self) -> Metric:
        """See `Instrument`."""
        family = CounterMetricFamily(_written(self._name), self._description, labels=_labels(self._attributes))
        for values, count in self.counts.items():
            family.add_metric(values, count)
        return family


class Histogram:
    """Durations by attributes."""

    def __init__(self, name: str, description: str, attributes: Values, bounds_s: tuple[float, ...]) -> None:
        """`bounds_s`: upper ends of the buckets in seconds, each of which belongs to its bucket."""
        self._name = name
        self._description = description
        self._attributes = attributes
        self._bounds_s = bounds_s
        self._ends: Final = (*(f"{bound:g}" for bound in bounds_s), "+Inf")
        # By the values of the attributes: each bucket's count, and the sum of the seconds at the end.
        self._series: dict[Values, list[float]] = {}

    def record(self, duration_s: float, *values: str) -> None:
        """Counts a duration; `values` are those of the attributes, in their order."""
        series = self._series.get(values)
        if series is None:
            series = self._series[values] = [0] * (len(self._ends) + 1)
        series[bisect_left(self._bounds_s, duration_s)] += 1
        series[-1] += duration_s

    @property
    def series(self) -> list[Values]:
        """The values of attributes that durations came with."""
        return list(self._series)

    def buckets(self, *values: str) -> Mapping[str, float]:
        """By each upper end, the number of durations up to it."""
        return dict(zip(self._ends, accumulate(self._series[values][:-1]), strict=True))

    def sum_s(self, *values: str) -> float:
        """The sum of the durations."""
        return self._series[values][-1]

    def family(self) -> Metric:
        """See `Instrument`."""
        family = HistogramMetricFamily(f"{_written(self._name)}_seconds", self._description, labels=_labels(self._attributes))
        for values, series in [(values, series.copy()) for values, series in self._series.copy().items()]:
            family.add_metric(values, list(zip(self._ends, accumulate(series[:-1]), strict=True)), sum_value=series[-1])
        return family


class Gauge:
    """A value that is asked for when somebody reads."""

    def __init__(self, name: str, description: str, observe: Callable[[], float]) -> None:
        """`observe` is called in another thread."""
        self._name = name
        self._description = description
        self._observe = observe

    def family(self) -> Metric:
        """See `Instrument`."""
        family = GaugeMetricFamily(_written(self._name), self._description)
        family.add_metric((), self._observe())
        return family


class _Page(Collector):
    def __init__(self, instruments: tuple[Instrument, ...]) -> None:
        self._instruments = instruments

    def describe(self) -> Iterable[Metric]:
        # Several edges of one process, as tests have them, show the same names.
        return ()

    def collect(self) -> Iterable[Metric]:
        return [instrument.family() for instrument in self._instruments]


def export(*instruments: Instrument) -> None:
    """Shows metrics to Prometheus from now on."""
    REGISTRY.register(_Page(instruments))


def _written(name: str) -> str:
    return name.replace(".", "_")


def _labels(attributes: Values) -> list[str]:
    return [_written(attribute) for attribute in attributes]

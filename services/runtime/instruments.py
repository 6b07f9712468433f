"""Counters, histograms and gauges, and the page that Prometheus reads.

A histogram of OpenTelemetry costs 9 us a record, and a page of Prometheus' own client 9 us a line; one of these costs half a
microsecond, and a line a tenth of one, because the text in front of its number is kept. Names and attributes are OpenTelemetry's,
written as its exporter for Prometheus writes them. The page is made in another thread, so counts are copied in one step first.
Values of attributes come from a bounded set: routes, models of the catalog, vendors, reasons; never from a client's text.
OTEL_SDK_DISABLED, OpenTelemetry's own variable, switches them off.
"""

import os
from bisect import bisect_left
from collections.abc import Callable, Mapping
from itertools import accumulate
from typing import Any, Final, Protocol

from prometheus_client import (
    CONTENT_TYPE_LATEST,
    CollectorRegistry,
    GCCollector,
    PlatformCollector,
    ProcessCollector,
    generate_latest,
)

Values = tuple[str, ...]

CONTENT_TYPE: Final = CONTENT_TYPE_LATEST
_IS_OFF: Final = os.environ.get("OTEL_SDK_DISABLED", "").strip().lower() == "true"
_ESCAPED: Final = str.maketrans({"\\": "\\\\", '"': '\\"', "\n": "\\n"})


class Instrument(Protocol):
    """A metric."""

    def text(self) -> str:
        """The metric as it is now, for Prometheus; called in another thread."""
        ...


class _Names(dict[Values, str]):
    """By the values of attributes: the text in front of a number, made when it is first asked for."""

    def __init__(self, name: str, attributes: Values) -> None:
        super().__init__()
        self._name = name
        self._attributes = attributes

    def __missing__(self, values: Values) -> str:
        text = self[values] = _named(self._name, self._attributes, values)
        return text


class _Lines(dict[Values, str]):
    """By the values of attributes: the lines of a histogram's series, with a place for each number."""

    def __init__(self, name: str, attributes: Values, ends: Values) -> None:
        super().__init__()
        self._name = name
        self._attributes = attributes
        self._ends = ends

    def __missing__(self, values: Values) -> str:
        heads = [_named(f"{self._name}_bucket", (*self._attributes, "le"), (*values, end)) for end in self._ends]
        heads += [_named(f"{self._name}_{rest}", self._attributes, values) for rest in ("count", "sum")]
        text = self[values] = "".join([f"{head.replace('%', '%%')}%s\n" for head in heads])
        return text


class Counter:
    """Counts by attributes."""

    def __init__(self, name: str, description: str, attributes: Values) -> None:
        name = f"{_written(name)}_total"
        self._head = _head(name, description, "counter")
        self._names = _Names(name, attributes)
        self._counts: dict[Values, int] = {}
        if _IS_OFF:
            self.add = _nothing  # type: ignore[method-assign]  # the call itself is all that is left

    def add(self, *values: str, count: int = 1) -> None:
        """Counts; `values` are those of the attributes, in their order."""
        self._counts[values] = self._counts.get(values, 0) + count

    @property
    def counts(self) -> Mapping[Values, int]:
        """The counts, by the values of the attributes."""
        return self._counts.copy()

    def text(self) -> str:
        """See `Instrument`."""
        names = self._names
        return self._head + "".join([f"{names[values]}{count}\n" for values, count in self.counts.items()])


class Histogram:
    """Durations, or sizes, by attributes."""

    def __init__(self, name: str, description: str, attributes: Values, bounds: tuple[float, ...], unit: str = "seconds") -> None:
        """`bounds`: upper ends of the buckets in `unit`, each of which belongs to its bucket. `unit` is the end of its name."""
        name = f"{_written(name)}_{unit}" if unit else _written(name)
        self._head = _head(name, description, "histogram")
        self._bounds = bounds
        self._ends: Final = (*(f"{bound:g}" for bound in bounds), "+Inf")
        self._lines = _Lines(name, attributes, self._ends)
        # By the values of the attributes: each bucket's count, and the sum at the end.
        self._series: dict[Values, list[float]] = {}
        # Each series as it was last shown, and its text then: most have not changed since.
        self._told: dict[Values, tuple[list[float], str]] = {}
        if _IS_OFF:
            self.record = _nothing  # type: ignore[method-assign]  # the call itself is all that is left

    def record(self, value: float, *values: str) -> None:
        """Counts a duration or size; `values` are those of the attributes, in their order."""
        series = self._series.get(values)
        if series is None:
            series = self._series[values] = [0] * (len(self._ends) + 1)
        series[bisect_left(self._bounds, value)] += 1
        series[-1] += value

    @property
    def series(self) -> list[Values]:
        """The values of attributes that something was recorded with."""
        return list(self._series)

    def buckets(self, *values: str) -> Mapping[str, float]:
        """By each upper end, the number of records up to it."""
        return dict(zip(self._ends, accumulate(self._series[values][:-1]), strict=True))

    def sum_of(self, *values: str) -> float:
        """The sum of what was recorded."""
        return self._series[values][-1]

    def text(self) -> str:
        """See `Instrument`."""
        return self._head + "".join([self._text(values, series.copy()) for values, series in self._series.copy().items()])

    def _text(self, values: Values, series: list[float]) -> str:
        told = self._told.get(values)
        if told is not None and told[0] == series:
            return told[1]
        *buckets, total = series
        counts = list(accumulate(buckets))
        text = self._lines[values] % (*counts, counts[-1], total)
        self._told[values] = series, text
        return text


Observed = float | Mapping[Values, float]


class Gauge:
    """A value, or values by attributes, asked for when somebody reads."""

    _kind = "gauge"
    _suffix = ""

    def __init__(self, name: str, description: str, observe: Callable[[], Observed], attributes: Values = ()) -> None:
        """`observe` is called in another thread; with attributes it tells the values by theirs."""
        name = _written(name) + self._suffix
        self._head = _head(name, description, self._kind)
        self._names = _Names(name, attributes)
        self._observe = observe

    def text(self) -> str:
        """See `Instrument`."""
        observed = self._observe()
        by_values = observed if isinstance(observed, Mapping) else {(): observed}
        names = self._names
        return self._head + "".join([f"{names[values]}{value}\n" for values, value in by_values.items()])


class Total(Gauge):
    """A count that something else keeps, by attributes or alone."""

    _kind = "counter"
    _suffix = "_total"


def _process_text() -> Callable[[], bytes]:
    registry = CollectorRegistry()
    ProcessCollector(registry=registry)
    PlatformCollector(registry=registry)
    GCCollector(registry=registry)
    return lambda: generate_latest(registry)


_of_process: Final = _process_text()
_shown: Final[list[Instrument]] = []


def export(*instruments: Instrument) -> None:
    """Shows metrics to Prometheus from now on."""
    if not _IS_OFF:
        _shown.extend(instruments)


def page() -> bytes:
    """All metrics of this process, as Prometheus reads them."""
    return "".join([instrument.text() for instrument in list(_shown)]).encode() + _of_process()


def _nothing(*_: Any, **__: Any) -> None:
    """Stands for a method of an instrument that is off."""


def _named(name: str, attributes: Values, values: Values) -> str:
    labels = [f'{_written(attribute)}="{value.translate(_ESCAPED)}"' for attribute, value in zip(attributes, values, strict=True)]
    return f"{name}{{{','.join(labels)}}} " if labels else f"{name} "


def _head(name: str, description: str, kind: str) -> str:
    return f"# HELP {name} {description}\n# TYPE {name} {kind}\n"


def _written(name: str) -> str:
    return name.replace(".", "_")

"""Counters of calls beside those of requests: counts of vendors that can't be true, and vendors' failures by meaning."""

from collections.abc import Iterable
from typing import Final

from opentelemetry import metrics
from opentelemetry.metrics import CallbackOptions, Observation

_DOUBTED: Final = "edge.usage.doubtful"
_FAILED: Final = "edge.vendor.failures"


class CallMetrics:
    """Plain integers that OpenTelemetry copies in one step, because it reads them from another thread."""

    def __init__(self) -> None:
        self._doubted: dict[tuple[str, str], int] = {}
        self._failed: dict[tuple[str, str], int] = {}

    def doubted(self, vendor_id: str, doubt: str) -> None:
        """Counts a vendor's count that could not be true, or is strange but believed (`input_too_small`, `output_above_text`).

        The other doubts: `no_input`, `input_too_large`, `added_too_small`, `output_too_large`, `output_too_small`, `odd`.
        """
        self._doubted[vendor_id, doubt] = self._doubted.get((vendor_id, doubt), 0) + 1

    def failed(self, vendor_id: str, meaning: str) -> None:
        """Counts a failure by its error's meaning (`account` is the operator's own trouble with the vendor), or by the outcome."""
        self._failed[vendor_id, meaning] = self._failed.get((vendor_id, meaning), 0) + 1

    def export(self) -> None:
        """Shows the counts to OpenTelemetry from now on."""
        meter = metrics.get_meter("tokenline.edge")
        meter.create_observable_counter(_DOUBTED, callbacks=[self.doubts], description="Counts of vendors that can't be true")
        meter.create_observable_counter(_FAILED, callbacks=[self.failures], description="Vendors' failures by what they mean")

    def doubts(self, options: CallbackOptions) -> Iterable[Observation]:
        """Counts by vendor and doubt."""
        return [Observation(count, {"vendor": vendor, "doubt": doubt}) for (vendor, doubt), count in list(self._doubted.items())]

    def failures(self, options: CallbackOptions) -> Iterable[Observation]:
        """Counts by vendor and meaning."""
        return [
            Observation(count, {"vendor": vendor, "meaning": meaning}) for (vendor, meaning), count in list(self._failed.items())
        ]

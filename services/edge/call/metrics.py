"""What calls count beside requests: counts of vendors that can't be true, and vendors' failures by what they mean."""

from collections.abc import Iterable
from typing import Final

from opentelemetry import metrics
from opentelemetry.metrics import CallbackOptions, Observation

_DOUBTED: Final = "edge.usage.doubtful"
_FAILED: Final = "edge.vendor.failures"


class CallMetrics:
    """Plain integers on the way, OpenTelemetry only when somebody looks: from another thread, so a copy is made in one step."""

    def __init__(self) -> None:
        self._doubted: dict[tuple[str, str], int] = {}
        self._failed: dict[tuple[str, str], int] = {}

    def doubted(self, vendor_id: str, doubt: str) -> None:
        """A vendor's count could not be true, or is strange and believed all the same (`input_too_small`, `output_above_text`).

        The others: `no_input`, `input_too_large`, `added_too_small`, `output_too_large`, `output_too_small`, `odd`.
        """
        self._doubted[vendor_id, doubt] = self._doubted.get((vendor_id, doubt), 0) + 1

    def failed(self, vendor_id: str, meaning: str) -> None:
        """A vendor did not answer: its error's meaning (`account` is the operator's own trouble with it), or the outcome."""
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

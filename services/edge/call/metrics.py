"""Counters of calls beside those of requests: counts of vendors that can't be true, and vendors' failures by meaning."""

import logging
import time
from collections.abc import Callable, Iterable
from typing import Final

from opentelemetry import metrics
from opentelemetry.metrics import CallbackOptions, Observation

logger = logging.getLogger(__name__)

_DOUBTED: Final = "edge.usage.doubtful"
_FAILED: Final = "edge.vendor.failures"
# Failures that an operator can end, and the advice; said this often for each vendor.
_ADVICE: Final = {
    "account": "refuses our account: look at its secret and its balance there",
    "unreachable": "cannot be reached: look at its address and the network",
}
_ADVICE_S: Final = 60.0


class CallMetrics:
    """Plain integers that OpenTelemetry copies in one step, because it reads them from another thread."""

    def __init__(self, monotonic_s: Callable[[], float] = time.monotonic) -> None:
        self._monotonic_s = monotonic_s
        self._doubted: dict[tuple[str, str], int] = {}
        self._failed: dict[tuple[str, str], int] = {}
        # By vendor and meaning, the time of the last advice.
        self._advised: dict[tuple[str, str], float] = {}

    def doubted(self, vendor_id: str, doubt: str) -> None:
        """Counts a vendor's count that could not be true, or is strange but believed (`input_too_small`, `output_above_text`).

        The other doubts: `no_input`, `input_too_large`, `added_too_small`, `output_too_large`, `output_too_small`, `odd`.
        """
        self._doubted[vendor_id, doubt] = self._doubted.get((vendor_id, doubt), 0) + 1

    def failed(self, vendor_id: str, meaning: str) -> None:
        """Counts a failure by its error's meaning (`account` is the operator's own trouble with the vendor), or by the outcome."""
        self._failed[vendor_id, meaning] = self._failed.get((vendor_id, meaning), 0) + 1
        if (advice := _ADVICE.get(meaning)) is not None:
            now_s = self._monotonic_s()
            if now_s - self._advised.get((vendor_id, meaning), float("-inf")) >= _ADVICE_S:
                self._advised[vendor_id, meaning] = now_s
                logger.warning("vendor %s %s; its calls fail or go to other vendors", vendor_id, advice)

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

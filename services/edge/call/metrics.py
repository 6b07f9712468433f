"""Counts of calls beside those of requests: how they ended, what they used, and what vendors did."""

import logging
import time
from collections.abc import Callable, Sequence
from typing import Final

from services.edge.call.outcome import Ended
from services.runtime.instruments import Counter, Histogram, export
from services.token_classes import TOKEN_CLASSES, Vector
from tokenline.accounting.v1 import accounting_pb2 as pb

logger = logging.getLogger(__name__)

# Failures that an operator can end, and the advice; said this often for each vendor.
_ADVICE: Final = {
    "account": "refuses our account: look at its secret and its balance there",
    "unreachable": "cannot be reached: look at its address and the network",
}
_ADVICE_S: Final = 60.0
# Upper ends in seconds, as OpenTelemetry advises for models.
_BOUNDS_S: Final = (0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28, 2.56, 5.12, 10.24, 20.48, 40.96, 81.92)
_VENDOR: Final = "gen_ai.provider.name"
# An enumeration works its members' values out anew each time.
_WORDS: Final = {ended: ended.value for ended in Ended}


class CallMetrics:
    """The counts of one edge."""

    def __init__(self, monotonic_s: Callable[[], float] = time.monotonic) -> None:
        self._monotonic_s = monotonic_s
        self.calls = Counter("edge.calls", "Calls with a session, by model and by how they ended", ("model", "ended"))
        self.usage = Counter("edge.usage", "Charged usage by model and class, each in its class's measure", ("model", "class"))
        self.refusals = Counter("edge.refusals", "Calls that quota or a limit refused, by the reason", ("reason",))
        self.attempts = Counter("edge.vendor.attempts", "Attempts at vendors by outcome", ("vendor", "outcome"))
        self.failures = Counter("edge.vendor.failures", "Vendors' failures by what they mean", ("vendor", "meaning"))
        self.doubts = Counter("edge.usage.doubtful", "Counts of vendors that can't be true", ("vendor", "doubt"))
        self.first_tokens = Histogram(
            "gen_ai.server.time_to_first_token",
            "Time to the first output of a stream since its vendor was asked",
            (_VENDOR,),
            _BOUNDS_S,
        )
        self.operations = Histogram(
            "gen_ai.client.operation.duration",
            "Time from asking the vendor that answers to the end of its answer",
            (_VENDOR,),
            _BOUNDS_S,
        )
        # By vendor and meaning, the time of the last advice.
        self._advised: dict[tuple[str, str], float] = {}

    def settled(self, model_id: str, ended: Ended, used: Vector, attempts: Sequence[pb.VendorAttempt]) -> None:
        """Counts a call whose charge is known."""
        self.calls.add(model_id, _WORDS[ended])
        for name, count in zip(TOKEN_CLASSES, used, strict=False):
            if count:
                self.usage.add(model_id, name, count=count)
        for attempt in attempts:
            self.attempts.add(attempt.vendor_id, attempt.outcome)

    def doubted(self, vendor_id: str, doubt: str) -> None:
        """Counts a vendor's count that could not be true, or is strange but believed (`input_too_small`, `output_above_text`).

        The other doubts: `no_input`, `input_too_large`, `added_too_small`, `output_too_large`, `output_too_small`, `odd`.
        """
        self.doubts.add(vendor_id, doubt)

    def failed(self, vendor_id: str, meaning: str) -> None:
        """Counts a failure by its error's meaning (`account` is the operator's own trouble with the vendor), or by the outcome."""
        self.failures.add(vendor_id, meaning)
        if (advice := _ADVICE.get(meaning)) is not None:
            now_s = self._monotonic_s()
            if now_s - self._advised.get((vendor_id, meaning), float("-inf")) >= _ADVICE_S:
                self._advised[vendor_id, meaning] = now_s
                logger.warning("vendor %s %s; its calls fail or go to other vendors", vendor_id, advice)

    def export(self) -> None:
        """Shows the counts from now on."""
        export(
            self.calls,
            self.usage,
            self.refusals,
            self.attempts,
            self.failures,
            self.doubts,
            self.first_tokens,
            self.operations,
        )

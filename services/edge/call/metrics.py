"""Counts of calls beside those of requests: how they ended, what they used, and what vendors did."""

import logging
import time
from collections.abc import Callable, Iterable
from typing import Final

from services.edge.call.outcome import Ended
from services.edge.catalog import Route
from services.runtime.instruments import Counter, Histogram, export
from services.token_classes import TOKEN_CLASSES, Vector

logger = logging.getLogger(__name__)

# Failures that an operator can end, and the advice; said this often for each vendor.
_ADVICE: Final = {
    "account": "refuses our account: look at its secret and its balance there",
    "unreachable": "cannot be reached: look at its address and the network",
    "certificate": "shows a certificate that is not taken: look at its validity, and at this machine's clock and authorities",
}
_ADVICE_S: Final = 60.0
# Upper ends in seconds, as OpenTelemetry advises for models.
_BOUNDS_S: Final = (0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28, 2.56, 5.12, 10.24, 20.48, 40.96, 81.92)
# An edge adds some milliseconds; where it adds a second, something waits.
_ADDED_S: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
_OF_MODEL: Final = ("gen_ai.operation.name", "gen_ai.provider.name", "gen_ai.request.model")
# OpenTelemetry's names of what vendors are asked for, by the dialect of the question; the last four are of our own.
_OPERATIONS: Final = {
    "openai_chat": "chat",
    "anthropic_messages": "chat",
    "openai_responses": "chat",
    "openai_completions": "text_completion",
    "openai_embeddings": "embeddings",
    "openai_images": "images",
    "openai_transcriptions": "transcriptions",
    "openai_speech": "speech",
    "rerank": "rerank",
}
# Ends of which the vendor's answer, or its client, has no fault.
_WELL: Final = frozenset({Ended.WHOLE, Ended.CUT, Ended.LIMITED})
# An enumeration works its members' values out anew each time.
_WORDS: Final = {ended: ended.value for ended in Ended}
_ERRORS: Final = {ended: "" if ended in _WELL else ended.value for ended in Ended}


class CallMetrics:
    """The counts of one edge."""

    def __init__(self, monotonic_s: Callable[[], float] = time.monotonic) -> None:
        self._monotonic_s = monotonic_s
        self.calls = Counter("edge.calls", "Calls with a session, by model and by how they ended", ("model", "ended"))
        self.usage = Counter("edge.usage", "Charged usage by model and class, each in its class's measure", ("model", "class"))
        self.refusals = Counter("edge.refusals", "Calls that quota or a limit refused, by the reason", ("reason",))
        self.attempts = Counter(
            "edge.vendor.attempts", "Attempts at vendors by the model there and by outcome", ("vendor", "model", "outcome")
        )
        self.failures = Counter("edge.vendor.failures", "Vendors' failures by what they mean", ("vendor", "meaning"))
        self.doubts = Counter("edge.usage.doubtful", "Counts of vendors that can't be true", ("vendor", "doubt"))
        self.first_tokens = Histogram(
            "gen_ai.server.time_to_first_token",
            "Time to the first output of a stream since its vendor was asked",
            _OF_MODEL,
            _BOUNDS_S,
        )
        self.operations = Histogram(
            "gen_ai.client.operation.duration",
            "Time from asking a vendor to the end of its answer, or to its failure",
            (*_OF_MODEL, "error.type"),
            _BOUNDS_S,
        )
        self.added = Histogram(
            "edge.call.added.duration",
            "Time that the edge and accounting add to a call, before its vendor is asked and at its end",
            ("part",),
            _ADDED_S,
        )
        # By vendor and meaning, the time of the last advice.
        self._advised: dict[tuple[str, str], float] = {}

    def settled(self, model_id: str, ended: Ended, used: Vector, attempts: Iterable[tuple[str, str, str]]) -> None:
        """Counts a call whose charge is known. Attempts: vendor, model there, and outcome, `given_up` for one that we ended."""
        self.calls.add(model_id, _WORDS[ended])
        for name, count in zip(TOKEN_CLASSES, used, strict=False):
            if count:
                self.usage.add(model_id, name, count=count)
        for attempt in attempts:
            self.attempts.add(*attempt)

    def answered(self, route: Route, duration_s: float) -> None:
        """Records the first output of a stream."""
        self.first_tokens.record(duration_s, _operation(route), route.vendor_id, route.model_id)

    def ended(self, route: Route, ended: Ended, duration_s: float) -> None:
        """Records the end of an answer that a vendor began, or was asked for when the call ended."""
        self.operations.record(duration_s, _operation(route), route.vendor_id, route.model_id, _ERRORS[ended])

    def unanswered(self, route: Route, outcome: str, duration_s: float) -> None:
        """Records an attempt that was none."""
        self.operations.record(duration_s, _operation(route), route.vendor_id, route.model_id, outcome)

    def doubted(self, vendor_id: str, doubt: str) -> None:
        """Counts a vendor's count that could not be true, or is strange but believed (`input_too_small`, `output_above_text`).

        The other doubts: `no_input`, `input_too_large`, `added_too_small`, `output_too_large`, `output_too_small`, `odd`.
        """
        self.doubts.add(vendor_id, doubt)

    def failed(self, vendor_id: str, meaning: str, details: str = "") -> None:
        """Counts a failure by its error's meaning (`account` is the operator's own trouble with the vendor), or by the outcome.

        `details` go into the log: never a vendor's words, which may quote a prompt or a secret.
        """
        self.failures.add(vendor_id, meaning)
        if (advice := _ADVICE.get(meaning)) is not None:
            now_s = self._monotonic_s()
            if now_s - self._advised.get((vendor_id, meaning), float("-inf")) >= _ADVICE_S:
                self._advised[vendor_id, meaning] = now_s
                told = f"{advice} ({details})" if details else advice
                logger.warning("vendor %s %s; its calls fail or go to other vendors", vendor_id, told)

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
            self.added,
        )


def _operation(route: Route) -> str:
    return _OPERATIONS.get(route.endpoint.dialect, route.endpoint.dialect)

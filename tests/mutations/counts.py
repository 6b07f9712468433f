"""Faults of what is counted for those on call."""

from typing import Final

from tests.mutations.planting import one

_CALL: Final = "services/edge/call/call.py"
_METRICS: Final = "services/edge/call/metrics.py"
_INSTRUMENTS: Final = "services/runtime/instruments.py"
_COUNTED: Final = "tests/edge/call/test_metrics.py"
_WEIGHTS: Final = "services/accounting/writer/weights.py"
_WEIGHED: Final = "tests/accounting/writer/test_exposure.py"
_READ: Final = "tests/runtime/test_instruments.py"

COUNTS: Final = (
    one("calls are not counted", _METRICS, "        self.calls.add(model_id, _WORDS[ended])\n", "", _COUNTED),
    one("usage is counted by the call", _METRICS, "name, count=count)", "name)", _COUNTED),
    one(
        "refused calls are not counted",
        "services/edge/call/path.py",
        "        self._metrics.refusals.add(",
        "        _ = (",
        _COUNTED,
    ),
    one(
        "the time of the first attempt is counted for the second",
        _CALL,
        "began_s = self._asked_s = time.monotonic()",
        "began_s = time.monotonic()",
        _COUNTED,
    ),
    one(
        "whole answers have a time to their first token",
        _CALL,
        "        if self._request.streamed:\n            self._metrics.answered",
        "        if True:\n            self._metrics.answered",
        _COUNTED,
    ),
    one(
        "a duration at the end of a bucket counts in the next",
        _INSTRUMENTS,
        "series[bisect_left(self._bounds, value)]",
        "series[bisect_left(self._bounds, value + 1e-9)]",
        _READ,
    ),
    one(
        "buckets are not added up",
        _INSTRUMENTS,
        "counts = list(accumulate(buckets))",
        "counts = list(buckets)",
        _READ,
    ),
    one("a hold is no money at risk", _WEIGHTS, "        if bucket.reserved:\n", "        if False:\n", _WEIGHED),
    one(
        "an account on disk weighs what it weighed before it was loaded",
        _WEIGHTS,
        "if account_id not in seen and account_id not in self.touched:",
        "if account_id not in self.touched:",
        _WEIGHED,
    ),
    one(
        "accounts leave memory without having been weighed",
        "services/accounting/writer/partition.py",
        "(dirty, timed, waiting, sending, self.exposure.touched)",
        "(dirty, timed, waiting, sending)",
        _WEIGHED,
    ),
    one(
        "accounts that burn most are those of one owner",
        "services/accounting/rpc/servicer.py",
        "                    burning.add(units, answer)\n",
        "                    pass\n",
        "tests/accounting/cell/test_replicas.py",
    ),
    one("what changed is told as it was", _INSTRUMENTS, "told[0] == series", "told[0] != []", _READ),
    one(
        "a client's own words for a method make series",
        "services/edge/http/metrics.py",
        "method if method in _METHODS else _OTHER_METHOD",
        "method",
        "tests/edge/test_app.py",
    ),
    one(
        "of a header that comes twice the last value holds",
        "services/runtime/http/exchange.py",
        "self._named = dict(reversed(headers))",
        "self._named = dict(headers)",
        "tests/runtime/http/test_exchange.py",
    ),
)

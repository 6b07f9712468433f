"""Faults of a call's counts: the meter, windows, routes that failed, clients that left."""

from typing import Final

from tests.mutations.planting import one

_CALL: Final = "services/edge/call/call.py"
_OUTCOME: Final = "services/edge/call/outcome.py"
_PATH: Final = "services/edge/call/path.py"
_SESSION: Final = "services/edge/call/session.py"
_USAGE: Final = "services/edge/call/usage.py"
_VENDOR_STREAM: Final = "services/edge/call/vendor_stream.py"
_IN_COUNTS: Final = "tests/edge/call/test_counts.py"
_IN_METERING: Final = "tests/edge/call/test_metering.py"
_IN_WINDOWS: Final = "tests/edge/call/test_windows.py"
_IN_ROUTES: Final = "tests/edge/routing/test_routes.py"
_IN_ADMISSION: Final = "tests/edge/call/test_admission.py"

_OF_COUNTS: Final = (
    one(
        "the bound forgets what normalization adds",
        _USAGE,
        "        bytes_bound += sum(map(normalization_bytes, size.texts()))\n",
        "        pass\n",
        _IN_COUNTS,
    ),
    one(
        "an input is read in one round at most",
        _USAGE,
        "else input_max * _ROUNDS_MAX",
        "else input_max",
        _IN_COUNTS,
    ),
    one(
        "the fewest tokens are those of the last run",
        _USAGE,
        "return kept if self._size is NO_TEXT else self._size + kept",
        "return kept",
        _IN_COUNTS,
    ),
    one(
        "an odd count is the vendor's all the same",
        _USAGE,
        '                self._doubt("odd")\n',
        "                pass\n",
        _IN_COUNTS,
    ),
    one(
        "an input that is strangely small is told to nobody",
        _USAGE,
        '                    self._note("input_too_small")\n',
        "                    pass\n",
        _IN_COUNTS,
    ),
    one(
        "a client that leaves twice left the second time",
        _USAGE,
        "        if self._relayed is None:\n            self._relayed, self",
        "        if True:\n            self._relayed, self",
        _IN_COUNTS,
    ),
    one(
        "results that a vendor relays after its count are free",
        _USAGE,
        "        if not self._has_added:\n            return counts\n",
        "        if not self._has_added or self._input_counts is not None:\n            return counts\n",
        _IN_METERING,
    ),
    one(
        "an input that did not grow has the results counted with it",
        _USAGE,
        "        if grown and grown * _MILLI",
        "        if grown * _MILLI",
        _IN_COUNTS,
    ),
    one(
        "any input that has grown has the results counted with it",
        _USAGE,
        "        if grown and grown * _MILLI >= self._added_lowest * _DOUBTED_BELOW_MILLI:",
        "        if grown:",
        _IN_METERING,
    ),
    one(
        "choices that come in turns are one text",
        _USAGE,
        "return _Tally(count) if count is None or choices == 1 else _Choices(count)",
        "return _Tally(count)",
        _IN_COUNTS,
    ),
    one(
        "a step forgets which choice said it",
        "services/edge/dialects/chat/answer.py",
        '        return Step(out, said, thought, 0, calls, "", self._says, self._unfinished <= 0, choice=choice.index)',
        '        return Step(out, said, thought, 0, calls, "", self._says, self._unfinished <= 0)',
        "tests/edge/dialects/test_chat_answer.py",
    ),
    one(
        "n is forgotten where a left answer may be near its end",
        _CALL,
        "self._told * self._request.choices - begun_at > _DRAIN",
        "self._told - begun_at > _DRAIN",
        "tests/edge/call/test_leaving.py",
    ),
    one(
        "n is forgotten where a whole answer may have broken its limit",
        _CALL,
        "if output > with_error(self._told, choices, exact=exact):",
        "if output > with_error(self._told, 1, exact=exact):",
        _IN_METERING,
    ),
    one(
        "a vendor works on until a revoked call is settled",
        _CALL,
        "        if stream is not None:\n            stream.close()\n        if self._asked:",
        "        if self._asked:",
        "tests/edge/call/test_ends.py",
    ),
    one(
        "the coarser of two times to wait holds",
        "services/edge/vendors/http.py",
        "                self.retry_after_ms = _milliseconds(value, 1)\n",
        "                self.retry_after_ms = self.retry_after_ms or _milliseconds(value, 1)\n",
        "tests/edge/vendors/test_http.py",
    ),
    one(
        "trailers of a refusal are of its head",
        "services/edge/vendors/http.py",
        "        if self._status:\n            # Trailers are ignored.\n            return\n",
        "",
        "tests/edge/vendors/test_http.py",
    ),
    one("calls are no output", _USAGE, " or self._opaque_bytes or self._calls or", " or self._opaque_bytes or", _IN_COUNTS),
    one(
        "an answer beyond its limit costs what was held",
        _USAGE,
        "self._within_held(outputs, max(self._output_held(), self.low))",
        "self._within_held(outputs, self._output_held())",
        _IN_COUNTS,
    ),
    one("a count that is handed out again is a new one", _USAGE, " and counted is not self._counted:", ":", _IN_COUNTS),
    one(
        "thought after the last count is forgotten",
        _USAGE,
        "self._since.add(step.said + step.thought)",
        "self._since.add(step.said)",
        _IN_COUNTS,
    ),
    one(
        "a step's calls are forgotten before it is added",
        _USAGE,
        "tokens = step.calls * _HIDDEN_TOKENS_A_CALL + step.opaque_bytes // _OPAQUE_BYTES_A_TOKEN",
        "tokens = step.opaque_bytes // _OPAQUE_BYTES_A_TOKEN",
        _IN_COUNTS,
    ),
    one(
        "what a failed route has said is charged with the next one",
        _CALL,
        "            if failed:\n                self._meter = self._new_meter()\n",
        "",
        _IN_COUNTS,
    ),
    one(
        "n is forgotten where an answer has reached its limit",
        _CALL,
        "output >= self.limit * choices",
        "output >= self.limit",
        _IN_COUNTS,
    ),
    one(
        "what a vendor has counted before any output is forgotten",
        _CALL,
        "        for step in self._held:\n            await self._add(step)\n",
        "",
        _IN_COUNTS,
    ),
    one(
        "a vendor's work for a revoked key is forgotten",
        _CALL,
        "self._meter.used() if self._relayed else self._meter.unpaid() if self._asked else _NOT_USED\n        try",
        "self._meter.used() if self._relayed else _NOT_USED\n        try",
        _IN_COUNTS,
    ),
    one("a vendor that has not answered yet was not asked", _CALL, "        self._asked = True\n", "", _IN_COUNTS),
    one(
        "what a vendor was told is what the client wants",
        _CALL,
        "return self.limit or self._admitted.output_limit",
        "return self._admitted.output_limit",
        _IN_COUNTS,
    ),
    one(
        "an error in the middle is passed over",
        _CALL,
        '        if step.fault is not None:\n            raise VendorFailure("broken", 200, fault=step.fault)\n',
        "",
        _IN_COUNTS,
    ),
    one(
        "an end without an answer is an answer",
        _CALL,
        "        if not self._meter.any_output and not stream.finished:",
        "        if False:",
        _IN_COUNTS,
    ),
    one(
        "all that comes after the end is read",
        _VENDOR_STREAM,
        "            if self._bytes_after_end > _AFTER_END_BYTES:",
        "            if False:",
        _IN_COUNTS,
    ),
    one(
        "half an event at the end breaks an answer",
        _VENDOR_STREAM,
        "            if self._over:\n                # An event at the end",
        "            if False:\n                # An event at the end",
        _IN_COUNTS,
    ),
)

_OF_WINDOWS: Final = (
    one(
        "a renewal that was not answered is not tried again",
        _SESSION,
        "                self._renew_in(_RENEW_AGAIN_S)\n",
        "                pass\n",
        _IN_WINDOWS,
    ),
    one(
        "a renewal stands for a refusal",
        _SESSION,
        "self._exhausted = output_tokens_wanted > before == self.granted",
        "self._exhausted = before == self.granted",
        _IN_WINDOWS,
    ),
    one(
        "a question that was not answered is never forgotten",
        _SESSION,
        "            self._unanswered = False\n            if not",
        "            if not",
        _IN_WINDOWS,
    ),
)

_OF_REFUSALS: Final = (
    one(
        "one busy vendor stands for all",
        _OUTCOME,
        "    if all(each.meaning in (Meaning.RATE",
        "    if any(each.meaning in (Meaning.RATE",
        _IN_ROUTES,
    ),
    one(
        "one vendor out of reach stands for all",
        _OUTCOME,
        '    if all(each.failure.outcome in ("unreachable"',
        '    if any(each.failure.outcome in ("unreachable"',
        _IN_ROUTES,
    ),
    one(
        "a fault's param tells a key",
        _OUTCOME,
        '    param = told(fault.param or "") or None\n',
        "    param = fault.param or None\n",
        _IN_ROUTES,
    ),
    one("an overloaded vendor is a broken one", _OUTCOME, "in (503, 529)", "in (503,)", _IN_ROUTES),
    one(
        "what is free and what is held change places",
        _PATH,
        "quota_held(refused.needed_amount, refused.free_amount, refused.held_amount",
        "quota_held(refused.needed_amount, refused.held_amount, refused.free_amount",
        _IN_ADMISSION,
    ),
)

_OF_HOLDS: Final = (
    one(
        "a balance that others hold is told as used up",
        "services/accounting/core/sessions/refuse.py",
        "held = reserved > 0 and _covers(",
        "held = False and _covers(",
        "tests/journeys/test_bad_input.py",
    ),
    one(
        "the first limit is named, and not the one in the way",
        "services/accounting/core/sessions/refuse.py",
        "unit = next((each for each in units if _covered_without(each, account, need, admission.room, now_us)), units[0])",
        "unit = units[0]",
        "tests/accounting/core/test_limits.py",
    ),
)

_OF_WHOLE_ANSWERS: Final = (
    one(
        "a whole answer may be as long as any",
        _VENDOR_STREAM,
        "await self._vendor.read(self._whole_bytes_max)",
        "await self._vendor.read()",
        _IN_METERING,
    ),
    one(
        "a whole answer has no room for thought that its limit does not count",
        _CALL,
        "            each += self._admitted.model.max_output_tokens\n",
        "            pass\n",
        _IN_METERING,
    ),
    one(
        "a whole answer has no room for our count's error",
        _CALL,
        "self._request.whole_bytes_max(with_error(each, self._request.choices, exact=False))",
        "self._request.whole_bytes_max(each * self._request.choices)",
        _IN_METERING,
    ),
    one(
        "a whole answer has no room for probabilities that were asked for",
        "services/edge/dialects/chat/request.py",
        "TOKEN_BYTES_MAX * (1 + told)",
        "TOKEN_BYTES_MAX",
        "tests/edge/dialects/test_chat_request.py",
    ),
)

METERING: Final = (*_OF_COUNTS, *_OF_WINDOWS, *_OF_REFUSALS, *_OF_HOLDS, *_OF_WHOLE_ANSWERS)

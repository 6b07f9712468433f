"""Faults of a call's path through the edge: admission, routes, metering, settlement, the end of the answer."""

from typing import Final

from tests.mutations.planting import one as _one

_ADMISSION: Final = "services/edge/call/admission.py"
_CALL: Final = "services/edge/call/call.py"
_OUTCOME: Final = "services/edge/call/outcome.py"
_PATH: Final = "services/edge/call/path.py"
_SESSION: Final = "services/edge/call/session.py"
_USAGE: Final = "services/edge/call/usage.py"
_VENDOR_STREAM: Final = "services/edge/call/vendor_stream.py"
_ADMITTED: Final = "tests/edge/call/test_admission.py"
_KINDS: Final = "tests/edge/call/test_kinds.py"
_LEAVING: Final = "tests/edge/call/test_leaving.py"
_LOGS: Final = "tests/edge/call/test_logs.py"
_MATRIX: Final = "tests/edge/call/test_matrix.py"
_METERING: Final = "tests/edge/call/test_metering.py"
_RELEASE: Final = "tests/edge/call/test_release.py"
_USAGES: Final = "tests/edge/call/test_usage.py"
_VENDOR_CONNECTIONS: Final = "tests/edge/call/test_vendor_connections.py"
_WINDOWS: Final = "tests/edge/call/test_windows.py"
_ROUTES: Final = "tests/edge/routing/test_routes.py"


_SETTLING: Final = (
    _one(
        "an answer's end does not wait for its Release",
        _CALL,
        "await self._session.release(self._settlement(ended, used))",
        "self._session.release_later(self._settlement(ended, used))",
        _RELEASE,
    ),
    _one(
        "a revoked key is told before the Release",
        _CALL,
        "await self._session.release(self._settlement(early, used))",
        "self._session.release_later(self._settlement(early, used))",
        _RELEASE,
    ),
    _one(
        "the failure of all routes is told before the Release",
        _CALL,
        "await self._session.release(self._settlement(ended, _NOT_USED))",
        "self._session.release_later(self._settlement(ended, _NOT_USED))",
        _RELEASE,
    ),
    _one(
        "a session is released twice",
        _SESSION,
        "        if not self.released:\n            number, message = self._close(settlement)",
        "        if True:\n            number, message = self._close(settlement)",
        _RELEASE,
    ),
    _one("a shutdown releases at nothing", _CALL, "            if not self._session.released:", "            if False:", _RELEASE),
    _one(
        "a fault of ours before the call leaves the session open",
        _PATH,
        "            session.release_later(_FAILED)",
        "            pass",
        _RELEASE,
    ),
    _one(
        "an Update follows the Release",
        _SESSION,
        "        if self.released:\n            # The session was released before",
        "        if False:\n            # The session was released before",
        _RELEASE,
    ),
    _one("Updates name no vendor", _SESSION, "            update.attempts.extend(self.attempts)\n", "", _WINDOWS),
    _one(
        "what nobody pays for is not reported",
        _SESSION,
        "self._write(settlement.unpaid, message.unpaid)",
        "pass",
        _LEAVING,
    ),
    _one("a revoked key ends as any call", _OUTCOME, "_Row(pb.CLOSE_CAUSE_REVOKED", "_Row(pb.CLOSE_CAUSE_NORMAL", _MATRIX),
)

_ANSWERS: Final = (
    _one(
        "an answer that names no kind is whole",
        _VENDOR_STREAM,
        'named or (streamed and "json" not in named)',
        'named or (streamed and bool(named) and "json" not in named)',
        _KINDS,
    ),
    _one(
        "an answer is of the kind that was asked for, whatever it names",
        _VENDOR_STREAM,
        '"event-stream" in named or (streamed and "json" not in named)',
        "streamed",
        _KINDS,
    ),
    _one(
        "a call waits for the garbage collector with its body",
        _CALL,
        "        self._route = admitted.routes[0]\n",
        "        self._route = admitted.routes[0]\n        self._make = self._new_meter\n",
        "tests/edge/call/test_garbage.py",
    ),
    _one(
        "an event is sent in halves",
        _CALL,
        "                await self._answer.send(events)\n",
        "                await self._answer.send(events[: len(events) // 2])\n"
        "                await self._answer.send(events[len(events) // 2 :])\n",
        _KINDS,
    ),
    _one(
        "events that came together travel alone",
        _CALL,
        "                await self._answer.send(events)\n",
        "                for each in events.split(b'\\n\\n')[:-1]:\n"
        "                    await self._answer.send(each + b'\\n\\n')\n",
        _KINDS,
    ),
    _one(
        "what is covered waits for more quota",
        _CALL,
        "            if out:\n                await self._send(out)\n            with",
        "            with",
        _WINDOWS,
    ),
    _one(
        "an answer that is cut goes on at the vendor",
        _CALL,
        "        stream.close()\n        turn.leave()\n",
        "        turn.leave()\n",
        _RELEASE,
    ),
    _one(
        "a window is asked for when the last one is used up",
        _CALL,
        "            session.ask_for_more()\n",
        "            pass\n",
        _WINDOWS,
    ),
    _one(
        "a grant is not renewed",
        _SESSION,
        "        self._renew_in(granted.validity_ms / 1_000 * _RENEW_AT)",
        "        pass",
        _WINDOWS,
    ),
    _one(
        "Updates report what was not sent",
        _CALL,
        "        self._meter = self._new_meter()\n        # Steps",
        "        self._meter = session.meter = self._new_meter()\n        # Steps",
        _WINDOWS,
    ),
    _one(
        "quota that is held is told as used up",
        _PATH,
        "case pb.RESULT_CODE_QUOTA_LIMIT_REACHED if refused.held:",
        "case pb.RESULT_CODE_QUOTA_LIMIT_REACHED if False:",
        _MATRIX,
    ),
    _one(
        "a limit is told as a quota",
        _PATH,
        "case pb.RESULT_CODE_QUOTA_LIMIT_REACHED if refused.limit_id:",
        "case pb.RESULT_CODE_QUOTA_LIMIT_REACHED if False:",
        _MATRIX,
    ),
)

_ASKED: Final = (
    _one(
        "an input that may fit is refused",
        _ADMISSION,
        "and estimated * 100 > context_tokens * _CONTEXT_PERCENT_MAX:",
        "and estimated > context_tokens:",
        _ADMITTED,
    ),
    _one(
        "windows are reserved where one vendor of several streams",
        _ADMISSION,
        " and all(is_streamed(request, route.endpoint) for route in routes[1:])\n",
        "\n",
        _ADMITTED,
    ),
    _one(
        "n is forgotten where an answer is taken for a small one",
        _ADMISSION,
        "limit * request.choices <= _SMALL_TOKENS",
        "limit <= _SMALL_TOKENS",
        _ADMITTED,
    ),
    _one(
        "an answer with thought beside its limit is taken for a small one",
        _ADMISSION,
        " <= _SMALL_TOKENS and endpoint.limit_counts_reasoning",
        " <= _SMALL_TOKENS",
        _ADMITTED,
    ),
    _one(
        "the calibrated input has no margin",
        _ADMISSION,
        "input_tokens_calibrated=self.tokens.calibrated",
        "input_tokens_calibrated=self.tokens.estimate",
        _ADMITTED,
    ),
    _one(
        "the bound is told as what is expected",
        _ADMISSION,
        "input_tokens_expected=self.tokens.estimate",
        "input_tokens_expected=self.tokens.bound",
        _ADMITTED,
    ),
    _one("a call has no member", _ADMISSION, "            member_id=principal.member_id,\n", "", _ADMITTED),
    _one(
        "a tokenizer that has counted the input is forgotten for the output",
        _ADMISSION,
        "self._replace(tokens=tokens, exact_count=loaded_count(self.model.family.tokenizer))",
        "self._replace(tokens=tokens)",
        _ADMITTED,
    ),
    _one(
        "a call that fits by its tokens goes on with its bytes",
        _PATH,
        "return exact, await self._create(",
        "return admitted, await self._create(",
        _ADMITTED,
    ),
    _one(
        "a call that is refused for its rate is asked for twice",
        _PATH,
        "if isinstance(opened, pb.Granted) or opened.result_code != pb.RESULT_CODE_QUOTA_LIMIT_REACHED:",
        "if isinstance(opened, pb.Granted):",
        _ADMITTED,
    ),
    _one("a call goes on with a cheaper model while quota is held", _PATH, "        or refused.held\n", "", _ADMITTED),
    _one(
        "a call goes on with a cheaper model's name alone",
        _PATH,
        "        admitted = await self._admit(opening.dialect, opening.request, cheaper, opening.principal)\n",
        "        admitted = admitted._replace(model=cheaper)\n",
        _ADMITTED,
    ),
    _one(
        "what to order is not told",
        _PATH,
        'offering.redirect_offering_id if offering else "")',
        '"")',
        _ADMITTED,
    ),
    _one(
        "the calibrated input has no images",
        _USAGE,
        "min(most(size.text) + media.bound + template, bound)",
        "min(most(size.text) + template, bound)",
        _ADMITTED,
    ),
    _one(
        "the calibrated input has no template",
        _USAGE,
        "min(most(size.text) + media.bound + template, bound)",
        "min(most(size.text) + media.bound, bound)",
        _ADMITTED,
    ),
    _one(
        "more input is reserved than a model takes",
        _USAGE,
        "bound = min(bytes_bound + template + media.bound, context_tokens)",
        "bound = bytes_bound + template + media.bound",
        _ADMITTED,
    ),
    _one(
        "what is no text is forgotten beside the tokenizer's count",
        _USAGE,
        "bound = min(tokens + other_bytes + media.bound, measured.bound)",
        "bound = min(tokens + media.bound, measured.bound)",
        _ADMITTED,
    ),
    _one(
        "images are forgotten beside the tokenizer's count",
        _USAGE,
        "bound = min(tokens + other_bytes + media.bound, measured.bound)",
        "bound = min(tokens + other_bytes, measured.bound)",
        _ADMITTED,
    ),
)

_CHOICES: Final = (
    _one(
        "n is forgotten where windows are reserved",
        _ADMISSION,
        "whole = with_error(limit, request.choices, exact",
        "whole = with_error(limit, 1, exact",
        _METERING,
    ),
    _one("n is forgotten where all is reserved", _ADMISSION, "whole = limit * request.choices", "whole = limit", _METERING),
    _one(
        "n is forgotten in the limit that the vendor is told",
        _ADMISSION,
        "within_error(max(granted, payable), request.choices,",
        "within_error(max(granted, payable), 1,",
        _METERING,
    ),
    _one(
        "n is forgotten in the limit that an unmetered vendor is told",
        _ADMISSION,
        "limit = granted // request.choices",
        "limit = granted",
        _METERING,
    ),
    _one(
        "n is forgotten in what is covered where all is reserved",
        _CALL,
        "with_error(granted // choices, choices, exact=self._meter.is_exact)",
        "with_error(granted, choices, exact=self._meter.is_exact)",
        _METERING,
    ),
    _one(
        "n is forgotten where a vendor breaks its limit",
        _CALL,
        "covered = meter.low + meter.lowest_of(step) <= self._told * self._request.choices",
        "covered = meter.low + meter.lowest_of(step) <= self._told",
        _METERING,
    ),
    _one(
        "n is forgotten in all that can be needed",
        _CALL,
        "return with_error(self._told, self._request.choices, exact",
        "return with_error(self._told, 1, exact",
        _METERING,
    ),
    _one(
        "n is forgotten in the counts that can be true",
        _USAGE,
        "max(input_max, output_max) * choices",
        "max(input_max, output_max)",
        _METERING,
    ),
    _one(
        "n is forgotten where an answer is read on",
        _CALL,
        "self._told * self._request.choices - begun_at",
        "self._told - begun_at",
        _METERING,
    ),
)

_COUNTING: Final = (
    _one("an estimate is charged above the hold", _USAGE, "        if above <= 0:\n", "        if True:\n", _WINDOWS),
    _one(
        "input is estimated above what was reserved",
        _USAGE,
        "added = min(added, max(self._input.bound - total_input(counts), self._added_lowest))",
        "pass",
        _METERING,
    ),
    _one("zeros are believed", _USAGE, "        elif output or not self.any_output:", "        else:", _METERING),
    _one(
        "a count that is too small is believed",
        _USAGE,
        "            if output * _MILLI < self._lowest * _DOUBTED_BELOW_MILLI and output < self._own.total:",
        "            if False:",
        _METERING,
    ),
    _one("a huge count is believed", _USAGE, "        if output > self._output_max:", "        if False:", _METERING),
    _one(
        "text after the last count is forgotten",
        _USAGE,
        "return _with_output(counts, since) if since else counts",
        "return counts",
        _METERING,
    ),
    _one(
        "calls have no fewest tokens",
        _USAGE,
        "return self._said.low + thought + self._calls",
        "return self._said.low + thought",
        _METERING,
    ),
    _one(
        "input without a vendor's count is estimated",
        _CALL,
        "if meter.is_input_estimated and (counted",
        "if False and (counted",
        _METERING,
    ),
    _one(
        "an estimate passes for the tokenizer's count",
        _USAGE,
        "inputs = Source.TOKENIZER if self._input.is_exact else Source.ESTIMATE",
        "inputs = Source.TOKENIZER",
        _METERING,
    ),
    _one(
        "an answer that came as one is charged the fewest tokens that it can have",
        _USAGE,
        "if self._output_counts is None and not self._is_whole and",
        "if self._output_counts is None and",
        _METERING,
    ),
    _one("a whole answer that broke its limit ends as any", _CALL, "return Ended.EXCEEDED", "return Ended.WHOLE", _METERING),
    _one(
        "a long text is counted on the event loop",
        _CALL,
        "meter.take_long(await in_thread(meter.count, text))",
        "meter.take_long(meter.count(text))",
        _METERING,
    ),
    _one("frames of calls are an excess", _USAGE, " - self._calls * _FRAME_TOKENS_MAX\n", "\n", _USAGES),
    _one("a count above the text is not noted", _USAGE, 'self._note("output_above_text")', "pass", _METERING),
    _one("opaque bytes are not counted", _USAGE, "        self._opaque_bytes += step.opaque_bytes\n", "", _METERING),
)

_LEAVING_CLIENTS: Final = (
    _one(
        "a part of a token is nothing",
        _USAGE,
        "shares[index] = -(-whole[index] * sent // all_that_came)",
        "shares[index] = whole[index] * sent // all_that_came",
        _LEAVING,
    ),
    _one(
        "reasoning that nobody was shown is shared",
        _USAGE,
        "sent, all_that_came = int(relayed.total > 0), 1",
        "sent, all_that_came = relayed.total, came.total",
        _LEAVING,
    ),
    _one("hidden reasoning is paid where nothing was relayed", _USAGE, "int(relayed.total > 0), 1\n", "1, 1\n", _USAGES),
    _one(
        "an answer is read on without an end",
        _CALL,
        "                    if self._meter.best - begun_at > _DRAIN_TOKENS_MAX:\n                        return\n",
        "",
        _LEAVING,
    ),
    _one("an answer is read on for longer", _CALL, "_DRAIN_S: Final = 2.0", "_DRAIN_S: Final = 4.0", _LEAVING),
    _one(
        "who reads on finds a reader that is over",
        "services/edge/call/vendor_stream.py",
        "            self._pieces = None\n            raise",
        "            raise",
        _LEAVING,
    ),
    _one(
        "the attempt of a client that left is not recorded",
        _CALL,
        '                self._session.attempts.append(_attempt(route, "broken", 0, began_s))\n',
        "",
        _ROUTES,
    ),
    _one(
        "another route is asked as the first one answers",
        _CALL,
        "        streamed = is_streamed(self._request, route.endpoint)\n",
        "        streamed = is_streamed(self._request, self._admitted.routes[0].endpoint)\n",
        _ROUTES,
    ),
    _one(
        "another route is read as the first one answers",
        _CALL,
        "        streamed = is_streamed(self._request, endpoint)\n",
        "        streamed = is_streamed(self._request, self._admitted.routes[0].endpoint)\n",
        _ROUTES,
    ),
    _one(
        "nobody is told of a vendor that refuses our account",
        "services/edge/call/metrics.py",
        '    "account": "refuses our account: look at its secret and its balance there",\n',
        "",
        "tests/edge/call/test_logs.py",
    ),
    _one(
        "each failure of a vendor is a line in the log",
        "services/edge/call/metrics.py",
        "                self._advised[vendor_id, meaning] = now_s\n",
        "",
        "tests/edge/call/test_logs.py",
    ),
    _one(
        "fields that a vendor did not get are not told",
        _CALL,
        '        self._answer.add_header(b"x-dropped-fields", _listed(asked.dropped))\n',
        "        pass\n",
        _ROUTES,
    ),
)

_VENDORS: Final = (
    _one(
        "the next route is tried after a fault of the client",
        _CALL,
        "                if failed[-1].is_clients_fault:\n                    break\n",
        "",
        _ROUTES,
    ),
    _one(
        "a vendor that failed is left open",
        _CALL,
        "                failed.append(self._failed(turn, failure))\n                self._close_stream()\n",
        "                failed.append(self._failed(turn, failure))\n                self._stream = None\n",
        _ROUTES,
    ),
    _one(
        "a vendor's words with our secret are told",
        _OUTCOME,
        "    return any(\n        api_key[start",
        "    return False and any(\n        api_key[start",
        _ROUTES,
    ),
    _one(
        "what is between us and a vendor is told",
        _OUTCOME,
        'return vendor_failed("The model\'s vendor failed to answer.")',
        'return vendor_failed(last.fault.message if last.fault else "")',
        _ROUTES,
    ),
    _one(
        "Anthropic's clients are told of an overload as of any fault",
        "services/edge/dialects/anthropic_messages/problems.py",
        "        return _OVERLOADED\n",
        "        return problem.status\n",
        "tests/edge/dialects/test_anthropic_problems.py",
    ),
    _one(
        "a tool that does not say its type passes for a free one",
        "services/edge/dialects/chat/fields.py",
        "                _require(each, rest[0], free_values, where)\n",
        "                pass\n",
        "tests/edge/dialects/test_chat_request.py",
    ),
    _one(
        "a model of another dialect passes for one without vendors",
        _ADMISSION,
        "        if not targets:\n",
        "        if targets is None:\n",
        _KINDS,
    ),
    _one("a vendor's time to wait is not told", _OUTCOME, "min(waits, default=1_000)", "1_000", _ROUTES),
    _one(
        "an old connection is used again",
        "services/edge/vendors/http.py",
        "if connection.usable and connection.idle_s < _KEEPALIVE_S:",
        "if connection.usable:",
        _VENDOR_CONNECTIONS,
    ),
    _one(
        "the connection of an answer that was left is used again",
        "services/edge/vendors/http.py",
        "        return self.complete and self._keep_alive and",
        "        return self._keep_alive and",
        _VENDOR_CONNECTIONS,
    ),
    _one(
        "a usage after the terminal event is not waited for",
        "services/edge/call/vendor_stream.py",
        "        self.ended = self.ended or step.ended\n",
        "        self.ended = self._over = self.ended or step.ended\n",
        _METERING,
    ),
)

_LOGGED: Final = (
    _one(
        "a key stands in the log",
        "services/edge/identity/principals.py",
        "        digest = sha256(key).digest()\n",
        "        digest = sha256(key).digest()\n        logger.info('resolving %s', key.decode())\n",
        _LOGS,
    ),
    _one(
        "a vendor's words stand in the log",
        _CALL,
        "                failed.append(self._failed(turn, failure))\n",
        "                failed.append(self._failed(turn, failure))\n"
        "                __import__('logging').getLogger('x').debug('%s', failure.body)\n",
        _LOGS,
    ),
    _one(
        "a prompt stands in the log",
        _CALL,
        "        vendor = await self._vendors.post(",
        "        __import__('logging').getLogger('x').debug('%s', asked.body.content)\n        vendor = await self._vendors.post(",
        _LOGS,
    ),
)

CALLS: Final = (*_SETTLING, *_ANSWERS, *_ASKED, *_CHOICES, *_COUNTING, *_LEAVING_CLIENTS, *_VENDORS, *_LOGGED)

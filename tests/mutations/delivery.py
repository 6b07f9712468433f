"""Faults of what connects the edge: vendors' connections, lanes to accounting, the outbox, keys."""

from typing import Final

from tests.mutations.planting import one

_CLIENT: Final = "services/edge/charging/client.py"
_LANE: Final = "services/edge/charging/lane.py"
_OUTBOX: Final = "services/edge/charging/outbox.py"
_PRINCIPALS: Final = "services/edge/identity/principals.py"
_HTTP: Final = "services/edge/vendors/http.py"
_PROFILE: Final = "services/edge/vendors/profile.py"
_IN_PROFILES: Final = "tests/edge/vendors/test_profile.py"
_IN_CONNECTIONS: Final = "tests/edge/call/test_vendor_connections.py"
_IN_LANE: Final = "tests/edge/charging/test_lane.py"
_IN_CHARGING: Final = "tests/edge/test_charging.py"
_IN_OUTBOX: Final = "tests/edge/test_outbox.py"
_IN_PRINCIPALS: Final = "tests/edge/test_principals.py"

_OF_PROFILES: Final = (
    one(
        "a vendor's kind of error is no sign",
        _PROFILE,
        "self.code in (fault.code, fault.kind)",
        "self.code == fault.code",
        _IN_PROFILES,
    ),
    one(
        "a vendor's words are read by case",
        _PROFILE,
        "self.message_part in fault.message.lower()",
        "self.message_part in fault.message",
        _IN_PROFILES,
    ),
    one(
        "a key goes where the vendor does not look",
        _PROFILE,
        "key_in_header=each.authentication == pb.VENDOR_AUTHENTICATION_X_API_KEY",
        "key_in_header=False",
        _IN_PROFILES,
    ),
    one("every vendor is read on", _PROFILE, "            drainable=each.drainable,\n", "", _IN_PROFILES),
    one(
        "every vendor's limit counts thought",
        _PROFILE,
        "            limit_counts_reasoning=each.limit_counts_reasoning,\n",
        "",
        _IN_PROFILES,
    ),
    one(
        "a vendor's own paths of usage are lost",
        _PROFILE,
        "if path.token_class in INDEX\n                ),",
        "if False\n                ),",
        _IN_PROFILES,
    ),
    one(
        "a vendor of an older registry has no endpoint",
        _PROFILE,
        "    for each in vendor.endpoints or _plain():",
        "    for each in vendor.endpoints:",
        _IN_PROFILES,
    ),
    one(
        "a vendor's 429 is our own trouble",
        _PROFILE,
        "            case 408 | 429:\n                return Meaning.RATE_LIMIT",
        "            case 408:\n                return Meaning.RATE_LIMIT",
        _IN_PROFILES,
    ),
)

_OF_CONNECTIONS: Final = (
    one(
        "an earlier vendor's time to wait is told",
        _HTTP,
        'self.content_type, self.packed, self.retry_after_ms = b"", False, 0',
        'self.content_type, self.packed = b"", False',
        _IN_CONNECTIONS,
    ),
    one(
        "an earlier answer was packed, so this one is",
        _HTTP,
        'self.content_type, self.packed, self.retry_after_ms = b"", False, 0',
        'self.content_type, self.retry_after_ms = b"", 0',
        _IN_CONNECTIONS,
    ),
    one(
        "the head of an interim answer is the answer's",
        _HTTP,
        "            self._forget_head()\n",
        "            self._delimited = False\n",
        "tests/edge/vendors/test_http.py",
    ),
    one(
        "a client is sent away for as long as a vendor says",
        _HTTP,
        "min(_RETRY_AFTER_MS_MAX, max(0, round(float(value) * factor)))",
        "max(0, round(float(value) * factor))",
        _IN_CONNECTIONS,
    ),
    one("a vendor's seconds are milliseconds", _HTTP, "_milliseconds(value, 1_000)", "_milliseconds(value, 1)", _IN_CONNECTIONS),
    one(
        "the connection that was idle for longest is taken",
        _HTTP,
        "            connection = connections.pop()\n",
        "            connection = connections.popleft()\n",
        _IN_CONNECTIONS,
    ),
    one(
        "idle connections are kept without end",
        _HTTP,
        "        if len(connections) > _IDLE_CONNECTIONS_MAX:\n            connections.popleft().abort()\n",
        "",
        _IN_CONNECTIONS,
    ),
    one(
        "a connection in plain text serves a call under TLS",
        _HTTP,
        "        return self.host, self.port, self.tls",
        "        return self.host, self.port, True",
        _IN_CONNECTIONS,
    ),
    one(
        "seconds replace a vendor's milliseconds",
        _HTTP,
        "self.retry_after_ms = self.retry_after_ms or _milliseconds(value, 1_000)",
        "self.retry_after_ms = _milliseconds(value, 1_000)",
        _IN_CONNECTIONS,
    ),
)

_OF_LANES: Final = (
    one(
        "a Create that was given up follows its end",
        _CLIENT,
        "            self._unanswered.pop(operation.message.operation_id, None)\n            operation.answered = True\n",
        "            self._unanswered.pop(operation.message.operation_id, None)\n",
        _IN_LANE,
    ),
    one(
        "later classes are sent to members of an earlier release",
        _CLIENT,
        "self._takes_all_classes = pb.FEATURE_TOKEN_CLASSES in response.features",
        "self._takes_all_classes = True",
        _IN_CHARGING,
    ),
    one(
        "an operation of another owner is sent to this one",
        _LANE,
        "if operation.lane is self and not operation.answered:",
        "if not operation.answered:",
        _IN_LANE,
    ),
    one(
        "the stream to a former owner stays open",
        _CLIENT,
        "            self._spawn(self._lanes.pop(address).close())\n",
        "            pass\n",
        _IN_CHARGING,
    ),
    one(
        "a Release that nobody answers never comes to the outbox",
        _CLIENT,
        "            self._to_outbox.add(operation)\n",
        "            pass\n",
        "tests/edge/test_outbox.py",
    ),
    one(
        "what was answered stays in an outbox that could not be written at first",
        _OUTBOX,
        "                    self._delivered[:0] = delivered\n",
        "",
        _IN_OUTBOX,
    ),
    one(
        "all wait no longer than the first of them",
        "services/runtime/timeouts.py",
        "            if deadline_s > loop.time():\n",
        "            if deadline_s > loop.time() + 1_000:\n",
        "tests/runtime/test_timeouts.py",
    ),
    one(
        "a whole answer may have anything beside its text",
        "services/edge/dialects/chat/chunks.py",
        "    if others > METADATA_BYTES_MAX:\n",
        "    if others > 100_000 * METADATA_BYTES_MAX:\n",
        "tests/edge/dialects/test_chat_answer.py",
    ),
    one("who asks a turn later travels alone", _LANE, "_TURNS_GATHERED: Final = 2", "_TURNS_GATHERED: Final = 0", _IN_LANE),
    one(
        "an operation has the number of one that waits",
        _CLIENT,
        "        self._last_operation_id += 1\n        message.operation_id = operation_id = self._last_operation_id\n",
        "        message.operation_id = operation_id = len(self._unanswered) + 1\n",
        _IN_CHARGING,
    ),
    one("what is being written is not known to accounting", _LANE, "                        operation.sent += 1\n", "", _IN_LANE),
)

_OF_OUTBOX: Final = (
    one(
        "a Release that was answered meanwhile stays in the outbox",
        _CLIENT,
        "            if operation.answered:\n                # It was answered meanwhile.\n",
        "            if False:\n                # It was answered meanwhile.\n",
        _IN_OUTBOX,
    ),
    one(
        "a Release that an owner took is not kept",
        _CLIENT,
        "        if self._outbox is not None:\n            self._to_outbox.add(operation)\n",
        "        if self._outbox is not None and operation.lane is None:\n            self._to_outbox.add(operation)\n",
        _IN_OUTBOX,
    ),
    one(
        "what comes together passes the outbox's bound",
        _OUTBOX,
        "        if self._count + self._under_way + len(self._wanted) - len(self._delivered) >= self._releases_max:",
        "        if self._count >= self._releases_max:",
        _IN_OUTBOX,
    ),
    one(
        "what is being written passes the outbox's bound",
        _OUTBOX,
        "        if self._count + self._under_way + len(self._wanted) - len(self._delivered) >= self._releases_max:",
        "        if self._count + len(self._wanted) - len(self._delivered) >= self._releases_max:",
        _IN_OUTBOX,
    ),
    one(
        "a Release that could not be written is kept",
        _OUTBOX,
        "                            kept.set_exception(error)",
        "                            kept.set_result(None)",
        _IN_OUTBOX,
    ),
    one(
        "an outbox that is opened is empty",
        _OUTBOX,
        "return cls(database, releases_max, [each.charging_id for each in left], clock),",
        "return cls(database, releases_max, [], clock),",
        _IN_OUTBOX,
    ),
)

_OF_KEYS: Final = (
    one(
        "a key that was forgotten ends the stream of revocations",
        _PRINCIPALS,
        "            del self._digest_by_key_id[oldest.key_id]\n",
        "            pass\n",
        _IN_PRINCIPALS,
    ),
    one(
        "a key that was refused stays cached",
        _PRINCIPALS,
        "            self._drop(cached.key_id)\n",
        "            pass\n",
        _IN_PRINCIPALS,
    ),
    one(
        "x-api-key goes before a bearer",
        _PRINCIPALS,
        "key = bearer(headers) or _api_key(headers)",
        "key = _api_key(headers) or bearer(headers)",
        _IN_PRINCIPALS,
    ),
    one(
        "a call that has ended is told of revocations",
        _PRINCIPALS,
        "            watching.discard(end)\n            if not",
        "            if not",
        _IN_PRINCIPALS,
    ),
    one(
        "bad keys are remembered without end",
        _PRINCIPALS,
        "self._negative[oldest][0] > now_s and len(self._negative) < _NEGATIVE_KEYS_MAX",
        "self._negative[oldest][0] > now_s",
        _IN_PRINCIPALS,
    ),
)

DELIVERY: Final = (*_OF_PROFILES, *_OF_CONNECTIONS, *_OF_LANES, *_OF_OUTBOX, *_OF_KEYS)

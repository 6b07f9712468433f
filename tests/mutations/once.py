"""Faults of named calls, of what limits and rates leave, of running usage, and of pages from other origins."""

from typing import Final

from tests.mutations.planting import one as _one

_SESSIONS: Final = "services/accounting/core/account/sessions.py"
_REPEATS: Final = "services/accounting/core/sessions/repeats.py"
_CREATE: Final = "services/accounting/core/sessions/create.py"
_COMMANDS: Final = "services/accounting/core/commands.py"
_LIMITS: Final = "services/accounting/core/limits.py"
_FIELDS: Final = "services/accounting/rpc/fields.py"
_ONCE: Final = "services/edge/call/once.py"
_PATH: Final = "services/edge/call/path.py"
_PROBLEMS: Final = "services/edge/http/problems.py"
_USAGE: Final = "services/edge/api/usage.py"
_CHAT: Final = "services/edge/dialects/chat/answer.py"
_ORIGINS: Final = "services/edge/http/cross_origin.py"
_NAMED: Final = "tests/accounting/core/test_once.py"
_LIMITED: Final = "tests/accounting/core/test_limits.py"
_NAMES: Final = "tests/edge/call/test_once.py"
_RATES: Final = "tests/edge/call/test_rates.py"
_LEFT: Final = "tests/edge/test_usage.py"
_RUNNING: Final = "tests/edge/call/test_running_usage.py"
_CHUNKS: Final = "tests/edge/dialects/test_running_usage.py"
_PAGES: Final = "tests/edge/test_cross_origin.py"
_REFUSED: Final = "tests/documents/test_rejections.py"

_NAMED_CALLS: Final = (
    _one(
        "a named call is opened again and again",
        _CREATE,
        "    if name is not None and (called := known_call(account, name)) is not None:\n        return called\n",
        "",
        _NAMED,
    ),
    _one(
        "the name of another key of the account is the same one",
        _COMMANDS,
        'f"{command.key_id}\\x00{command.idempotency_key}"',
        "command.idempotency_key",
        _NAMED,
    ),
    _one("a name with another body is a repeat", _REPEATS, "keyed.content != name.content", "False", _NAMED),
    _one(
        "the name of a call of which nothing was used is not free again",
        _SESSIONS,
        "    if any(last.usage) or last.close_cause == CloseCause.SWEPT:\n",
        "    if True:\n",
        _NAMED,
    ),
    _one("a swept call leaves its name free", _SESSIONS, " or last.close_cause == CloseCause.SWEPT:\n", ":\n", _NAMED),
    _one(
        "an answer that costs nothing leaves its name free",
        _SESSIONS,
        "any(last.usage) or",
        "last.charged or",
        _NAMED,
    ),
    _one(
        "a name is forgotten with its closed session",
        _SESSIONS,
        "(KEYED_MEMORY_US if len(keyed) <= KEYED_MAX else CLOSED_MEMORY_US)",
        "CLOSED_MEMORY_US",
        _NAMED,
    ),
    _one(
        "names are remembered without a bound",
        _SESSIONS,
        "(KEYED_MEMORY_US if len(keyed) <= KEYED_MAX else CLOSED_MEMORY_US)",
        "KEYED_MEMORY_US",
        _NAMED,
    ),
    _one(
        "a name that ended is not put behind those that ended before",
        _SESSIONS,
        "    keyed = account.keyed.pop(call_key)\n",
        "    keyed = account.keyed[call_key]\n",
        _NAMED,
    ),
    _one("a Create is opened whatever its name has in it", _FIELDS, " or _CONTROL.search(key) is not None", "", _REFUSED),
    _one(
        "a name goes without the digest of its content", _ONCE, "        create.content_digest = self.content_digest\n", "", _NAMES
    ),
    _one("a body of another dialect is the same one", _ONCE, 'f"{dialect_name}\\0".encode()', 'b""', _NAMES),
    _one("of two names the first is taken", _ONCE, "len(given) > 1 or ", "", _NAMES),
    _one("a call under way is told as made", _ONCE, "call_in_progress(known.charging_id) if known.is_open else ", "", _NAMES),
    _one(
        "a name never comes to accounting",
        _PATH,
        "            opening.once.write(create)\n",
        "            pass\n",
        _NAMES,
    ),
    _one(
        "the receipt of a repeat has no address",
        _PROBLEMS,
        '((b"location", receipt.encode("ascii")), _NO_RETRY)',
        "(_NO_RETRY,)",
        _NAMES,
    ),
)
_WHAT_IS_LEFT: Final = (
    _one("a rate is told as before the call", _LIMITS, "later.get(rule.name) or account", "account", _LIMITED),
    _one(
        "of several rates the one is told that leaves most",
        _LIMITS,
        "        return min(left, key",
        "        return max(left, key",
        _LIMITED,
    ),
    _one(
        "a rate leaves less than nothing",
        _LIMITS,
        "max(0, rule.tolerance_ns - ahead_ns)",
        "(rule.tolerance_ns - ahead_ns)",
        _LIMITED,
    ),
    _one(
        "a window that is over still counts",
        _LIMITS,
        "if (window := fresh.get(rule.name)) is None:",
        "if rule.name in account.counters:",
        _LIMITED,
    ),
    _one("a refusal for a rate tells no rate", _CREATE, "msgspec.structs.replace(admission, rates=left)", "admission", _LIMITED),
    _one(
        "a refusal leaves out what rates leave",
        _PATH,
        "        opening.tell_rates(opened)\n        return opened\n",
        "        if isinstance(opened, pb.Granted):\n            opening.tell_rates(opened)\n        return opened\n",
        _RATES,
    ),
    _one(
        "times to go are cut and not rounded up",
        "services/edge/dialects/openai.py",
        "divmod(-(-ms // 1_000), 60)",
        "divmod(ms // 1_000, 60)",
        _RATES,
    ),
    _one("what is to come is balance", _USAGE, "        if _us(bucket.valid_from_time) <= now_us:\n", "        if True:\n", _LEFT),
    _one("what was rolled over is of the cycle", _USAGE, " and _us(bucket.valid_from_time) >= begin_us", "", _LEFT),
    _one("a suspended subscription renews", _USAGE, "subscription.state == _ACTIVE and ", "", _LEFT),
)
_TOLD: Final = (
    _one("running usage is that of the vendor", _CHAT, '{**chunk, "usage": usage}', '{"usage": usage, **chunk}', _CHUNKS),
    _one("running usage is told to all", _CHAT, "with_usage if self._options.continuous_usage else None", "with_usage", _CHUNKS),
    _one(
        "running usage leaves out the charge at the end",
        "services/edge/dialects/chat/fields.py",
        "include_usage or continuous_usage, ",
        "include_usage, ",
        _CHUNKS,
    ),
    _one(
        "running usage counts nothing",
        "services/edge/call/call.py",
        "tells_usage(step.out, self._meter.so_far())",
        "tells_usage(step.out, NOTHING)",
        _RUNNING,
    ),
    _one(
        "pages of all origins are answered",
        _ORIGINS,
        "return self._all or origin in self._origins",
        "return self._all or bool(origin)",
        _PAGES,
    ),
    _one(
        "caches mix the answers of origins",
        _ORIGINS,
        'return (b"access-control-allow-origin", origin), _VARIES',
        'return ((b"access-control-allow-origin", origin),)',
        _PAGES,
    ),
    _one("a page cannot read its limits", _ORIGINS, ', (b"access-control-expose-headers", b"*")', ",", _PAGES),
    _one(
        "operators are reached from pages",
        "services/edge/app.py",
        "operators_application(parts, token, clock), metrics, clock)",
        "operators_application(parts, token, clock), metrics, clock, None, CrossOrigin(config.cors_origins))",
        _PAGES,
    ),
    _one(
        "a page cannot read what the listener refuses",
        "services/edge/app.py",
        '            headers += cross_origin.told(next((value for name, value in head if name == b"origin"), b""))\n',
        "            pass\n",
        _PAGES,
    ),
    _one(
        "a refusal in the middle of a body is for nobody's page",
        "services/runtime/http/connection.py",
        "                self._headers = current.headers\n",
        "",
        _PAGES,
    ),
    _one(
        "a refusal of a request that waits is for nobody's page",
        "services/runtime/http/connection.py",
        "self._headers = self._queue.pop().headers",
        "self._queue.pop()",
        _PAGES,
    ),
    _one(
        "an origin with a path is taken and never matches",
        "services/edge/config.py",
        "[^\\s/?#@,;\\\\A-Z*]+",
        "[^\\s?#@,;\\\\A-Z*]+",
        _PAGES,
    ),
)

ONCE: Final = (*_NAMED_CALLS, *_WHAT_IS_LEFT, *_TOLD)

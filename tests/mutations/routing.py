"""Faults of routing: which routes are left out, for how long, and whom that costs what."""

from typing import Final

from tests.mutations.planting import Mutation
from tests.mutations.planting import one as _one

_BREAKER: Final = "services/edge/routing/breaker.py"
_ROUTER: Final = "services/edge/routing/router.py"
_ROOM: Final = "services/edge/routing/places.py"
_CALL: Final = "services/edge/call/call.py"
_BREAKING: Final = "tests/edge/routing/test_breaker.py"
_TIES: Final = "services/edge/routing/affinity.py"
_CHAT: Final = "services/edge/dialects/chat/request.py"
_MESSAGES: Final = "services/edge/dialects/anthropic_messages/request.py"
_PROMPT: Final = "services/edge/dialects/anthropic_messages/prompt.py"
_TIED: Final = "tests/edge/routing/test_affinity.py"
_PLACED: Final = "tests/edge/routing/test_places.py"
_RETRIED: Final = "tests/edge/routing/test_retries.py"
_TALKS: Final = "tests/edge/dialects/test_conversation.py"
_CATALOG: Final = "tests/registry/test_catalog_folder.py"
_HEALTH: Final = "tests/edge/routing/test_health.py"
_OPENED: Final = "tests/edge/routing/test_open_routes.py"
_PROBED: Final = "tests/edge/routing/test_probes.py"
_PACED: Final = "tests/edge/routing/test_pace.py"
_PACE: Final = "services/edge/routing/pace.py"
_OFFERED: Final = "services/edge/catalog.py"
_ADMISSION: Final = "services/edge/call/admission.py"
_REGISTERED: Final = "tests/registry/test_routes.py"
_APP: Final = "services/edge/app.py"
_WIRED: Final = "tests/edge/test_app.py"

_BREAKERS: Final = (
    _one(
        "an answer does not end a row of lost calls",
        _BREAKER,
        "        self._lost_in_a_row = 0\n        if now_s - self._window_s",
        "        if now_s - self._window_s",
        _BREAKING,
    ),
    Mutation(
        "refusals count as lost calls",
        _BREAKER,
        (("        if is_lost:\n", "        if True:\n"), ("        if is_lost and (", "        if (")),
        (_BREAKING,),
    ),
    _one(
        "one lost call opens a breaker although others are answered",
        _BREAKER,
        "now_s - began_s >= SLOW_S and self._answered_s < began_s",
        "now_s - began_s >= SLOW_S",
        _BREAKING,
    ),
    _one("what failed long ago counts as if it were now", _BREAKER, "            self._faults >>= halvings\n", "", _BREAKING),
    _one(
        "all calls are probes",
        _BREAKER,
        "            self._probing = True\n            self._open_until_s = now_s + self._period_s\n",
        "            self._probing = True\n",
        _BREAKING,
    ),
    _one(
        "a probe that does not end closes a route",
        _BREAKER,
        "            if now_s < self._open_until_s or self._is_unasked:\n",
        "            if self._probing or now_s < self._open_until_s or self._is_unasked:\n",
        _BREAKING,
    ),
    _one(
        "answers as the last resort do not show that a route is alive",
        _BREAKER,
        "        self._answered_s = now_s\n        # Nearly",
        "        if not self._is_late(account_id, era):\n            self._answered_s = now_s\n        # Nearly",
        _BREAKING,
    ),
    _one(
        "slow probes are joined by more and more",
        _BREAKER,
        "            if self._probing:\n                self._lengthen()\n",
        "",
        _BREAKING,
    ),
    _one(
        "a probe that is told to wait waits for a period",
        _BREAKER,
        "0.0 if self._probing else self._open_until_s",
        "self._open_until_s",
        _BREAKING,
    ),
    _one("a failed probe opens a breaker for no longer", _BREAKER, "min(2 * self._period_s,", "min(self._period_s,", _BREAKING),
    _one(
        "a breaker that closed begins with a long period",
        _BREAKER,
        "            self._period_s = PERIOD_S\n",
        "",
        _BREAKING,
    ),
    _one(
        "a call from before a breaker opened counts as the probe",
        _BREAKER,
        "        self._era += 1\n",
        "",
        _BREAKING,
    ),
    _one(
        "a vendor's time to wait is shortened by the next one",
        _BREAKER,
        "max(since_s, now_s + wait_s)",
        "now_s + wait_s",
        _BREAKING,
    ),
    _one(
        "a vendor's time to wait is kept for a day",
        _BREAKER,
        "min(wait_s, HOLD_MAX_S if only is None else HOLD_ACCOUNT_MAX_S)",
        "wait_s",
        _BREAKING,
    ),
    _one("one account's lost calls leave a route out for all", _BREAKER, "only = self._lost_by\n", "only = None\n", _BREAKING),
    _one("one account's odd requests leave a route out for all", _BREAKER, "only = self._culprit()\n", "only = None\n", _BREAKING),
    _one(
        "a time to wait that one account brought about is for all",
        _BREAKER,
        "True, account_id if self.is_closed else None\n",
        "True, None\n",
        _BREAKING,
    ),
    _one(
        "a route that two accounts lose is left out for one of them",
        _BREAKER,
        "only if self.is_closed else None, is_costly=was_dead",
        "only, is_costly=was_dead",
        _BREAKING,
    ),
    _one(
        "another account's calls count as the probe",
        _BREAKER,
        "return not self.is_closed and (self._only is None or self._only == account_id)",
        "return not self.is_closed",
        _BREAKING,
    ),
)

_ROUTERS: Final = (
    _one(
        "a left-out route is called first",
        _ROUTER,
        "            is_out = not way.breaker.is_closed and way.breaker.wait_s(account_id, now_s) > 0\n",
        "            is_out = False\n",
        _HEALTH,
    ),
    _one(
        "a fault of the client counts against the route",
        _ROUTER,
        "        if attempt.is_clients_fault:\n",
        "        if False:\n",
        _HEALTH,
    ),
    _one("a vendor's time to wait is not kept", _ROUTER, "        if failure.retry_after_ms:\n", "        if False:\n", _HEALTH),
    _one("a route that costs time is the last resort", _ROUTER, "last_resort and not breaker.is_costly", "last_resort", _HEALTH),
    _one("there is no last resort", _ROUTER, "last_resort and not breaker.is_costly", "False", _HEALTH),
    _one(
        "what is known of a route outlives its address",
        _ROUTER,
        "if kept.get(key) == health.endpoint}",
        "if key in kept}",
        _HEALTH,
    ),
    _one("the end of short times to wait is logged", _ROUTER, "        if health.is_told and ", "        if ", _HEALTH),
    _one(
        "quota is reserved for a call that nobody would answer",
        "services/edge/call/admission.py",
        "    if plan.is_closed and not model.equivalent_model_ids:\n",
        "    if False:\n",
        _HEALTH,
    ),
    _one("a probe that its client left stays the probe", _CALL, "            self._turn.leave()\n", "            pass\n", _HEALTH),
    _one("a stream that breaks off says nothing of its route", _CALL, "            self._turn.failed(failure)\n", "", _HEALTH),
    _one(
        "a whole answer says nothing of its route until its end",
        _CALL,
        "                if not is_noted and",
        "                if False and",
        _HEALTH,
    ),
    _one(
        "a count of tokens keeps the turn of the probe",
        "services/edge/api/token_counts.py",
        "                    turn.leave()\n",
        "                    pass\n",
        _HEALTH,
    ),
)

_AFFINITY: Final = (
    _one(
        "routes of one priority are tried as they are written",
        _ROUTER,
        "        ways = [self.ways[each[4]] for each in order]\n",
        "        ways = self.ways\n",
        _TIED,
    ),
    _one("a tie goes before a priority", _ROUTER, "(is_out, route.priority, cost,", "(is_out, 0, cost,", _TIED),
    _one("weights are not heeded", _TIES, " / weight\n", "\n", _TIED),
    _one(
        "an order that is kept serves every conversation",
        _ROUTER,
        "self._orders.get((id(routes), tie))",
        "next(iter(self._orders.values()), None)",
        _TIED,
    ),
    _one(
        "orders are kept without a bound", _ROUTER, "        if len(self._orders) >= _ORDERS_MAX:\n", "        if False:\n", _TIED
    ),
    _one(
        "orders outlive what is known of their routes",
        _ROUTER,
        "        self._orders.clear()\n\n    def probes",
        "\n    def probes",
        _TIED,
    ),
    _one(
        "a route that is left out is tried as if it were not",
        _ROUTER,
        "if not known.is_cheapest and known.are_closed():",
        "if not known.is_cheapest:",
        _HEALTH,
    ),
    _one("accounts share their ties", _TIES, "crc32(account_id.encode())", "0", _TIED),
    _one(
        "all conversations of an account are tied to one route",
        _ROUTER,
        "tie_of(account_id, conversation())",
        'tie_of(account_id, b"")',
        _TIED,
    ),
    _one(
        "a session that the client names in Anthropic's dialect is no mark",
        _MESSAGES,
        "self._session or mark_of(",
        "mark_of(",
        _TALKS,
    ),
    _one("a session that the client names is no mark", _CHAT, "        if self._session:\n", "        if False:\n", _TALKS),
    _one("a key of a prompt's cache is no mark", _CHAT, 'if is_set(self._fields, "prompt_cache_key"):', "if False:", _TALKS),
    _one(
        "the mark of a chat changes with each message",
        _CHAT,
        "mark_of(self._messages.texts[: self._messages.beginning])",
        "mark_of(self._messages.texts)",
        _TALKS,
    ),
    _one(
        "the mark of a conversation in typed dialects changes with each message",
        "services/edge/dialects/input.py",
        "return self.texts[: self._begun]",
        "return self.texts",
        _TALKS,
    ),
    _one("the system is no part of the mark", _PROMPT, "return system + super()", "return super()", _TALKS),
    _one(
        "instructions are no part of a response's mark",
        "services/edge/dialects/responses/request.py",
        "([instructions] if instructions else []) + self._input",
        "self._input",
        _TALKS,
    ),
    _one(
        "a response's key of its cache is not its mark",
        "services/edge/dialects/responses/request.py",
        "        if type(key) is str:\n            return encode(key)\n",
        "",
        _TALKS,
    ),
    _one("a client's version is part of the mark", _PROMPT, " if not text.startswith(VERSION_TEXT)]", "]", _TALKS),
    _one(
        "the end of a long text is no part of the mark",
        "services/edge/dialects/conversation.py",
        "{text[:_END_CHARACTERS]}{text[-_END_CHARACTERS:]}",
        "{text[:_END_CHARACTERS]}",
        _TALKS,
    ),
    _one(
        "a route of no weight is registered",
        "services/registry/catalog.py",
        "route.weight, 1, WEIGHT_MAX",
        "route.weight, 0, WEIGHT_MAX",
        _CATALOG,
    ),
)

_PLACES: Final = (
    _one(
        "a bound of calls under way is not kept",
        _ROOM,
        "        return 0 < bound <= self.under_way\n",
        "        return False\n",
        _PLACED,
    ),
    _one("any number of calls waits for a place", _ROOM, " and len(self._waiting) >= bound\n", " and False\n", _PLACED),
    _one("a call waits for a place without end", _ROOM, "asyncio.timeout(PLACE_S)", "asyncio.timeout(None)", _PLACED),
    _one(
        "a bound that was lowered is not heeded while calls wait",
        _ROOM,
        "                if self.under_way >= bound:\n                    return\n",
        "",
        _PLACED,
    ),
    _one(
        "each dialect has places of its own",
        _ROUTER,
        "places = self._places.setdefault((route.vendor_id, route.vendor_model_id), Places())",
        "places = Places()",
        _PLACED,
    ),
    _one(
        "a call waits for a place on each route",
        _ROUTER,
        "                self._may_wait = False\n",
        "                pass\n",
        _PLACED,
    ),
    _one(
        "a client that left while it waited is given a place",
        _ROOM,
        "            if not given.done():\n",
        "            if True:\n",
        _PLACED,
    ),
    _one("a place is never given back", _ROUTER, "            self._way.places.give_back()\n", "            pass\n", _PLACED),
    _one("a place is given back twice", _ROUTER, "            self._has_place = False\n", "", _PLACED),
    _one(
        "a place is held until the Release is durable",
        _CALL,
        "        turn.leave()\n        meter = self._meter\n",
        "        meter = self._meter\n",
        _PLACED,
    ),
    _one(
        "clients are told to come at once although all routes are full",
        _ROUTER,
        "way.wait_s(self._account_id, now_s, self._tokens) or _FULL_S",
        "way.wait_s(self._account_id, now_s, self._tokens)",
        _PLACED,
    ),
    _one(
        "a bound below 0 is registered",
        "services/registry/catalog.py",
        "route.edge_concurrency_max, 0, CONCURRENCY_MAX",
        "route.edge_concurrency_max, -1, CONCURRENCY_MAX",
        _CATALOG,
    ),
)

_RETRIES: Final = (
    _one("a call is sent to any number of routes", _ROUTER, "self._attempts >= self._budget.attempts_max or ", "", _RETRIED),
    _one(
        "routes are begun for as long as there are some",
        _ROUTER,
        " or now_s - self._failed_s > self._budget.seconds\n",
        "\n",
        _RETRIED,
    ),
    _one(
        "the time of the first route counts as time for others",
        _ROUTER,
        "            self._failed_s = now_s\n",
        "            pass\n",
        _RETRIED,
    ),
    _one("the configured number of attempts is not heeded", _APP, "RetryBudget(config.attempts_max, ", "RetryBudget(4, ", _WIRED),
    _one("the configured time for attempts is not heeded", _APP, ", config.retry_budget_ms / 1_000)", ")", _WIRED),
)

_OPEN_ROUTES: Final = (
    _one("a dedicated route is sold to others", _OFFERED, "offering_id in self.offering_ids)", "True)", _OPENED),
    _one("data leaves the region that it must stay in", _OFFERED, "(not regions or self.region in regions)", "True", _OPENED),
    _one(
        "a dedicated route of an equivalent model is sold",
        _ADMISSION,
        "                route.is_open_to(offering_id, required)\n",
        "                True\n",
        _OPENED,
    ),
    _one(
        "a model of a dedicated line is listed for all",
        _OFFERED,
        "if offering.offering_id not in only_for}",
        "if not only_for}",
        "tests/edge/test_models.py",
    ),
    _one(
        "what was bought is not listed",
        "services/edge/api/models.py",
        "        for held in (own, *bought):\n",
        "        for held in (own,):\n",
        "tests/edge/test_models.py",
    ),
    _one(
        "a dedicated route is sold to free counts",
        "services/edge/api/token_counts.py",
        "plan.keep(lambda route: route.is_open_to(offering_id, required),",
        "plan.keep(lambda route: True,",
        _OPENED,
    ),
    _one("a preferred region is not preferred", _ROUTER, "        if preferred:\n", "        if False:\n", _OPENED),
    _one(
        "an equivalent model answers without leave",
        _ADMISSION,
        "if offering is None or not (offering.equivalent_models if equivalents is None else equivalents):",
        "if offering is None:",
        _OPENED,
    ),
    _one(
        "a request cannot refuse an equivalent model",
        _ADMISSION,
        "offering.equivalent_models if equivalents is None else equivalents",
        "offering.equivalent_models or equivalents",
        _OPENED,
    ),
    _one(
        "an equivalent model answers that the offering does not include",
        _ADMISSION,
        "other is None or model_id not in offering.prices or",
        "other is None or",
        _OPENED,
    ),
    _one(
        "an equivalent model answers unseen where a window is reserved",
        _ADMISSION,
        "                and (not admitted.metered or is_streamed(admitted.request, route.endpoint))\n",
        "",
        _OPENED,
    ),
    _one(
        "an equivalent model makes more than was reserved",
        _CALL,
        "            limit = self._admitted.output_limit\n",
        "            pass\n",
        _OPENED,
    ),
    _one("the model that answered is not told", _CALL, 'self._answer.add_header(b"x-tokenline-model",', 'bytes(b"",', _OPENED),
    _one(
        "a model that no route answers has no equivalent",
        _ADMISSION,
        "if plan.is_closed and not model.equivalent_model_ids:",
        "if plan.is_closed:",
        _OPENED,
    ),
    _one(
        "a vendor of an equivalent model is owed nothing",
        "services/accounting/core/offerings.py",
        "(model_id, *self._content.equivalents.get(model_id, ()))",
        "(model_id,)",
        "tests/accounting/core/test_vendors_owed.py",
    ),
    _one(
        "an equivalent model of another family is registered",
        "services/registry/catalog.py",
        "elif other.family_id != model.family_id:",
        "elif False:",
        _REGISTERED,
    ),
    _one("the cheapest route is not looked for", _ROUTER, "if self.is_cheapest else 0.0", "if False else 0.0", _TIED),
    _one(
        "prices in other currencies are compared as they are",
        _OFFERED,
        'tier.rates["input"] * factor',
        'tier.rates["input"]',
        _REGISTERED,
    ),
)
_PACES: Final = (
    _one("a minute is half a minute", _PACE, "SLOTS: Final = 121", "SLOTS: Final = 61", _PACED),
    _one("a contract's calls a minute are not counted", _PACE, "calls <= self.calls_max)", "True)", _PACED),
    _one("a contract's tokens a minute are not counted", _PACE, "0 < self.tokens_max >= tokens)", "True)", _PACED),
    _one("a call waits for a minute to pass", _PACE, "        if wait_s > wait_max_s:\n            return None\n", "", _PACED),
    _one(
        "each edge takes the whole of a contract's calls",
        _ROUTER,
        "each // self._edges_max if each",
        "each if each",
        _PACED,
    ),
    _one(
        "a contract is kept for some models of it alone",
        _ROUTER,
        "        for route in routes:\n            self._bounded_places(route)\n",
        "",
        _PACED,
    ),
    _one("tokens count as they were expected", _CALL, "        turn.used(sum(used.charged[:FIRST]))\n", "", _PACED),
    _one(
        "a refused call has used its tokens", _ROUTER, "        if failure.outcome in _NOT_WORKED:\n", "        if False:\n", _PACED
    ),
    _one("the number of edges does not reach the router", _APP, ", edges_max=config.edges_max)", ")", _WIRED),
)

_PROBES: Final = (
    _one(
        "a call is the probe before the vendor was asked",
        _BREAKER,
        "            if now_s < self._open_until_s or self._is_unasked:\n",
        "            if now_s < self._open_until_s:\n",
        _PROBED,
    ),
    _one(
        "a vendor is asked before its time",
        _BREAKER,
        "if not self._is_unasked or now_s < self._open_until_s:",
        "if not self._is_unasked:",
        _PROBED,
    ),
    _one(
        "a vendor is asked as often as it does not answer",
        _BREAKER,
        "            self._lengthen()\n            self._open_until_s = now_s + self._period_s\n\n",
        "            self._open_until_s = now_s + self._period_s\n\n",
        _PROBED,
    ),
    _one(
        "an answer to a question closes a route for good",
        _BREAKER,
        "        self._vouched = False\n        self._only = only\n",
        "        self._only = only\n",
        _PROBED,
    ),
    _one(
        "a vendor is asked because of one account",
        _BREAKER,
        "not self.is_closed and self._only is None\n\n    def answered",
        "not self.is_closed\n\n    def answered",
        _PROBED,
    ),
    _one("a question is asked without the secret", "services/edge/call/probes.py", "endpoint.key_headers)", "[])", _PROBED),
    _one(
        "a question that hangs is waited for",
        "services/edge/call/probes.py",
        "asyncio.timeout(_PROBE_S)",
        "asyncio.timeout(None)",
        _PROBED,
    ),
)

_OF_MINTED_KEYS: Final = (
    _one(
        "a minted key is answered by a model that is not its run's",
        "services/edge/call/path.py",
        "        if principal.is_minted:\n",
        "        if not principal.key_id:\n",
        "tests/edge/routing/test_open_routes.py",
    ),
    _one(
        "a refused key is worth another try",
        "services/edge/http/problems.py",
        '"invalid_api_key", message, headers=((b"www-authenticate", b"Bearer"), _NO_RETRY))',
        '"invalid_api_key", message, headers=((b"www-authenticate", b"Bearer"),))',
        "tests/edge/test_principals.py",
    ),
    _one(
        "the digest of a Create follows the fields that it could have",
        "services/accounting/core/commands.py",
        "        return bytes((_MAP | encoded[2],)) + encoded[3:]\n",
        "        return encoded\n",
        "tests/accounting/journal/test_pinned_journal.py",
    ),
)

ROUTING: Final = (*_OF_MINTED_KEYS, *_PROBES, *_OPEN_ROUTES, *_PACES, *_BREAKERS, *_ROUTERS, *_AFFINITY, *_PLACES, *_RETRIES)

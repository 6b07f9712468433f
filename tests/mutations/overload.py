"""Faults of an overload: each takes out a part of what keeps one account from the others' time."""

from typing import Final

from tests.mutations.planting import Mutation, one

_SHARES: Final = "services/edge/call/shares.py"
_TURNS: Final = "services/edge/call/turns.py"
_IN_SHARES: Final = "tests/edge/call/test_shares.py"
_IN_TURNS: Final = "tests/edge/call/test_turns.py"
_IN_PATH: Final = "tests/edge/call/test_calls_in_turn.py"
_ANSWERS: Final = "services/accounting/writer/answers.py"
_IN_OWNER: Final = "tests/accounting/writer/test_overload.py"
_CLIENT: Final = "services/edge/charging/client.py"
_LANE: Final = "services/edge/charging/lane.py"
_IN_BACKLOG: Final = "tests/edge/charging/test_backlog.py"
_FAIRNESS: Final = "tests/runtime/http/test_fairness.py"
_CELL: Final = "tests/edge/test_overload.py"


def _shares(name: str, before: str, after: str) -> Mutation:
    return one(name, _SHARES, before, after, _IN_SHARES)


def _turns(name: str, before: str, after: str) -> Mutation:
    return one(name, _TURNS, before, after, _IN_TURNS)


def _calls(name: str, before: str, after: str) -> Mutation:
    return one(name, "services/edge/api/calls.py", before, after, _IN_PATH)


def _threads(name: str, before: str, after: str) -> Mutation:
    return one(name, "services/edge/call/threads.py", before, after, "tests/edge/test_threads.py")


def _owner(name: str, before: str, after: str) -> Mutation:
    return one(name, _ANSWERS, before, after, _IN_OWNER)


def _backlog(name: str, file: str, before: str, after: str) -> Mutation:
    return one(name, file, before, after, _IN_BACKLOG)


OVERLOAD: Final = (
    _shares("one account takes all places of an edge", "if not self._free or costs > self._free:", "if not self._free:"),
    _shares("a class costs nothing of the places", "self._costs.get(account_id, 0.0) + cost\n        if", "cost\n        if"),
    _shares(
        "the first calls of an account take turns too",
        "use.under_way + use.ended <= _FREE_USE or (used := use.at(now_s)) <= _FREE_USE",
        "(used := use.at(now_s)) < 0",
    ),
    _shares(
        "whoever calls much is beyond his share", "used * (len(self._uses) - 1) > _FAR_MORE * (self._all.at(now_s) - used)", "True"
    ),
    _shares(
        "a call that has ended counts for nothing",
        "each.ended = each.ended * exp((each.at_s - now_s) / _FADES_S) + cost\n",
        "each.ended = 0.0\n",
    ),
    _shares("a call that has ended counts for ever", "each.ended * exp((each.at_s - now_s) / _FADES_S)", "each.ended"),
    _shares("an account is remembered for ever", "            if now_s - idle_s < _FORGOTTEN_S:\n", "            if True:\n"),
    _shares("an account that calls again is forgotten", "        self._idle.pop(account_id, None)\n", ""),
    _shares("who comes late is served for the time before", "max(self._now, self._ends.get", "max(0.0, self._ends.get"),
    _shares(
        "who comes first has all turns",
        "        self._ends[account_id] = start + cost\n",
        "        self._ends[account_id] = start\n",
    ),
    _shares("who has left has a turn", "            if not call.done():\n", "            if True:\n"),
    _turns("who waits is overtaken by his next call", "bool(line.queue.cost_of(account_id)) or self._shares", "self._shares"),
    _turns("turns are under way side by side", "            line.free -= 1\n            return\n", "            return\n"),
    _turns("a large customer has one turn at a time", "    at_once: int = 8\n", "    at_once: int = 1\n"),
    _turns("questions are under way side by side", "    questions_at_once: int = 1\n", "    questions_at_once: int = 8\n"),
    _turns("questions wait for calls", "self._enter(self._questions, ", "self._enter(self._calls, "),
    _turns("questions that wait have room of their own", "waiting = calls.cost + questions.cost", "waiting = calls.cost"),
    _turns("an account's questions count for nothing where its calls wait", " + questions.cost_of(account_id)", ""),
    _turns("few calls of a large customer may wait", "    waiting_max: float = 1_024.0\n", "    waiting_max: float = 256.0\n"),
    _turns("a turn is waited for too shortly", "    wait_s_max: float = 2.0\n", "    wait_s_max: float = 0.5\n"),
    _turns("a turn that is over goes to nobody", "            given.set_result(None)\n", "            pass\n"),
    _turns("a turn that was given in vain is lost", "                line.pass_on()\n", "                pass\n"),
    _turns("a turn ends twice", "            self._is_begun = False\n            self._line", "            self._line"),
    _turns("a turn lasts as long as its call", "            client.on_opened.append(self.over)\n", ""),
    _turns("a call that fails keeps its turn", "        self.over()\n        self._turns.end", "        self._turns.end"),
    _turns(
        "however many calls of an account wait",
        "own + cost > self._bounds.waiting_max - waiting",
        "waiting > 9_999",
    ),
    _turns(
        "one account's calls fill the queue",
        "own + cost > self._bounds.waiting_max - waiting",
        "waiting + cost > self._bounds.waiting_max",
    ),
    one(
        "what cannot wait is refused after its body",
        _TURNS,
        "        if self._is_full_for(account_id, cost):\n            try:",
        "        if False:\n            try:",
        _IN_PATH,
    ),
    _turns("a call that waits is never given up", "asyncio.timeout(self._bounds.wait_s_max)", "asyncio.timeout(None)"),
    _turns("a call that waits no longer still counts", "            line.queue.left(account_id, cost)\n", "            pass\n"),
    _turns(
        "refusals come as fast as they are asked for",
        "await asyncio.sleep(_SHED_LATE_S_MAX if is_late else self._shedding.take_s(now_s))",
        "await asyncio.sleep(0)",
    ),
    _turns("refusals wait without end", "_SHED_LATE_S_MAX if is_late else self._shedding", "self._shedding"),
    _turns("a call that is shed keeps its body", "if not client.shed():", "if not client._exchange.body_ended:"),
    _turns(
        "a call that was shed keeps its place",
        "            finally:\n                turn.leave()\n",
        "            finally:\n                pass\n",
    ),
    _turns("a call that has ended keeps its place", "        self._places.give_back(account_id, cost)\n\n", "\n"),
    one(
        "what is shed is not counted by class",
        _TURNS,
        "self.shed.add(self._classes.of(account_id).name.lower())",
        "self.shed.add('standard')",
        _IN_TURNS,
    ),
    one(
        "calls begin without turns",
        "services/edge/api/calls.py",
        "                turn = await self._turns.enter(principal.account_id, client)\n",
        "                turn = await type(self._turns)(9_999, self._turns._classes).enter(principal.account_id, client)\n",
        _CELL,
    ),
    _calls(
        "a call takes its turn before its body has come",
        "            content = await client.read_body(self._body_bytes_max, coming, look)\n",
        "            await turn.begin(client)\n            content = await client.read_body(self._body_bytes_max, coming, look)\n",
    ),
    _calls("no call takes a turn", "            await turn.begin(client)\n", ""),
    _calls("a free count has its turn until its vendor has counted", "            turn.over()\n", ""),
    _calls(
        "a body counts no longer once it is read",
        "            del content, body\n",
        "            del content, body\n            coming.hold(0)\n",
    ),
    _calls("what is paid for counts as coming", "            client.on_opened.append(partial(coming.hold, 0))\n", ""),
    one(
        "an account may have any number of counts under way",
        "services/edge/api/token_counts.py",
        "_AT_ONCE: Final = 512\n",
        "_AT_ONCE: Final = 9_999\n",
        _IN_PATH,
    ),
    _threads(
        "an account may have all threads",
        "self._places = Places(count)",
        "self._places = Places(2 * count)",
    ),
    _threads(
        "an account's work goes before that of others",
        "            self._waiting[account_id] = waiting\n",
        "            self._waiting = {account_id: waiting} | self._waiting\n",
    ),
    _threads(
        "work that was given up keeps its thread",
        "                self._over(account_id)\n            raise",
        "                pass\n            raise",
    ),
    _threads("a thread is free before its work has ended", "return await asyncio.shield(under_way)", "return await under_way"),
    one(
        "who leaves while he waits keeps his place",
        _TURNS,
        "        client.watch()\n",
        "",
        "tests/edge/test_readers.py",
    ),
    one(
        "a turn does not end with the opening of its session",
        "services/edge/http/connection.py",
        "            call()\n",
        "            pass\n",
        _IN_PATH,
    ),
    one(
        "a call that has ended is in hand for ever",
        "services/edge/api/calls.py",
        "                    turn.leave()\n",
        "                    pass\n",
        _CELL,
    ),
    one(
        "an edge hears of no class",
        "services/edge/app.py",
        "to_accounting, classes.note)",
        "to_accounting)",
        _CELL,
    ),
    one(
        "the class of an account is that of its first call",
        "services/edge/call/priority.py",
        "        self._offerings.pop(account_id, None)\n",
        "        if account_id in self._offerings:\n            return\n",
        "tests/edge/call/test_priority.py",
    ),
    one(
        "accounts are remembered without a bound",
        "services/edge/call/priority.py",
        "            del self._offerings[next(iter(self._offerings))]\n",
        "            pass\n",
        "tests/edge/call/test_priority.py",
    ),
    _owner("Creates are never shed", "        if type(command) is CreateSession:\n", "        if False:\n"),
    _owner("one account's Creates take the place of all", ">= left\n        return", ">= _WAITING_MAX\n        return"),
    _owner("answers in the commit under way are forgotten", "        self._taken = len(taken)\n", "        self._taken = 0\n"),
    _owner(
        "whose answers are in the commit under way is forgotten",
        "self._of_taken, self._of_waiting = self._of_waiting, {}",
        "self._of_waiting = {}",
    ),
    _owner("Updates are never shed", "return type(command) is UpdateSession and left <= -_WAITING_MAX", "return False"),
    _owner("Updates are shed as early as Creates", "left <= -_WAITING_MAX", "left <= 0"),
    _owner("Releases are shed", "return type(command) is UpdateSession and left", "return left"),
    _owner(
        "answers of a partition that is gone still count",
        "        self._of_waiting = dict(Counter(given[4] for given in self.waiting))\n",
        "",
    ),
    one(
        "answers that were given still count",
        "services/accounting/writer/committer.py",
        "                self._answers.told()\n",
        "",
        _IN_OWNER,
    ),
    _backlog(
        "a lane sends in the order of asking",
        _LANE,
        "                    self._outgoing.sort(key=_rank)\n",
        "                    pass\n",
    ),
    _backlog("a Create waits however many wait before it", _CLIENT, '{"create": 4_096, "update": 8_192}', '{"update": 8_192}'),
    _backlog("an Update waits however many wait before it", _CLIENT, '{"create": 4_096, "update": 8_192}', '{"create": 4_096}'),
    _backlog(
        "a Create that is shed the second time leaves its session",
        _CLIENT,
        "return error.reason == errors_pb2.ERROR_REASON_OVERLOADED and create.sent > 1",
        "return False",
    ),
    _backlog("a Create that was shed is released", _CLIENT, "create.sent > 1", "create.sent > 0"),
    one(
        "who is shed stays known",
        "services/runtime/http/exchange.py",
        "        self._wire.distrust()\n",
        "",
        _FAIRNESS,
    ),
    one(
        "who is shed does not rest",
        "services/runtime/http/connection.py",
        "in_vain = self._told or exchange.in_vain or",
        "in_vain = self._told or",
        _FAIRNESS,
    ),
    one(
        "all requests that come at once are begun at once",
        "services/runtime/http/listener.py",
        "        if self._begun == _BEGUN_AT_ONCE:\n",
        "        if False:\n",
        _FAIRNESS,
    ),
    one(
        "an address's requests are begun before those of the next",
        "services/runtime/http/listener.py",
        "            if waiting:\n                self._to_begin[address] = waiting\n",
        "            if waiting:\n                self._to_begin = {address: waiting, **self._to_begin}\n",
        _FAIRNESS,
    ),
    one(
        "customers come as fast as they can",
        "services/runtime/http/arrivals.py",
        "        self._crowds = _Line(take, self.left, _pace(limits))\n",
        "        self._crowds = _Line(take, self.left, None)\n",
        "tests/runtime/http/test_arrivals.py",
    ),
    one(
        "a customer waits for all that another sends",
        "services/runtime/http/arrivals.py",
        "return self._crowds if self._customers.has_of(address) or self._crowds.has_of(address) else self._customers",
        "return self._crowds",
        "tests/runtime/http/test_arrivals.py",
    ),
    one(
        "messages that come at once on sockets are begun at once",
        "services/runtime/http/websocket.py",
        "        self.wire.stream_begins(self._wake)\n",
        "        self._wake()\n",
        "tests/runtime/http/test_websocket.py",
    ),
    one(
        "a socket that floods goes on",
        "services/edge/api/sockets.py",
        "        if not call.keep_alive:\n",
        "        if False:\n",
        _CELL,
    ),
    one(
        "a call that generates nothing takes no turn",
        "services/edge/api/sockets.py",
        "            return await self._turns.take(self._principal.account_id, client)\n",
        "            return await Turns(9, self._turns._classes).take(self._principal.account_id, client)\n",
        _CELL,
    ),
    one(
        "an idle socket has a place",
        "services/edge/api/calls.py",
        "            await self._sockets(exchange, self, self._turns)\n",
        "            turn = await self._turns.take((await self._principals.resolve(exchange)).account_id, Client(exchange))\n"
        "            await self._sockets(exchange, self, self._turns)\n"
        "            turn.leave()\n",
        _CELL,
    ),
)

"""Faults of an overload: each takes out a part of what keeps one account from the others' time."""

from typing import Final

from tests.mutations.planting import Mutation, one

_SHARES: Final = "services/edge/call/shares.py"
_TURNS: Final = "services/edge/call/turns.py"
_IN_SHARES: Final = "tests/edge/call/test_shares.py"
_IN_TURNS: Final = "tests/edge/call/test_turns.py"
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


def _owner(name: str, before: str, after: str) -> Mutation:
    return one(name, _ANSWERS, before, after, _IN_OWNER)


def _backlog(name: str, file: str, before: str, after: str) -> Mutation:
    return one(name, file, before, after, _IN_BACKLOG)


OVERLOAD: Final = (
    _shares("one account takes all places of an edge", "if not self._free or costs > self._free:", "if not self._free:"),
    _shares("a class costs nothing of the places", "self._costs.get(account_id, 0.0) + cost\n        if", "cost\n        if"),
    _shares("the first calls of an account take turns too", "(used := use.at(now_s)) < _FREE_USE", "(used := use.at(now_s)) < 0"),
    _shares("whoever calls much is beyond his share", "used * len(self._uses) > self._all.at(now_s)", "True"),
    _shares(
        "a call that has ended counts for nothing", "self.ended = self.at(now_s) - self.under_way + cost\n", "self.ended = 0.0\n"
    ),
    _shares("a call that has ended counts for ever", "self.ended * exp((self.at_s - now_s) / _FADES_S)", "self.ended"),
    _shares("an account is remembered for ever", "            if now_s - idle_s < _FORGOTTEN_S:\n", "            if True:\n"),
    _shares("an account that calls again is forgotten", "        self._idle.pop(account_id, None)\n", ""),
    _shares("turns come as fast while the loop is late", "if is_behind or late_s > _LATE_S:", "if is_behind:"),
    _shares("turns come as fast while accounting is behind", "if is_behind or late_s > _LATE_S:", "if late_s > _LATE_S:"),
    _shares("an overload that is over is not forgotten", "        if now_s - self._last_s > _ANEW_S:\n", "        if False:\n"),
    _shares("turns end for good", "max(self.per_second / 2, _PER_SECOND_MIN)", "self.per_second / 2"),
    _shares(
        "turns come ever faster", "min(self.per_second + _MORE_PER_SECOND, _PER_SECOND_MAX)", "self.per_second + _MORE_PER_SECOND"
    ),
    _shares("who comes late is served for the time before", "max(self._now, self._ends.get", "max(0.0, self._ends.get"),
    _shares(
        "who comes first has all turns",
        "        self._ends[account_id] = start + cost\n",
        "        self._ends[account_id] = start\n",
    ),
    _shares("who has left has a turn", "            if not call.done():\n", "            if True:\n"),
    _turns("who waits is overtaken by his next call", "        if self._queue.cost_of(account_id):\n            return True\n", ""),
    _turns(
        "calls wait however long",
        "        if is_too_much and",
        "        if False and",
    ),
    _turns(
        "an account that is left alone is shed",
        "        if is_too_much and self._shares.are_several(self._clock_s()):\n",
        "        if is_too_much:\n",
    ),
    _turns(
        "an account that is left alone waits for turns",
        "if self._shares.are_several(self._clock_s()) else self._clock_s()",
        "",
    ),
    _turns("turns become rare for other programs", "(now_s - max(due_s, began_s)) * ran", "now_s - max(due_s, began_s)"),
    _turns("turns are lost to other programs", "        return due_s + late_s\n", "        return now_s\n"),
    _turns("a call that waits is never given up", "asyncio.timeout(_WAIT_S_MAX)", "asyncio.timeout(None)"),
    _turns("a call that waits no longer still counts", "            queue.left(account_id, cost)\n", "            pass\n"),
    _turns(
        "refusals come as fast as they are asked for",
        "await asyncio.sleep(_SHED_LATE_S_MAX if is_late else self._shedding.take_s(now_s))",
        "await asyncio.sleep(0)",
    ),
    _turns("refusals wait without end", "_SHED_LATE_S_MAX if is_late else self._shedding", "self._shedding"),
    _turns("a call that is shed keeps its body", "if not client.shed():", "if not client._exchange.body_ended:"),
    _turns(
        "a call that was shed keeps its place",
        "            self._places.give_back(account_id, cost)\n            raise\n",
        "            raise\n",
    ),
    _turns("a call that has ended keeps its place", "        self._places.give_back(account_id, cost)\n\n", "\n"),
    one(
        "what is shed is not counted by class",
        _TURNS,
        "        self._shed[name] = self._shed.get(name, 0) + 1\n",
        "        self._shed['standard'] = self._shed.get('standard', 0) + 1\n",
        _IN_TURNS,
    ),
    one(
        "calls begin without turns",
        "services/edge/api/calls.py",
        "                turn = await self._turns.take(principal.account_id, client)\n",
        "                turn = await type(self._turns)(9_999, self._turns._classes, bool).take(principal.account_id, client)\n",
        _CELL,
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
        "what accounting sheds is no sign",
        _CLIENT,
        "                self._shed_s = asyncio.get_running_loop().time()\n",
        "                pass\n",
    ),
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
        "            return await self._turns.take(self._principal.account_id, Client(call))\n",
        "            return await Turns(9, self._turns._classes, bool).take(self._principal.account_id, Client(call))\n",
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

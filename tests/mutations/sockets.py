"""Faults of WebSockets: each takes out a bound, an end, or the charge of a call."""

from typing import Final

from tests.mutations.planting import Mutation

_WEBSOCKET_PY: Final = "services/runtime/http/websocket.py"
_CONNECTION_PY: Final = "services/runtime/http/connection.py"
_LISTENER_PY: Final = "services/runtime/http/listener.py"
_SOCKETS_PY: Final = "services/edge/api/sockets.py"
_CALL_PY: Final = "services/edge/http/socket_call.py"
_CHAIN_PY: Final = "services/edge/dialects/responses/chain.py"


def _frames(name: str, file: str, old: str, new: str) -> Mutation:
    return Mutation(name, file, ((old, new),), ("tests/runtime/http/test_websocket.py",))


def _edge(name: str, file: str, old: str, new: str) -> Mutation:
    return Mutation(name, file, ((old, new),), ("tests/edge/test_sockets.py",))


def _journey(name: str, file: str, old: str, new: str) -> Mutation:
    return Mutation(name, file, ((old, new),), ("tests/journeys/test_sockets.py",))


SOCKETS: Final = (
    Mutation(
        "of two faults in one piece the later is told",
        _WEBSOCKET_PY,
        (
            ("        self._taken_by(frame)\n", ""),
            (
                "        self._protocol.events_received()\n",
                "        for each in self._protocol.events_received():\n            self._take(each)  # type: ignore[arg-type]\n",
            ),
        ),
        ("tests/runtime/http/test_websocket_pieces.py",),
    ),
    _frames(
        "a message on a socket is as large as it likes",
        _WEBSOCKET_PY,
        "super().__init__(Side.SERVER, max_size=message_bytes_max, logger=_library_logger)",
        "super().__init__(Side.SERVER, max_size=None, logger=_library_logger)",
    ),
    _frames(
        "pings come as fast as they like",
        _WEBSOCKET_PY,
        "        if len(frame.data) < _SMALL_BYTES and self._small.take_s(self._loop.time()):\n",
        "        if False:\n",
    ),
    _frames(
        "binary messages are taken for text",
        _WEBSOCKET_PY,
        "        elif frame.opcode is Opcode.BINARY:\n",
        "        elif False:\n",
    ),
    _frames(
        "parts of a message are held without a bound",
        _WEBSOCKET_PY,
        "+ self._parts_bytes + self._waiting_bytes)",
        "+ self._waiting_bytes)",
    ),
    _frames(
        "a message need not be UTF-8",
        _WEBSOCKET_PY,
        "                message.decode()\n",
        "                pass\n",
    ),
    _frames(
        "a second message waits while one is served",
        _WEBSOCKET_PY,
        "        if self._serves or len(self._messages) == _WAITING_MAX:\n",
        "        if len(self._messages) == _WAITING_MAX:\n",
    ),
    _frames(
        "any number of messages waits",
        _WEBSOCKET_PY,
        "        if self._serves or len(self._messages) == _WAITING_MAX:\n",
        "        if self._serves:\n",
    ),
    _frames(
        "bytes of a message that comes are not told",
        _WEBSOCKET_PY,
        "        elif self._tell_held():\n",
        "        elif True:\n",
    ),
    _frames(
        "a message has any time to come",
        _WEBSOCKET_PY,
        "            self.wire.stream_comes(comes=self.is_coming)\n",
        "            pass\n",
    ),
    _frames(
        "half a frame is nothing that comes",
        _WEBSOCKET_PY,
        "        return bool(self._protocol.reader.buffer) or self._protocol.current_size is not None\n",
        "        return self._protocol.current_size is not None\n",
    ),
    _frames(
        "half a message is nothing that comes",
        _WEBSOCKET_PY,
        "        return bool(self._protocol.reader.buffer) or self._protocol.current_size is not None\n",
        "        return bool(self._protocol.reader.buffer)\n",
    ),
    _frames(
        "a client that closes its socket is waited for",
        _WEBSOCKET_PY,
        "        if self._protocol.state is not OPEN:\n            # The client",
        "        if False:\n            # The client",
    ),
    _frames(
        "a client that leaves a socket is not noticed",
        _WEBSOCKET_PY,
        "        exchange.on_gone = self._closes\n",
        "",
    ),
    _frames(
        "a socket that served once is never idle again",
        _WEBSOCKET_PY,
        "            self.busy = False\n            self.wire.stream_idles()\n",
        "            self.busy = False\n",
    ),
    _frames(
        "a socket is idle while it serves",
        _WEBSOCKET_PY,
        "        if not self.busy:\n            self.busy = True\n            self.wire.stream_works()\n",
        "        self.busy = True\n",
    ),
    _frames(
        "a socket goes on after its answer while the server stops",
        _WEBSOCKET_PY,
        "        if self.wire.closes:\n",
        "        if False:\n",
    ),
    _frames(
        "a handshake may have a body",
        _WEBSOCKET_PY,
        "    if exchange.is_http_1_0 or not exchange.body_ended:\n",
        "    if exchange.is_http_1_0:\n",
    ),
    _frames(
        "a handshake may be of HTTP/1.0",
        _WEBSOCKET_PY,
        "    if exchange.is_http_1_0 or not exchange.body_ended:\n",
        "    if not exchange.body_ended:\n",
    ),
    _frames(
        "a wrong handshake is accepted",
        _WEBSOCKET_PY,
        "    if handshake.handshake_exc is not None:\n",
        "    if False:\n",
    ),
    _frames(
        "a socket's address stays a stranger",
        _CONNECTION_PY,
        "        self._know(exchange)\n        self._listener.idles(self)\n        return self\n",
        "        self._listener.idles(self)\n        return self\n",
    ),
    _frames(
        "an idle socket is cut off without a word",
        _CONNECTION_PY,
        "        if self._stream is None:\n            self.drop()\n",
        "        if True:\n            self.drop()\n",
    ),
    _frames(
        "a socket is idle while its message comes",
        _CONNECTION_PY,
        "        elif self._stream.is_coming and not self._listener.closing:\n",
        "        elif False:\n",
    ),
    _frames(
        "a message that is late is no reason to end a socket",
        _CONNECTION_PY,
        '            self._stream.refuse("A message was not complete in time.")\n',
        "",
    ),
    _edge(
        "an answer without its end leaves its client waiting",
        _CALL_PY,
        "        if data:\n            self._socket.done()\n        else:\n            self.cut()\n",
        "        self._socket.done()\n",
    ),
    _edge(
        "a call that is not answered leaves its client waiting",
        _SOCKETS_PY,
        "            if not call.ended:\n                call.cut()\n",
        "",
    ),
    _edge(
        "a call's name is lost on a socket",
        _SOCKETS_PY,
        "            if exchange.value_of(NAME):\n",
        "            if False:\n",
    ),
    _edge(
        "a socket that has gone keeps its conversation's room",
        _SOCKETS_PY,
        "            self._kept.hold(0)\n\n    async def _serve_next",
        "\n    async def _serve_next",
    ),
    _edge(
        "conversations are kept beyond all bounds",
        _SOCKETS_PY,
        "            self._kept.hold(size)\n",
        "            pass\n",
    ),
    _edge(
        "thought without its proof is sent to vendors that kept nothing",
        _CHAIN_PY,
        "for item in told.response.output if _stands_alone(item)",
        "for item in told.response.output",
    ),
    _edge(
        "a socket counts as an answer that takes its time",
        "services/edge/http/metrics.py",
        "        if status != SWITCHING_PROTOCOLS:\n",
        "        if True:\n",
    ),
    _edge(
        "calls on sockets are not counted",
        _SOCKETS_PY,
        "            sockets.metrics.served(",
        "            str.format(",
    ),
    _journey(
        "a key is not asked for at the handshake",
        _SOCKETS_PY,
        "            principal = await self.principals.resolve(exchange)\n",
        '            principal = Principal("key", "member", "account")\n',
    ),
    _journey(
        "a socket outlives its key",
        _SOCKETS_PY,
        "        sockets.principals.watch(self._principal, end)\n",
        "        sockets.principals.watch(self._principal, lambda _: None)\n",
    ),
    _journey(
        "a socket outlives the time of its key",
        _SOCKETS_PY,
        "            self._ending = self._loop.call_at(right_ends_s, self._end, key_ended(_ENDED))\n",
        "            pass\n",
    ),
    _journey(
        "a socket lasts for ever",
        _SOCKETS_PY,
        "        if self._loop.time() > self._until_s:\n",
        "        if False:\n",
    ),
    _journey(
        "a call on a socket lasts for ever",
        _SOCKETS_PY,
        "            self._under_way.on_late(longest_s)\n",
        "            pass\n",
    ),
    _journey(
        "a client that leaves its socket pays to the end",
        _SOCKETS_PY,
        "            self._under_way.lose()\n",
        "            pass\n",
    ),
    _journey(
        "prewarming calls a vendor",
        _SOCKETS_PY,
        "            if asked is not None and not asked.generates:\n",
        "            if False:\n",
    ),
    _journey(
        "a message is read however many values it has",
        _SOCKETS_PY,
        "            await self._sockets.reader.look_at(message)\n",
        "",
    ),
    _journey(
        "messages that come are not counted among bodies",
        _SOCKETS_PY,
        "            self._coming.hold(count)\n",
        "            pass\n",
    ),
    _journey(
        "a call that builds on another one is charged for what is new alone",
        _CHAIN_PY,
        "        items = _joined(self._items_of(fields), _items(fields))\n",
        "        self._items_of(fields)\n        items = _items(fields)\n",
    ),
    _journey(
        "a call may build on any response",
        _CHAIN_PY,
        '        if previous_id == self._kept_id != "":\n',
        "        if True:\n",
    ),
    _journey(
        "a conversation that was not kept is unknown",
        _CHAIN_PY,
        '        if previous_id == self._lost_id != "":\n',
        "        if False:\n",
    ),
    _journey(
        "a failed answer takes the conversation away",
        _CHAIN_PY,
        "        if told.type in TERMINAL and told.response.id:\n",
        "        if True:\n",
    ),
    _journey(
        "a conversation that is prepared may be of any size",
        _SOCKETS_PY,
        "        if len(asked.body) > sockets.rooms.bytes_max:\n",
        "        if False:\n",
    ),
    _journey(
        "a socket ends two seconds after its key",
        _SOCKETS_PY,
        "            self._socket.refuse(problem.message)\n",
        "            self._loop.call_later(2.0, self._socket.refuse, problem.message)\n",
    ),
)

"""Faults of the doors: each takes out a bound of what may come in, or of who may take a place."""

from typing import Final

from tests.mutations.planting import Mutation

_LISTENER: Final = ("tests/runtime/http/test_listener.py",)
_DOORS: Final = ("tests/edge/test_doors.py",)
_LANES: Final = ("tests/edge/charging/test_lane.py",)
_CONNECTION_PY: Final = "services/runtime/http/connection.py"
_ARRIVALS_PY: Final = "services/runtime/http/arrivals.py"
_LISTENER_PY: Final = "services/runtime/http/listener.py"


def _listener(name: str, file: str, old: str, new: str) -> Mutation:
    return Mutation(name, file, ((old, new),), _LISTENER)


def _stop(name: str, file: str, old: str, new: str) -> Mutation:
    return Mutation(name, file, ((old, new),), ("tests/runtime/test_http_stop.py",))


def _fairness(name: str, file: str, old: str, new: str) -> Mutation:
    return Mutation(name, file, ((old, new),), ("tests/runtime/http/test_fairness.py",))


def _arrivals(name: str, old: str, new: str) -> Mutation:
    return Mutation(name, _ARRIVALS_PY, ((old, new),), ("tests/runtime/http/test_arrivals.py",))


DOORS: Final = (
    _arrivals(
        "strangers come as fast as they can",
        "        self._strangers = _Line(take, self.left, _pace(limits))\n",
        "        self._strangers = _Line(take, self.left, None)\n",
    ),
    Mutation(
        "strangers come to an edge as fast as they can",
        "services/edge/config.py",
        (("            strangers_per_second=STRANGERS_PER_SECOND,\n", ""),),
        ("tests/edge/test_strangers.py",),
    ),
    _arrivals(
        "who is known waits behind strangers",
        "        line = self._line_of(address)\n",
        "        line = self._strangers\n",
    ),
    _arrivals(
        "who waits stays a stranger",
        "        for each in self._strangers.without(address):\n",
        "        for each in ():\n",
    ),
    _arrivals(
        "a stranger stays known",
        "        self._known.discard(address)\n",
        "        pass\n",
    ),
    _arrivals(
        "an address's first waits behind others",
        "        if is_first:\n",
        "        if False:\n",
    ),
    _arrivals(
        "an address is served to its end before the next",
        "        if sockets:\n            self._others[address] = sockets\n",
        "        if sockets:\n            self._others = {address: sockets, **self._others}\n",
    ),
    _arrivals(
        "those of one address leave no room for the first of another",
        "(8 if held else 4)",
        "4",
    ),
    _arrivals(
        "customers are refused where strangers wait",
        "        if line is self._strangers and in_all",
        "        if in_all",
    ),
    _arrivals(
        "who comes again is a stranger",
        "return left_s is not None and self._loop.time() - left_s < _REMEMBERED_S",
        "return False",
    ),
    _arrivals(
        "who was known once is known for ever",
        "return left_s is not None and self._loop.time() - left_s < _REMEMBERED_S",
        "return left_s is not None",
    ),
    _arrivals(
        "addresses are remembered without a bound",
        "            del self._remembered[next(iter(self._remembered))]\n",
        "            pass\n",
    ),
    _arrivals(
        "who has left takes a turn",
        "                self._drop_gone()\n",
        "",
    ),
    _arrivals(
        "who waits for his turn is reset with the port",
        "        for line in (self._customers, self._crowds, self._strangers):\n            await line.take_all()\n",
        "",
    ),
    _arrivals(
        "where no file can be opened it is tried on and on",
        "                    self._loop.remove_reader(on)\n",
        "",
    ),
    _fairness(
        "behind a proxy honest clients rest for others",
        _CONNECTION_PY,
        "and not self.beside_known:",
        "and not self.known:",
    ),
    _fairness(
        "a new connection of a proxy rests for others",
        _LISTENER_PY,
        " or self.knows(connection.address) or",
        " or",
    ),
    _fairness(
        "an address is known for ever",
        _LISTENER_PY,
        "        self._known[address] -= 1\n",
        "        pass\n",
    ),
    _listener(
        "a head may be as large as it likes",
        _CONNECTION_PY,
        "            if self._silent_bytes > self._listener.limits.head_bytes_max:\n",
        "            if self._silent_bytes > self._listener.limits.head_bytes_max and not self._in_head:\n",
    ),
    _listener(
        "trailers are bounded in number alone",
        _CONNECTION_PY,
        "            if self._silent_bytes > self._listener.limits.head_bytes_max:\n",
        "            if self._silent_bytes > self._listener.limits.head_bytes_max and self._coming is None:\n",
    ),
    _listener(
        "trailers come among the headers",
        _CONNECTION_PY,
        "        # Trailers are not among a request's headers.\n        self._headers = []\n",
        "",
    ),
    _listener(
        "who stops reading is waited for at the first time alone",
        _CONNECTION_PY,
        "        self._writable = asyncio.Event()\n        self._listener",
        "        self._writable = self._writable or asyncio.Event()\n        self._listener",
    ),
    _listener(
        "who was slow once is cut off later",
        _CONNECTION_PY,
        "        self.congested = False\n        if self._writable is not None:\n            self._writable.set()\n\n    # Reading",
        "        if self._writable is not None:\n            self._writable.set()\n\n    # Reading",
    ),
    Mutation(
        "a vendor's events are taken as fast as they come",
        "services/edge/http/stream.py",
        (("        if exchange.congested:\n            await exchange.drained()\n", ""),),
        ("tests/edge/http/test_stream.py",),
    ),
    _listener(
        "headers in any number",
        _CONNECTION_PY,
        "        if len(headers) > self._listener.limits.headers_max:\n",
        "        if len(headers) > 100 * self._listener.limits.headers_max:\n",
    ),
    _listener(
        "half a head is waited for as long as it takes",
        _CONNECTION_PY,
        "        elif self._in_head and self._current is None:\n            self._listener.await_head(self)\n",
        "        elif self._in_head and self._current is None:\n            self._listener._heads.pop(self, None)\n",
    ),
    _listener(
        "a byte of a body begins its time anew",
        _LISTENER_PY,
        "        if connection not in self.bodies:\n            self.bodies[connection] = self._loop.time()\n",
        "        self.bodies.pop(connection, None)\n        self.bodies[connection] = self._loop.time()\n",
    ),
    _listener(
        "a connection that was answered stays for ever",
        _LISTENER_PY,
        "        self._idle[connection] = self._loop.time()\n",
        "        self._idle[connection] = float('inf')\n",
    ),
    _listener(
        "an address may hold all connections",
        _ARRIVALS_PY,
        "        if held >= limits.connections_per_address_max:\n",
        "        if held >= limits.connections_max:\n",
    ),
    _listener(
        "at the limit a client that asks makes way for one that did not",
        _LISTENER_PY,
        "return next(iter(self._heads), None) or next(iter(self._idle), None) or",
        "return next(iter(self._idle), None) or next(iter(self._heads), None) or",
    ),
    _listener(
        "an answer that has no body by its status has one",
        "services/runtime/http/exchange.py",
        "_BODILESS: Final = (204, 304)",
        "_BODILESS: Final = (204,)",
    ),
    _listener(
        "an empty part of an answer ends it",
        "services/runtime/http/exchange.py",
        "        elif self._chunked and data:\n",
        "        elif self._chunked:\n",
    ),
    _listener(
        "who waits for a client to read waits on when it is gone",
        _CONNECTION_PY,
        "            self._writable.set()\n        self._lose_all()",
        "            pass\n        self._lose_all()",
    ),
    _listener(
        "no HTTP is dropped for as long as it comes",
        _CONNECTION_PY,
        "_DROPPED_NONSENSE_BYTES_MAX if self._told else _DROPPED_BYTES_MAX",
        "_DROPPED_BYTES_MAX",
    ),
    _fairness(
        "a listener that stops waits for those whom it turns away",
        "services/runtime/http/arrivals.py",
        "        while self._turned_away:\n            self._turned_away.popleft()[1].close()\n        last",
        "        last",
    ),
    Mutation(
        "strangers pass as known",
        "services/edge/identity/principals.py",
        (
            (
                "        principal = await self._resolve(exchange)\n        note(",
                "        exchange.known = True\n        principal = await self._resolve(exchange)\n        note(",
            ),
        ),
        ("tests/edge/test_malformed_http.py",),
    ),
    Mutation(
        "accounts that hold no bodies are remembered",
        "services/edge/http/bodies.py",
        (("        if left:\n", "        if left >= 0:\n"),),
        ("tests/edge/http/test_bodies.py",),
    ),
    _listener(
        "who only ends keeps his place",
        _LISTENER_PY,
        "        for ending in islice(self._ending, _ENDING_LOOKED_AT):\n",
        "        for ending in ():\n",
    ),
    _listener(
        "who has not got all of his last answer makes way",
        _LISTENER_PY,
        "            if not ending.untaken_bytes:\n",
        "            if True:\n",
    ),
    _listener(
        "one that ends and has not got all keeps the places of others that end",
        _LISTENER_PY,
        "            if not ending.untaken_bytes:\n                return ending\n",
        "            if not ending.untaken_bytes:\n                return ending\n            break\n",
    ),
    _listener(
        "an edge full of those who only end is not ready",
        _LISTENER_PY,
        "bool(self._ending or self._heads or self._idle))",
        "bool(self._heads or self._idle))",
    ),
    _listener(
        "a client that sends no more is refused its answer for what it sent behind it",
        _CONNECTION_PY,
        "        ends = self._over and not self._refusal\n",
        "        ends = self._over\n",
    ),
    _listener(
        "HTTP/1.0 is told to go on",
        _CONNECTION_PY,
        '            elif name == b"expect" and not exchange.is_http_1_0:\n',
        '            elif name == b"expect":\n',
    ),
    _listener(
        "chunks are taken from HTTP/1.0",
        _CONNECTION_PY,
        "    if exchange.is_http_1_0:\n",
        "    if exchange.is_http_1_0 and not exchange.keep_alive:\n",
    ),
    _listener(
        "a client that takes nothing stays",
        _LISTENER_PY,
        "(limits.write_s if left else _LINGER_S)",
        "(limits.answer_s if left else _LINGER_S)",
    ),
    _listener(
        "a client that takes a little is cut off",
        _LISTENER_PY,
        "                self._writing[connection] = (now_s, left)\n",
        "                self._writing[connection] = (since_s, left)\n",
    ),
    _listener(
        "an answer may last for ever",
        _LISTENER_PY,
        "_since(self._answers, now_s - limits.answer_s, left)",
        "_since(self._answers, now_s - 100 * limits.answer_s, left)",
    ),
    _listener(
        "last words may last for ever",
        _LISTENER_PY,
        "        for connection in _since(self._late, now_s - limits.last_words_s, left):\n",
        "        for connection in ():\n",
    ),
    _listener(
        "the longest answer is cut off without a word",
        _LISTENER_PY,
        "            if connection.end_late_answer(limits.answer_s):\n",
        "            if False:\n",
    ),
    _listener(
        "a connection whose last words came in time is cut off",
        _LISTENER_PY,
        "        self._answers.pop(connection, None)\n        self._late.pop(connection, None)\n",
        "        self._answers.pop(connection, None)\n",
    ),
    _listener(
        "who asks on and on has no longest answer",
        _LISTENER_PY,
        "        self._answered(connection)\n        self._answers[connection] = self._loop.time()\n",
        "        self._answers[connection] = self._loop.time()\n",
    ),
    Mutation(
        "the longest answer of a call is cut off without a word",
        "services/edge/http/connection.py",
        (("        self._exchange.on_late = self._late\n", ""),),
        _DOORS,
    ),
    Mutation(
        "a client that left is not seen after a wait within another",
        "services/edge/http/connection.py",
        (("        self._depth -= 1\n", "        self._depth = 0\n"),),
        ("tests/edge/call/test_leaving.py",),
    ),
    Mutation(
        "a call that takes too long is closed as revoked",
        "services/edge/call/call.py",
        (("Ended.TOO_LONG if isinstance(error, TooLongError) else Ended.REVOKED", "Ended.REVOKED"),),
        ("tests/edge/call/test_ends.py",),
    ),
    _listener(
        "a body that nobody reads is taken",
        _CONNECTION_PY,
        "            if self._coming.unread > _UNREAD_BYTES_MAX and not self._coming.is_read:\n",
        "            if self._coming.unread > 1_000 * _UNREAD_BYTES_MAX and not self._coming.is_read:\n",
    ),
    _listener(
        "each malformed request is logged",
        _LISTENER_PY,
        "        self._refused += 1\n",
        "        self._refused += 1\n        logger.warning('refused 1 request; %s', example)\n",
    ),
    _listener(
        "a half-closed client counts as gone",
        _CONNECTION_PY,
        "        if current is None or self._coming is not None or ends or (",
        "        if True or current is None or self._coming is not None or ends or (",
    ),
    _listener(
        "a client that has left is not looked for",
        _CONNECTION_PY,
        "        self._look_after(_PROBE_S)\n",
        "",
    ),
    _listener(
        "a request to upgrade loses its body",
        _CONNECTION_PY,
        "        if upgrades and has_body:\n            self._upgraded = exchange\n",
        "",
    ),
    _listener(
        "an answer is cut off by what stands behind its request",
        _CONNECTION_PY,
        "            self._refusal = status\n",
        "            self._refusal = status\n            self.close()\n",
    ),
    _stop(
        "an answer of a server that stops does not say that its connection ends",
        _CONNECTION_PY,
        "        return self._listener.closing or ((self._over",
        "        return ((self._over",
    ),
    _stop(
        "clients are told to close when the notice is over",
        _LISTENER_PY,
        "            listener.closing = True\n            await asyncio.sleep(notice_s)\n",
        "            await asyncio.sleep(notice_s)\n            listener.closing = True\n",
    ),
    _stop(
        "nobody is taken from the signal on",
        _LISTENER_PY,
        "            await asyncio.sleep(notice_s)\n",
        "",
    ),
    _stop(
        "the port stays open while answers end",
        _LISTENER_PY,
        "            last_came = await listener.stop_listening()\n",
        "            last_came = False\n",
    ),
    _stop(
        "what is on its way when the port closes is not read",
        _LISTENER_PY,
        "            await asyncio.sleep(_LAST_REQUESTS_S if last_came else min(notice_s, _LAST_REQUESTS_S))\n",
        "",
    ),
    _stop(
        "answers are cut off when the port closes",
        _LISTENER_PY,
        "            await asyncio.wait(self._tasks, timeout=drain_s)\n",
        "            await asyncio.wait(self._tasks, timeout=0)\n",
    ),
    _stop(
        "what does not end in time is waited for",
        _LISTENER_PY,
        "            await asyncio.wait(self._tasks, timeout=drain_s)\n",
        "            await asyncio.wait(self._tasks)\n",
    ),
    _listener(
        "connections without a request are waited for",
        _LISTENER_PY,
        "        for connection in (*self._idle, *self._heads):\n            connection.end_idle()\n",
        "",
    ),
    _listener(
        "who waits in the kernel is reset with the port",
        _ARRIVALS_PY,
        "        for came, peer in _in_kernel(on):\n",
        "        for came, peer in ():\n",
    ),
    _listener(
        "who came last has no time to ask",
        _LISTENER_PY,
        "_LAST_REQUESTS_S if last_came else min",
        "min",
    ),
    Mutation(
        "an edge that will stop is ready",
        _LISTENER_PY,
        (("        serving = not self.closing and self._arrivals", "        serving = self._arrivals"),),
        ("tests/edge/test_app.py",),
    ),
    Mutation(
        "an owner that the config does not reach fills the log",
        "services/edge/charging/lane.py",
        (("            await asyncio.sleep(_EXPLAIN_S)\n", "            await asyncio.sleep(_RECONNECT_S_MIN)\n"),),
        _LANES,
    ),
    Mutation(
        "a lane without certificates breaks the stream of owners",
        "services/edge/charging/lane.py",
        (("        except ConfigError as error:\n", "        except ZeroDivisionError as error:\n"),),
        _LANES,
    ),
    Mutation(
        "a stream of owners that breaks is asked for without a pause",
        "services/edge/charging/client.py",
        (("            backoff_s = min(2 * backoff_s, _RECONNECT_S_MAX)\n", ""),),
        _LANES,
    ),
    _listener(
        "many addresses take more places than there are",
        _LISTENER_PY,
        "        if len(self._connections) >= self.limits.connections_max:\n",
        "        if len(self._connections) >= 3 * self.limits.connections_max:\n",
    ),
    _listener(
        "open files stay as they were",
        "services/runtime/open_files.py",
        "        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))\n",
        "        hard = soft\n",
    ),
    Mutation(
        "nobody can ask without a key whether it is there",
        "services/edge/http/answers.py",
        (
            (
                '            elif path == "/" and exchange.method == "HEAD":\n',
                '            elif path == "/health" and exchange.method == "HEAD":\n',
            ),
        ),
        ("tests/edge/test_app.py",),
    ),
    Mutation(
        "sockets between services stand where others may enter",
        "services/cli/embedded.py",
        (("        yield Path(folder)\n", "        Path(folder).chmod(0o755)\n        yield Path(folder)\n"),),
        ("tests/cli/test_embedded.py",),
    ),
    Mutation(
        "an edge does not say which port is taken",
        "services/edge/app.py",
        (('            raise OSError(f"for operators, admin_port: {error}") from error\n', "            raise\n"),),
        ("tests/edge/test_app.py",),
    ),
    Mutation(
        "values of a body are not counted",
        "services/edge/api/reading.py",
        (("        if not self.counting.add(piece):\n", "        if not self.counting.add(piece) and False:\n"),),
        _DOORS,
    ),
    Mutation(
        "an account may hold as many bytes as all",
        "services/edge/http/bodies.py",
        (("        if of_account > self._account_bytes_max:\n", "        if of_account > self._bytes_max:\n"),),
        ("tests/edge/http/test_connection.py",),
    ),
    Mutation(
        "bodies stay counted after they were read",
        "services/edge/http/bodies.py",
        (("        if self._bytes:\n            self._bodies.remove", "        if error:\n            self._bodies.remove"),),
        ("tests/edge/http/test_connection.py",),
    ),
    Mutation(
        "what can be no key reaches authentication",
        "services/edge/identity/principals.py",
        (("        if parse_key(text) is None:\n", "        if False:\n"),),
        ("tests/edge/test_principals.py",),
    ),
    Mutation(
        "calls wait for authentication in any number",
        "services/edge/identity/principals.py",
        (("        if self._waiting >= _WAITING_MAX:\n", "        if self._waiting >= 10 * _WAITING_MAX:\n"),),
        ("tests/edge/test_principals.py",),
    ),
    Mutation(
        "a vendor's trailer is read without end",
        "services/edge/vendors/http.py",
        (
            (
                "            if self._silent_bytes > _HEAD_BYTES_MAX:\n",
                "            if self._silent_bytes > 10_000 * _HEAD_BYTES_MAX:\n",
            ),
        ),
        ("tests/edge/vendors/test_http.py",),
    ),
    Mutation(
        "empty events are relayed without end",
        "services/edge/call/vendor_stream.py",
        (
            (
                "        if self._silent_events > _SILENT_EVENTS_MAX:\n",
                "        if self._silent_events > 10 * _SILENT_EVENTS_MAX:\n",
            ),
        ),
        ("tests/edge/call/test_metering.py",),
    ),
    Mutation(
        "strings of a body are no values",
        "services/edge/http/json_bounds.py",
        (("        return self._signs + self._quotes // 2\n", "        return self._signs\n"),),
        ("tests/edge/http/test_json_bounds.py",),
    ),
    Mutation(
        "the depth of a body is not looked at",
        "services/edge/api/reading.py",
        (("        if depth > DEPTH_MAX:\n", "        if depth > 1_000 * DEPTH_MAX:\n"),),
        ("tests/edge/http/test_json_bounds.py",),
    ),
    Mutation(
        "brackets within strings make a body deeper",
        "services/edge/http/json_bounds.py",
        (("bare.translate(_STEPS", "text.translate(_STEPS"),),
        ("tests/edge/http/test_json_bounds.py",),
    ),
    Mutation(
        "brackets that close nothing are all looked at",
        "services/edge/http/json_bounds.py",
        (("        if self._brackets <= 2 * self.values:\n", "        if True:\n"),),
        ("tests/edge/http/test_json_bounds.py",),
    ),
    Mutation(
        "a body is looked at when all of it has come",
        "services/edge/http/connection.py",
        (
            (
                "                wait_s = look(piece)\n",
                "                wait_s = exchange.body_ended and look(b''.join(pieces))\n",
            ),
        ),
        ("tests/edge/http/test_connection.py",),
    ),
    Mutation(
        "bodies of many values are looked at one upon the other",
        "services/edge/api/reading.py",
        (("if self.counting.closely else 0.0", "if False else 0.0"),),
        ("tests/edge/http/test_json_bounds.py",),
    ),
    Mutation(
        "a body that is to wait is read on",
        "services/edge/http/connection.py",
        (("                    await asyncio.sleep(wait_s)\n", "                    pass\n"),),
        ("tests/edge/http/test_connection.py",),
    ),
    Mutation(
        "a quote behind the end of a slice counts",
        "services/edge/http/json_bounds.py",
        (("            text = text[1:]\n", ""),),
        ("tests/edge/http/test_json_bounds.py",),
    ),
    Mutation(
        "each slice begins outside of strings",
        "services/edge/http/json_bounds.py",
        (("[self._quotes % 2 :: 2]", "[::2]"),),
        ("tests/edge/http/test_json_bounds.py",),
    ),
    Mutation(
        "a large text is read where others wait",
        "services/edge/api/reading.py",
        ((" and len(body.content) <= _JSON_BYTES_ON_LOOP_MAX", ""),),
        ("tests/edge/http/test_json_bounds.py",),
    ),
    Mutation(
        "a question is answered without a turn",
        "services/edge/call/turns.py",
        (("                await turn.begin(client)\n", "                pass\n"),),
        ("tests/edge/test_readers.py",),
    ),
    Mutation(
        "a question keeps its place after its answer",
        "services/edge/api/readers.py",
        (("        serving.add_done_callback(lambda _: turn.leave())\n", ""),),
        ("tests/edge/test_readers.py",),
    ),
    Mutation(
        "whoever shares an address with a customer is answered without a pause",
        "services/edge/http/answers.py",
        (("        if exchange.known or not exchange.beside_known:\n", "        if True:\n"),),
        ("tests/edge/test_strangers.py",),
    ),
    Mutation(
        "clients reach what is for operators",
        "services/edge/app.py",
        (
            (
                "        *me_routes(readers, parts.accounting, parts.billing),\n",
                "        *me_routes(readers, parts.accounting, parts.billing),\n        *health_routes(parts.conditions),\n",
            ),
        ),
        ("tests/edge/test_app.py",),
    ),
    Mutation(
        "a page of metrics is made for each who reads it",
        "services/runtime/metrics.py",
        (("_PAGE_S: Final = 1.0\n", "_PAGE_S: Final = 0.0\n"),),
        ("tests/edge/test_app.py",),
    ),
    Mutation(
        "a customer is a stranger where no call is made",
        "services/edge/identity/principals.py",
        (("        exchange.known = True\n", ""),),
        ("tests/edge/test_principals.py",),
    ),
    Mutation(
        "an operator is a stranger",
        "services/edge/api/admin/router.py",
        (("        exchange_of(connection.scope).known = True\n", ""),),
        ("tests/edge/test_strangers.py",),
    ),
    Mutation(
        "an edge that takes no clients is ready",
        "services/edge/app.py",
        ((' and doors["clients"].accepts', ""),),
        ("tests/edge/test_app.py",),
    ),
    _fairness(
        "requests in vain are served as fast as they come",
        _CONNECTION_PY,
        "        if seconds and not self._unread_for & _RESTS:\n",
        "        if False:\n",
    ),
    _fairness(
        "requests of one packet do not wait for turns",
        _CONNECTION_PY,
        "            if not self._unread_for & _RESTS:\n                self._begin",
        "            if True:\n                self._begin",
    ),
    _fairness(
        "a new connection makes up for requests in vain",
        _CONNECTION_PY,
        "        elif self._new and self._rests_at_first():\n",
        "        elif False:\n",
    ),
    _fairness(
        "all addresses wait for the wasteful ones",
        _LISTENER_PY,
        "        if since_s is None or now_s - since_s > _KNOWN_S or self.knows(",
        "        if self.knows(",
    ),
    _fairness(
        "turns are given for ever later",
        _LISTENER_PY,
        "self._in_vain.take_s(now_s, turns) if self._in_vain.wait_s(now_s) < _REST_S_MAX else _REST_S_MAX",
        "self._in_vain.take_s(now_s, turns)",
    ),
    _fairness(
        "a call is begun for who left while he rested",
        _CONNECTION_PY,
        "        self.look_whether_gone()\n        self._unpause(_RESTS)\n",
        "        self._unpause(_RESTS)\n",
    ),
    _fairness(
        "whatever is in vain takes one turn",
        _CONNECTION_PY,
        "self._listener.wasted(self, exchange.turns)",
        "self._listener.wasted(self)",
    ),
    Mutation(
        "a question to authentication costs a stranger no more than none",
        "services/edge/identity/principals.py",
        (("            exchange.turns = _ASKED_TURNS\n", ""),),
        ("tests/edge/test_principals.py",),
    ),
    _fairness(
        "strangers are served as fast as they ask",
        _CONNECTION_PY,
        "100 if exchange.serves_anybody else 400",
        "400",
    ),
    Mutation(
        "readers of metrics are no strangers",
        "services/edge/http/answers.py",
        (("        exchange.serves_anybody = True\n", ""),),
        ("tests/edge/test_strangers.py",),
    ),
    _fairness(
        "customers wait as strangers do",
        _CONNECTION_PY,
        "            self._listener.know(self)\n",
        "            pass\n",
    ),
    _fairness(
        "what is dropped is read as fast as it comes",
        _CONNECTION_PY,
        "        elif count >= _MUCH_BYTES:\n",
        "        elif count >= 1_000 * _MUCH_BYTES:\n",
    ),
    _fairness(
        "who brings much is read on and on",
        _CONNECTION_PY,
        "        if self._brought >= _MUCH_BYTES and not self._unread_for & _QUEUED:\n",
        "        if self._brought >= 1_000 * _MUCH_BYTES and not self._unread_for & _QUEUED:\n",
    ),
    _fairness(
        "who brings much in small pieces is read on and on",
        _CONNECTION_PY,
        "        self._brought += len(data)\n",
        "        self._brought = len(data)\n",
    ),
    _fairness(
        "much is read as fast as it comes",
        _LISTENER_PY,
        "        if wait_s:\n            self._loop.call_later(wait_s, self._read_next)\n",
        "        if False:\n            self._loop.call_later(wait_s, self._read_next)\n",
    ),
    _fairness(
        "all whose time is over are ended at once",
        _LISTENER_PY,
        "_ENDED_AT_ONCE: Final = 4\n",
        "_ENDED_AT_ONCE: Final = 4_000\n",
    ),
    _fairness(
        "who has no place may come again at once",
        _ARRIVALS_PY,
        "        if self._taken() + self.waiting + len(self._turned_away) >= self._limits.connections_max:\n",
        "        if True:\n",
    ),
    _fairness(
        "those who are turned away keep their places",
        _ARRIVALS_PY,
        "            self._turned_away.popleft()[1].close()\n        self._of_address",
        "            came.close()\n            return\n        self._of_address",
    ),
)

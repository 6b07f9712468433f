"""Faults of what services know of one another, and of how they stop."""

from typing import Final

from tests.mutations.planting import Mutation

_SERVER: Final = "services/runtime/server.py"
_LASTING: Final = "services/runtime/lasting.py"
_CLIENTS: Final = "services/runtime/clients.py"
_CERTIFICATES: Final = "services/runtime/certificates.py"
_HANDSHAKES: Final = ("tests/trust/test_handshakes.py",)
_REPLACING: Final = ("tests/trust/test_replacing.py",)
_FILES: Final = ("tests/trust/test_certificates.py",)
_TABLE: Final = ("tests/trust/test_callers.py",)
_PROCESSES: Final = ("tests/trust/test_processes.py",)
_MESSAGES: Final = ("tests/trust/test_messages.py",)
_STOPPING: Final = ("tests/trust/test_stopping.py",)
_PEERS: Final = ("tests/trust/test_frames.py",)
_CHANNELS: Final = ("tests/runtime/test_clients.py",)


_CALLERS: Final = (
    Mutation(
        "a server does not look at the table of callers",
        _SERVER,
        (('            await context.abort(grpc.StatusCode.PERMISSION_DENIED, f"{who} may not call {method}")\n', ""),),
        _TABLE,
    ),
    Mutation(
        "streams are not asked who calls",
        _SERVER,
        (("                    await check(method, context)\n                    async for", "                    async for"),),
        _TABLE,
    ),
    Mutation(
        "what stands in no table everybody may call",
        _SERVER,
        (
            (
                "        allowed = self._callers.get(method, frozenset())\n",
                '        allowed = self._callers.get(method, {"edge", "accounting", "operator"})\n',
            ),
        ),
        _HANDSHAKES,
    ),
    Mutation(
        "a caller's name counts without its domain",
        _SERVER,
        (('in allowed for name in names if name.endswith(f".{DOMAIN}")', "in allowed for name in names"),),
        _TABLE,
    ),
    Mutation(
        "the first part of a caller's name is enough",
        _SERVER,
        (('name.removesuffix(f".{DOMAIN}") in allowed', 'name.partition(".")[0] in allowed'),),
        _TABLE,
    ),
    Mutation(
        "a message is read before its caller is looked at",
        _SERVER,
        (
            ("                await check(method, context)\n                async with", "                async with"),
            (
                "                    return await unary(read(request), context)\n",
                "                    asked = read(request)\n"
                "                    await check(method, context)\n"
                "                    return await unary(asked, context)\n",
            ),
        ),
        _TABLE,
    ),
    Mutation(
        "whoever says that he passes something on is not asked who he is",
        _SERVER,
        (
            (
                "        if not self._on:\n            return\n",
                '        passed_on = ("tokenline-forwarded", "1")\n'
                "        if not self._on or passed_on in (context.invocation_metadata() or ()):\n            return\n",
            ),
        ),
        ("tests/trust/test_forwarding.py",),
    ),
    Mutation(
        "billing may grant",
        "services/callers.py",
        (('        "GrantBucket": _PASSED_ON,\n', '        "GrantBucket": _PASSED_ON | {BILLING},\n'),),
        _TABLE,
    ),
    Mutation(
        "accounting may make keys",
        "services/callers.py",
        (('        "CreateKey": frozenset({EDGE}),\n', '        "CreateKey": _PASSED_ON,\n'),),
        _TABLE,
    ),
    Mutation(
        "a caller needs no certificate",
        _CERTIFICATES,
        (("require_client_authentication=True", "require_client_authentication=False"),),
        _HANDSHAKES,
    ),
    Mutation(
        "a client does not look whom it reaches",
        _CLIENTS,
        (('("grpc.ssl_target_name_override", name_of(service))', '("grpc.ssl_target_name_override", name_of("registry"))'),),
        _HANDSHAKES,
    ),
    Mutation(
        "required serves without TLS, too",
        _SERVER,
        (('            plain_at = plain_at if config.grpc_tls == "both" else None\n', ""),),
        _PROCESSES,
    ),
    Mutation(
        "others may enter the folder of a socket that asks nobody",
        _SERVER,
        (("    if mode & 0o077:\n", "    if mode & 0:\n"),),
        _HANDSHAKES,
    ),
    Mutation(
        "each refused caller is logged",
        _SERVER,
        (("        if now_s - self._logged_at_s >= self._log_s:\n", "        if now_s:\n"),),
        _HANDSHAKES,
    ),
    Mutation(
        "who watches health at the port of probes stays",
        "services/runtime/server.py",
        (
            (
                "        handlers.add_generic_rpc_handlers((",
                "        health_pb2_grpc.add_HealthServicer_to_server(self._health, handlers)\n        print((",
            ),
        ),
        ("tests/trust/test_handshakes.py",),
    ),
    Mutation(
        "who has not ended his probe stays",
        "services/runtime/server.py",
        (('    ("grpc.max_connection_age_ms", 5_000),\n', ""),),
        ("tests/trust/test_handshakes.py",),
    ),
    Mutation(
        "probes are refused while others have begun theirs",
        "services/runtime/lasting.py",
        (("grpc.aio.server(interceptors", "grpc.aio.server(maximum_concurrent_rpcs=64, interceptors"),),
        ("tests/trust/test_handshakes.py",),
    ),
    Mutation(
        "an address takes all places of those who read metrics",
        "services/runtime/metrics.py",
        (("HttpLimits(connections_max=64)", "HttpLimits(connections_max=64, connections_per_address_max=64)"),),
        ("tests/runtime/test_metrics.py",),
    ),
    Mutation(
        "a service tells no metrics",
        "services/cli/serve.py",
        (("            await stack.enter_async_context(listen_to_prometheus(config.telemetry))\n", ""),),
        ("tests/cli/test_serve.py",),
    ),
    Mutation(
        "a benchmark forgets what children used that have ended",
        "services/cli/processes.py",
        (
            (
                "            total += sum(map(int, fields[11:15])) * CPU_TICK_S\n",
                "            total += sum(map(int, fields[11:13])) * CPU_TICK_S\n",
            ),
        ),
        ("tests/cli/test_processes.py",),
    ),
    Mutation(
        "a port is let go before its server listens",
        "services/cli/processes.py",
        (("    _held.extend(held)\n", ""),),
        ("tests/cli/test_processes.py",),
    ),
    Mutation(
        "two services share a port",
        "services/runtime/server.py",
        (
            (
                '                ("grpc.so_reuseport", 0),\n                ("grpc.http2',
                '                ("grpc.so_reuseport", 1),\n                ("grpc.http2',
            ),
        ),
        ("tests/runtime/test_server.py",),
    ),
    Mutation(
        "a call without a deadline has none",
        "services/runtime/server.py",
        (("min(remaining_s or _DEADLINE_S, _DEADLINE_S_MAX)", "remaining_s"),),
        ("tests/runtime/test_server.py",),
    ),
    Mutation(
        "a caller may wait as long as it likes",
        "services/runtime/server.py",
        (("min(remaining_s or _DEADLINE_S, _DEADLINE_S_MAX)", "remaining_s or _DEADLINE_S"),),
        ("tests/runtime/test_server.py",),
    ),
    Mutation(
        "callers are told what went wrong inside",
        "services/runtime/server.py",
        (('f"{method} failed inside the service; its log says why"', 'f"{method} failed inside the service: {error}"'),),
        ("tests/runtime/test_server.py",),
    ),
    Mutation(
        "channels with old certificates stay",
        "services/runtime/clients.py",
        (("[each for each in self._channels if each[1]]", "list(self._channels)"),),
        ("tests/trust/test_replacing.py",),
    ),
    Mutation(
        "a certificate that will end soon is said at each look",
        "services/runtime/certificates.py",
        (("            self._warned_s = now_s\n", ""),),
        ("tests/trust/test_replacing.py",),
    ),
    Mutation(
        "certificates that are still written are read",
        "services/runtime/certificates.py",
        (("if last == self._seen or last != before:", "if last == self._seen:"),),
        ("tests/trust/test_replacing.py",),
    ),
    Mutation(
        "a connection that says nothing stays",
        "services/runtime/server.py",
        (("int(1_000 * greeting_s)", "120_000"),),
        ("tests/trust/test_handshakes.py",),
    ),
    Mutation(
        "all that a service does is done at the port of health",
        _SERVER,
        (
            (
                "        self.health_address = server.bind(address)\n",
                "        self.health_address = self._grpc.bind(address)\n",
            ),
        ),
        _HANDSHAKES,
    ),
    Mutation(
        "contracts are told unasked", _SERVER, (("        if reflection:\n", "        if reflection is not None:\n"),), _HANDSHAKES
    ),
    Mutation(
        "a message has no bound",
        _SERVER,
        (('("grpc.max_receive_message_length", request_bytes_max)', '("grpc.max_receive_message_length", -1)'),),
        _MESSAGES,
    ),
    Mutation(
        "the largest request of charging is refused",
        "services/accounting/app.py",
        (("request_bytes_max=CHARGE_REQUEST_BYTES_MAX, ", ""),),
        _MESSAGES,
    ),
    Mutation(
        "an answer has no bound but that of a journal's rows",
        _CLIENTS,
        (('    ("grpc.service_config", SERVICE_CONFIG),\n', ""),),
        _MESSAGES,
    ),
    Mutation(
        "a journal's row may be no larger than other answers",
        "services/messages.py",
        (('            {"name": [_ROWS], "maxResponseMessageBytes": ROW_ANSWER_BYTES_MAX},\n', ""),),
        _MESSAGES,
    ),
    Mutation(
        "all that was ever revoked comes in one message",
        "services/authentication/servicer.py",
        (("    while len(key_ids) + len(account_ids) > _NAMES_A_MESSAGE_MAX:\n", "    while len(key_ids) < 0:\n"),),
        ("tests/authentication/test_watching.py",),
    ),
    Mutation(
        "half of the revocations brings a watcher to the end of them",
        "services/authentication/servicer.py",
        (("WatchRevocationsResponse(revision=before, ", "WatchRevocationsResponse(revision=news.revision, "),),
        ("tests/authentication/test_watching.py",),
    ),
)

_OF_CERTIFICATES: Final = (
    Mutation(
        "a service takes the certificate of another",
        _CERTIFICATES,
        (("    if name not in names:\n", "    if not names:\n"),),
        _FILES,
    ),
    Mutation(
        "a service takes a certificate that ended",
        _CERTIFICATES,
        (
            (
                "    if not certificate.not_valid_before_utc <= now < certificate.not_valid_after_utc:\n",
                "    if not certificate.not_valid_before_utc <= now:\n",
            ),
        ),
        _FILES,
    ),
    Mutation(
        "a service takes a certificate of another authority",
        _CERTIFICATES,
        (("    if not _leads_to(certificate, between, authorities):\n", "    if not authorities:\n"),),
        _FILES,
    ),
    Mutation(
        "an authority that is no longer trusted is, until the next start",
        _CERTIFICATES,
        (("        for file in self.files:\n            try:\n", "        for file in self.files[:2]:\n            try:\n"),),
        _REPLACING,
    ),
    Mutation(
        "a chain need not lead to an authority",
        _CERTIFICATES,
        (("        certificate = signers[0]\n", "        return True\n"),),
        _FILES,
    ),
    Mutation(
        "a server shows the certificate that it began with",
        _CERTIFICATES,
        (("            if current is given:\n", "            if current:\n"),),
        _REPLACING,
    ),
    Mutation(
        "a client shows the certificate that it began with",
        _CLIENTS,
        (("        if self._current is not certificates.current:\n", "        if self._current is None:\n"),),
        _REPLACING,
    ),
    Mutation(
        "a call waits for a server with certificates that were replaced",
        _CLIENTS,
        (("            return _Stream(begun, self) if streams else begun\n", "            return begun\n"),),
        _REPLACING,
    ),
)

_STOPS: Final = (
    Mutation(
        "accounting gives up its partitions before it says that it stops",
        "services/accounting/app.py",
        (("        stack.push_async_callback(server.stop_serving)\n", ""),),
        _STOPPING,
    ),
    Mutation(
        "a second signal waits for all that ends in its order",
        "services/runtime/lifecycle.py",
        (("            os._exit(128 + number)\n", "            raise SystemExit(128 + number)\n"),),
        ("tests/runtime/test_lifecycle.py",),
    ),
)

_FRAMES: Final = (
    Mutation(
        "a connection may have as many calls as it likes",
        _SERVER,
        (('                ("grpc.max_concurrent_streams", _CALLS_A_CONNECTION_MAX),\n', ""),),
        _PEERS,
    ),
    Mutation(
        "a call that waited for others has all of its time again",
        _CLIENTS,
        (("client_call_details.timeout - (loop.time() - began_s))", "client_call_details.timeout)"),),
        _CHANNELS,
    ),
    Mutation(
        "a channel makes as many calls at once as it is asked for",
        _CLIENTS,
        (("                await self._free.acquire()\n", "                pass\n"),),
        _CHANNELS,
    ),
    Mutation(
        "answers that a peer does not read fill the memory",
        "services/accounting/rpc/charge_stream.py",
        (
            (
                "            while outstanding.count + stream.untaken > _UNTAKEN_MAX:\n",
                "            while outstanding.count > _UNTAKEN_MAX:\n",
            ),
        ),
        _PEERS,
    ),
    Mutation(
        "a peer that reads its answers late is read no more",
        "services/accounting/rpc/charge_stream.py",
        (("                self._taken.set()\n", ""),),
        _PEERS,
    ),
    Mutation(
        "a message that is none is a fault of the service",
        _SERVER,
        (("            except DecodeError as error:\n", "            except KeyError as error:\n"),),
        _PEERS,
    ),
    Mutation(
        "a message that is none fills the log",
        _SERVER,
        (
            (
                '                self._guard.log("a caller of',
                '                logger.warning("a caller of',
            ),
        ),
        _PEERS,
    ),
    Mutation(
        "a server that gRPC ended stays away",
        _LASTING,
        (("                    await self._listen_again()\n", "                    return\n"),),
        ("tests/runtime/test_server.py",),
    ),
    Mutation(
        "gRPC's binding logs each header that is no text",
        "services/runtime/logs.py",
        (('    logging.getLogger("grpc._cython.cygrpc").addFilter(_Rarely())\n', ""),),
        _PEERS,
    ),
    Mutation(
        "what gRPC's binding logs has a traceback",
        "services/runtime/logs.py",
        (("        record.exc_info = None\n", ""),),
        _PEERS,
    ),
    Mutation(
        "gRPC's core logs each header that is too long",
        "services/cli/main.py",
        (('"GRPC_VERBOSITY", "NONE"', '"GRPC_VERBOSITY", "ERROR"'),),
        _PEERS,
    ),
)

_LOGS: Final = (
    Mutation(
        "the access log has the path that a client made up",
        "services/edge/http/access.py",
        (("(exchange.method, route, status), None)", "(exchange.method, exchange.path, status), None)"),),
        ("tests/cli/test_up.py",),
    ),
    Mutation(
        "a Release that somebody must charge by hand is left out of a flooded log",
        "services/runtime/logs.py",
        ((" or getattr(record, _KEPT, False):", ":"),),
        ("tests/runtime/test_logs.py",),
    ),
)
_TRACES: Final = (
    Mutation(
        "a trace of a call that failed is lost because it was not drawn",
        "services/runtime/traces.py",
        (("self.failed or status >= _STATUS_OF_REFUSALS or is_slow", "is_slow"),),
        ("tests/cli/test_traces.py",),
    ),
)

SERVICES_TRUST: Final = (*_CALLERS, *_FRAMES, *_OF_CERTIFICATES, *_STOPS, *_LOGS, *_TRACES)

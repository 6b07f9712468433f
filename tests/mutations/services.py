"""Faults of charging on its way, of accounting, of billing's export and of every process."""

from typing import Final

from tests.mutations.planting import Mutation

_OUTBOX: Final = ("tests/edge/test_outbox.py",)
_ACCOUNTING: Final = ("tests/accounting/core/test_planted_faults.py",)
_READINESS: Final = ("tests/accounting/cell/test_readiness.py",)
_EXPORTER: Final = ("tests/billing/test_exporter.py",)
_SINK: Final = ("tests/billing/test_sink.py",)
_SERVER: Final = ("tests/runtime/test_server.py",)
_LIFECYCLE: Final = ("tests/runtime/test_lifecycle.py",)

_DELIVERY: Final = (
    Mutation(
        "a Release leaves the outbox before it is answered for certain",
        "services/edge/charging/client.py",
        (
            (
                '        if result.HasField("error") and result.error.reason in TRANSIENT:\n',
                "        if operation.is_release and operation.kept:\n"
                "            self._outbox.delivered(operation.message)\n"
                '        if result.HasField("error") and result.error.reason in TRANSIENT:\n',
            ),
        ),
        _OUTBOX,
    ),
    Mutation(
        "a Release in the outbox is not sent on",
        "services/edge/charging/client.py",
        (("        for message in left:\n            self._owe(message)\n", ""),),
        _OUTBOX,
    ),
)

_CHARGES: Final = (
    Mutation(
        "more of a session is taken from a bucket that begins later",
        "services/accounting/core/sessions/extend.py",
        (
            (
                "bucket.line == line and bucket.valid_from_us <= now_us < bucket.valid_until_us:",
                "bucket.line == line and now_us < bucket.valid_until_us:",
            ),
        ),
        _ACCOUNTING,
    ),
    Mutation(
        "an account is opened on what must be ordered",
        "services/accounting/core/decide.py",
        (("if offering.terms is not None:", "if offering.terms is None and not offering.schedules:"),),
        ("tests/accounting/core/test_charging.py",),
    ),
    Mutation(
        "a micro-unit more than the cap lives on",
        "services/accounting/core/sales/renewals.py",
        (("max(0, bucket.remaining - bucket.rollover_cap)", "max(0, bucket.remaining - bucket.rollover_cap - 1)"),),
        _ACCOUNTING,
    ),
    Mutation(
        "a debt is repaid by each bucket of an order",
        "services/accounting/core/sales/openings.py",
        (
            (
                "bucket_entries(account, granted, repaid.get(allowance.unit, 0))",
                "bucket_entries(account, granted, 0)",
            ),
        ),
        _ACCOUNTING,
    ),
    Mutation(
        "a repeat of other provenance and cause is the same",
        "services/accounting/core/commands.py",
        (
            (
                "    return blake2b(_with_short_head(_encode(command)), digest_size=8).digest()",
                "    if isinstance(command, ReleaseSession):\n"
                "        command = msgspec.structs.replace(\n"
                "            command, provenance=Provenance.VENDOR, close_cause=CloseCause.NORMAL, attempts=()\n"
                "        )\n"
                "    return blake2b(_with_short_head(_encode(command)), digest_size=8).digest()",
            ),
        ),
        _ACCOUNTING,
    ),
    Mutation(
        "the first vendor that was tried is owed",
        "services/accounting/core/sessions/records.py",
        (("    for attempt in reversed(attempts):", "    for attempt in attempts:"),),
        _ACCOUNTING,
    ),
    Mutation(
        "a phone bill is paid from prepaid money",
        "services/accounting/core/sales/prices.py",
        (
            (
                "for bucket in _money(account, unit, now_us) if bucket.postpaid == postpaid]",
                "for bucket in _money(account, unit, now_us)]",
            ),
        ),
        _ACCOUNTING,
    ),
)

_EXPORT: Final = (
    Mutation(
        "a manifest is there before its file",
        "services/billing/exporter.py",
        (
            (
                "        await self._sink.put(file.name, content)\n"
                "        await self._sink.put(manifest_name(file.name), manifest_content(file))\n"
                "        return await",
                "        await self._sink.put(manifest_name(file.name), manifest_content(file))\n"
                "        await self._sink.put(file.name, content)\n"
                "        return await",
            ),
        ),
        _EXPORTER,
    ),
    Mutation(
        "a record number is used again after a crash",
        "services/billing/exporter.py",
        (
            (
                "            builder = await self._build(cursor, pending.to_seq, entries_max=None)\n",
                "            builder = await self._build(cursor, pending.to_seq, entries_max=None)\n"
                "            builder.index = builder.index[:-1] or builder.index\n",
            ),
        ),
        _EXPORTER,
    ),
    Mutation(
        "a file is not on the disk when its name is",
        "services/billing/sink.py",
        (("                os.fsync(file.fileno())\n", ""),),
        _SINK,
    ),
    Mutation(
        "a file is written in its place",
        "services/billing/sink.py",
        (
            ('            with temporary.open("xb") as file:\n', '            with (self._folder / name).open("wb") as file:\n'),
            ("            temporary.rename(self._folder / name)\n", ""),
        ),
        _SINK,
    ),
)

_PROCESSES: Final = (
    Mutation(
        "a commit does not wait for the disk",
        "services/runtime/sqlite.py",
        (("PRAGMA synchronous = FULL", "PRAGMA synchronous = NORMAL"),),
        ("tests/runtime/test_sqlite.py",),
    ),
    Mutation(
        "work on what is cached overtakes what waits for the file's thread",
        "services/runtime/sqlite.py",
        (("        if self._busy or not self._begin_at_once", "        if not self._begin_at_once"),),
        ("tests/runtime/test_sqlite.py",),
    ),
    Mutation(
        "the event loop waits for another process that has the file",
        "services/runtime/sqlite.py",
        (('            connection.execute("PRAGMA busy_timeout = 0")\n', ""),),
        ("tests/runtime/test_sqlite.py",),
    ),
    Mutation(
        "work on what is cached that fails stays in the next commit",
        "services/runtime/sqlite.py",
        (
            (
                "        except BaseException:\n            self._roll_back()\n            raise\n        # Nobody comes between",
                "        except BaseException:\n            raise\n        # Nobody comes between",
            ),
        ),
        ("tests/runtime/test_sqlite.py",),
    ),
    Mutation(
        "the event loop writes rows that take long",
        "services/accounting/journal/sqlite.py",
        (("        if size > _CACHED_BYTES_MAX:\n", "        if False:\n"),),
        ("tests/stores/test_accounting_stores.py",),
    ),
    Mutation(
        "the event loop reads checkpoints from the disk",
        "services/accounting/journal/sqlite.py",
        (("        if any(write.checkpoints for write in writes):\n", "        if False:\n"),),
        ("tests/stores/test_accounting_stores.py",),
    ),
    Mutation(
        "a commit waits on the disk in the event loop",
        "services/runtime/sqlite.py",
        (("        await self._on_thread(self._commit)\n", "        self._commit()\n"),),
        ("tests/stores/test_accounting_stores.py",),
    ),
    Mutation(
        "rows of an older schema are copied and not moved",
        "services/accounting/journal/sqlite.py",
        (('        connection.execute("DELETE FROM journal WHERE (part_id, seq) <= (?, ?)", until)\n', ""),),
        ("tests/stores/test_accounting_stores.py",),
    ),
    Mutation(
        "rows of an older schema are moved on a full disk",
        "services/accounting/journal/sqlite.py",
        (("        if free_bytes < _MOVE_FREE_BYTES:", "        if False:"),),
        ("tests/stores/test_accounting_stores.py",),
    ),
    Mutation(
        "a server that stops still says that it serves",
        "services/runtime/server.py",
        (
            (
                "        async with self._grpc.running(drain_grace_s):\n            try:\n                yield bound\n",
                "        try:\n            async with self._grpc.running(drain_grace_s):\n                yield bound\n",
            ),
            (
                "            finally:\n                await self.stop_serving()\n",
                "        finally:\n            await self.stop_serving()\n",
            ),
        ),
        _SERVER,
    ),
    Mutation(
        "a server serves before it says so",
        "services/runtime/server.py",
        (
            (
                "        await self._set_health(health_pb2.HealthCheckResponse.NOT_SERVING)\n"
                "        await self._health.set(LIVENESS",
                "        await self._health.set(LIVENESS",
            ),
        ),
        _SERVER,
    ),
    Mutation(
        "a process that serves gives each large block back",
        "services/runtime/lifecycle.py",
        (("    keep_freed_memory()\n", ""),),
        ("tests/runtime/test_memory.py",),
    ),
    Mutation(
        "a process that serves has as few files as it was given",
        "services/runtime/lifecycle.py",
        (("    raised_open_files()\n", ""),),
        ("tests/runtime/test_lifecycle.py",),
    ),
    Mutation(
        "accounting serves before it has a catalog",
        "services/accounting/app.py",
        (("    await supplied.wait()\n    await joined.wait()\n", "    await joined.wait()\n"),),
        _READINESS,
    ),
    Mutation(
        "a second signal is ignored",
        "services/runtime/lifecycle.py",
        (("            os._exit(128 + number)\n", "            return\n"),),
        _LIFECYCLE,
    ),
)

_WORDS: Final = (
    Mutation(
        "a message to customers is unclear",
        "services/edge/http/problems.py",
        (("Shorten the {param} or ask for less output.", "So many do not fit."),),
        ("tests/house/test_english.py",),
    ),
    Mutation(
        "a comment begins with a word that names nothing",
        "services/runtime/http/pace.py",
        (('"""Turns for requests in vain."""', '"""What is done in vain waits for turns."""'),),
        ("tests/house/test_english.py",),
    ),
)

SERVICES: Final = (*_DELIVERY, *_CHARGES, *_EXPORT, *_PROCESSES, *_WORDS)

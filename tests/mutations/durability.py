"""Faults that a crash of the process does not show: what waits for the disk, and in which order."""

from typing import Final

from tests.mutations.planting import one

_JOURNAL_POSTGRESQL: Final = "services/accounting/journal/postgresql.py"
_CLIENT: Final = "services/edge/charging/client.py"
_OUTBOX: Final = "services/edge/charging/outbox.py"
_POSTGRESQL: Final = "services/runtime/postgresql.py"
_SQLITE: Final = "services/runtime/sqlite.py"
_IN_OUTBOX: Final = "tests/edge/test_outbox.py"
_IN_SQLITE: Final = "tests/runtime/test_sqlite.py"
_IN_POSTGRESQL_STORE: Final = "tests/stores/test_postgresql_store.py"

_OF_STORES: Final = (
    one(
        "a commit waits for nothing",
        _SQLITE,
        '"PRAGMA synchronous = FULL"',
        '"PRAGMA synchronous = OFF"',
        _IN_SQLITE,
    ),
    one(
        "a commit's journal is in memory",
        _SQLITE,
        '"PRAGMA journal_mode = WAL"',
        '"PRAGMA journal_mode = MEMORY"',
        _IN_SQLITE,
    ),
    one(
        "a server may lose what it has not synchronised",
        _POSTGRESQL,
        '("fsync", "synchronous_commit", "full_page_writes")',
        '("synchronous_commit", "full_page_writes")',
        _IN_POSTGRESQL_STORE,
    ),
    one(
        "a server may tear pages",
        _POSTGRESQL,
        '("fsync", "synchronous_commit", "full_page_writes")',
        '("fsync", "synchronous_commit")',
        _IN_POSTGRESQL_STORE,
    ),
    one(
        "the owner's commits wait for nothing",
        _JOURNAL_POSTGRESQL,
        '"synchronous_commit": "on"',
        '"synchronous_commit": "off"',
        _IN_POSTGRESQL_STORE,
    ),
    one(
        "the owner's commits wait as the database says",
        _JOURNAL_POSTGRESQL,
        '                    "synchronous_commit": "on",\n',
        "",
        _IN_POSTGRESQL_STORE,
    ),
    one(
        "the journal is empty after a crash of its server",
        _JOURNAL_POSTGRESQL,
        "    CREATE TABLE journal (",
        "    CREATE UNLOGGED TABLE journal (",
        _IN_POSTGRESQL_STORE,
    ),
    one(
        "checkpoints are empty after a crash of their server",
        _JOURNAL_POSTGRESQL,
        "    CREATE TABLE checkpoint (",
        "    CREATE UNLOGGED TABLE checkpoint (",
        _IN_POSTGRESQL_STORE,
    ),
)

_OF_THE_SINK: Final = ()

_OF_THE_OUTBOX: Final = (
    one(
        "a Release counts as kept before it is written",
        _OUTBOX,
        "        self._write()\n        await kept\n",
        "        self._write()\n",
        _IN_OUTBOX,
    ),
    one(
        "a Release that could not be written counts as kept",
        _CLIENT,
        "                await self._outbox.keep(operation.message)\n            except ServiceError as error:",
        "                operation.kept = True\n"
        "                await self._outbox.keep(operation.message)\n"
        "            except ServiceError as error:",
        _IN_OUTBOX,
    ),
    one(
        "what is undelivered at the end is not kept",
        _CLIENT,
        "        except TimeoutError:\n            await self._keep_undelivered()\n",
        "        except TimeoutError:\n            pass\n",
        _IN_OUTBOX,
    ),
    one(
        "the outbox closes before all is written",
        _OUTBOX,
        "        if self._writing is not None:\n            await asyncio.wait([self._writing])\n",
        "",
        _IN_OUTBOX,
    ),
    one(
        "what is kept does not count",
        _OUTBOX,
        "                    self._count = await self._database.write(work)\n",
        "                    await self._database.write(work)\n",
        _IN_OUTBOX,
    ),
    one(
        "a Release is told as kept before it is",
        _CLIENT,
        "        if await self._keep(operation) and not operation.future.done():\n"
        "            operation.future.set_result(_IN_OUTBOX)\n",
        "        if not operation.future.done():\n"
        "            operation.future.set_result(_IN_OUTBOX)\n"
        "        await self._keep(operation)\n",
        _IN_OUTBOX,
    ),
    one(
        "a Release is told as kept that is not",
        _CLIENT,
        "        if await self._keep(operation) and not operation.future.done():\n",
        "        await self._keep(operation)\n        if not operation.future.done():\n",
        _IN_OUTBOX,
    ),
    one(
        "what was left stays in the outbox",
        _CLIENT,
        "        operation.kept = True\n        self._unanswered[message.operation_id] = operation\n",
        "        self._unanswered[message.operation_id] = operation\n",
        _IN_OUTBOX,
    ),
    one(
        "what was refused for good stays in the outbox",
        _CLIENT,
        "        self._outbox.delivered(operation.message)\n        if result.HasField",
        "        if result.HasField",
        _IN_OUTBOX,
    ),
)

DURABILITY: Final = (*_OF_STORES, *_OF_THE_SINK, *_OF_THE_OUTBOX)

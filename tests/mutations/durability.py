"""Faults that a crash of the process does not show: what waits for the disk, and in which order."""

from typing import Final

from tests.mutations.planting import one

_JOURNAL_POSTGRESQL: Final = "services/accounting/journal/postgresql.py"
_BACKUP: Final = "services/cli/backup.py"
_CDR_FILE: Final = "services/billing/cdr_file.py"
_EXPORTER: Final = "services/billing/exporter.py"
_POSTGRESQL_STORE: Final = "services/billing/postgresql_store.py"
_SINK: Final = "services/billing/sink.py"
_SQLITE_STORE: Final = "services/billing/sqlite_store.py"
_STORE: Final = "services/billing/store.py"
_CLIENT: Final = "services/edge/charging/client.py"
_OUTBOX: Final = "services/edge/charging/outbox.py"
_POSTGRESQL: Final = "services/runtime/postgresql.py"
_SQLITE: Final = "services/runtime/sqlite.py"
_IN_BACKUP: Final = "tests/cli/test_backup.py"
_IN_EXPORTER: Final = "tests/billing/test_exporter.py"
_IN_SINK: Final = "tests/billing/test_sink.py"
_IN_CHARGING: Final = "tests/edge/test_charging.py"
_IN_OUTBOX: Final = "tests/edge/test_outbox.py"
_IN_SQLITE: Final = "tests/runtime/test_sqlite.py"
_IN_BILLING_STORES: Final = "tests/stores/test_billing_stores.py"
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
        "half a transaction stays",
        _SQLITE,
        '            self._connection.execute("ROLLBACK")\n',
        '            self._connection.execute("COMMIT")\n',
        _IN_SQLITE,
    ),
    one(
        "a commit that failed is in the way of all others",
        _SQLITE,
        '            self._connection.execute("COMMIT")\n        except sqlite3.Error as error:\n            self._roll_back()\n',
        '            self._connection.execute("COMMIT")\n        except sqlite3.Error as error:\n',
        _IN_SQLITE,
    ),
    one(
        "half a migration stays",
        _SQLITE,
        'f"BEGIN IMMEDIATE;\\n{migration};\\nPRAGMA user_version = {number + 1};\\nCOMMIT;"',
        'f"{migration};\\nPRAGMA user_version = {number + 1};"',
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
    one(
        "an audit sees several states of the store",
        _JOURNAL_POSTGRESQL,
        'isolation="repeatable_read"',
        'isolation="read_committed"',
        "tests/stores/test_accounting_stores.py",
    ),
    one(
        "the export's cursors are empty after a crash of their server",
        _POSTGRESQL_STORE,
        "    CREATE TABLE cursor (",
        "    CREATE UNLOGGED TABLE cursor (",
        _IN_POSTGRESQL_STORE,
    ),
    one(
        "the export's index is written apart from its cursor",
        _POSTGRESQL_STORE,
        "        await self._pool.transaction(work)\n        return after",
        "        async with self._pool.connection() as connection:\n            await work(connection)\n        return after",
        _IN_BILLING_STORES,
    ),
)

_OF_THE_SINK: Final = (
    one(
        "a file is synchronised before it was written",
        _SINK,
        "                file.flush()\n",
        "",
        _IN_SINK,
    ),
    one(
        "the name of the folder is not on the disk",
        _SINK,
        "        _sync_folder(self._folder.parent)\n",
        "",
        _IN_SINK,
    ),
    one(
        "what was left over is not gone from the disk",
        _SINK,
        "            leftover.unlink(missing_ok=True)\n        _sync_folder(self._folder)\n",
        "            leftover.unlink(missing_ok=True)\n",
        _IN_SINK,
    ),
    one(
        "a file has its name before it is on the disk",
        _SINK,
        "                file.flush()\n"
        "                os.fsync(file.fileno())\n"
        "            temporary.rename(self._folder / name)\n",
        "                file.flush()\n"
        "                temporary.rename(self._folder / name)\n"
        "                os.fsync(file.fileno())\n",
        _IN_SINK,
    ),
    one(
        "two that write a file write into one",
        _SINK,
        '{_TEMPORARY_PREFIX}{name}.{secrets.token_hex(4)}{_TEMPORARY_SUFFIX}"\n',
        '{_TEMPORARY_PREFIX}{name}{_TEMPORARY_SUFFIX}"\n',
        _IN_SINK,
    ),
    one(
        "another folder is synchronised",
        _SINK,
        "        # Without this the name may be lost with the power although the content is safe.\n"
        "        _sync_folder(self._folder)\n",
        "        _sync_folder(self._folder.parent)\n",
        _IN_SINK,
    ),
    one(
        "a manifest is written again before its file",
        _EXPORTER,
        "        await self._sink.put(file.name, content)\n"
        "        await self._sink.put(manifest_name(file.name), manifest_content(file))\n"
        "        logger",
        "        await self._sink.put(manifest_name(file.name), manifest_content(file))\n"
        "        await self._sink.put(file.name, content)\n"
        "        logger",
        _IN_EXPORTER,
    ),
    one(
        "a manifest is written beside its file",
        _EXPORTER,
        "        await self._sink.put(file.name, content)\n"
        "        await self._sink.put(manifest_name(file.name), manifest_content(file))\n"
        "        return",
        "        await asyncio.gather(\n"
        "            self._sink.put(file.name, content), self._sink.put(manifest_name(file.name), manifest_content(file))\n"
        "        )\n"
        "        return",
        _IN_EXPORTER,
    ),
    one(
        "a file takes one record number",
        _STORE,
        "next_record_number=cursor.next_record_number + records,",
        "next_record_number=cursor.next_record_number + min(records, 1),",
        _IN_EXPORTER,
    ),
    one(
        "the record numbers of a later file begin after its crash anew",
        _EXPORTER,
        "            cursor.next_record_number,\n",
        "            cursor.next_record_number + (cursor.pending is not None and cursor.exported_seq > 0),\n",
        _IN_EXPORTER,
    ),
    one(
        "a range that was begun is cut short",
        _EXPORTER,
        "builder = await self._build(cursor, pending.to_seq, entries_max=None)\n            if",
        "builder = await self._build(cursor, pending.to_seq, self._file_entries_max)\n            if",
        _IN_EXPORTER,
    ),
    one(
        "each batch begins with the first record number",
        _CDR_FILE,
        "        records: list[Cdr | ChargeRecord] = []\n",
        "        records: list[Cdr | ChargeRecord] = []\n        self._next_record_number = self.first_record_number\n",
        _IN_EXPORTER,
    ),
    one(
        "all but the first record of a file are missing in the index",
        _SQLITE_STORE,
        '            connection.executemany("INSERT INTO cdr_index VALUES (?, ?, ?, ?, ?, ?, ?, ?)", rows.calls)\n',
        '            connection.executemany("INSERT INTO cdr_index VALUES (?, ?, ?, ?, ?, ?, ?, ?)", rows.calls[:1])\n',
        _IN_BILLING_STORES,
    ),
)

_OF_THE_OUTBOX: Final = (
    one(
        "all owners can be asked once one can",
        _CLIENT,
        "return bool(self._owners) and all(self._lanes",
        "return bool(self._owners) and any(self._lanes",
        _IN_CHARGING,
    ),
    one(
        "operations go to any owner",
        _CLIENT,
        "self._owners.get(partition_of(account_id, self._partitions))",
        "next(iter(self._owners.values()), None)",
        _IN_CHARGING,
    ),
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
    one(
        "an answer empties the outbox",
        _OUTBOX,
        'DELETE FROM release WHERE charging_id = ?", [(each,) for each in delivered]',
        'DELETE FROM release", [() for each in delivered]',
        _IN_OUTBOX,
    ),
    one(
        "what comes while others are written is forgotten",
        _OUTBOX,
        "            while self._wanted or self._delivered:\n",
        "            if self._wanted or self._delivered:\n",
        _IN_OUTBOX,
    ),
)

_JOURNAL_COPY: Final = "    copy_database(folder.accounting_database, copy.accounting_database)\n"
_CATALOG_COPY: Final = "    _copy_files(folder.catalog_folder, copy.catalog_folder)\n"
_OF_BACKUPS: Final = (
    one(
        "a backup has a catalog that is older than its journal",
        _BACKUP,
        f"{_JOURNAL_COPY}{_CATALOG_COPY}",
        f"{_CATALOG_COPY}{_JOURNAL_COPY}",
        _IN_BACKUP,
    ),
    one(
        "a damaged file is backed up",
        _SQLITE,
        '    if found != "ok":\n',
        "    if False:\n",
        _IN_SQLITE,
    ),
    one(
        "a damaged backup is restored",
        _BACKUP,
        "            if _settled(copy / name) != expected:\n",
        "            if not _settled(copy / name):\n",
        _IN_BACKUP,
    ),
)

DURABILITY: Final = (*_OF_STORES, *_OF_THE_SINK, *_OF_THE_OUTBOX, *_OF_BACKUPS)

"""The export: journal to CDR files and index, exactly once.

Each range goes through the same steps: it becomes pending in the store; file, then manifest, appear in the sink; one
transaction writes the index and the file row and moves the cursor. A crash between any two of them leaves a pending range,
which is written again from the journal with the same bytes.
"""

import asyncio
import logging
import time
from collections.abc import Mapping
from contextlib import aclosing
from typing import Final

from services.billing.cdr import CdrError
from services.billing.cdr_file import CdrFile, CdrFileBuilder, Rows, manifest_content, manifest_name
from services.billing.items import BilledItem, ItemMaker
from services.billing.journal import JournalError, JournalReader, Listing
from services.billing.lag import Lag
from services.billing.sink import Sink
from services.billing.store import Cursor, CursorMovedError, PendingRange, Store, first_cursor
from services.partitions import partition_of
from services.runtime.errors import ServiceError
from tokenline.errors.v1 import errors_pb2

logger = logging.getLogger(__name__)

# Journal entries, of all kinds, that a file covers at most, unless a single row has more.
FILE_ENTRIES_MAX: Final = 50_000
# Less work than this, about a millisecond, is not worth the way to a thread and back.
_INLINE_ENTRIES_MAX: Final = 64
_INLINE_BYTES_MAX: Final = 64 * 1024
# How soon accounting is asked again while it does not serve yet.
_RETRY_S: Final = 0.1
# Name in the log for trouble of all partitions.
_JOURNAL: Final = "the journal"


class EraMismatchError(Exception):
    """The journal is of another era than the exported range and lacks a part of it, because journal or store was restored."""


def not_exported(failures: Mapping[int, str]) -> ServiceError:
    """The error for a question that needs all of the partitions, by part_id what stopped them."""
    why = "; ".join(f"partition {part_id}: {message}" for part_id, message in sorted(failures.items()))
    message = f"the newest charges are not exported yet ({why}); try again when `tokenline reconcile` finds no difference"
    return ServiceError(errors_pb2.ERROR_REASON_UNAVAILABLE, message)


class Exporter:
    """Exports all partitions of one accounting. One a store and sink; methods may run beside one another."""

    def __init__(
        self, journal: JournalReader, store: Store, sink: Sink, export_interval_ms: int, file_entries_max: int = FILE_ENTRIES_MAX
    ) -> None:
        self._journal = journal
        self._store = store
        self._sink = sink
        self._interval_s = export_interval_ms / 1_000
        self._file_entries_max = file_entries_max
        self._lock = asyncio.Lock()
        self._sink_prepared = False
        self.lag = Lag()
        # Partitions that are not exported, and why, as last logged.
        self._trouble: dict[str, str] = {}

    async def start(self) -> None:
        """Returns once accounting has listed its partitions and their era is the exported one.

        Errors: `EraMismatchError`.
        """
        try:
            await self._prepare_sink()
        except OSError as error:
            logger.error("the CDR folder can't be used yet, export will try again: %s", error)
        while True:
            try:
                await self._survey()
                self._log_trouble({})
                return
            except ServiceError as error:
                self._log_trouble({_JOURNAL: error.message})
            await asyncio.sleep(_RETRY_S)

    async def replace_missing(self) -> None:
        """Writes files that the sink has lost anew from the journal, as after it was restored from a backup; logs what can't be."""
        try:
            await self._prepare_sink()
            there = await self._sink.names()
            for part_id in sorted(await self._store.cursors()):
                for file in await self._store.files(part_id):
                    if not {file.name, manifest_name(file.name)} <= there:
                        await self._write_again(file)
        except (JournalError, CdrError) as error:
            logger.error("CDR files are missing and can't be written again: %s", error)
        except ServiceError as error:
            logger.error("CDR files that may be missing are not looked for: %s", error.message)
        except OSError as error:
            logger.error("the CDR folder can't be used: %s", error)

    async def _write_again(self, file: CdrFile) -> None:
        cursor = (await self._store.cursors())[file.part_id]
        before = cursor._replace(exported_seq=file.from_sequence_number - 1, next_record_number=file.first_record_number)
        builder = await self._build(before, file.to_sequence_number, entries_max=None)
        made, content = await asyncio.to_thread(builder.finish)
        if made != file:
            raise JournalError(f"the journal would now make another {file.name}; bring it back from a backup")
        await self._sink.put(file.name, content)
        await self._sink.put(manifest_name(file.name), manifest_content(file))
        logger.warning("%s was missing from the CDR folder; it was written again from the journal", file.name)

    async def run(self) -> None:
        """Exports what is new at every interval, for ever. Errors: `EraMismatchError`."""
        while True:
            try:
                failures = await self.export()
                self._log_trouble({f"partition {part_id}": message for part_id, message in failures.items()})
            except ServiceError as error:
                self._log_trouble({_JOURNAL: error.message})
            await asyncio.sleep(self._interval_s)

    async def export(self) -> dict[int, str]:
        """Exports every partition up to the journal's end as it is now.

        Returns what stopped a partition before its end, by part_id; empty when all is exported. A stopped partition goes on
        where it was at the next call. Errors: `EraMismatchError`; `ServiceError` when accounting or the store can't answer.
        """
        async with self._lock:
            began_s = time.monotonic()
            cursors, listing = await self._survey()
            behind = {
                part_id: end - cursors[part_id].exported_seq if part_id in cursors else end for part_id, end in listing.ends.items()
            }
            self.lag.begin(began_s, behind)
            failures: dict[int, str] = {}
            for part_id, end in sorted(listing.ends.items()):
                cursor = cursors.pop(part_id, None) or first_cursor(part_id, listing.era)
                try:
                    await self._export_partition(cursor, end)
                except (JournalError, CdrError, CursorMovedError) as error:
                    failures[part_id] = str(error)
                except ServiceError as error:
                    failures[part_id] = error.message
                except OSError as error:
                    failures[part_id] = f"the CDR folder can't be written: {error}"
            for part_id, cursor in cursors.items():
                failures[part_id] = f"exported up to sequence number {cursor.exported_seq}, but accounting has no such partition"
            self.lag.end(failures)
            return failures

    async def export_account(self, account_id: str) -> None:
        """Exports up to the journal's end as it is now. Errors: `ServiceError` where the account's partition stops before it."""
        try:
            failures = await self.export()
        except EraMismatchError as error:
            raise ServiceError(errors_pb2.ERROR_REASON_UNAVAILABLE, str(error)) from error
        part_id = partition_of(account_id, len((await self._journal.list_partitions()).ends))
        if part_id in failures:
            raise not_exported({part_id: failures[part_id]})

    async def _survey(self) -> tuple[dict[int, Cursor], Listing]:
        # Read the cursors first. They follow the journal, so a listing made later is at least as far as they are.
        cursors = await self._store.cursors()
        listing = await self._journal.list_partitions()
        for part_id, cursor in cursors.items():
            if cursor.era != listing.era:
                cursors[part_id] = await self._enter_era(cursor, listing)
        return cursors, listing

    async def _enter_era(self, cursor: Cursor, listing: Listing) -> Cursor:
        """Goes on in a new era, if its journal has all that was exported. Errors: `EraMismatchError`."""
        part_id, end = cursor.part_id, listing.ends.get(cursor.part_id, 0)
        eras = f"accounting's journal is of era {listing.era}, but partition {part_id} was exported from era {cursor.era}"
        if cursor.era > listing.era:
            raise EraMismatchError(
                f"{eras}: accounting's database is older than billing's; restore both to the same time, with the CDR folder"
            )
        if cursor.exported_seq > end:
            raise EraMismatchError(
                f"{eras}, up to sequence number {cursor.exported_seq}, and the journal now ends at {end}: accounting's database "
                "was restored to a time before the export; restore billing's database and the CDR folder to the same time"
            )
        files = await self._store.files(part_id)
        if files:
            last = files[-1]
            before = cursor._replace(exported_seq=last.from_sequence_number - 1, next_record_number=last.first_record_number)
            span = (part_id, last.from_sequence_number, last.to_sequence_number)
            try:
                builder = await self._build(before, last.to_sequence_number, entries_max=None)
                known = await self._store.index_rows(*span)
                # Everything except the entry itself, because a newer release may write its bytes otherwise.
                same = [row[:-1] for row in builder.rows.calls] == [row[:-1] for row in known]
                if builder.with_charges:
                    same = same and builder.rows.items == await self._store.items(*span)
            except (JournalError, CdrError):
                same = False
            if not same:
                raise EraMismatchError(
                    f"{eras}, and the journal now has other records than those of {last.name}: accounting's database was restored "
                    "to a time before the export and went on; restore billing's database and the CDR folder to the same time"
                )
        logger.warning("partition %d: all that was exported from era %d is in era %d; going on", part_id, cursor.era, listing.era)
        return await self._store.enter_era(cursor, listing.era)

    async def _export_partition(self, cursor: Cursor, end: int) -> None:
        pending = cursor.pending
        begun = cursor.exported_seq if pending is None else pending.to_seq
        if begun > end:
            raise JournalError(
                f"exported up to sequence number {begun}, but accounting's journal ends at {end}: the journal has lost what was "
                "exported; restore its database from a later backup"
            )
        if pending is not None:
            builder = await self._build(cursor, pending.to_seq, entries_max=None)
            if (builder.from_seq, builder.name) != (pending.from_seq, pending.file_name) or not builder.rows.records:
                raise JournalError(f"{pending.file_name} was begun, but the journal would now make {builder.name} of it")
            cursor = await self._finish(cursor, builder)
        cursor = await self._catch_up(cursor)
        while cursor.exported_seq < end:
            builder = await self._build(cursor, end, self._file_entries_max)
            if builder.rows.records:
                written = PendingRange(builder.from_seq, builder.to_seq, builder.first_record_number, builder.name)
                cursor = await self._store.begin(cursor, written)
            cursor = await self._finish(cursor, builder)

    async def _catch_up(self, cursor: Cursor) -> Cursor:
        """Makes the items of what a release exported that knew none; a partition that this release began lacks none."""
        if not cursor.charges_from_seq:
            cursor = await self._store.begin_charges(cursor)
        last_seq = cursor.charges_from_seq - 1
        while cursor.backfilled_seq < last_seq:
            cursor = await self._backfill(cursor, last_seq)
            logger.info("partition %d: items of %d of %d rows are made", cursor.part_id, cursor.backfilled_seq, last_seq)
        return cursor

    async def _backfill(self, cursor: Cursor, last_seq: int) -> Cursor:
        maker, items, count, to_seq = ItemMaker(), list[BilledItem](), 0, cursor.backfilled_seq
        async with aclosing(self._journal.read(cursor.part_id, to_seq, last_seq)) as batches:
            async for batch in batches:
                if count and count + len(batch) > self._file_entries_max:
                    break
                maker.learn(await self._store.orders(maker.unknown_orders(batch)))
                for entry in batch:
                    items += maker.items_of(entry, 0)
                count += len(batch)
                to_seq = batch[-1].sequence_number
        return await self._store.backfill(cursor, to_seq, Rows(0, [], items, maker.orders))

    async def _build(self, cursor: Cursor, to_seq: int, entries_max: int | None) -> CdrFileBuilder:
        """Reads from the cursor to `to_seq`, or as far as `entries_max` allows; at least one batch."""
        builder = CdrFileBuilder(
            cursor.part_id,
            cursor.exported_seq + 1,
            cursor.next_record_number,
            with_charges=0 < cursor.charges_from_seq <= cursor.exported_seq + 1,
        )
        async with aclosing(self._journal.read(cursor.part_id, cursor.exported_seq, to_seq)) as batches:
            async for batch in batches:
                if entries_max is not None and builder.entry_count and builder.entry_count + len(batch) > entries_max:
                    break
                order_ids = builder.unknown_orders(batch)
                orders = await self._store.orders(order_ids) if order_ids else {}
                if len(batch) <= _INLINE_ENTRIES_MAX:
                    builder.add(batch, orders)
                else:
                    await asyncio.to_thread(builder.add, batch, orders)
        return builder

    async def _finish(self, cursor: Cursor, builder: CdrFileBuilder) -> Cursor:
        """Writes the pending range's file and manifest, if it has CDRs, then passes it."""
        if cursor.pending is None:
            return await self._store.advance(cursor, builder.to_seq, None, builder.rows)
        await self._prepare_sink()
        large = builder.size_bytes > _INLINE_BYTES_MAX
        file, content = await asyncio.to_thread(builder.finish) if large else builder.finish()
        await self._sink.put(file.name, content)
        await self._sink.put(manifest_name(file.name), manifest_content(file))
        return await self._store.advance(cursor, builder.to_seq, file, builder.rows)

    async def _prepare_sink(self) -> None:
        if not self._sink_prepared:
            await self._sink.prepare()
            self._sink_prepared = True

    def _log_trouble(self, trouble: dict[str, str]) -> None:
        """Logs trouble once when it begins and once when it is over, because repeats would hide the rest of the log."""
        for what, message in trouble.items():
            if self._trouble.get(what) != message:
                # An accounting that is away, as at every start, is no error yet.
                level = logging.WARNING if what == _JOURNAL else logging.ERROR
                logger.log(level, "%s is not exported, trying again: %s", what, message)
        for what in self._trouble.keys() - trouble.keys():
            logger.info("%s: the trouble is over", what)
        self._trouble = trouble

"""`tokenline journal`: the journal's entries, filtered, for people or as JSON lines."""

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlencode

import click
import msgspec

from services.cli.client import find_folder, find_system
from services.cli.data_folder import DataFolderInUseError, open_data_folder
from services.cli.failures import expected_errors
from services.cli.printing import common_options

_PAGE: Final = 1_000
_TIMEOUT_S: Final = 60.0
# Made by nothing but a command: where they name nobody, it is not known who gave it.
_COMMANDED: Final = frozenset(
    {"account_opened", "bucket_topped_up", "bucket_reduced", "debt_written_off", "limits_set", "transfer_sent", "price_returned"}
)


class TimeType(click.ParamType):  # type: ignore[type-arg]  # generic in its stubs alone
    """A time like 2026-11-23T12:00:00Z, in microseconds since 1970."""

    name = "time"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        if isinstance(value, int):
            return value
        try:
            time = datetime.fromisoformat(value)
        except ValueError:
            self.fail(f"{value!r} is no time like 2026-11-23T12:00:00Z", param, ctx)
        if time.tzinfo is None:
            self.fail(f"{value!r} must say its zone, like 2026-11-23T12:00:00Z or +08:00", param, ctx)
        return int(time.timestamp() * 1_000_000)


@click.command("journal")
@click.option("--account", "account_id", metavar="ID", help="Only entries of this account.")
@click.option(
    "--session", "charging_id", metavar="ID", help="Only entries of this call: its charging_id, which is its x-request-id."
)
@click.option("--from", "from_us", type=TimeType(), metavar="TIME", help="Not before.")
@click.option("--until", "until_us", type=TimeType(), metavar="TIME", help="Before.")
@common_options
def journal_command(
    *,
    account_id: str | None,
    charging_id: str | None,
    from_us: int | None,
    until_us: int | None,
    data_dir: Path | None,
    output: str,
) -> None:
    """Read the journal, in the order of partition and row; --output json prints a line for each entry.

    Entries are as they are kept: amounts in micro-units, times named ..._us in microseconds since 1970.

    Works on the data folder of a system that is down, too.
    """
    wanted = {"account_id": account_id, "charging_id": charging_id, "from_us": from_us, "until_us": until_us}
    given = {field: value for field, value in wanted.items() if value is not None}
    with expected_errors():
        for entry in entries_of(given, data_dir):
            click.echo(msgspec.json.encode(entry).decode() if output == "json" else _line(entry))


def _line(entry: dict[str, Any]) -> str:
    own = ("part_id", "sequence_number", "index", "time_us", "account_id", "actor", "fact")
    time = datetime.fromtimestamp(entry["time_us"] / 1_000_000, UTC).isoformat(timespec="milliseconds")
    fields = " ".join(f"{field}={_short(value)}" for field, value in entry.items() if field not in own)
    where = f"{entry['part_id']}/{entry['sequence_number']}.{entry['index']}"
    return f"{time}  {where:12}  {entry['account_id']}  {entry['fact']}{_by(entry)}  {fields}"


def _by(entry: dict[str, Any]) -> str:
    """Says who gave the command that made an entry; empty where it is of a call, whose key stands in its fields, or fell due."""
    if actor := entry.get("actor"):
        return f" by {actor['subject']} ({actor['proof']}, {actor['role']})"
    return " by unknown" if entry["fact"] in _COMMANDED or _is_granted(entry) else ""


def _is_granted(entry: dict[str, Any]) -> bool:
    """Whether a bucket was granted by a command, and not by an order, a cycle or a transfer."""
    source = entry.get("source", "")
    return entry["fact"] == "bucket_granted" and (source in ("", "adjustment") or source.startswith("refund:"))


def _short(value: Any) -> str:
    return value if isinstance(value, str) else msgspec.json.encode(value).decode()


def entries_of(wanted: dict[str, Any], data_dir: Path | None) -> Iterator[dict[str, Any]]:
    """Entries that are `wanted`, of a running system or of a folder whose system is down. Errors: `CommandError`."""
    folder = find_folder(data_dir)
    if folder is not None and folder.accounting_database.exists():
        try:
            with open_data_folder(folder.path, create=False):
                yield from _of_system_down(wanted, folder.accounting_database)
                return
        except DataFolderInUseError:
            pass
    system = find_system(data_dir)
    cursor = ""
    while True:
        query = urlencode({**wanted, "limit": _PAGE, **({"cursor": cursor} if cursor else {})})
        page = system.ask("GET", f"/journal?{query}", timeout_s=_TIMEOUT_S)
        yield from page["data"]
        cursor = page["next"]
        if not cursor:
            return


def _of_system_down(wanted: dict[str, Any], database: Path) -> Iterator[dict[str, Any]]:
    """Reads the file row by row; nothing is claimed or changed."""
    import asyncio

    from services.accounting.journal.sqlite import SqliteStore
    from services.accounting.journal.store import JournalRow
    from services.accounting.rpc.journal import journal_row_messages
    from services.edge.api.admin.journal import JournalFilter, entry_json

    matches = JournalFilter(**wanted)

    async def page(part_id: int, after_seq: int) -> list[JournalRow]:
        store = await SqliteStore.open(database)
        try:
            return await store.read_rows(part_id, after_seq, _PAGE)
        finally:
            await store.close()

    async def partitions() -> int:
        store = await SqliteStore.open(database)
        try:
            return len(await store.partitions())
        finally:
            await store.close()

    for part_id in range(asyncio.run(partitions())):
        after_seq = 0
        while rows := asyncio.run(page(part_id, after_seq)):
            for row in rows:
                for message in journal_row_messages(row):
                    if matches.finds(message):
                        yield entry_json(message)
            after_seq = rows[-1].seq

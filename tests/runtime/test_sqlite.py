"""The SQLite file under the stores of all services."""

import sqlite3
from pathlib import Path

from services.runtime.sqlite import Database

_FULL = 2


def _durability(connection: sqlite3.Connection) -> tuple[str, int]:
    (journal_mode,) = connection.execute("PRAGMA journal_mode").fetchone()
    (synchronous,) = connection.execute("PRAGMA synchronous").fetchone()
    return journal_mode, synchronous


async def test_a_commit_waits_for_the_disk(tmp_path: Path) -> None:
    """With NORMAL, SQLite's other setting beside WAL, commits of the last moments are lost with the power, in silence."""
    database = await Database.open(tmp_path / "it", [])
    try:
        assert await database.read(_durability) == ("wal", _FULL)
    finally:
        await database.close()

"""The rows of a recorded trace."""

import csv
import gzip
import io
import math
from pathlib import Path
from typing import Final

import msgspec

_COLUMNS: Final = ["timestamp_s", "session", "model", "input_tokens", "output_tokens"]
_CACHED_COLUMN: Final = "cached_input_tokens"


class ReplayError(Exception):
    """The replay cannot be made; the message names what is wrong and what would be right."""


class Row(msgspec.Struct, frozen=True):
    """One row of a trace."""

    timestamp_s: float
    # Empty: the row stands alone.
    session: str
    # Empty: not recorded.
    model: str
    # In total, cached ones included.
    input_tokens: int
    output_tokens: int
    cached_input_tokens: int = 0


def read_trace(path: Path, limit: int | None = None) -> list[Row]:
    """The first `limit` rows of a trace, plain or gzipped.

    Errors: `ReplayError` with file and line when it cannot be read, has another header or a cell that is no number.
    """
    rows: list[Row] = []
    try:
        with _open_text(path) as lines:
            reader = csv.reader(lines)
            header = next(reader, [])
            if header not in (_COLUMNS, [*_COLUMNS, _CACHED_COLUMN]):
                raise ReplayError(
                    f"{path}:1: the header is {','.join(header)!r}; it should be {','.join(_COLUMNS)!r}, "
                    f"with or without {',' + _CACHED_COLUMN!r} after it"
                )
            for cells in reader:
                if limit is not None and len(rows) >= limit:
                    break
                if cells:
                    rows.append(_row(cells, header, f"{path}:{reader.line_num}"))
    except OSError as error:
        raise ReplayError(f"{path}: cannot be read: {error.strerror or error}") from error
    except (EOFError, UnicodeDecodeError, csv.Error) as error:
        raise ReplayError(f"{path}: is neither CSV nor gzipped CSV: {error}") from error
    if not rows:
        raise ReplayError(f"{path}: has a header but no rows; there is nothing to replay")
    return rows


def _open_text(path: Path) -> io.TextIOWrapper:
    file = path.open("rb")
    # By content, not by name: a trace is often saved without its suffix.
    gzipped = file.peek(2)[:2] == b"\x1f\x8b"
    return io.TextIOWrapper(gzip.GzipFile(fileobj=file) if gzipped else file, encoding="utf-8-sig", newline="")


def _row(cells: list[str], header: list[str], where: str) -> Row:
    if len(cells) != len(header):
        raise ReplayError(f"{where}: has {len(cells)} cells; the header has {len(header)}")
    named = dict(zip(header, cells, strict=True))
    row = Row(
        timestamp_s=_seconds(named, where),
        session=named["session"],
        model=named["model"],
        input_tokens=_tokens(named, "input_tokens", where),
        output_tokens=_tokens(named, "output_tokens", where),
        cached_input_tokens=_tokens(named, _CACHED_COLUMN, where) if named.get(_CACHED_COLUMN) else 0,
    )
    if row.cached_input_tokens > row.input_tokens:
        raise ReplayError(
            f"{where}: {_CACHED_COLUMN}: {row.cached_input_tokens} should not be more than input_tokens, {row.input_tokens}"
        )
    return row


def _seconds(named: dict[str, str], where: str) -> float:
    cell = named["timestamp_s"] or "0"
    try:
        seconds = float(cell)
    except ValueError:
        seconds = math.nan
    if not (math.isfinite(seconds) and seconds >= 0):
        raise ReplayError(f"{where}: timestamp_s: {cell!r} should be a number of seconds, 0 or more")
    return seconds


def _tokens(named: dict[str, str], column: str, where: str) -> int:
    cell = named[column]
    if not (cell.isascii() and cell.isdecimal()):
        raise ReplayError(f"{where}: {column}: {cell!r} should be a whole number, 0 or more")
    return int(cell)

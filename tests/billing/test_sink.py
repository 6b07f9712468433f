"""The local folder as a sink, on a real disk."""

import asyncio
import contextlib
import re
import threading
from collections.abc import Callable, Coroutine
from pathlib import Path
from types import FrameType
from typing import Any, Final

import pytest

from services.billing.sink import FolderSink

_DISK_CALLS: Final = ("write", "flush", "fsync", "rename", "replace", "unlink", "mkdir")


def names_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


async def test_a_file_is_there_as_a_whole_and_nothing_beside_it(tmp_path: Path) -> None:
    sink = FolderSink(tmp_path / "a" / "cdrs")
    await sink.prepare()
    await sink.put("cdr-1", b"first")
    await sink.put("cdr-1", b"again")
    assert [(path.name, path.read_bytes()) for path in (tmp_path / "a" / "cdrs").iterdir()] == [("cdr-1", b"again")]


async def test_who_reads_a_file_while_it_is_written_again_reads_all_of_the_old_one(tmp_path: Path) -> None:
    sink = FolderSink(tmp_path)
    await sink.prepare()
    await sink.put("cdr-1", b"the old content")
    # Without a buffer, which would have read ahead.
    with (tmp_path / "cdr-1").open("rb", buffering=0) as reader:
        assert reader.read(4) == b"the "
        await sink.put("cdr-1", b"new")
        assert reader.read() == b"old content"
    assert (tmp_path / "cdr-1").read_bytes() == b"new"


async def disk_calls(folder: Path, work: Callable[[], Coroutine[Any, Any, None]]) -> list[str]:
    """The calls that make a disk remember, in order, of work in a loop of its own; of `fsync` also what below the folder it is for.

    What is open below the folder when it is called, is that.
    """
    calls: list[str] = []

    def note(frame: FrameType, event: str, function: Any) -> None:
        if event != "c_call" or (name := function.__name__) not in _DISK_CALLS:
            return
        calls.append(f"fsync {' '.join(open_below(folder))}" if name == "fsync" else name)

    # Threads that begin now are watched, those of the sink among them.
    threading.setprofile(note)
    try:
        working = threading.Thread(target=lambda: asyncio.run(work()))
        working.start()
        await asyncio.to_thread(working.join)
    finally:
        threading.setprofile(None)
    # The loop's own way to wake up.
    return [call for call in calls if call != "send"]


def open_below(folder: Path) -> list[str]:
    """What this process has open in the folder, "." for itself, without the random part of a name."""
    found = []
    for each in Path("/proc/self/fd").iterdir():
        with contextlib.suppress(OSError):
            path = each.readlink()
            if path.is_relative_to(folder):
                found.append(re.sub(r"[.][0-9a-f]{8}[.]tmp$", ".tmp", str(path.relative_to(folder))))
    return found


async def test_content_then_name_are_on_the_disk_before_a_put_returns(tmp_path: Path) -> None:
    """A power failure after `rename` must not leave the name of a file without its content, nor one after `put` the old name."""
    sink = FolderSink(tmp_path)
    await sink.prepare()
    calls = await disk_calls(tmp_path, lambda: sink.put("cdr-1", b"content"))
    assert calls == ["write", "flush", "fsync .cdr-1.tmp", "rename", "fsync ."]


async def test_the_folder_is_on_the_disk_before_anything_is_put_into_it(tmp_path: Path) -> None:
    sink = FolderSink(tmp_path / "cdrs")
    assert await disk_calls(tmp_path, sink.prepare) == ["mkdir", "fsync .", "fsync cdrs"]
    (tmp_path / "cdrs" / ".cdr-2.0a1b2c3d.tmp").write_bytes(b"ha")
    assert await disk_calls(tmp_path, sink.prepare) == ["mkdir", "fsync .", "unlink", "fsync cdrs"]


async def test_two_that_put_the_same_file_do_not_write_into_one(tmp_path: Path) -> None:
    """A second process should not be there; if it is, each file is still whole."""
    sink = FolderSink(tmp_path)
    await sink.prepare()
    contents = [bytes([number]) * 100_000 for number in range(8)]
    await asyncio.gather(*(sink.put("cdr-1", content) for content in contents))
    assert (tmp_path / "cdr-1").read_bytes() in contents
    assert names_in(tmp_path) == ["cdr-1"]


async def test_what_an_interrupted_put_left_is_removed_and_nothing_else(tmp_path: Path) -> None:
    sink = FolderSink(tmp_path)
    await sink.prepare()
    await sink.put("cdr-1", b"whole")
    (tmp_path / ".cdr-2.0a1b2c3d.tmp").write_bytes(b"ha")
    (tmp_path / ".keep").write_bytes(b"not ours")
    await FolderSink(tmp_path).prepare()
    assert names_in(tmp_path) == [".keep", "cdr-1"]


async def test_a_put_that_fails_leaves_nothing(tmp_path: Path) -> None:
    sink = FolderSink(tmp_path)
    (tmp_path / "cdr-1").mkdir()
    with pytest.raises(OSError, match="cdr-1"):
        await sink.put("cdr-1", b"content")
    assert names_in(tmp_path) == ["cdr-1"]


async def test_a_folder_that_cannot_be_made_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "cdrs").write_text("a file, not a folder")
    with pytest.raises(OSError, match="cdrs"):
        await FolderSink(tmp_path / "cdrs").prepare()

"""The local folder as a sink, on a real disk."""

from pathlib import Path

import pytest

from services.billing.sink import FolderSink


def names_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


async def test_a_file_is_there_as_a_whole_and_nothing_beside_it(tmp_path: Path) -> None:
    sink = FolderSink(tmp_path / "a" / "cdrs")
    await sink.prepare()
    await sink.put("cdr-1", b"first")
    await sink.put("cdr-1", b"again")
    assert [(path.name, path.read_bytes()) for path in (tmp_path / "a" / "cdrs").iterdir()] == [("cdr-1", b"again")]


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

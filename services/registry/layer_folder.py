"""A layer in a folder of this machine, as `tokenline up` has it, changed as a whole."""

import asyncio
import shutil
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final

import msgspec

from services.registry.catalog_folder import files_of, read_folder, read_folders
from services.registry.changes import HISTORY_MAX, Change, Files, LayersNow, StaleError
from services.runtime.config import ConfigError
from services.runtime.locks import InUseError, exclusive

# The name of the only layer.
LAYER: Final = "catalog"
# The change that is being made.
_PENDING: Final = "pending.json"


class FolderLayers:
    """A folder that is the last layer of a registry, and the folder of its history beside it."""

    def __init__(self, folder: Path, history: Path, below: Sequence[Path]) -> None:
        self._folder = folder
        self._history = history
        self._below = below

    async def read(self) -> LayersNow:
        return await asyncio.to_thread(self._read)

    async def write(self, now: LayersNow, files: Files | None, change: Change) -> None:
        await asyncio.to_thread(self._write, now, files, change)

    async def history(self) -> Sequence[Change]:
        return await asyncio.to_thread(self._changes)

    def _read(self) -> LayersNow:
        self._settle()
        return self._as_it_is()

    def _as_it_is(self) -> LayersNow:
        files = read_folder(self._folder) if self._folder.is_dir() and files_of(self._folder) else {}
        changes = self._numbers()
        return LayersNow(
            below=tuple(read_folders(self._below)),
            layers={LAYER: files} if files else {},
            place_of={LAYER: self._folder},
            broken=frozenset(),
            last_number=max(changes, default=0),
            mark=files,
        )

    def _write(self, now: LayersNow, files: Files | None, change: Change) -> None:
        self._history.mkdir(exist_ok=True)
        try:
            with exclusive(self._history / "lock", "the catalog's history"):
                self._end_pending()
                current = self._as_it_is()
                if (current.mark, current.last_number) != (now.mark, now.last_number):
                    raise StaleError
                pending = self._history / _PENDING
                pending.write_bytes(msgspec.json.encode(change))
                try:
                    self._replace(files or {})
                except OSError:
                    pending.unlink()
                    raise
                pending.rename(self._history / f"{change.number:06}.json")
                for number in self._numbers():
                    if number <= change.number - HISTORY_MAX:
                        (self._history / f"{number:06}.json").unlink()
        except InUseError:
            raise StaleError from None

    def _settle(self) -> None:
        """Ends a change during which its process was killed; one that somebody makes now goes on."""
        if (self._history / _PENDING).exists():
            with suppress(InUseError), exclusive(self._history / "lock", "the catalog's history"):
                self._end_pending()

    def _end_pending(self) -> None:
        """Keeps a change that was made before its process was killed, and forgets one that was not."""
        pending = self._history / _PENDING
        if not pending.exists():
            return
        mend(self._folder)
        try:
            change = msgspec.json.decode(pending.read_bytes(), type=Change)
        except (msgspec.DecodeError, UnicodeDecodeError):
            # It was killed while it wrote this, before it touched the folder.
            change = None
        if change is None or (change.before() or {}) == self._as_it_is().mark:
            pending.unlink()
        else:
            pending.rename(self._history / f"{change.number:06}.json")

    def _replace(self, files: Files) -> None:
        """Puts another folder in the place of this one, so that no reader finds half of the files."""
        new, old = _beside(self._folder, "new"), _beside(self._folder, "old")
        for folder in (new, old):
            shutil.rmtree(folder, ignore_errors=True)
        new.mkdir()
        for name, text in files.items():
            (new / name).parent.mkdir(exist_ok=True)
            (new / name).write_text(text, encoding="utf-8")
        if self._folder.is_dir():
            for other in self._folder.iterdir():
                if other.is_file() and other.suffix != ".yaml":
                    shutil.copy2(other, new / other.name)
            self._folder.rename(old)
        new.rename(self._folder)
        shutil.rmtree(old, ignore_errors=True)

    def _numbers(self) -> list[int]:
        if not self._history.is_dir():
            return []
        return sorted(int(path.stem) for path in self._history.iterdir() if path.suffix == ".json" and path.stem.isdecimal())

    def _changes(self) -> list[Change]:
        self._settle()
        changes = []
        for number in self._numbers():
            path = self._history / f"{number:06}.json"
            try:
                changes.append(msgspec.json.decode(path.read_bytes(), type=Change))
            except (msgspec.DecodeError, UnicodeDecodeError) as error:
                raise ConfigError(f"{path}: is no change of a catalog: {error}; remove it") from error
        return changes


def mend(folder: Path) -> None:
    """Ends a change of the folder during which its process was killed: what was there before is there again. Blocking."""
    old = _beside(folder, "old")
    if old.is_dir() and not folder.exists():
        old.rename(folder)


def _beside(folder: Path, which: str) -> Path:
    return folder.with_name(f".{folder.name}.{which}")

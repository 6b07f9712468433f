"""Where finished files go: the contract, and the local folder."""

import asyncio
import contextlib
import os
import secrets
from pathlib import Path
from typing import Final, Protocol

_TEMPORARY_PREFIX: Final = "."
_TEMPORARY_SUFFIX: Final = ".tmp"


class Sink(Protocol):
    """Takes whole files. Errors of all methods: `OSError`."""

    async def prepare(self) -> None:
        """Makes the sink usable and removes the leftovers of an interrupted `put`."""
        ...

    async def names(self) -> set[str]:
        """The files that are there."""
        ...

    async def put(self, name: str, content: bytes) -> None:
        """Writes or replaces a file: all of it or nothing is seen under its name. Durable when it returns."""
        ...


class FolderSink:
    """See `Sink`: files in one folder of the local disk."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    async def prepare(self) -> None:
        await asyncio.to_thread(self._prepare)

    async def names(self) -> set[str]:
        return set(await asyncio.to_thread(os.listdir, self._folder))

    async def put(self, name: str, content: bytes) -> None:
        await asyncio.to_thread(self._put, name, content)

    def _prepare(self) -> None:
        self._folder.mkdir(parents=True, exist_ok=True)
        _sync_folder(self._folder.parent)
        for leftover in self._folder.glob(f"{_TEMPORARY_PREFIX}cdr-*{_TEMPORARY_SUFFIX}"):
            leftover.unlink(missing_ok=True)
        _sync_folder(self._folder)

    def _put(self, name: str, content: bytes) -> None:
        # The random part keeps a second process, which should not be there, from writing into this one's file.
        temporary = self._folder / f"{_TEMPORARY_PREFIX}{name}.{secrets.token_hex(4)}{_TEMPORARY_SUFFIX}"
        try:
            with temporary.open("xb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            temporary.rename(self._folder / name)
        except OSError:
            with contextlib.suppress(OSError):
                temporary.unlink(missing_ok=True)
            raise
        # Without this the name may be lost with the power although the content is safe.
        _sync_folder(self._folder)


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)

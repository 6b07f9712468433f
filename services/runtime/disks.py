"""Room on the disks that hold what may not be lost, for Prometheus."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Final

from services.runtime.instruments import Gauge, Values, export

# By the word for what is held.
_watched: Final[dict[str, Path]] = {}


def watch_disk(holds: str, path: Path) -> None:
    """Shows from now on how full the file system of a file or folder is; `holds` is the word for what is held there."""
    if not _watched:
        export(
            Gauge("disk.free_bytes", "Bytes that may still be written, by what is held there", _each(_free), ("holds",)),
            Gauge("disk.used_bytes", "Bytes of the file system that are used, by what is held there", _each(_used), ("holds",)),
        )
    _watched[holds] = path


def _each(of: Callable[[os.statvfs_result], int]) -> Callable[[], dict[Values, float]]:
    def observe() -> dict[Values, float]:
        found: dict[Values, float] = {}
        for holds, path in _watched.copy().items():
            try:
                found[(holds,)] = of(os.statvfs(path))
            except OSError:
                # Its line is missing while the disk cannot be asked, and the rest of the page is told.
                continue
        return found

    return observe


def _free(disk: os.statvfs_result) -> int:
    return disk.f_bavail * disk.f_frsize


def _used(disk: os.statvfs_result) -> int:
    return (disk.f_blocks - disk.f_bfree) * disk.f_frsize

"""A lock file: one process at a time. The operating system frees it when the process ends, however it ends."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


class InUseError(Exception):
    """Another process holds the lock; the message names it."""


@contextmanager
def exclusive(lock_file: Path, what: str) -> Iterator[None]:
    """Holds `lock_file`, which is made if it is missing, until the block is left.

    Errors: `InUseError` at once when another process holds it, naming `what` and that process; `OSError`.
    """
    descriptor = os.open(lock_file, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            pid = os.pread(descriptor, 32, 0).decode("ascii", "replace").strip() or "unknown"
            raise InUseError(f"{what} is in use by process {pid}") from None
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
        yield
    finally:
        os.close(descriptor)

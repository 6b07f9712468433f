"""The memory of a process that serves."""

import ctypes
import sys
from typing import Final

# Of glibc's malloc.h.
_M_TRIM_THRESHOLD: Final = -1
_M_MMAP_THRESHOLD: Final = -3
# Bytes. A request's body and its texts lie below the first; the second bounds what a process keeps beyond what it uses.
_BLOCK_BYTES_MAX: Final = 4_194_304
_KEPT_BYTES_MAX: Final = 16_777_216


def keep_freed_memory() -> None:
    """Has what is freed serve the next request, up to 16 MiB of it.

    By itself glibc gives each block above 128 KiB back to the system, and its pages come again one fault at a time: that was a
    third of the time to read a body of 500 KB. Other C libraries are left as they are.
    """
    if sys.platform == "linux" and hasattr(library := ctypes.CDLL(None), "mallopt"):
        library.mallopt(_M_MMAP_THRESHOLD, _BLOCK_BYTES_MAX)
        library.mallopt(_M_TRIM_THRESHOLD, _KEPT_BYTES_MAX)

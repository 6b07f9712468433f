"""The memory of a process that serves."""

import ctypes
import sys
from typing import Final

# From glibc's malloc.h.
_M_TRIM_THRESHOLD: Final = -1
_M_MMAP_THRESHOLD: Final = -3
# In bytes. A request's body and its texts are below the first; the second bounds the free memory that a process keeps.
_BLOCK_BYTES_MAX: Final = 4_194_304
_KEPT_BYTES_MAX: Final = 16_777_216


def keep_freed_memory() -> None:
    """Keeps freed memory for the next request, up to 16 MiB of it.

    By default glibc gives each block above 128 KiB back to the system, and its pages come again one fault at a time. That was a
    third of the time to read a body of 500 KB. Other C libraries are left as they are.
    """
    if sys.platform == "linux" and hasattr(library := ctypes.CDLL(None), "mallopt"):
        library.mallopt(_M_MMAP_THRESHOLD, _BLOCK_BYTES_MAX)
        library.mallopt(_M_TRIM_THRESHOLD, _KEPT_BYTES_MAX)

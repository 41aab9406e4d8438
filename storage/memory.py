"""What the C library keeps of memory that was freed: threads of DuckDB, LanceDB and the model free a lot at a time."""

from __future__ import annotations

import ctypes
import sys
from functools import cache

_M_ARENA_MAX = -8
_ARENAS = 2


@cache
def _glibc() -> ctypes.CDLL | None:
    library = ctypes.CDLL(None) if sys.platform == "linux" else None
    return library if library is not None and hasattr(library, "malloc_trim") else None  # others have nothing to ask


def share_arenas() -> None:
    """Let all threads share two arenas, where the C library is glibc. Otherwise each keeps what it freed in its own.

    Measured at 100,000 messages with vectors: 705 instead of 861 MiB after 400 searches, and no slower.
    """
    library = _glibc()
    if library is not None:
        library.mallopt(_M_ARENA_MAX, _ARENAS)


def give_back() -> None:
    """Return to the system what is free, where the C library is glibc. Takes some ms; call it in a thread."""
    library = _glibc()
    if library is not None:
        library.malloc_trim(0)

"""What the C library keeps of memory that was freed: threads of DuckDB, LanceDB and the model free a lot at a time.

It applies to glibc; there is nothing to set in others.
"""

from __future__ import annotations

import ctypes
import os
import sys
import time
from collections.abc import Mapping
from functools import cache

GIVE_BACK_SECONDS = 5.0
GIVE_BACK_WORK_SECONDS = 0.3
"""Of a core's time: after less there is not enough to give back."""

_M_MMAP_THRESHOLD, _M_ARENA_MAX = -3, -8
_ARENAS = 4
_MAPPED_BYTES = 64 << 10
_TUNABLES, _CACHE = "GLIBC_TUNABLES", "glibc.malloc.tcache"
_CACHED = f"{_CACHE}_count=128:{_CACHE}_max=512"


@cache
def _glibc() -> ctypes.CDLL | None:
    library = ctypes.CDLL(None) if sys.platform == "linux" else None
    return library if library is not None and hasattr(library, "malloc_trim") else None  # others have nothing to ask


def tuned(environment: Mapping[str, str]) -> dict[str, str]:
    """An environment in which a process keeps more small blocks at hand, unless it says how many.

    DuckDB plans a statement with thousands of them; of each size a thread keeps 7 by default. With 128 a lone
    `send_message` takes an eighth less, 64 clients that list messages get a twelfth more, for 10 MB. Blocks of more
    than 512 bytes add nothing to that, but memory: a hub has 50 to 100 threads, and what is in use grew by 25 instead
    of 8 MB in four minutes of 500 busy sessions.
    """
    given = environment.get(_TUNABLES, "")
    if _glibc() is None or _CACHE in given:
        return dict(environment)
    return {**environment, _TUNABLES: f"{given}:{_CACHED}".lstrip(":")}


def restart_tuned() -> None:
    """Begin this process anew with `tuned`: glibc reads that only once. Call it before anything is open.

    Raises:
        OSError: the interpreter cannot be started any more.
    """
    environment = tuned(os.environ)
    if environment != os.environ:
        os.execve(sys.executable, [sys.executable, *sys.orig_argv[1:]], environment)  # noqa: S606


def keep_little() -> None:
    """Let all threads share a few arenas, and keep large blocks out of them.

    Otherwise each thread keeps what it freed in its own. With two, 705 instead of 861 MiB were resident after 400
    searches of 100,000 messages, but cold reads took a fifth longer; with four they take as long as without a bound.

    The size from which a block is mapped by itself, and given back when it is freed, grows as large blocks are freed
    unless it is set: then they leave holes. After two minutes of 500 busy sessions 15 instead of 100 MB were free
    within the arenas, and 80 MB less resident; from 64 rather than 256 kB on, another 10. Searches and cold reads of a
    million messages take as long.
    """
    os.environ.setdefault("ARROW_DEFAULT_MEMORY_POOL", "system")  # its own keeps what each thread freed
    library = _glibc()
    if library is not None:
        library.mallopt(_M_ARENA_MAX, _ARENAS)
        library.mallopt(_M_MMAP_THRESHOLD, _MAPPED_BYTES)


def give_back() -> None:
    """Return to the system what is free. Takes some ms; call it in a thread."""
    library = _glibc()
    if library is not None:
        library.malloc_trim(0)


async def keep_giving_back() -> None:
    """Give back while the process works, until this is cancelled: what is freed in the arenas lies scattered."""
    import anyio  # whoever only reads `tuned` starts without it

    worked = 0.0
    while True:
        await anyio.sleep(GIVE_BACK_SECONDS)
        if time.process_time() - worked >= GIVE_BACK_WORK_SECONDS:
            await anyio.to_thread.run_sync(give_back)
            worked = time.process_time()

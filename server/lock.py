"""A lock on a file, held by one process at a time and freed by the system when that process ends."""

import os
import sys
import time
from pathlib import Path

if sys.platform == "win32":
    import msvcrt

    def _try_lock(handle: int, *, shared: bool) -> bool:  # noqa: ARG001 - Windows has exclusive locks only
        try:
            msvcrt.locking(handle, msvcrt.LK_NBLCK, 1)
        except OSError:
            return False
        return True
else:
    import fcntl

    def _try_lock(handle: int, *, shared: bool) -> bool:
        try:
            fcntl.flock(handle, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True


class FileLock:
    """An exclusive lock. Its file is never deleted: two processes could then lock two files of one name."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._handle: int | None = None

    def acquire(self, timeout: float = 0.0) -> bool:
        """Whether the lock could be had within `timeout` seconds. Raises OSError when the file cannot be opened."""
        handle = os.open(self._path, os.O_RDWR | os.O_CREAT, 0o600)
        deadline = time.monotonic() + timeout
        pause = 0.002
        while not _try_lock(handle, shared=False):
            if time.monotonic() >= deadline:
                os.close(handle)
                return False
            time.sleep(pause)
            pause = min(pause * 1.5, 0.05)
        self._handle = handle
        return True

    def release(self) -> None:
        """Free the lock if it is held."""
        if self._handle is not None:
            os.close(self._handle)
            self._handle = None

    def in_place(self) -> bool:
        """Whether the lock is held and its file is still the one of that name."""
        try:
            there = self._path.stat()
        except FileNotFoundError:
            return False
        return self._handle is not None and os.path.samestat(os.fstat(self._handle), there)


def is_locked(path: Path) -> bool:
    """Whether some process holds the exclusive lock on the file at `path`. Raises OSError as `acquire` does."""
    try:
        handle = os.open(path, os.O_RDWR)
    except FileNotFoundError:
        return False
    try:
        # A shared lock, so that two who ask at once do not take each other for a holder.
        return not _try_lock(handle, shared=True)
    finally:
        os.close(handle)

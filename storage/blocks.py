"""Brings one file to the content of another by writing only the blocks that differ. Standard library only."""

from __future__ import annotations

import contextlib
import errno
import os
import sys
from collections.abc import Callable
from io import FileIO
from pathlib import Path

HEADER_BYTES = 3 * 4096
"""A database of DuckDB begins with three headers; blocks follow."""
BLOCK_BYTES = 256 * 1024
CHUNK_BYTES = 4 * BLOCK_BYTES
"""Read and compared at once. Each read gives up the interpreter's lock and has to get it back: fewer are better."""
SYNC_BYTES = 32 << 20
"""Written between two syncs, so that a commit never waits behind a gigabyte of dirty pages."""
_FICLONE = 0x40049409
_NO_CLONES = frozenset({errno.EOPNOTSUPP, errno.ENOTTY, errno.EINVAL, errno.EXDEV, errno.ENOSYS})


class Stopped(Exception):
    """Whoever asked for a copy does not want it any more."""


def clone(source: FileIO, target: FileIO, length: int) -> bool:
    """Let `target` share the first `length` bytes of `source`, where the file system can do that."""
    if sys.platform != "linux":
        return False
    import fcntl

    try:
        fcntl.ioctl(target, _FICLONE, source.fileno())
    except OSError as error:
        if error.errno in _NO_CLONES:
            return False
        raise
    target.truncate(length)
    _sync(target)
    return True


def patch(source: FileIO, target: FileIO, length: int, stopped: Callable[[], bool]) -> int:
    """Make `target` equal to the first `length` bytes of `source`, and durable. Returns the number of bytes written.

    Both were just opened. Everything is compared, whatever `target` holds: an empty one is written in full, one that
    was left half-way is mended. DuckDB's own checksums in the blocks are no use: words may change places unnoticed.

    Raises:
        Stopped: `stopped` said so; `target` is half-way.
    """
    ours, theirs = bytearray(CHUNK_BYTES), bytearray(CHUNK_BYTES)
    written = unsynced = 0
    offset, size = 0, HEADER_BYTES
    while offset < length:
        if stopped():
            raise Stopped
        size = min(size, length - offset)
        wanted = memoryview(ours)[:size]
        if _read(source, wanted) < size:
            raise OSError(errno.EIO, "the database became shorter while it was copied")
        present = memoryview(theirs)[: _read(target, memoryview(theirs)[:size])]
        # Comparing views is a loop over numbers; two whole arrays are one memcmp.
        if len(present) < CHUNK_BYTES or ours != theirs:
            unsynced += _write_differing(target, wanted, present, offset)
        if unsynced >= SYNC_BYTES:
            _sync(target)
            written, unsynced = written + unsynced, 0
        offset, size = offset + size, CHUNK_BYTES
    target.truncate(length)
    _sync(target)
    return written + unsynced


def _read(file: FileIO, buffer: memoryview) -> int:
    """Fill the buffer as far as the file goes."""
    done = 0
    while done < len(buffer) and (count := file.readinto(buffer[done:])):
        done += count
    return done


def _write_differing(file: FileIO, wanted: memoryview, present: memoryview, offset: int) -> int:
    """Write the blocks at `offset` that are not present yet, and go on behind them."""
    written = 0
    for begin in range(0, len(wanted), BLOCK_BYTES):
        block = wanted[begin : begin + BLOCK_BYTES]
        if bytes(block) != bytes(present[begin : begin + BLOCK_BYTES]):
            file.seek(offset + begin)
            done = 0
            while done < len(block):
                done += file.write(block[done:]) or 0
            written += len(block)
    file.seek(offset + len(wanted))
    return written


def _sync(file: FileIO) -> None:
    if sys.platform == "linux":
        os.fdatasync(file)
    else:
        os.fsync(file)


def is_unused(path: Path) -> bool:
    """Whether certainly no process has this file open, under whatever name. False where the system cannot tell."""
    if sys.platform != "linux":
        return False
    import fcntl
    import signal

    file = os.open(path, os.O_RDONLY)
    try:
        # The kernel grants such a lease only on a file that nobody else has open or mapped. Whoever opened it in this
        # moment would have us told by a signal, and the default one ends a process.
        fcntl.fcntl(file, fcntl.F_SETSIG, signal.SIGURG)
        fcntl.fcntl(file, fcntl.F_SETLEASE, fcntl.F_WRLCK)
        fcntl.fcntl(file, fcntl.F_SETLEASE, fcntl.F_UNLCK)
    except OSError:
        return False
    finally:
        os.close(file)
    return True


def is_written(path: Path) -> bool:
    """Whether a process has this file locked for writing, as DuckDB does while it has it open for that."""
    if sys.platform == "win32":
        return False  # such a file could not be replaced either
    import fcntl

    file = os.open(path, os.O_RDONLY)
    try:
        fcntl.lockf(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(file)
    return False


def sync_directory(directory: Path) -> None:
    """Make names in a directory durable."""
    if sys.platform == "win32":
        return  # a directory cannot be opened there
    file = os.open(directory, os.O_RDONLY)
    try:
        with contextlib.suppress(OSError):  # some file systems have no sync of directories
            os.fsync(file)
    finally:
        os.close(file)

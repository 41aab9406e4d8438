"""Copies of the published snapshot, one a generation, for workers alone.

A worker never opens `analytics.duckdb` itself: who opens that for writing would find it locked.
"""

from __future__ import annotations

import shutil
import sys
import tempfile
from pathlib import Path
from typing import BinaryIO

FOLDER = "snapshots"
_CATALOGUE = "analytics.duckdb"
"""DuckDB names the catalogue after the file: qualified names are the same as on the published one."""
_FICLONE = 0x40049409


def copied(published: Path, *, prefix: str) -> Path:
    """A private copy of the published file, in a directory of its own that begins with `prefix`.

    Raises:
        OSError: there is none, or no room.
    """
    folder = published.parent / FOLDER
    folder.mkdir(mode=0o700, exist_ok=True)
    place = Path(tempfile.mkdtemp(prefix=prefix, dir=folder))
    try:
        _copy(published, place / _CATALOGUE)
    except BaseException:
        remove(place / _CATALOGUE)
        raise
    return place / _CATALOGUE


def _copy(source: Path, target: Path) -> None:
    # One open: a publication that comes meanwhile replaces the name, not this file.
    with source.open("rb") as reading, target.open("xb") as writing:
        if not _shares_blocks(reading, writing):
            shutil.copyfileobj(reading, writing, 1 << 20)


def _shares_blocks(source: BinaryIO, target: BinaryIO) -> bool:
    """Make `target` a copy that shares its blocks with `source`; whether the file system can."""
    if sys.platform != "linux":
        return False
    import fcntl

    try:
        fcntl.ioctl(target.fileno(), _FICLONE, source.fileno())
    except OSError:
        return False
    return True


def remove(copy: Path) -> None:
    """Remove a copy and its directory. Workers that have it open go on."""
    shutil.rmtree(copy.parent, ignore_errors=True)


def remove_orphans(data_dir: Path, *, prefix: str) -> None:
    """Remove the copies of processes that are gone; after `prefix` comes the process's id and a hyphen."""
    import psutil

    for place in (data_dir / FOLDER).glob(f"{prefix}*"):
        pid = place.name.removeprefix(prefix).partition("-")[0]
        if pid.isdecimal() and not psutil.pid_exists(int(pid)):
            shutil.rmtree(place, ignore_errors=True)


def remove_left_behind(data_dir: Path, *, prefix: str) -> None:
    """Remove all copies whose name begins with `prefix`."""
    for place in (data_dir / FOLDER).glob(f"{prefix}*"):
        shutil.rmtree(place, ignore_errors=True)

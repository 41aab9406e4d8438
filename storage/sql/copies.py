"""Copies of the published snapshot, one a generation, for workers alone.

A worker never opens `analytics.duckdb` itself: who opens that for writing would find it locked.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from io import FileIO
from pathlib import Path

from storage.blocks import clone

FOLDER = "snapshots"
_CATALOGUE = "analytics.duckdb"
"""DuckDB names the catalogue after the file: qualified names are the same as on the published one."""


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
    with FileIO(source) as reading, FileIO(target, "x") as writing:
        if not clone(reading, writing, os.fstat(reading.fileno()).st_size):
            shutil.copyfileobj(reading, writing, 1 << 20)


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

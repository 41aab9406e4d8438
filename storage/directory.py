"""The data directory: made private, and refused with one sentence where a database would not be safe."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

import psutil

from storage.errors import StorageFault

NETWORK_FILE_SYSTEMS = frozenset(
    {
        "nfs",
        "nfs4",
        "cifs",
        "smbfs",
        "smb3",
        "afpfs",
        "webdav",
        "davfs",
        "9p",
        "fuse.sshfs",
        "ceph",
        "glusterfs",
        "afs",
    }
)
"""File systems whose locks do not hold between machines."""

RESERVE_BYTES = 64 << 20
"""Below this much free space nothing is written: DuckDB invalidates a database whose log it cannot extend."""


def prepare(directory: Path) -> None:
    """Make the directory if it is missing, and check that it can be used.

    Raises:
        StorageFault: it belongs to somebody else, is on a network file system, cannot be written, or its disk is full.
    """
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise StorageFault(f"{directory} cannot be made: {error.strerror}. Choose another with --data.") from error
    if sys.platform != "win32" and directory.stat().st_uid != os.geteuid():
        raise StorageFault(f"{directory} belongs to another user of this machine. Choose another with --data.")
    kind = file_system(directory)
    if kind in NETWORK_FILE_SYSTEMS:
        raise StorageFault(
            f"{directory} is on a network file system ({kind}), where locks do not hold. "
            "Choose a local directory with --data."
        )
    if not _writable(directory):
        raise StorageFault(f"{directory} is read-only. Make it writable, or choose another with --data.")
    free = shutil.disk_usage(directory).free
    if free < RESERVE_BYTES:
        raise StorageFault(f"The disk of {directory} is full ({free >> 20} MiB free). Free some space and start again.")


def file_system(directory: Path) -> str:
    """The type of the file system that holds `directory`, or an empty string where it is not known."""
    path = directory.resolve()
    holding = [part for part in psutil.disk_partitions(all=True) if path.is_relative_to(part.mountpoint)]
    return max(holding, key=lambda part: len(part.mountpoint)).fstype if holding else ""


def _writable(directory: Path) -> bool:
    # Asking the file system itself: permission bits say nothing about root or a read-only mount.
    probe = directory / f".probe-{os.getpid()}"
    try:
        probe.touch()
        probe.unlink()
    except OSError:
        return False
    return True

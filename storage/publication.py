"""The files of published snapshots: the copy of the main file, made beside and put in place by a rename."""

from __future__ import annotations

import os
import shutil
import stat
from collections.abc import Callable
from dataclasses import dataclass
from io import FileIO
from pathlib import Path

from storage.blocks import clone, is_unused, patch, sync_directory
from storage.directory import RESERVE_BYTES
from storage.errors import Unavailable

PUBLIC_MODE = 0o400
"""Nobody opens it for writing by mistake, which would lock out those who read; and it is nobody else's to read, also in
a directory that others may enter.
"""
_MODES = (PUBLIC_MODE, 0o444)
"""Also that of earlier versions."""
_MAGIC = slice(8, 12)
Stamp = tuple[int, int, int, int]


@dataclass(frozen=True, slots=True)
class Published:
    """A published snapshot: its file, the moment (epoch ms) whose state it shows, and a number that grows."""

    path: Path
    as_of: int
    generation: int


class Publication:
    """`analytics.duckdb` of a data directory, and the private `snapshots/` where the next one is made.

    Each snapshot has a second name there, `GENERATION.duckdb`, so that its blocks can be used again when it is followed
    by another one and nobody reads it any more. Not to be used by two threads at once.
    """

    def __init__(self, directory: Path) -> None:
        self.path = directory / "analytics.duckdb"
        self._main = directory / "one.duckdb"
        self._private = directory / "snapshots"
        self._source: FileIO | None = None
        self._clones = True
        self._stamp: Stamp | None = None
        self.copied_bytes = 0
        """What the last copy wrote."""

    def adopt(self) -> Published | None:
        """What an earlier hub published, if it is as it was; what a kill left half-way is removed."""
        if self._private.is_dir():
            for path in self._private.iterdir():
                if path.is_file() and not path.stem.isdecimal():
                    path.unlink()
        if not self.path.exists() or not self.is_ours():
            return None
        here = self.path.stat()
        named = [path for path in self._numbered() if path.stat().st_ino == here.st_ino]
        if not named or stat.S_IMODE(here.st_mode) != PUBLIC_MODE:
            return None
        self._stamp = _stamp(here)
        return Published(self.path, here.st_mtime_ns // 1_000_000, int(named[0].stem))

    def in_place(self) -> bool:
        """Whether the file is the one that was published last, and untouched."""
        try:
            return self._stamp is not None and _stamp(self.path.stat()) == self._stamp
        except FileNotFoundError:
            return False

    def drop_log(self) -> None:
        """Remove what someone left who wrote into the snapshot: with it no other one could be opened."""
        self.path.with_name(f"{self.path.name}.wal").unlink(missing_ok=True)

    def size(self) -> int:
        """Bytes of the file."""
        return self._stamp[1] if self._stamp is not None else 0

    def publish(self, as_of: int, stopped: Callable[[], bool]) -> Published:
        """Copy the main file, which must not change meanwhile, and put it in place. Old readers keep what they have.

        Raises:
            Unavailable: there is no room, or something else is in the place of the file.
            OSError: the disk failed.
            Stopped: `stopped` said so.
        """
        if not self.is_ours():
            raise Unavailable(f"{self.path} was not made by one-mcp and is left as it is: move it away.")
        self._private.mkdir(mode=0o700, exist_ok=True)
        made = self._copy(stopped)
        os.utime(made, ns=(as_of * 1_000_000, as_of * 1_000_000))
        made.chmod(PUBLIC_MODE)
        generation = 1 + max((int(path.stem) for path in self._numbered()), default=0)
        kept = made.rename(self._private / f"{generation}.duckdb")
        second = self._private / "second-name"
        second.unlink(missing_ok=True)
        second.hardlink_to(kept)
        self.drop_log()
        second.replace(self.path)
        sync_directory(self.path.parent)
        self._stamp = _stamp(self.path.stat())
        return Published(self.path, as_of, generation)

    def _copy(self, stopped: Callable[[], bool]) -> Path:
        source = self._opened()
        length = os.fstat(source.fileno()).st_size
        self._check_room(0)
        if self._clones:
            made = self._private / "clone"
            with FileIO(made, "w") as target:
                self._clones = clone(source, target, length)
            if self._clones:
                self._drop_spares(None)
                self.copied_bytes = 0
                return made
            made.unlink()
        made = self._spare() or self._private / "copy"
        present = made.stat().st_size if made.exists() else 0
        self._check_room(length - present)
        made.touch(mode=0o600)
        made.chmod(0o600)
        source.seek(0)
        with FileIO(made, "r+") as target:
            self.copied_bytes = patch(source, target, length, stopped)
        return made

    def _opened(self) -> FileIO:
        """The main file. It stays open: to close it would end the lock that DuckDB holds on it for this process."""
        if self._source is None:
            self._source = FileIO(self._main)
        return self._source

    def _spare(self) -> Path | None:
        """An earlier snapshot that nobody has open and nobody can open any more. Others lose their second name."""
        current = self.path.stat().st_ino if self.path.exists() else None
        old = [path for path in self._numbered() if path.stat().st_ino != current]
        spare = next((path for path in reversed(old) if is_unused(path)), None)
        self._drop_spares(spare)
        return spare

    def _drop_spares(self, but: Path | None) -> None:
        current = self.path.stat().st_ino if self.path.exists() else None
        for path in self._numbered():
            if path != but and path.stat().st_ino != current:
                path.unlink()

    def _check_room(self, growth: int) -> None:
        free = shutil.disk_usage(self._private).free
        if free - growth < 2 * RESERVE_BYTES:
            raise Unavailable(
                f"The disk of {self._private.parent} has no room for a snapshot ({free >> 20} MiB free, "
                f"{max(0, growth) + 2 * RESERVE_BYTES >> 20} MiB needed). Free some space."
            )

    def _numbered(self) -> list[Path]:
        """The snapshots with a second name, oldest first."""
        return sorted(
            (path for path in self._private.glob("*.duckdb") if path.stem.isdecimal()), key=lambda path: int(path.stem)
        )

    def is_ours(self) -> bool:
        """Whether the place of the file is free, or taken by a snapshot."""
        if not os.path.lexists(self.path):
            return True
        here = self.path.lstat()
        if not stat.S_ISREG(here.st_mode):
            return False
        if any(path.stat().st_ino == here.st_ino for path in self._numbered()):
            return True
        # Its second name went with the directory, or in a copy of all of it.
        with self.path.open("rb") as file:
            return stat.S_IMODE(here.st_mode) in _MODES and file.read(12)[_MAGIC] == b"DUCK"

    def close(self) -> None:
        """After the database was closed."""
        if self._source is not None:
            self._source.close()


def _stamp(here: os.stat_result) -> Stamp:
    return here.st_ino, here.st_size, here.st_mtime_ns, here.st_mode

"""Copies by the blocks that differ."""

from __future__ import annotations

import random
import shutil
import subprocess
import sys
from collections.abc import Iterator
from io import FileIO
from pathlib import Path

import pytest

from storage.blocks import BLOCK_BYTES, CHUNK_BYTES, HEADER_BYTES, Stopped, clone, is_unused, patch

LENGTHS = (0, 1, 4096, HEADER_BYTES, HEADER_BYTES + BLOCK_BYTES, HEADER_BYTES + CHUNK_BYTES, 3 * CHUNK_BYTES + 777)


def patched(source: Path, target: Path, length: int) -> int:
    with FileIO(source) as ours, FileIO(target, "r+") as theirs:
        return patch(ours, theirs, length, lambda: False)


@pytest.mark.parametrize("length", LENGTHS)
@pytest.mark.parametrize("present", LENGTHS)
def test_the_target_becomes_equal_whatever_it_was(tmp_path: Path, length: int, present: int) -> None:
    rng = random.Random(length + present)
    content = rng.randbytes(length)
    (tmp_path / "source").write_bytes(content + b"what was appended since")
    half = present // 2
    (tmp_path / "target").write_bytes(content[:half] + rng.randbytes(present - len(content[:half])))
    patched(tmp_path / "source", tmp_path / "target", length)
    assert (tmp_path / "target").read_bytes() == content


def test_only_blocks_that_differ_are_written(tmp_path: Path) -> None:
    content = bytearray(random.Random(1).randbytes(HEADER_BYTES + 20 * BLOCK_BYTES))
    source, target = tmp_path / "source", tmp_path / "target"
    source.write_bytes(content)
    target.touch()
    assert patched(source, target, len(content)) == len(content)
    assert patched(source, target, len(content)) == 0
    content[100] ^= 1
    for block in (0, 7, 19):
        content[HEADER_BYTES + block * BLOCK_BYTES + 5] ^= 1
    source.write_bytes(content)
    assert patched(source, target, len(content)) == HEADER_BYTES + 3 * BLOCK_BYTES
    assert target.read_bytes() == content


def test_words_that_change_places_are_noticed(tmp_path: Path) -> None:
    # The checksum that DuckDB keeps in each block is the same for both.
    source, target = tmp_path / "source", tmp_path / "target"
    target.write_bytes(b"A" * 8 + b"B" * 8)
    source.write_bytes(b"B" * 8 + b"A" * 8)
    patched(source, target, 16)
    assert target.read_bytes() == source.read_bytes()


def test_a_copy_stops_when_it_is_told_to(tmp_path: Path) -> None:
    source, target = tmp_path / "source", tmp_path / "target"
    source.write_bytes(bytes(3 * CHUNK_BYTES))
    target.touch()
    answers = iter([False, False, True])
    with FileIO(source) as ours, FileIO(target, "r+") as theirs, pytest.raises(Stopped):
        patch(ours, theirs, 3 * CHUNK_BYTES, lambda: next(answers))
    assert target.stat().st_size < 3 * CHUNK_BYTES


def test_a_source_that_became_shorter_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "source").write_bytes(b"short")
    (tmp_path / "target").touch()
    with pytest.raises(OSError, match="became shorter"):
        patched(tmp_path / "source", tmp_path / "target", 6)


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells whether a file is open")
def test_a_file_is_unused_when_nobody_has_it_open(tmp_path: Path) -> None:
    path, second = tmp_path / "file", tmp_path / "second-name"
    path.write_bytes(b"x")
    second.hardlink_to(path)
    assert is_unused(path)
    with second.open("rb"):
        assert not is_unused(path)
    assert is_unused(path)


@pytest.fixture
def cloning(tmp_path: Path) -> Iterator[Path]:
    """A file system that shares blocks between files, or a skipped test."""
    make = shutil.which("mkfs.btrfs") or shutil.which("mkfs.xfs")
    if make is None:
        pytest.skip("no mkfs.btrfs, no mkfs.xfs")
    image, place = tmp_path / "image", tmp_path / "mounted"
    place.mkdir()
    with image.open("wb") as file:
        file.truncate(512 << 20)
    for command in ([make, "-q", str(image)], ["mount", "-o", "loop", str(image), str(place)]):
        if subprocess.run(command, capture_output=True, check=False).returncode != 0:
            pytest.skip("file systems cannot be mounted here")
    yield place
    subprocess.run(["umount", str(place)], check=True)


def test_a_clone_is_equal_and_as_long_as_asked(cloning: Path) -> None:
    content = random.Random(2).randbytes(3 * CHUNK_BYTES)
    (cloning / "source").write_bytes(content)
    with FileIO(cloning / "source") as ours, FileIO(cloning / "target", "w") as theirs:
        assert clone(ours, theirs, 2 * CHUNK_BYTES)
    assert (cloning / "target").read_bytes() == content[: 2 * CHUNK_BYTES]

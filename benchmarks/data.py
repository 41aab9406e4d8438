"""Data directories to measure on, loaded once by `one-mcp import` and kept under build/."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from benchmarks.dataset import Dataset
from benchmarks.servers import ONE_MCP, ROOT, environment, settle
from storage.index.lance import form
from storage.migrations import MIGRATIONS

SETTINGS = "config.toml"
WITHOUT_MODEL = '[embedding]\nprovider = "none"\n'
"""To embed a million messages takes hours on two cores, which the index would spend beside every measurement."""
INDEX_SECONDS = 1_800.0
CACHE = ROOT / "build" / "benchmarks"


def loaded(dataset: Dataset) -> Path:
    """The directory with the rows of `dataset`, imported if this was not done before. Nobody writes to it."""
    place = CACHE / f"{dataset.messages}-{_fingerprint()}"
    if place.exists():
        return place
    print(f"Importing {dataset.messages:,} messages (once) ...", flush=True)
    CACHE.mkdir(parents=True, exist_ok=True)
    unfinished, rows = place.with_suffix(".unfinished"), place.with_suffix(".jsonl")
    shutil.rmtree(unfinished, ignore_errors=True)
    unfinished.mkdir(mode=0o700)
    (unfinished / SETTINGS).write_text(WITHOUT_MODEL)
    dataset.write(rows)
    _one_mcp(unfinished, "import", str(rows))
    settle(unfinished, INDEX_SECONDS)
    _one_mcp(unfinished, "stop")
    rows.unlink()
    unfinished.rename(place)
    return place


def _one_mcp(data: Path, *arguments: str) -> None:
    subprocess.run(
        [*ONE_MCP, "--data", str(data), *arguments],
        env=environment(),
        check=True,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
    )


def _fingerprint() -> str:
    """Changes with the data and with the form in which it is stored."""
    digest = hashlib.blake2b(digest_size=6)
    for name in ("dataset.py", "words.py"):
        digest.update(Path(__file__).with_name(name).read_bytes())
    for migration in MIGRATIONS:
        digest.update("".join(migration.STATEMENTS).encode())
    digest.update(form(0).encode())
    return digest.hexdigest()


@contextmanager
def fresh_copy(dataset: Dataset, *, embedding: bool = False) -> Iterator[Path]:
    """A directory with these rows to write to, which is gone afterwards. `embedding`: with the default model."""
    source = loaded(dataset)
    copy = source.with_suffix(".copy")
    shutil.rmtree(copy, ignore_errors=True)
    shutil.copytree(source, copy, ignore=shutil.ignore_patterns("hub.*", *([SETTINGS] if embedding else [])))
    try:
        yield copy
    finally:
        shutil.rmtree(copy)


def stored_bytes(data: Path) -> int:
    """Bytes of the system of record, with its log."""
    return sum(path.stat().st_size for path in data.glob("one.duckdb*"))

"""The worker as a process: what it has, what it cannot reach even without the guard, and when it ends."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import duckdb
import psutil
import pytest

from storage.sql import Limits, SqlError, copies
from storage.sql.process import Worker
from storage.sql.worker import opened
from tests.processes import ROOT, wait_until
from tests.storage.test_sql_guard import ALL, MARKER

LIMITS = Limits(seconds=20, memory="128MB", temp="64MB")


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """A copy of a database with a table `users`."""
    published = tmp_path / "analytics.duckdb"
    with duckdb.connect(str(published), config={"storage_compatibility_version": "v1.2.0"}) as connection:
        connection.execute("CREATE TABLE users AS SELECT 'Ann' AS name")
    return copies.copied(published, prefix="test-")


@pytest.fixture
def worker(copy: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Worker]:
    monkeypatch.setenv("HOSTILE_SECRET", MARKER)
    started = Worker(copy, LIMITS)
    yield started
    started.kill()


def ask(worker: Worker, sql: str, **more: Any) -> list[Any]:
    """The rows."""
    rows: list[Any] = []
    worker.ask({"sql": sql, **more}, lambda part: rows.extend(part.get("rows", ())) if isinstance(part, dict) else None)
    return rows


@pytest.mark.skipif(sys.platform != "linux", reason="asks Linux what a process has")
def test_it_has_little(worker: Worker, copy: Path) -> None:
    assert ask(worker, "SELECT * FROM users") == [["Ann"]]
    process = psutil.Process(worker.pid)
    assert MARKER not in json.dumps(process.environ())
    assert os.getsid(worker.pid) == worker.pid
    place = Path(process.cwd())
    assert place.parent == copy.parent
    assert place.stat().st_mode & 0o777 == 0o700
    assert {file.path for file in process.open_files()} == {str(copy)}
    limits = {name: process.rlimit(getattr(psutil, f"RLIMIT_{name}")) for name in ("CORE", "FSIZE", "NOFILE")}
    assert limits == {"CORE": (0, 0), "FSIZE": (64_000_000, 64_000_000), "NOFILE": (64, 64)}
    assert process.rlimit(psutil.RLIMIT_AS)[1] < 3 << 30
    worker.kill()
    assert not place.exists()


@pytest.mark.slow
@pytest.mark.parametrize("sql", [sql for fate, sql in ALL if fate == "refused"])
def test_without_the_guard_there_is_nothing_to_reach(
    tmp_path: Path, copy: Path, sql: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the guard refuses, given to DuckDB as the worker opens it."""
    home = tmp_path / "home"
    home.mkdir()
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("HOSTILE_SECRET", MARKER)
    secret = tmp_path / "secret.csv"
    secret.write_text(f"a,b\n{MARKER},1\n")
    (tmp_path / "link.csv").symlink_to(secret)

    def files() -> dict[str, str]:
        found = sorted(path for path in tmp_path.rglob("*") if path.is_file())
        return {str(path): hashlib.sha256(path.read_bytes()).hexdigest() for path in found}

    before = files()
    temp = {"temp": str(tmp_path / "temp"), "temp_size": "10MB"}
    with contextlib.closing(opened({"path": str(copy), "memory": "128MB", "threads": 1, **temp})) as connection:
        text = sql.replace("{secret}", str(secret)).replace("{data}", str(tmp_path))
        answer = ""
        # Whatever is refused is refused in some way.
        with contextlib.suppress(duckdb.Error, ValueError, RuntimeError):
            connection.execute(text)
            answer = str(connection.fetchall())
        assert MARKER not in answer
        with contextlib.suppress(duckdb.Error):
            connection.execute("ROLLBACK")
        assert connection.execute("SELECT name FROM analytics.main.users").fetchall() == [("Ann",)]
    assert files() == before
    with duckdb.connect(str(copy), read_only=True) as connection:
        assert connection.execute("SELECT name FROM users").fetchall() == [("Ann",)]


def test_it_ends_with_whoever_started_it(copy: Path) -> None:
    code = (
        "import sys, time; from pathlib import Path; from storage.sql import Limits; "
        "from storage.sql.process import Worker; worker = Worker(Path(sys.argv[1]), Limits()); "
        "print(worker.pid, flush=True); "
        "worker.ask({'sql': 'SELECT count(*) FROM range(10000000) a, range(10000000) b'}, print)"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code, str(copy)],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    ) as parent:
        assert parent.stdout is not None
        pid = int(parent.stdout.readline())
        assert psutil.pid_exists(pid)
        parent.send_signal(signal.SIGKILL)
    wait_until(lambda: not runs(pid), "the end of the worker")


def runs(pid: int) -> bool:
    """Whether a process still does something."""
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def test_where_the_system_does_not_limit_memory_somebody_watches(copy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("storage.sql.process.HAS_ADDRESS_LIMIT", False)
    monkeypatch.setattr("storage.sql.process.OVERHEAD_BYTES", 64 << 20)
    worker = Worker(copy, LIMITS)
    with pytest.raises(SqlError, match="needs more than the 128MB of memory"):
        ask(worker, "SELECT range(4000000) FROM range(3)")
    assert not worker.is_alive


def test_progress_and_arrow_come_in_parts(copy: Path) -> None:
    worker = Worker(copy, LIMITS, arrow=True)
    parts: list[Any] = []
    end = worker.ask({"sql": "SELECT * FROM range(120000)", "arrow": True, "max_rows": 110_000}, parts.append)
    assert end["truncated"]
    assert len(parts) > 2
    assert all(isinstance(part, bytes) for part in parts)
    parts.clear()
    worker.ask({"sql": "SELECT count(*) FROM range(3000000000)", "progress": True}, parts.append)
    assert any(0 < part.get("progress", 0) <= 100 for part in parts)
    worker.kill()


def test_copies_of_processes_that_are_gone_are_removed(copy: Path) -> None:
    folder = copy.parent.parent
    (gone, here) = (folder / f"sql-{pid}-x" for pid in (2**22 + 1, os.getpid()))
    for place in (gone, here):
        place.mkdir()
    copies.remove_orphans(folder.parent, prefix="sql-")
    assert not gone.exists()
    assert here.exists()

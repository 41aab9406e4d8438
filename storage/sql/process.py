"""A worker as whoever started it sees it: a process that answers one request at a time, and is killed when it is late.

Everything here blocks: the hub calls it in threads, `one-mcp sql` as it is.
"""

from __future__ import annotations

import contextlib
import json
import os
import struct
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, BinaryIO

import duckdb

from storage.errors import Unavailable
from storage.sql.errors import SqlError, TimedOut, TooMuch
from storage.sql.limits import Limits, bytes_of

_SCRIPT = Path(__file__).with_name("worker.py")
_PACKAGES = Path(duckdb.__file__).parents[1]
_KEPT = ("PATH", "LANG", "LC_ALL", "SYSTEMROOT", "TMPDIR", "TEMP", "TMP", "DYLD_LIBRARY_PATH", "LD_LIBRARY_PATH")
_GREEDY = ("OutOfMemoryException", "MemoryError")
_SPENT = (*_GREEDY, "IOException", "InternalException", "FatalException", "RecursionError")
START_SECONDS = 30.0
REST_SECONDS = 0.5
WATCH_SECONDS = 0.05
OVERHEAD_BYTES = 512 << 20
"""What a watched process may take besides the memory for the query."""
HAS_ADDRESS_LIMIT = sys.platform == "linux"
"""Whether the system holds a process to RLIMIT_AS. Where it does not, somebody watches what it really takes."""


class Worker:
    """A process with one snapshot open. Not for two threads at a time, except for `end`."""

    def __init__(self, path: Path, limits: Limits, *, arrow: bool = False) -> None:
        """Start it on a database file of its own; `arrow` says whether it will be asked for Arrow.

        Raises:
            Unavailable: it does not start, or cannot open the file.
        """
        self.limits = limits
        self._late = False
        self._ending = False
        self._clearing = threading.Lock()
        self._place = tempfile.TemporaryDirectory(prefix="work-", dir=path.parent)
        try:
            self._process = _started(Path(self._place.name))
        except OSError as error:
            self._place.cleanup()
            raise Unavailable(f"The process for queries cannot be started: {error}.") from error
        try:
            self.tables = self._open(path, arrow)
        except BaseException:
            self.kill()
            raise

    def _open(self, path: Path, arrow: bool) -> dict[str, list[str]]:
        options = {
            "path": str(path),
            "arrow": arrow,
            "memory": self.limits.memory,
            "memory_bytes": bytes_of(self.limits.memory),
            "threads": self.limits.threads,
            "temp": str(Path(self._place.name) / "temp"),
            "temp_size": self.limits.temp,
            "temp_bytes": bytes_of(self.limits.temp),
        }
        with self._deadline(START_SECONDS):
            self._send(options)
            answer = self._receive()
        if answer is None or "tables" not in answer:
            reason = "it ended at once" if answer is None else answer["error"]
            raise Unavailable(f"The snapshot cannot be opened: {reason}. fresh=true makes a new one.")
        tables: dict[str, list[str]] = answer["tables"]
        return tables

    @property
    def is_alive(self) -> bool:
        """Whether it can be asked."""
        return not self._ending and self._process.poll() is None

    @property
    def pid(self) -> int:
        """The process's id."""
        return self._process.pid

    def ask(self, request: dict[str, Any], on_part: Callable[[dict[str, Any] | bytes], None]) -> dict[str, Any]:
        """Carry out `request`; `on_part` gets columns, rows, progress and Arrow as they come. What the end says.

        Raises:
            SqlError: DuckDB or the guard refused the statement, or it took too much.
            TimedOut: it took too long.
            Either way the worker may be dead afterwards.
        """
        with self._deadline(self.limits.seconds), self._watched():
            self._send(request)
            while (part := self._next()) is not None:
                if isinstance(part, dict) and part.get("end"):
                    if "error" in part:
                        raise self._error(part)
                    break
                on_part(part)
            else:
                raise self._ended()
        if part.get("truncated"):
            self._let_rest()
        return part

    def _let_rest(self) -> None:
        """Wait a moment until it has put away the rest of an answer; where that takes longer, it has to end."""
        with self._deadline(REST_SECONDS):
            self._next()

    def _error(self, part: dict[str, Any]) -> SqlError:
        kind, message = part["error"], part["message"]
        if kind in _SPENT:
            self.end()  # what is left of its memory is in pieces
        if kind in _GREEDY:
            return TooMuch(self.limits, "temp" if "temp_directory_size" in message else "memory")
        return SqlError(kind, message, self.tables, unknown=part.get("unknown"))

    def _ended(self) -> SqlError:
        """Why there will be no answer."""
        self.kill()
        return TimedOut(self.limits.seconds) if self._late else TooMuch(self.limits, "memory")

    def end(self) -> None:
        """End it at once, whatever it does. From any thread; `kill` clears up."""
        self._ending = True
        self._process.kill()

    def kill(self) -> None:
        """End it, wait until it has ended, and remove what it had. Any number of times."""
        self.end()
        self._process.wait()
        with self._clearing:  # whoever asked and whoever gave up waiting may both come here
            for stream in (self._process.stdin, self._process.stdout):
                assert stream is not None
                with contextlib.suppress(OSError):  # what was still to be written has no reader
                    stream.close()
            self._place.cleanup()

    # -- frames ------------------------------------------------------------------------------------------------------

    def _send(self, data: dict[str, Any]) -> None:
        text, stream = json.dumps(data).encode(), self._process.stdin
        assert stream is not None
        with contextlib.suppress(BrokenPipeError):  # it is gone: reading says so
            stream.write(struct.pack(">Ic", len(text) + 1, b"J") + text)
            stream.flush()

    def _next(self) -> dict[str, Any] | bytes | None:
        stream = self._process.stdout
        assert stream is not None
        head = _read(stream, 5)
        if head is None:
            return None
        size, kind = struct.unpack(">Ic", head)
        data = _read(stream, size - 1)
        if data is None or kind == b"A":
            return data
        part: dict[str, Any] = json.loads(data)
        return part

    def _receive(self) -> dict[str, Any] | None:
        part = self._next()
        return part if isinstance(part, dict) else None

    # -- limits ------------------------------------------------------------------------------------------------------

    @contextlib.contextmanager
    def _deadline(self, seconds: float) -> Iterator[None]:
        lock, done = threading.Lock(), False

        def end() -> None:
            with lock:  # never in the middle of the next request
                if not done:
                    self._late = True
                    self.end()

        timer = threading.Timer(seconds, end)
        timer.daemon = True
        timer.start()
        try:
            yield
        finally:
            timer.cancel()
            with lock:
                done = True

    @contextlib.contextmanager
    def _watched(self) -> Iterator[None]:
        if HAS_ADDRESS_LIMIT:
            yield
            return
        import psutil

        done, bound = threading.Event(), bytes_of(self.limits.memory) + OVERHEAD_BYTES

        def watch() -> None:
            with contextlib.suppress(psutil.Error):  # it has ended
                process = psutil.Process(self._process.pid)
                while not done.wait(WATCH_SECONDS):
                    if process.memory_info().rss > bound:
                        self._process.kill()
                        return

        threading.Thread(target=watch, daemon=True).start()
        try:
            yield
        finally:
            done.set()


def _started(place: Path) -> subprocess.Popen[bytes]:
    kept = {name: os.environ[name] for name in _KEPT if name in os.environ}
    return subprocess.Popen(
        [sys.executable, "-I", str(_SCRIPT), str(_PACKAGES)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        cwd=place,
        env={**kept, "HOME": str(place), "MALLOC_ARENA_MAX": "2"},
        start_new_session=True,
    )


def _read(stream: BinaryIO | Any, size: int) -> bytes | None:
    """Exactly so many bytes; None when the process has ended."""
    try:
        data: bytes = stream.read(size)
    except (ValueError, OSError):  # closed by `kill`
        return None
    return data if len(data) == size else None

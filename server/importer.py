"""`one-mcp import`: reads a file of JSON lines and has the hub take them in."""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import stat
import sys
import time
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Protocol, Self

from server import __version__
from server.endpoint import Hello, Link, Refused, encode
from server.launch import HubFailed, reach
from storage.digests import Digests, line_digest

if TYPE_CHECKING:
    from types import TracebackType

DEFAULT_BATCH = 500
CHUNK_LINES = 5_000
CHUNK_BYTES = 2 << 20
"""Of a chunk. Inside JSON it takes six times as much at worst, and a hub reads lines of 16 MiB."""
LINE_BYTES = CHUNK_BYTES
"""Of the longest line that is read."""
_UNANSWERED = 2
"""Chunks on their way: while the hub works on one, the next is there already."""
_TRIES = 5
_QUIET_SECONDS = 10.0


def run(arguments: argparse.Namespace) -> int:
    """Import a file; the process's exit status: 1 when a line was refused.

    Raises:
        HubFailed, Refused: the hub cannot be reached, or cannot store anything.
    """
    batch = DEFAULT_BATCH if arguments.batch is None else arguments.batch
    if batch < 1:
        sys.stderr.write("one-mcp: --batch takes a number of rows, 1 or more.\n")
        return 2
    with contextlib.ExitStack() as stack:
        stream = sys.stdin.buffer if str(arguments.file) == "-" else stack.enter_context(arguments.file.open("rb"))
        size = _size(stream)
        display: _Display = stack.enter_context(_Bar(size)) if sys.stderr.isatty() else _Plain(size)
        totals = _Totals()
        try:
            _import(stream, batch, arguments.data, totals, display)
        except (HubFailed, Refused, KeyboardInterrupt):
            display.say(f"Stopped. {totals.summary()} The same command goes on from there.")
            raise
    sys.stdout.write(f"{totals.summary()}\n")
    return 1 if totals.refused else 0


def _import(stream: BinaryIO, batch: int, data_dir: Path, totals: _Totals, display: _Display) -> None:
    hub = _Hub(data_dir, batch)
    try:
        for chunk in chunks(stream, max(CHUNK_LINES, batch)):
            hub.send(chunk)
            if hub.unanswered >= _UNANSWERED:
                totals.add(*hub.receive(), display)
        while hub.unanswered:
            totals.add(*hub.receive(), display)
    finally:
        hub.close()


def _size(stream: BinaryIO) -> int | None:
    """The bytes of a file; None for a pipe."""
    try:
        status = os.fstat(stream.fileno())
    except OSError:
        return None
    return status.st_size if stat.S_ISREG(status.st_mode) else None


# -- the file --------------------------------------------------------------------------------------------------------


@dataclass(slots=True)
class Chunk:
    """Lines that go over the socket together. Blank ones stay, so that numbers are those of the file.

    `repeats` says, by place in `lines`, how often a line came before in the file.
    """

    first: int
    lines: list[str] = field(default_factory=list)
    repeats: dict[int, int] = field(default_factory=dict)
    too_long: list[int] = field(default_factory=list)
    size: int = 0


def chunks(stream: BinaryIO, most: int) -> Iterator[Chunk]:
    """A file in pieces of so many lines at most."""
    seen, counts = Digests(), dict[int, int]()
    chunk = Chunk(first=1)
    for raw in _raw_lines(stream):
        if len(chunk.lines) >= most or (chunk.lines and chunk.size + len(raw) > CHUNK_BYTES):
            yield chunk
            chunk = Chunk(first=chunk.first + len(chunk.lines))
        chunk.size += len(raw)
        if len(raw) > LINE_BYTES:
            chunk.too_long.append(chunk.first + len(chunk.lines))
            text = ""
        else:
            text = raw.strip().decode(errors="surrogateescape")
        if text and not seen.add(digest := line_digest(text, 0)):
            counts[digest] = chunk.repeats[len(chunk.lines)] = counts.get(digest, 0) + 1
        chunk.lines.append(text)
    if chunk.lines:
        yield chunk


def _raw_lines(stream: BinaryIO) -> Iterator[bytes]:
    """The lines of a file; of one that is too long, its beginning."""
    raw = stream.readline(LINE_BYTES + 1).removeprefix(b"\xef\xbb\xbf")
    while raw:
        if len(raw) > LINE_BYTES:
            rest = raw
            while rest and not rest.endswith(b"\n"):
                rest = stream.readline(LINE_BYTES)
        yield raw
        raw = stream.readline(LINE_BYTES + 1)


# -- the hub ---------------------------------------------------------------------------------------------------------


class _Hub:
    """The connection to the hub. When the hub ends, what it has not answered goes to the next one.

    Sending lines twice does no harm: the hub knows what it has.
    """

    def __init__(self, data_dir: Path, batch: int) -> None:
        self._data_dir = data_dir
        self._batch = batch
        self._chunks: deque[Chunk] = deque()
        self._failures = 0
        self._link = self._connect()

    @property
    def unanswered(self) -> int:
        """How many chunks were sent and not answered."""
        return len(self._chunks)

    def send(self, chunk: Chunk) -> None:
        """Hand over a chunk; the answers come in the order of the chunks."""
        self._chunks.append(chunk)
        try:
            self._write(chunk)
        except OSError:
            self._send_again()

    def receive(self) -> tuple[Chunk, dict[str, Any]]:
        """The oldest unanswered chunk and what became of it.

        Raises:
            Refused: the hub cannot store anything.
            HubFailed: no hub stays up.
        """
        while not (line := self._read()):
            self._send_again()
        answer: dict[str, Any] = json.loads(line)
        if answer["ok"] is not True:
            raise Refused(str(answer.get("code")), str(answer.get("message")))
        self._failures = 0
        return self._chunks.popleft(), answer

    def close(self) -> None:
        """End the connection."""
        self._link.close()

    def _connect(self) -> Link:
        return reach(self._data_dir, Hello(__version__, client="control"))

    def _write(self, chunk: Chunk) -> None:
        self._link.sock.sendall(
            encode(
                {
                    "command": "import",
                    "first": chunk.first,
                    "batch": self._batch,
                    "lines": chunk.lines,
                    "repeats": chunk.repeats,
                }
            )
        )

    def _read(self) -> bytes:
        try:
            line = self._link.reader.readline()
        except OSError:
            return b""
        return line if line.endswith(b"\n") and b'"ok"' in line else b""

    def _send_again(self) -> None:
        while True:
            self._failures += 1
            if self._failures > _TRIES:
                raise HubFailed(f"The hub ended {_TRIES} times in a row while it imported", self._data_dir)
            self._link.close()
            self._link = self._connect()
            try:
                for chunk in self._chunks:
                    self._write(chunk)
            except OSError:
                continue
            return


# -- what people see -------------------------------------------------------------------------------------------------


class _Display(Protocol):
    """Where a person sees how far it is."""

    def say(self, text: str) -> None:
        """Write a line."""

    def advance(self, size: int, lines: int) -> None:
        """So many bytes and lines more are done."""


@dataclass(slots=True)
class _Totals:
    """What became of the lines so far."""

    added: int = 0
    present: int = 0
    refused: int = 0
    started: float = field(default_factory=time.monotonic)

    def add(self, chunk: Chunk, answer: dict[str, Any], display: _Display) -> None:
        """Count an answer, and name the lines that were refused."""
        long = [(number, f"The line has more than {LINE_BYTES >> 20} MiB.") for number in chunk.too_long]
        refused = sorted([*long, *map(tuple, answer["refused"])])
        self.added += answer["added"]
        self.present += answer["present"]
        self.refused += len(refused)
        for number, reason in refused:
            display.say(f"line {number}: {reason}")
        display.advance(chunk.size, len(chunk.lines))

    def summary(self) -> str:
        """One line with the numbers."""
        seconds = time.monotonic() - self.started
        return (
            f"{_count(self.added, 'row')} added, {self.present:,} there already, "
            f"{_count(self.refused, 'line')} refused ({seconds:.1f} s)."
        )


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


class _Plain:
    """Lines on stderr, one now and then."""

    def __init__(self, total: int | None) -> None:
        self._total = total
        self._size = self._lines = 0
        self._said = time.monotonic()

    def say(self, text: str) -> None:
        """See `_Display`."""
        sys.stderr.write(f"{text}\n")

    def advance(self, size: int, lines: int) -> None:
        """See `_Display`."""
        self._size += size
        self._lines += lines
        if time.monotonic() - self._said >= _QUIET_SECONDS:
            self._said = time.monotonic()
            share = f" ({self._size / self._total:.0%})" if self._total else ""
            self.say(f"{self._lines:,} lines{share}")


class _Bar:
    """A progress bar on a terminal."""

    def __init__(self, total: int | None) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn

        columns = (BarColumn(), DownloadColumn(), TextColumn("{task.fields[rate]}"), TimeRemainingColumn())
        self._progress = Progress(*columns, console=Console(stderr=True), transient=True)
        self._task = self._progress.add_task("", total=total, rate="")
        self._lines = 0
        self._started = time.monotonic()

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._progress.stop()

    def say(self, text: str) -> None:
        """See `_Display`."""
        self._progress.console.print(text, markup=False, highlight=False, soft_wrap=True)

    def advance(self, size: int, lines: int) -> None:
        """See `_Display`."""
        self._lines += lines
        rate = self._lines / max(time.monotonic() - self._started, 0.001)
        self._progress.update(self._task, advance=size, rate=f"{rate:,.0f} lines/s")

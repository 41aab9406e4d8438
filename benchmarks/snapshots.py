"""What published snapshots cost those who post, at about a gigabyte, and how old what analysts read is.

`python -m benchmarks.snapshots`, about eight minutes; `--seconds 20` for a look.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from shutil import copytree, ignore_patterns, rmtree
from statistics import median

from benchmarks.data import CACHE, WITHOUT_MODEL, loaded
from benchmarks.dataset import Dataset
from benchmarks.load import Round, Target
from benchmarks.report import table
from benchmarks.servers import product, settle, status
from benchmarks.wire import Era
from benchmarks.workload import Workload
from storage.database import open_file

BYTES = 1 << 30
CLIENTS = 4
WARM_UP = 500
START_SECONDS = 120.0
_GROW = """
INSERT INTO "conversationMessages" BY NAME
SELECT 'msg_' || (last.seq + place) AS _id, last.seq + place AS seq, last.seq + place AS rev, "conversationId",
    "authorParticipantId", kind, status, '' AS content, "createdAt",
    to_json({'text': [md5(concat_ws(' ', place, last.seq, number)) for number in range(20)]}) AS meta
FROM (SELECT *, row_number() OVER () AS place FROM "conversationMessages" WHERE content <> ''),
    (SELECT max(seq) AS seq FROM "conversationMessages") last
"""
_AGGREGATES = """
import sys, time, duckdb
path = sys.argv[1]
for line in sys.stdin:
    began = time.time()
    with duckdb.connect(path, read_only=True, config={"threads": 1}) as connection:
        days = connection.execute(
            'SELECT date_trunc(\\'day\\', "createdAt"), count(*), count(DISTINCT "conversationId") '
            'FROM "conversationMessages" GROUP BY ALL'
        ).fetchall()
    print(len(days), time.time() - began, flush=True)
"""


@dataclass(frozen=True, slots=True)
class Setting:
    """How the hub is set, and whether somebody reads every second."""

    name: str
    max_age: float
    checkpoint_rows: int
    reader: bool = False

    def text(self) -> str:
        """As config.toml."""
        storage = f"[storage]\ncheckpoint_rows = {self.checkpoint_rows}\n"
        return f"{WITHOUT_MODEL}{storage}[analytics]\nmax_age_seconds = {self.max_age}\n"


SETTINGS = (
    Setting("none", 0.0, 20_000),
    Setting("every 60 s, and a reader", 60.0, 20_000, reader=True),
    Setting("every 10 s, and a reader", 10.0, 20_000, reader=True),
    Setting("as often as may be", 0.1, 20_000),
    Setting("as often as may be", 0.1, 2_000),
)


def grown() -> Path:
    """A data directory whose system of record has a gigabyte; made once.

    What is added are messages without content, which no index wants, with as many bytes beside it as a long one has.
    """
    place = CACHE / f"snapshots-{BYTES >> 20}"
    if place.exists():
        return place
    unfinished = place.with_suffix(".unfinished")
    rmtree(unfinished, ignore_errors=True)
    copytree(loaded(Dataset(100_000)), unfinished, ignore=ignore_patterns("hub.*", "analytics.*", "snapshots"))
    path = unfinished / "one.duckdb"
    print("Growing it to a gigabyte (once) ...", flush=True)
    with open_file(path, "1GB") as connection:
        while path.stat().st_size < BYTES:
            connection.execute(_GROW)
            connection.execute("CHECKPOINT")
    unfinished.rename(place)
    return place


@dataclass(slots=True)
class Reader:
    """What a process of its own saw that opened the snapshot once a second."""

    seconds: list[float]
    ages: list[float]


@contextmanager
def reading(data: Path) -> Iterator[Reader]:
    """An analyst's process: opens, aggregates and closes once a second; any error of it is ours."""
    import threading

    seen, ended = Reader([], []), threading.Event()
    command = [sys.executable, "-c", _AGGREGATES, str(data / "analytics.duckdb")]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdin is not None
    assert process.stdout is not None
    questions, answers = process.stdin, process.stdout

    def ask() -> None:
        while not ended.wait(1.0):
            seen.ages.append(time.time() - status(data)["analytics"]["asOf"] / 1000)
            questions.write("\n")
            questions.flush()
            answer = answers.readline()
            if not answer:
                return
            seen.seconds.append(float(answer.split()[1]))

    thread = threading.Thread(target=ask)
    thread.start()
    try:
        yield seen
    finally:
        ended.set()
        thread.join()
        questions.close()
        if process.wait(60) != 0:
            raise RuntimeError("the reader failed")


@dataclass(slots=True)
class Found:
    """One setting, measured."""

    setting: Setting
    round: Round
    published: int
    copies: list[float]
    reader: Reader | None


def measure(original: Path, setting: Setting, seconds: float, seed: int) -> Found:
    """Post for so many seconds."""
    place = original.with_suffix(".copy")
    rmtree(place, ignore_errors=True)
    copytree(original, place, ignore=ignore_patterns("hub.*", "analytics.*", "snapshots"))
    (place / "config.toml").write_text(setting.text())
    try:
        with product(place) as server:
            target, work = Target(server.port, Era.STATELESS), Workload(Dataset(100_000), seed)
            _wait_until_at_work(place, publishes=setting.max_age > 0)
            settle(place)
            warm = target.run(work.draw("send_message", WARM_UP), CLIENTS)
            calls = work.draw("send_message", int(warm.rate * seconds))
            with watching(place) as copies:
                if not setting.reader:
                    return Found(setting, target.run(calls, CLIENTS), len(copies), copies, None)
                with reading(place) as seen:
                    return Found(setting, target.run(calls, CLIENTS), len(copies), copies, seen)
    finally:
        rmtree(place)


def _wait_until_at_work(data: Path, *, publishes: bool) -> None:
    """Some seconds after its start a hub loads what it will need, and begins to publish."""
    deadline = time.monotonic() + START_SECONDS
    while not ((facts := status(data))["index"]["open"] and (not publishes or "asOf" in facts["analytics"])):
        if time.monotonic() > deadline:
            raise TimeoutError("the hub has opened no index, or published nothing")
        time.sleep(0.5)


@contextmanager
def watching(data: Path) -> Iterator[list[float]]:
    """Collects the seconds from checkpoint to publication of every snapshot that is published meanwhile."""
    import threading

    copies: list[float] = []
    ended, last = threading.Event(), 0

    def look() -> None:
        nonlocal last
        path = data / "analytics.duckdb"
        while not ended.wait(0.2):
            inode = path.stat().st_mtime_ns if path.exists() else 0
            if inode != last:
                last = inode
                copies.append(status(data)["analytics"].get("copySeconds", 0.0))

    thread = threading.Thread(target=look)
    thread.start()
    try:
        yield copies
    finally:
        ended.set()
        thread.join()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--only", type=int, action="append", help="only these settings, from 0")
    arguments = parser.parse_args()
    place = grown()
    print(f"one.duckdb: {(place / 'one.duckdb').stat().st_size / 1e6:.0f} MB, {CLIENTS} clients", flush=True)
    lines = []
    for number in arguments.only or range(len(SETTINGS)):
        found = measure(place, SETTINGS[number], arguments.seconds, number)
        lines.append(line(found))
        print(lines[-1], flush=True)
        time.sleep(1)
    head = ("snapshots", "checkpoint rows", "messages/s", "p50 ms", "p99 ms", "longest ms", "published", "copy s")
    print(table((*head, "longest s", "reader p50 ms", "oldest s"), lines))


def line(found: Found) -> tuple[str, ...]:
    """A row of the table."""
    measured, copies, reader = found.round, found.copies, found.reader
    return (
        found.setting.name,
        f"{found.setting.checkpoint_rows:,}",
        f"{measured.rate:.0f}",
        f"{measured.p50 * 1000:.1f}",
        f"{measured.quantile(0.99) * 1000:.1f}",
        f"{measured.latencies[-1] * 1000:.0f}",
        f"{len(copies)}",
        f"{median(copies):.2f}" if copies else "",
        f"{max(copies):.2f}" if copies else "",
        f"{median(reader.seconds) * 1000:.0f} ({len(reader.seconds)})" if reader else "",
        f"{max(reader.ages):.1f}" if reader else "",
    )


if __name__ == "__main__":
    main()

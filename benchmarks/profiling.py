"""Where the hub's time goes under one operation, by py-spy's samples of the threads that hold the interpreter."""

from __future__ import annotations

import shutil
import subprocess
from collections import Counter
from pathlib import Path

from benchmarks.compare import WARM_UP, Side
from benchmarks.data import CACHE, fresh_copy
from benchmarks.dataset import Dataset
from benchmarks.report import table
from benchmarks.servers import ROOT, product
from benchmarks.wire import Era
from benchmarks.workload import Workload

SECONDS = 10
LINES = 30


def profile(operation: str, messages: int) -> None:
    """Print a profile of one operation at 64 connections.

    Raises:
        SystemExit: py-spy is missing.
    """
    spy = shutil.which("py-spy")
    if spy is None:
        raise SystemExit("--profile needs py-spy on the path: pip install py-spy")
    dataset = Dataset(messages)
    samples = CACHE / f"{operation}.samples"
    with fresh_copy(dataset) as data, product(data) as running:
        side = Side(messages, data, running, Workload(dataset, seed=1))
        side.warm_up(operation, WARM_UP[operation])
        target = side.targets[Era.STATELESS]
        rate = target.run(side.workload.draw(operation, 2_000), 64).rate
        calls = side.workload.draw(operation, round(1.5 * SECONDS * rate))
        command = [spy, "record", "--gil", "--rate", "200", "--duration", str(SECONDS), "--format", "raw"]
        with subprocess.Popen(
            [*command, "--output", str(samples), "--pid", str(running.pid)], stdout=subprocess.DEVNULL
        ) as recording:
            measured = target.run(calls, 64)
            if recording.wait():
                raise SystemExit("py-spy could not read the hub; it may need more rights")
    print(f"{operation} at 64 connections, {messages:,} messages, while sampled: {measured.rate:.0f}/s\n")
    print(_summary(samples))


def _summary(samples: Path) -> str:
    alone, within, total = Counter[str](), Counter[str](), 0
    for line in samples.read_text().splitlines():
        stack, _, count = line.rpartition(" ")
        frames = [_short(frame) for frame in stack.split(";")]
        total += int(count)
        alone[frames[-1]] += int(count)
        within.update(dict.fromkeys(frames, int(count)))
    return "\n\n".join(
        table((title, "share"), [(frame, f"{count / total:.1%}") for frame, count in counts.most_common(LINES)])
        for title, counts in (("in itself", alone), ("with what it calls", within))
    )


def _short(frame: str) -> str:
    return frame.replace(f"{ROOT}/", "").rpartition("site-packages/")[2]

"""`make bench`: measures the product beside a no-op on the same SDK, prints a table and keeps it in results/."""

from __future__ import annotations

import argparse
import signal
import sys
import time

from benchmarks.compare import OPERATIONS, Plan
from benchmarks.dataset import Dataset
from benchmarks.measure import measure
from benchmarks.profiling import profile
from benchmarks.report import conditions, details, keep, targets

SMALL = 1_000
LARGE = 1_000_000
FULL = Plan(
    rounds=5,
    older_rounds=3,
    seconds=1.0,
    warm_up=1.0,
    connections=(1, 8, 64),
    cold_reads=2_000,
    sustained=30_000,
    embedding=True,
)
QUICK = Plan(
    rounds=3,
    older_rounds=0,
    seconds=0.4,
    warm_up=0.1,
    connections=(1, 64),
    cold_reads=300,
    sustained=3_000,
    embedding=False,
)
QUICK_LARGE = 100_000


def main() -> None:
    arguments = _arguments()
    signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))  # so that the servers end, too
    if arguments.profile:
        profile(arguments.profile, arguments.messages or LARGE)
        return
    larger = arguments.messages or (QUICK_LARGE if arguments.quick else LARGE)
    started = time.monotonic()
    found = measure(QUICK if arguments.quick else FULL, Dataset(SMALL), Dataset(larger))
    minutes = (time.monotonic() - started) / 60
    print(f"\n{details(found)}\n\n{conditions(found)}\n\n{targets(found)}\n")
    if arguments.quick or arguments.messages:
        print(f"{minutes:.1f} minutes. Nothing was kept: only a whole run is.")
    else:
        print(f"{minutes:.1f} minutes. Kept in benchmarks/results/{keep(found, minutes).name}")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="1 to 2 minutes: fewer rounds, 100,000 messages, one era")
    parser.add_argument("--messages", type=int, metavar="N", help="the larger dataset (default: 1,000,000)")
    parser.add_argument("--profile", choices=OPERATIONS, help="show where the hub's time goes instead; needs py-spy")
    return parser.parse_args()


if __name__ == "__main__":
    main()

"""`python -m tests.fuzz`: hostile requests at a server of its own.

`--count 100000`, `--seed 0`; `--only NUMBER` sends a single one and shows it.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import tempfile
from pathlib import Path

from tests.fuzz import running
from tests.fuzz.cases import case
from tests.fuzz.world import prepare


def main() -> int:
    """Run; the process's exit status."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("--count", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", type=int)
    parser.add_argument("--keep", type=Path, metavar="DIR", help="leave data and logs there")
    given = parser.parse_args()
    numbers = range(given.count) if given.only is None else range(given.only, given.only + 1)
    with tempfile.TemporaryDirectory() as temporary:
        place = given.keep or temporary
        if given.only is not None:
            world = asyncio.run(prepare(Path(place) / "shown"))
            print(case(world, given.seed, given.only))
        outcome = asyncio.run(running.run(Path(place), numbers, given.seed))
    print(outcome.report())
    return 1 if outcome.findings else 0


if __name__ == "__main__":
    sys.exit(main())

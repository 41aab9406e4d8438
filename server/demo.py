"""`one-mcp demo`: a day of a swarm, played over real client processes on data of its own."""

from __future__ import annotations

import argparse
import os
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

from server.endpoint import Failure
from server.launch import ensure_hub
from server.status import end

SECONDS = 30.0
"""How long a call may take."""


def run(arguments: argparse.Namespace) -> int:
    """Play the day and tell it on stdout; the process's exit status. What it made is gone afterwards, unless kept.

    Raises:
        Failure: something on the day did not go as it should.
    """
    import anyio

    data = Path(tempfile.mkdtemp(prefix="one-mcp-demo-"))
    begun = time.monotonic()
    try:
        anyio.run(play, data, _tell)
        took = time.monotonic() - begun
        _tell(f"\nThat took {took:.0f} s. Your own swarm: `one-mcp serve` prints what to paste into a client.")
    except* BrokenPipeError:  # nobody reads on; what is still in the buffer must have a place to go
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except* Failure as failed:
        raise Failure(f"The demo stopped: {_first(failed)}") from failed
    finally:
        _leave(data, keep=arguments.keep)
    return 0


def _first(group: BaseExceptionGroup[Failure]) -> Failure:
    """What went wrong, out of the groups that tasks put around it."""
    error = group.exceptions[0]
    return _first(error) if isinstance(error, BaseExceptionGroup) else error


def _leave(data: Path, *, keep: bool) -> None:
    """End the hub, whatever else is asked meanwhile, and clear up."""
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        end(data)
        if not keep:
            shutil.rmtree(data)
    finally:
        signal.signal(signal.SIGINT, before)
    if keep:
        _tell(f"Its data stays in {data}: one-mcp status --data {data}")


def _tell(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


async def play(data: Path, tell: Callable[[str], None]) -> frozenset[str]:
    """Play the day on a fresh data directory, telling it line by line; the names of the tools that were used.

    Raises:
        Failure, ExceptionGroup of it: something did not go as it should.
    """
    import anyio

    from server.demo_day import Day, Seat

    # A thread is waited for even when the day is called off: no hub starts behind one's back.
    await anyio.to_thread.run_sync(ensure_hub, data)
    used: set[str] = set()

    @asynccontextmanager
    async def seat(mode: str, *options: str) -> AsyncIterator[Seat]:
        from mcp import Client, StdioServerParameters

        code = "import sys; from server.cli import main; sys.exit(main())"
        proxy = StdioServerParameters(
            command=sys.executable,
            args=["-P", "-c", code, "--data", str(data), *options],
            env={name: os.environ[name] for name in ("PYTHONPATH",) if name in os.environ},
        )
        async with Client(proxy, mode=mode, read_timeout_seconds=SECONDS) as client:
            yield Seat(client, data, used)

    async with seat("auto") as desk:
        day = Day(tell, desk)
        await day.people()
        async with seat("legacy", "--as", day.ids["Ben"]) as editor:
            await day.agents(editor)
            await day.talk(editor)
            await day.remember(editor)
            await day.plan(editor)
            await day.mend(editor)
        await day.count()
        async with seat("auto", "--as", day.ids["Cleo"]) as late:
            await day.evening(late)
    return frozenset(used)

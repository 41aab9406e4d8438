"""`python -m benchmarks.sessions`: many HTTP sessions of both eras at once, with tokens, for minutes.

Says how fast the calls were answered, every error by its kind, and whether the hub's memory is flat after the first
minute. Half of the sessions shake hands and keep their stream of changes open; the others are stateless, and every
second of them listens.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

import psutil
import uvloop

from benchmarks.machine import machine, others, programs
from benchmarks.servers import ONE_MCP, ROOT, SECONDS, Running, environment, served, settle
from benchmarks.session_client import Person, Place, Seen, Session
from benchmarks.wire import Era
from benchmarks.words import Words
from server.status import control

PEOPLE = 100
CONVERSATIONS = 60
MEMBERS = 6
FIRST_MESSAGES = 200
"""Of each conversation: as many as are kept in memory of it. A swarm that has said little would show how that grows."""
EMBED_SECONDS = 900.0
OPENING_SECONDS = 10.0
SAMPLE_SECONDS = 5.0
SETTLED_SECONDS = 60.0
SPAN_SECONDS = 30.0
FLAT_SHARE = 0.03
"""Memory counts as flat if the median of the last `SPAN_SECONDS` is above that of those after the first minute by no
more: a single sample may meet the index being tidied, which takes 50 MB for some seconds."""
TARGET_RATIO = 20.0
WAITS = "wait_for_messages"
MB = 1 << 20


@dataclass
class Watched:
    """The hub while it was measured: (seconds, resident bytes), and how much of a core it and the clients took."""

    memory: list[tuple[float, int]] = field(default_factory=list)
    hub_busy: float = 0.0
    clients_busy: float = 0.0


def main() -> None:
    arguments = _arguments()
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    with tempfile.TemporaryDirectory() as place, _hub(Path(place) / "data") as hub:
        people = _people(Path(place) / "data")
        # What is loaded at its first use: the index of words, and the model behind it.
        uvloop.run(Session(hub.port, Era.STATELESS, people[0], Seen(), Words(random.Random(3)), 0).call_each())
        settle(Path(place) / "data", EMBED_SECONDS)
        busy = others()
        seen, watched = uvloop.run(_measure(hub, people, arguments))
    sys.stdout.write(report(seen, watched, arguments, busy))


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.sessions", description=__doc__)
    parser.add_argument("--sessions", type=int, default=500, help="how many at once (default: 500)")
    parser.add_argument("--seconds", type=float, default=300.0, help="for how long (default: 300)")
    parser.add_argument("--pause", type=float, default=2.0, help="seconds between the calls of a session, on average")
    return parser.parse_args()


# -- what is there -----------------------------------------------------------------------------------------------------


@contextmanager
def _hub(data: Path) -> Iterator[Running]:
    """`one-mcp serve` on a fresh directory, with tokens."""
    command = [*ONE_MCP, "--data", str(data), "serve", "--port", "0"]
    with (data.parent / "hub.log").open("w") as log:
        yield from served(command, r"http://[^:]+:(\d+)/mcp", log.fileno())


def _people(data: Path) -> list[Person]:
    """People with tokens, who take part in some conversations with a history."""
    rng = random.Random(1)
    words = Words(rng)
    lines = [_line("users", f"u{n}", name=f"Person {n}", email=f"person{n}@example.org") for n in range(PEOPLE)]
    members: dict[int, list[int]] = {n: [] for n in range(PEOPLE)}
    for number in range(CONVERSATIONS):
        chosen = rng.sample(range(PEOPLE), MEMBERS)
        chosen += [number] if number not in chosen else []
        chosen += [n for n in (number + CONVERSATIONS,) if n < PEOPLE and n not in chosen]
        lines.append(_line("conversations", f"c{number}", title=f"Plan {number}", createdBy=f"u{chosen[0]}"))
        place = {"conversationId": f"c{number}"}
        for member in chosen:
            members[member].append(number)
            state = {"kind": "user", "status": "active", "isRemoved": False, "addedAt": 1}
            lines.append(
                _line("conversationParticipants", f"p{number}-{member}", userId=f"u{member}", **place, **state)
            )
        for said in range(FIRST_MESSAGES):
            author = f"p{number}-{rng.choice(chosen)}"
            text = {"kind": "participant", "authorParticipantId": author, "content": words.message()}
            lines.append(_line("conversationMessages", f"m{number}-{said}", **place, **text))
    file = data.parent / "people.jsonl"
    file.write_text("\n".join(lines))
    subprocess.run([*ONE_MCP, "--data", str(data), "import", str(file)], env=environment(), cwd=ROOT, check=True,
                   capture_output=True, timeout=SECONDS)  # fmt: skip
    places = [Place(f"c{number}", f"m{number}-{FIRST_MESSAGES - 1}") for number in range(CONVERSATIONS)]
    return [Person(_token(data, f"u{n}"), [places[one] for one in members[n]]) for n in range(PEOPLE)]


def _line(table: str, row_id: str, **fields: Any) -> str:
    return json.dumps({"table": table, "_id": row_id, **fields})


def _token(data: Path, owner: str) -> str:
    link = control(data)
    assert link is not None
    text = str(link.call("token.create", owner=owner, scopes=["read", "write"])["token"])
    link.close()
    return text


# -- measuring ---------------------------------------------------------------------------------------------------------


async def _measure(hub: Running, people: Sequence[Person], arguments: argparse.Namespace) -> tuple[Seen, Watched]:
    seen, watched, words = Seen(), Watched(), Words(random.Random(2))
    loop = asyncio.get_running_loop()
    began = loop.time()
    deadline = began + arguments.seconds

    async def one(number: int) -> None:
        era = Era.SESSIONS if number % 2 == 0 else Era.STATELESS
        # Not all in one moment, as no swarm arrives.
        await asyncio.sleep(min(OPENING_SECONDS, arguments.seconds / 4) * number / arguments.sessions)
        person = people[number % len(people)]
        try:
            await Session(hub.port, era, person, seen, words, number).run(deadline, arguments.pause)
        except (OSError, EOFError, TimeoutError, RuntimeError) as error:
            seen.errors[f"a session ended: {type(error).__name__} {error}"[:300]] += 1

    async with asyncio.TaskGroup() as group:
        watching = group.create_task(_watch(hub, watched, began))
        await asyncio.gather(*(one(number) for number in range(arguments.sessions)))
        watching.cancel()
    return seen, watched


async def _watch(hub: Running, watched: Watched, began: float) -> None:
    loop, process = asyncio.get_running_loop(), psutil.Process(hub.pid)
    before, own_before = sum(process.cpu_times()[:2]), time.process_time()
    while True:
        await asyncio.sleep(SAMPLE_SECONDS)
        passed = loop.time() - began
        watched.memory.append((passed, hub.memory()))
        watched.hub_busy = (sum(process.cpu_times()[:2]) - before) / passed
        watched.clients_busy = (time.process_time() - own_before) / passed


# -- saying so ---------------------------------------------------------------------------------------------------------


def report(seen: Seen, watched: Watched, arguments: argparse.Namespace, busy: float) -> str:
    """The figures as Markdown."""
    every = sorted(one for name, times in seen.latencies.items() if name != WAITS for one in times)
    count = sum(map(len, seen.latencies.values()))
    p50, p99 = quantile(every, 0.5), quantile(every, 0.99)
    lines = [
        f"{seen.opened} sessions for {arguments.seconds:.0f} s, {arguments.pause:g} s between the calls of each: "
        f"{count:,} calls, {count / arguments.seconds:.0f}/s; {seen.heard:,} notifications heard, {seen.reopened:,} "
        "idle connections opened anew.",
        "",
        f"- errors: {sum(seen.errors.values())}; refused by a documented limit: {seen.limited}",
        *(f"  - {times} x {kind}" for kind, times in seen.errors.most_common(10)),
        f"- p50 {1000 * p50:.1f} ms, p99 {1000 * p99:.1f} ms, p99/p50 {p99 / p50:.1f} (target: under "
        f"{TARGET_RATIO:.0f}), longest {1000 * every[-1]:.0f} ms (without {WAITS}, which waits)",
        f"- memory of the hub: {_memory(watched.memory)}",
        f"- of a core: hub {watched.hub_busy:.2f}, clients {watched.clients_busy:.2f}, others before {busy:.1f}",
        "",
        "| call | answers | p50 ms | p99 ms |",
        "| --- | --- | --- | --- |",
    ]
    for name, times in sorted(seen.latencies.items()):
        times.sort()
        lines.append(
            f"| `{name}` | {len(times):,} | {1000 * quantile(times, 0.5):.1f} | {1000 * quantile(times, 0.99):.1f} |"
        )
    samples = ", ".join(f"{size // MB}" for _, size in watched.memory)
    lines += ["", f"MB every {SAMPLE_SECONDS:.0f} s: {samples}", "", f"On {machine()}. {programs()}.", ""]
    return "\n".join(lines)


def quantile(ascending: Sequence[float], share: float) -> float:
    """The value that `share` of them do not exceed."""
    return ascending[min(len(ascending) - 1, int(share * len(ascending)))]


def _memory(samples: Sequence[tuple[float, int]]) -> str:
    settled = [(passed, size) for passed, size in samples if passed >= SETTLED_SECONDS]
    last = samples[-1][0]
    if last < SETTLED_SECONDS + 2 * SPAN_SECONDS:
        return f"{samples[-1][1] // MB} MB at the end (too short to say whether it is flat)"
    early = median([size for passed, size in settled if passed < SETTLED_SECONDS + SPAN_SECONDS])
    late = median([size for passed, size in settled if passed > last - SPAN_SECONDS])
    growth = late / early - 1
    flat = "flat" if growth <= FLAT_SHARE else "NOT flat"
    return (
        f"{samples[0][1] // MB} MB at first, {early / MB:.0f} after a minute, {late / MB:.0f} at the end (medians of "
        f"{SPAN_SECONDS:.0f} s), {max(size for _, size in settled) // MB} at most: {flat} ({growth:+.1%})"
    )


if __name__ == "__main__":
    main()

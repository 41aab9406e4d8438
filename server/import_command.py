"""`one-mcp import`: the hub's side."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from server.connections import CommandFailed, Progress
from storage.digests import line_digest
from storage.errors import DomainError, Invalid
from storage.transaction import Transaction

if TYPE_CHECKING:
    from server.service import Service
    from tools_impl.import_known import Memory
    from tools_impl.import_lines import Line
    from tools_impl.importing import ImportReport

MAX_BATCH = 5_000
"""Rows of one request at most: others wait for their turn while it runs."""
YIELD_PASSES = 12
"""Passes of the loop between two steps: a call of a client needs about so many from its line to its answer."""


class ImportCommand:
    """Takes lines of a file in, a request of the writer for each batch of them.

    The rules are imported when they are needed, or after the hub's first answer.
    """

    def __init__(self, service: Service) -> None:
        self._service = service
        self._memory: Memory | None = None
        service.late_imports.append("tools_impl.importing")

    async def __call__(self, arguments: dict[str, Any], _progress: Progress) -> dict[str, Any]:
        """`lines` of a file from number `first` on (blank ones count), `batch` of them in one request.

        `repeats` has, for lines that came before in the same file, their place in `lines` and how often. The answer
        counts what was `added` and what was `present`, and has number and reason of each line `refused`. Everything is
        durable then, and sending the same lines again changes nothing.
        """
        lines, first, size = arguments["lines"], int(arguments["first"]), int(arguments["batch"])
        repeats = {int(place): count for place, count in arguments["repeats"].items()}
        size = max(1, min(size, MAX_BATCH))
        memory = await self._remembered()
        tasks: list[asyncio.Task[ImportReport]] = []
        for start in range(0, len(lines), size):
            numbered = ((first + i, lines[i], repeats.get(i, 0)) for i in range(start, min(start + size, len(lines))))
            staged = asyncio.Event()
            tasks.append(asyncio.create_task(self._batch(numbered, memory, staged)))
            # The next batch is prepared while this one becomes durable.
            await staged.wait()
            await _let_others_go_first()
        await asyncio.gather(*tasks, return_exceptions=True)
        try:
            reports = [task.result() for task in tasks]
        except DomainError as error:
            raise CommandFailed(error.message) from None
        return {
            "added": sum(report.added for report in reports),
            "present": sum(report.present for report in reports),
            "refused": [refusal for report in reports for refusal in report.refused],
        }

    async def _remembered(self) -> Memory:
        from tools_impl.import_known import Memory

        if self._memory is None:
            self._memory = Memory()
        await self._memory.imported.load(self._service.engine.store)
        return self._memory

    async def _batch(
        self, numbered: Iterator[tuple[int, str, int]], memory: Memory, staged: asyncio.Event
    ) -> ImportReport:
        """Read lines and take them in with one request. `staged` is set when the writer's turn is over."""
        from tools_impl.importing import ImportReport, import_lines

        try:
            lines, present, refused = _read(numbered, memory)
            await _let_others_go_first()

            async def request(tx: Transaction) -> ImportReport:
                try:
                    return await import_lines(tx, lines, memory)
                finally:
                    staged.set()

            act = self._service.audit.by_command("import")
            report = await self._service.engine.writer.run(request, act=act)
        finally:
            staged.set()
        return ImportReport(
            added=report.added, present=report.present + present, refused=sorted([*report.refused, *refused])
        )


async def _let_others_go_first() -> None:
    for _ in range(YIELD_PASSES):
        await asyncio.sleep(0)


def _read(numbered: Iterator[tuple[int, str, int]], memory: Memory) -> tuple[list[Line], int, list[tuple[int, str]]]:
    """The lines to import, how many were imported before, and those that are none."""
    from tools_impl.import_lines import read_line

    lines: list[Line] = []
    refused: list[tuple[int, str]] = []
    present = 0
    for number, text, occurrence in numbered:
        if not text:
            continue
        digest = line_digest(text, occurrence)
        if digest in memory.imported.lines:
            present += 1
            continue
        try:
            lines.append(read_line(number, text, digest))
        except Invalid as error:
            refused.append((number, error.message))
    return lines, present, refused

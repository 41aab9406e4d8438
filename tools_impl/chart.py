"""Charts of what SQL finds."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

import anyio
from pydantic import Field
from pydantic_core import to_json

from storage.errors import Invalid, Unavailable
from storage.fields import iso
from storage.plots import NotDrawable, arranged, cache_environment, described
from storage.row import Image, Result
from storage.view import View
from tools_impl.arguments import Name, Text
from tools_impl.caller import Caller
from tools_impl.query import answered

DRAW_SECONDS = 20.0


class ChartResult(Result):
    """An image, and in words what it shows."""

    table: ClassVar[str] = "chart"

    kind: str
    alt: str
    columns: Sequence[str]
    rows: int
    truncated: bool
    as_of: int
    png: bytes = Field(exclude=True, repr=False)

    def text(self) -> str:
        """See `Result`: the one line that goes with the image."""
        first = "the first " if self.truncated else ""
        count = f"{self.rows:,} row{'' if self.rows == 1 else 's'}"
        return f"{self.alt}. {first}{count} of {', '.join(self.columns)}, as of {iso(self.as_of)}"

    def images(self) -> Sequence[Image]:
        """See `Result`."""
        return (Image(self.png, "image/png"),)


async def chart(
    view: View,
    me: Caller,
    sql: Text,
    kind: Literal["line", "bar", "funnel", "heatmap"] | None = None,
    title: Name | None = None,
    fresh: Annotated[bool, Field(description="as of now, not of the last minute")] = False,
) -> ChartResult:
    """Draw what one SELECT finds, as an image. The first column has the labels (or times), numbers are the series; a
    second column of text names them instead. Without kind: a line over times, bars otherwise. Views to begin with:
    "dailyActivity", "stepFunnel", "agentLeaderboard".

    Raises:
        Forbidden: the caller is no analyst.
        Invalid: the statement is wrong, or its columns cannot be drawn; the text says what to do.
        Unavailable: drawing takes too long.
    """
    answer = await answered(view, me, sql, view.store.sql.max_rows, fresh=fresh)
    try:
        data = arranged(answer.columns, answer.rows, kind)
    except NotDrawable as error:
        raise Invalid(str(error)) from None
    asked = {"columns": answer.columns, "rows": answer.rows, "kind": data.kind, "title": title}
    png = await _drawn(view.store.snapshots.directory, asked)
    return ChartResult(
        kind=data.kind,
        alt=described(data),
        columns=[name for name, _ in answer.columns],
        rows=len(answer.rows),
        truncated=answer.truncated,
        as_of=answer.as_of,
        png=png,
    )


async def _drawn(place: Path, asked: dict[str, Any]) -> bytes:
    """The image, from a process of its own: the library is large, holds the interpreter and is not made for threads."""
    code = "from storage.plots import main; main()"
    environment = os.environ | cache_environment(place)
    try:
        async with _one_at_a_time():
            with anyio.fail_after(DRAW_SECONDS):
                done = await anyio.run_process(
                    [sys.executable, "-P", "-c", code], input=to_json(asked), env=environment
                )
    except TimeoutError:
        raise Unavailable(
            f"Drawing took more than {DRAW_SECONDS:.0f} s. Aggregate, so that there is less to draw."
        ) from None
    return done.stdout


@cache
def _one_at_a_time() -> anyio.CapacityLimiter:
    return anyio.CapacityLimiter(1)

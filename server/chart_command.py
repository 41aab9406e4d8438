"""`one-mcp chart`: an image of what a statement finds."""

from __future__ import annotations

import argparse
import os
import sys
from typing import cast

from server.endpoint import Failure
from server.sql_command import questions

ROWS = 5_000


def run(arguments: argparse.Namespace) -> int:
    """Draw and write the image; the process's exit status.

    Raises:
        Failure: the statement, its columns or the name of the file is wrong.
    """
    form = arguments.output.suffix.removeprefix(".").lower()
    if form not in ("png", "svg"):
        raise Failure(f"--output takes a file that ends in .png or .svg, not '{arguments.output}'.")
    sql = sys.stdin.read() if arguments.sql == "-" else arguments.sql
    with questions(arguments.data, fresh=arguments.fresh) as ask:
        answer = ask(sql, ROWS)
    from storage.plots import Format, NotDrawable, arranged, cache_environment, described, drawn

    os.environ.update(cache_environment(arguments.data))
    try:
        data = arranged(answer.columns, answer.rows, arguments.kind)
    except NotDrawable as error:
        raise Failure(str(error)) from None
    arguments.output.write_bytes(drawn(data, arguments.title, cast("Format", form)))
    sys.stderr.write(f"{described(data)}: {arguments.output}\n")
    return 0

"""`one-mcp snapshot`: the person's side."""

from __future__ import annotations

import argparse
import json
import sys

from server import __version__
from server.endpoint import Hello
from server.launch import reach
from server.status import local_time


def run(arguments: argparse.Namespace) -> int:
    """Have the hub publish a snapshot and print where it is; the process's exit status.

    Raises:
        Refused: the hub says why it cannot.
    """
    link = reach(arguments.data, Hello(__version__, client="control"))
    try:
        answer = link.call("snapshot", fresh=True)
    finally:
        link.close()
    if arguments.json:
        del answer["ok"]
        sys.stdout.write(json.dumps(answer) + "\n")
        return 0
    sys.stdout.write(
        f"{answer['path']}\n"
        f"as of {local_time(answer['asOf'])}, {answer['bytes'] / 1e6:,.1f} MB, in {answer['seconds']:.2f} s\n"
    )
    return 0

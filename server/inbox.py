"""`one-mcp inbox`: the person's side. Made for hooks of clients: quick, and silent when there is nothing to say."""

from __future__ import annotations

import argparse
import json
import sys

from server.status import control


def run(arguments: argparse.Namespace) -> int:
    """Print what is unread; the process's exit status, which is 0 also when nothing is or no hub runs.

    Raises:
        NotReached, Refused: the hub cannot be talked to, or says why not.
    """
    link = control(arguments.data)
    if link is None:
        return 0
    try:
        answer = link.call("inbox", **{"as": arguments.acts_as})
        if not answer["text"]:
            return 0
        sys.stdout.write(json.dumps(answer["inbox"]) + "\n" if arguments.json else answer["text"])
        sys.stdout.flush()
        if arguments.ack and "ack" in answer["inbox"]:
            link.call("inbox", **{"as": arguments.acts_as, "ack": answer["inbox"]["ack"]})
    finally:
        link.close()
    return 0

"""`one-mcp status` and `one-mcp stop`: a client's look at the hub."""

import json
import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from server import __version__
from server.endpoint import LOCK_FILE, Failure, Hello, Link, Refused
from server.launch import attach, holder
from server.lock import is_locked

_STOP_SECONDS = 60.0
_PATIENCE_SECONDS = 10.0


class NotReached(Failure):
    """A hub is there but cannot be talked to. The text is one sentence for people."""


def status(data_dir: Path, *, as_json: bool) -> int:
    """Print what runs on a data directory; the process's exit status."""
    link = control(data_dir)
    facts: dict[str, Any] = {"running": False, "dataDir": str(data_dir)}
    if link is not None:
        facts = {key: value for key, value in link.call("status").items() if key != "ok"}
        link.close()
    if as_json:
        sys.stdout.write(json.dumps(facts) + "\n")
    elif link is None:
        sys.stdout.write(f"No hub runs on {data_dir}. A client or `one-mcp serve` starts one.\n")
    else:
        sys.stdout.write(_table(facts))
    return 0


def stop(data_dir: Path) -> int:
    """End the hub of a data directory and wait until it is gone; the process's exit status. Raises NotReached."""
    pid = end(data_dir)
    words = f"No hub runs on {data_dir}." if pid is None else f"The hub (pid {pid}) has ended."
    sys.stdout.write(words + "\n")
    return 0


def end(data_dir: Path) -> int | None:
    """End the hub of a data directory and wait until it is gone; its pid, None when none runs. Raises NotReached."""
    link = control(data_dir)
    if link is None:
        return None
    pid: int = link.call("stop")["pid"]
    link.close()
    deadline = time.monotonic() + _STOP_SECONDS
    while is_locked(data_dir / LOCK_FILE):
        if time.monotonic() > deadline:
            raise NotReached(f"The hub (pid {pid}) has not ended after {_STOP_SECONDS:.0f} s.")
        time.sleep(0.02)
    return pid


def control(data_dir: Path) -> Link | None:
    """A connection for commands; None when no hub runs. Raises NotReached."""
    deadline = time.monotonic() + _PATIENCE_SECONDS
    try:
        while (link := attach(data_dir, Hello(__version__, client="control"))) is None:
            if not is_locked(data_dir / LOCK_FILE):
                return None
            if time.monotonic() > deadline:
                raise NotReached(f"{holder(data_dir)} does not answer.")
            time.sleep(0.02)  # it is starting or ending
    except (Refused, OSError) as error:
        raise NotReached(str(error)) from error
    return link


def _table(facts: dict[str, Any]) -> str:
    rows = {**facts, "startedAt": local_time(facts["startedAt"])}
    analytics = facts.get("analytics", {})
    if "asOf" in analytics:
        rows["analytics"] = {**analytics, "asOf": local_time(analytics["asOf"])}
    del rows["running"]
    shown = {_words(key): _text(value) for key, value in rows.items() if value is not None}
    width = max(map(len, shown)) + 2
    return "".join(f"{name:<{width}}{value}\n" for name, value in shown.items())


def local_time(moment: int) -> str:
    """Epoch milliseconds for a person."""
    return datetime.fromtimestamp(moment / 1000, tz=UTC).astimezone().isoformat(sep=" ", timespec="seconds")


def _words(key: str) -> str:
    """A name of the wire as words: "startedAt" -> "started at"."""
    return "".join(f" {letter.lower()}" if letter.isupper() else letter for letter in key)


def _text(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(
            f"{item:,} {_words(key)}" if isinstance(item, int) else f"{_words(key)} {item}"
            for key, item in value.items()
        )
    return str(value)

"""Getting a connection to the hub of a data directory, starting the hub when none runs."""

import os
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

from server import __version__
from server.endpoint import LOCK_FILE, Endpoint, Failure, Hello, Link, Refused
from server.lock import FileLock, is_locked

if TYPE_CHECKING:
    from subprocess import Popen

START_LOCK_FILE = "hub.start.lock"
LOG_FILE = "hub.log"
START_SECONDS = 60.0
"""How long a hub may take to start, and a hub that is on its way out to end."""
_SILENT_SECONDS = 20.0
_LOG_BYTES = 5_000_000
_STARTS = 2
_REASON = "one-mcp: "
_ENVIRONMENT = frozenset(
    [
        "PATH",
        "HOME",
        "USER",
        "LOGNAME",
        "USERNAME",
        "USERPROFILE",
        "LANG",
        "TZ",
        "TMPDIR",
        "TEMP",
        "TMP",
        "SYSTEMROOT",
        "APPDATA",
        "LOCALAPPDATA",
        "VIRTUAL_ENV",
        "PYTHONPATH",
    ]
)


class HubFailed(Failure):
    """No hub could be reached. `final`: the hub itself said why, so that trying again at once is of no use."""

    def __init__(self, reason: str, data_dir: Path, *, final: bool = False) -> None:
        super().__init__(f"{reason.rstrip('.')} (log: {data_dir / LOG_FILE})")
        self.final = final


def attach(data_dir: Path, hello: Hello) -> Link | None:
    """A connection to the hub that runs; None when none does or it is on its way out.

    Raises Refused when the hub declines for another reason.
    """
    if not is_locked(data_dir / LOCK_FILE):
        return None
    endpoint = Endpoint.read(data_dir)
    if endpoint is None:
        return None
    try:
        return endpoint.open(hello)
    except Refused as refusal:
        if refusal.code == "retiring":
            return None
        raise
    except (OSError, ValueError):
        return None  # ended a moment ago, or not ready yet


def reach(data_dir: Path, hello: Hello) -> Link:
    """A connection to the hub, which is started when none runs. Raises HubFailed, Refused."""
    try:
        return attach(data_dir, hello) or _start_and_attach(data_dir, hello)
    except OSError as error:
        reason = f"Cannot use the data directory {data_dir}: {error.strerror or error}"
        raise HubFailed(reason, data_dir, final=True) from error


def ensure_hub(data_dir: Path) -> Endpoint:
    """Where the hub is, which is started when none runs. Raises HubFailed, Refused."""
    reach(data_dir, Hello(__version__, client="control")).close()
    endpoint = Endpoint.read(data_dir)
    if endpoint is None:
        raise HubFailed("The hub ended right after its start", data_dir)
    return endpoint


def _start_and_attach(data_dir: Path, hello: Hello) -> Link:
    data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    lock = FileLock(data_dir / START_LOCK_FILE)
    if not lock.acquire(START_SECONDS):
        raise HubFailed(f"Another process has been starting the hub for {START_SECONDS:.0f} s", data_dir)
    try:
        starts = 0
        silent_until = time.monotonic() + _SILENT_SECONDS
        while True:
            link = attach(data_dir, hello)
            if link is not None:
                return link
            if not is_locked(data_dir / LOCK_FILE):
                if starts == _STARTS:
                    raise HubFailed("The hub ended right after its start", data_dir)
                _start(data_dir)
                starts += 1
            elif time.monotonic() > silent_until:
                raise HubFailed(f"{holder(data_dir)} does not answer", data_dir)
            else:
                time.sleep(0.01)  # a hub on its way out, or on its way in
    finally:
        lock.release()


def holder(data_dir: Path) -> str:
    """Who holds the directory, as far as `hub.json` tells."""
    endpoint = Endpoint.read(data_dir)
    if endpoint is None:
        return f"The hub that holds {data_dir}"
    return f"The hub that holds {data_dir} (pid {endpoint.pid}, version {endpoint.version})"


def _start(data_dir: Path) -> None:
    """Start a hub in the background and wait until it serves. Raises HubFailed."""
    import subprocess

    from storage.memory import tuned

    log = data_dir / LOG_FILE
    if log.exists() and log.stat().st_size > _LOG_BYTES:
        log.replace(log.with_suffix(".log.1"))
    code = "import sys; from server.cli import main; sys.exit(main())"
    command = [sys.executable, "-P", "-c", code, "hub", "--auto", "--data", str(data_dir)]
    kept = {key: value for key, value in os.environ.items() if key in _ENVIRONMENT or key.startswith("LC_")}
    log.touch(mode=0o600)
    with log.open("ab") as sink:
        begin = sink.tell()
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=sink,
            cwd=data_dir,
            env=tuned(kept),  # it would begin anew otherwise
            start_new_session=True,
            creationflags=0x8 | 0x200 if sys.platform == "win32" else 0,  # detached, a process group of its own
        )
    word = _first_word(process)
    threading.Thread(target=process.wait, daemon=True).start()  # or it would stay as a zombie when it ends
    if word == "ready":
        return
    if word is None:
        raise HubFailed(f"The hub (pid {process.pid}) has been starting for {START_SECONDS:.0f} s", data_dir)
    if word.startswith(_REASON):
        raise HubFailed(word.removeprefix(_REASON), data_dir, final=True)
    raise HubFailed(f"The hub ended with status {process.wait()}: {_last_line(log, begin)}", data_dir)


def _first_word(process: "Popen[bytes]") -> str | None:
    """What a new hub says: "ready", why it cannot start, or nothing when it dies. None when the time is up."""
    lines: list[str] = []

    def listen() -> None:
        if process.stdout is not None:
            with process.stdout as output:
                lines.append(output.readline().decode(errors="replace").strip())

    listener = threading.Thread(target=listen, daemon=True)
    listener.start()
    listener.join(START_SECONDS)
    return lines[0] if lines else None


def _last_line(log: Path, begin: int) -> str:
    """What was last written to the log, if anything was from `begin` on."""
    with log.open("rb") as file:
        file.seek(begin)
        lines = file.read().decode(errors="replace").splitlines()
    return next((line.strip() for line in reversed(lines) if line.strip()), "it wrote nothing")

"""MCP on stdin and stdout, carried to the hub and back, across the hub's restarts.

Two threads: one takes the client's lines, one keeps the connection to the hub and takes its lines. Whatever the hub
does, the client sees each answer once. Only the standard library: the first answer must not wait for imports.
"""

import json
import os
import signal
import sys
import threading
import time
from pathlib import Path

from server import __version__
from server.endpoint import Hello, Link, Refused, version_key
from server.launch import HubFailed, attach, reach
from server.replay import Session

_BACK_OFF = (0.1, 0.4, 1.5, 3.0, 5.0, 10.0)
"""Seconds before each further try to reach a hub."""
_ANSWER_SECONDS = 5.0
"""How long a client that has closed stdin is still answered."""
_STABLE_SECONDS = 5.0
"""A hub that lived this long did not die of its start."""
_REST_SECONDS = 1.0
"""How often a proxy without a hub that needs none looks whether there is one again."""


def run(
    data_dir: Path, *, acts_as: str | None = None, toolsets: tuple[str, ...] | None = None, read_only: bool = False
) -> int:
    """Serve the client on stdin and stdout until it closes stdin; the process's exit status."""
    # Ended by a signal there is nothing to tidy up, and nobody wants to read a traceback.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    if sys.stdin.isatty():
        _say("this speaks MCP and is meant to be started by an MCP client; see `one-mcp --help`")
    hello = Hello(__version__, acts_as=acts_as, toolsets=toolsets, read_only=read_only)
    Proxy(data_dir, hello).run()
    return 0


class Proxy:
    """The front of one client."""

    def __init__(self, data_dir: Path, hello: Hello) -> None:
        self._data_dir = data_dir
        self._hello = hello
        self._session = Session()
        # Guards all of the state below and the session. Never held while something may block.
        self._state = threading.Condition()
        self._sending = threading.Lock()  # the order of lines to the hub; taken before _state, never after it
        self._writing = threading.Lock()  # the order of lines to the client
        self._link: Link | None = None
        self._in_hand = 0  # lines taken from the hub that are not written yet
        self._done = False

    def run(self) -> None:
        """Serve until stdin ends and what was asked is answered."""
        threading.excepthook = _end  # half a proxy would leave the client without a word
        threading.Thread(target=self._keep_hub, daemon=True).start()
        for line in iter(sys.stdin.buffer.readline, b""):
            if line.strip():
                self._take(line)
        with self._state:
            # A hub that is only starting gets the time that takes; then or now, the answers get theirs.
            self._state.wait_for(lambda: self._link is not None or self._idle())
            self._state.wait_for(self._idle, _ANSWER_SECONDS)
            self._done = True
            if self._link is not None:
                self._link.close()

    def _idle(self) -> bool:
        return not self._session.waiting and self._in_hand == 0

    def _take(self, line: bytes) -> None:
        """Pass on a line of the client."""
        with self._state:
            link = self._link
            turn = self._session.from_client(line, connected=link is not None)
            self._state.notify_all()
        self._write(turn.to_client)
        if turn.to_hub is not None and link is not None:
            try:
                with self._sending:
                    link.sock.sendall(turn.to_hub)
            except OSError:
                pass  # this hub is gone; the other thread sends what is unanswered to the next one

    def _keep_hub(self) -> None:
        """Hold a connection to the hub for as long as the client is there."""
        resting = False
        short_lived = 0
        while not self._done:
            link = self._rest() if resting else self._reach()
            if link is None:
                resting = True
                continue
            began = time.monotonic()
            resting = self._converse(link)
            short_lived = 0 if time.monotonic() - began > _STABLE_SECONDS else short_lived + 1
            if short_lived and not resting:
                # It died young. Without need it is not started again and again.
                pause = _BACK_OFF[min(short_lived, len(_BACK_OFF)) - 1]
                with self._state:
                    self._state.wait_for(lambda: self._session.waiting or self._done, pause)

    def _rest(self) -> Link | None:
        """Without a hub on purpose: wait until the client needs one, or use one that others started."""
        while not self._done:
            with self._state:
                self._state.wait_for(lambda: self._session.waiting or self._done, _REST_SECONDS)
                needed = self._session.waiting and not self._done
            try:
                link = self._reach() if needed else attach(self._data_dir, self._hello)
            except (Refused, OSError):
                continue  # said again, and then to the client, when it needs something
            if link is not None:
                return link
        return None

    def _reach(self) -> Link | None:
        """A connection to a hub. None when there is none to be had and the client was told why."""
        for pause in (*_BACK_OFF, None):
            try:
                return reach(self._data_dir, self._hello)
            except (HubFailed, Refused) as error:
                _say(str(error))
                final = isinstance(error, Refused) or error.final
                if final or pause is None:
                    self._give_up(str(error))
                    return None
            with self._state:
                if self._state.wait_for(lambda: self._done, pause):
                    return None
        return None

    def _give_up(self, reason: str) -> None:
        with self._state:
            answers = self._session.give_up(reason)
            self._in_hand += 1
        self._write(tuple(answers))
        self._written()

    def _converse(self, link: Link) -> bool:
        """Carry lines until the connection ends. Whether the hub said that it ends on purpose."""
        if version_key(link.version) < version_key(self._hello.version):
            _say(f"the hub (pid {link.pid}) is of the older version {link.version}; restart it to upgrade")
        on_purpose = False
        try:
            self._resume(link)
            while (line := link.reader.readline()).endswith(b"\n"):
                if line.startswith(b'{"one-mcp"'):
                    on_purpose = json.loads(line).get("bye") is True
                    continue
                with self._state:
                    lines = self._session.from_hub(line)
                    self._in_hand += 1
                self._write(lines)
                self._written()
        except (OSError, ValueError):
            pass  # the hub was killed; the next one gets what is unanswered
        with self._state:
            self._link = None
        link.close()
        return on_purpose

    def _resume(self, link: Link) -> None:
        """Bring a hub to where the last one was, before anything else is sent to it."""
        with self._sending:
            with self._state:
                exhausted = self._session.exhausted()
                lines = self._session.resume()
                self._link = link
                self._in_hand += 1
                self._state.notify_all()
            link.sock.sendall(b"".join(lines))
        self._write(tuple(exhausted))
        self._written()

    def _written(self) -> None:
        with self._state:
            self._in_hand -= 1
            self._state.notify_all()

    def _write(self, lines: tuple[bytes, ...]) -> None:
        """Write to the client. A client that reads no more ends the process."""
        data = memoryview(b"".join(lines))
        with self._writing:
            while data:
                try:
                    data = data[os.write(sys.stdout.fileno(), data) :]
                except OSError:
                    os._exit(0)  # also from this thread: nothing is buffered, nothing is left to do


def _end(failure: threading.ExceptHookArgs) -> None:
    threading.__excepthook__(failure)
    os._exit(1)


def _say(text: str) -> None:
    sys.stderr.write(f"one-mcp: {text}\n")
    sys.stderr.flush()

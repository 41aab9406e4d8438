"""Where a hub is and how to talk to it: `hub.json`, the socket, and the first lines on it.

Only the standard library, and little of that: a proxy imports this before its first answer.
"""

import json
import os
import re
import socket
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

PROTOCOL = 1
"""Version of the lines between a client and its hub."""
MAX_LINE = 16 * 1024 * 1024
"""Bytes of the longest line that a hub reads."""
HELLO_SECONDS = 10.0
"""How long either side waits for the other's first line."""
LOCK_FILE = "hub.lock"
"""Held by the hub for its life: whoever finds it free knows that no hub runs."""
_FILE = "hub.json"
_CLIENTS = ("proxy", "control")
_PRE_RELEASES = {"dev": 0, "a": 1, "b": 2, "rc": 3}


class Failure(Exception):
    """What a person is told in one sentence, without a traceback."""


class Refused(Failure):
    """A hub declined a connection. `code` is "retiring", "forbidden" or "unknown_caller"."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


class Hello(NamedTuple):
    """The first line of a client: who it is. `acts_as` is an agent's id; no `toolsets` means all of them."""

    version: str
    secret: str = ""
    client: str = "proxy"
    acts_as: str | None = None
    toolsets: tuple[str, ...] | None = None
    read_only: bool = False

    def line(self) -> bytes:
        """The hello as it goes over the socket."""
        return encode(
            {
                "one-mcp": PROTOCOL,
                "version": self.version,
                "secret": self.secret,
                "client": self.client,
                "as": self.acts_as,
                "toolsets": self.toolsets,
                "readOnly": self.read_only,
            }
        )

    @classmethod
    def parse(cls, line: bytes) -> "Hello":
        """The hello in a line. Raises ValueError when it is none."""
        data = json.loads(line)
        if not isinstance(data, dict) or data.get("one-mcp") != PROTOCOL or data.get("client") not in _CLIENTS:
            raise ValueError("not a hello of this protocol")
        acts_as = data.get("as")
        toolsets = data.get("toolsets")
        return cls(
            version=str(data.get("version")),
            secret=str(data.get("secret")),
            client=data["client"],
            acts_as=acts_as if isinstance(acts_as, str) else None,
            toolsets=tuple(map(str, toolsets)) if isinstance(toolsets, list) else None,
            read_only=data.get("readOnly") is True,
        )


class Link(NamedTuple):
    """An accepted connection to a hub."""

    sock: socket.socket
    reader: BinaryIO
    version: str
    pid: int

    def close(self) -> None:
        """End the connection; a thread that waits in `reader` sees its end."""
        try:
            self.sock.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass  # the other side was first
        self.sock.close()
        self.reader.close()

    def call(
        self, command: str, on_progress: Callable[[dict[str, Any]], None] | None = None, **arguments: Any
    ) -> dict[str, Any]:
        """The answer of a hub to a command on a "control" connection.

        Raises Refused with the hub's message when it fails, ConnectionError when the hub goes away.
        """
        self.sock.sendall(encode({"command": command, **arguments}))
        while line := self.reader.readline():
            answer: dict[str, Any] = json.loads(line)
            if answer.get("ok") is False:
                raise Refused(str(answer.get("code", "failed")), str(answer.get("message")))
            if "ok" in answer:
                return answer
            if on_progress is not None:
                on_progress(answer)
        raise ConnectionError("the hub ended the connection")


class Endpoint(NamedTuple):
    """What `hub.json` says: `started_at` in epoch milliseconds, `auto` for a hub that a client started."""

    pid: int
    version: str
    secret: str
    started_at: int
    auto: bool
    socket: str | None = None
    host: str | None = None
    port: int | None = None
    http: str | None = None

    @classmethod
    def read(cls, data_dir: Path) -> "Endpoint | None":
        """The endpoint of the hub on a directory; None when there is no file or not a whole one."""
        try:
            data = json.loads((data_dir / _FILE).read_bytes())
            return cls(
                pid=int(data["pid"]),
                version=str(data["version"]),
                secret=str(data["secret"]),
                started_at=int(data["startedAt"]),
                auto=bool(data["auto"]),
                socket=data["socket"],
                host=data["host"],
                port=data["port"],
                http=data["http"],
            )
        except (FileNotFoundError, ValueError, KeyError, TypeError):
            return None

    def write(self, data_dir: Path) -> None:
        """Publish in one step, readable by nobody else. Raises OSError."""
        fields = {("startedAt" if key == "started_at" else key): value for key, value in self._asdict().items()}
        fresh = data_dir / f"{_FILE}.new"
        fresh.unlink(missing_ok=True)
        handle = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(handle, "wb") as file:
            file.write(encode({**fields, "protocol": PROTOCOL}))
        fresh.replace(data_dir / _FILE)

    @staticmethod
    def remove(data_dir: Path) -> None:
        """Withdraw the file. Only for who holds the hub's lock."""
        (data_dir / _FILE).unlink(missing_ok=True)

    def open(self, hello: Hello) -> Link:
        """A connection that the hub has accepted.

        Raises Refused when it declines, OSError or ValueError when no hub of this protocol is there.
        """
        sock = _connect(self)
        try:
            sock.sendall(hello._replace(secret=self.secret).line())
            reader = sock.makefile("rb")
            answer = json.loads(reader.readline())
            if answer["ok"] is not True:
                raise Refused(str(answer["code"]), str(answer["message"]))
            sock.settimeout(None)
            return Link(sock, reader, str(answer["version"]), int(answer["pid"]))
        except (KeyError, TypeError) as error:
            sock.close()
            raise ValueError("no hub of this protocol") from error
        except BaseException:
            sock.close()
            raise


def _connect(endpoint: Endpoint) -> socket.socket:
    if endpoint.socket is None or sys.platform == "win32":
        return socket.create_connection((endpoint.host or "127.0.0.1", endpoint.port or 0), timeout=HELLO_SECONDS)
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    sock.settimeout(HELLO_SECONDS)
    try:
        sock.connect(endpoint.socket)
    except OSError:
        sock.close()
        raise
    return sock


def encode(message: dict[str, Any]) -> bytes:
    """A message as one line of JSON."""
    return json.dumps(message, separators=(",", ":")).encode() + b"\n"


def version_key(version: str) -> tuple[tuple[int, ...], int, int]:
    """What versions are ordered by: 0.9 < 0.10.dev1 < 0.10rc1 < 0.10 = 0.10.0. What is no version comes first."""
    match = re.match(r"(\d+(?:\.\d+)*)(?:[-._]?(dev|a|b|rc)[a-z]*[-._]?(\d*))?", version)
    if match is None:
        return (), 0, 0
    numbers = [int(part) for part in match[1].split(".")]
    while numbers and numbers[-1] == 0:
        numbers.pop()
    return tuple(numbers), _PRE_RELEASES.get(match[2], 4), int(match[3] or 0)

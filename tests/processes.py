"""Real `one-mcp` processes for tests: command lines, clients, raw lines, and hubs that can be killed."""

import json
import os
import queue
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from mcp import Client
from mcp.client.stdio import StdioServerParameters

from server import __version__
from server.endpoint import LOCK_FILE, Endpoint, Hello
from server.lock import is_locked

ROOT = Path(__file__).resolve().parents[1]
SECONDS = 30.0
"""How long anything may take before a test gives up."""
PROTOCOL = "2026-07-28"
_ENVELOPE = {
    "io.modelcontextprotocol/protocolVersion": PROTOCOL,
    "io.modelcontextprotocol/clientInfo": {"name": "test", "version": "1"},
    "io.modelcontextprotocol/clientCapabilities": {},
}


def command(data: Path, *arguments: str) -> list[str]:
    """How `one-mcp` is started in tests."""
    return [sys.executable, "-P", "-c", "from server.cli import main; main()", "--data", str(data), *arguments]


def environment(tree: Path = ROOT) -> dict[str, str]:
    """What a client passes on, with the source tree to run."""
    kept = {key: os.environ[key] for key in ("PATH", "HOME", "USER", "LANG", "TMPDIR") if key in os.environ}
    return {**kept, "PYTHONPATH": str(tree), "ONE_HUB__LOG_LEVEL": "warning", "NOT_FOR_THE_HUB": "1"}


def run(data: Path, *arguments: str, tree: Path = ROOT) -> subprocess.CompletedProcess[str]:
    """Run a command to its end."""
    return subprocess.run(
        command(data, *arguments),
        env=environment(tree),
        capture_output=True,
        text=True,
        timeout=SECONDS,
        stdin=subprocess.DEVNULL,
        check=False,
    )


def status(data: Path) -> dict[str, Any]:
    """What `one-mcp status --json` says."""
    facts: dict[str, Any] = json.loads(run(data, "status", "--json").stdout)
    return facts


def client(data: Path, *arguments: str, mode: str = "auto", tree: Path = ROOT) -> Client:
    """The SDK's client on a proxy of its own. `mode` is "legacy", "auto" or a protocol version."""
    program, *rest = command(data, *arguments)
    parameters = StdioServerParameters(command=program, args=rest, env=environment(tree))
    return Client(parameters, mode=mode, read_timeout_seconds=SECONDS)


async def call(mcp: Client, tool: str, **arguments: Any) -> dict[str, Any]:
    """The structured result of a tool, which must not fail."""
    result = await mcp.call_tool(tool, arguments)
    assert not result.is_error, result.content
    assert isinstance(result.structured_content, dict)
    return result.structured_content


async def messages(mcp: Client, conversation_id: str) -> list[dict[str, Any]]:
    """All messages of a conversation, oldest first."""
    rows: list[dict[str, Any]] = []
    cursor: dict[str, str] = {}
    while True:
        page = await call(mcp, "list_messages", conversationId=conversation_id, limit=100, **cursor)
        rows = [*page["messages"], *rows]
        if "nextCursor" not in page:
            return rows
        cursor = {"cursor": page["nextCursor"]}


def wait_until(condition: Callable[[], object], what: str) -> None:
    """Poll the state of other processes."""
    deadline = time.monotonic() + SECONDS
    while not condition():
        assert time.monotonic() < deadline, f"not within {SECONDS:.0f} s: {what}"
        time.sleep(0.02)


def hub(data: Path) -> Endpoint:
    """The hub that runs on a directory."""
    wait_until(lambda: runs(data) and Endpoint.read(data), "a hub")
    endpoint = Endpoint.read(data)
    assert endpoint is not None
    return endpoint


def runs(data: Path) -> bool:
    """Whether a hub holds the directory."""
    return is_locked(data / LOCK_FILE)


def kill(data: Path, number: signal.Signals = signal.SIGKILL) -> int:
    """Send the hub a signal that ends it, and wait for its end; its pid."""
    pid = hub(data).pid
    os.kill(pid, number)
    # Another proxy may hold the lock a moment later, with a hub of another pid.
    wait_until(lambda: not runs(data) or hub_pid(data) not in (pid, None), "the end of the hub")
    return pid


def hub_pid(data: Path) -> int | None:
    """The pid in hub.json."""
    endpoint = Endpoint.read(data)
    return endpoint.pid if endpoint else None


@contextmanager
def data_directory(place: Path) -> Iterator[Path]:
    """A data directory, where no hub is left behind."""
    data = place / "data"
    data.mkdir(mode=0o700)
    try:
        yield data
    finally:
        if runs(data):
            (data / LOCK_FILE).unlink()  # a hub whose lock is gone ends, whatever else goes on
            endpoint = Endpoint.read(data)
            if endpoint is not None:
                os.kill(endpoint.pid, signal.SIGKILL)


@contextmanager
def foreground(data: Path, *arguments: str) -> Iterator[subprocess.Popen[bytes]]:
    """A hub as a child of the test (`hub` unless told otherwise), with its stderr piped."""
    process = subprocess.Popen(command(data, *(arguments or ("hub",))), env=environment(), stderr=subprocess.PIPE)
    try:
        wait_until(lambda: hub_pid(data) == process.pid or process.poll() is not None, "a hub in the foreground")
        yield process
    finally:
        process.kill()
        process.wait()
        assert process.stderr is not None
        process.stderr.close()


@contextmanager
def served(data: Path, log: Path, *arguments: str) -> Iterator[tuple[subprocess.Popen[bytes], str]]:
    """`one-mcp serve` on a free port as a child of the test, and its URL; what it says goes to `log`."""
    with log.open("wb") as errors:
        process = subprocess.Popen(
            command(data, "serve", "--port", "0", *arguments),
            env=environment(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=errors,
        )
    assert process.stdout is not None
    try:
        told = (re.search(r"http://\S+/mcp", line.decode()) for line in process.stdout)
        url = next((found[0] for found in told if found is not None), None)
        assert url is not None, log.read_text()
        yield process, url
    finally:
        process.terminate()
        process.wait(SECONDS)
        process.stdout.close()


def ended(process: subprocess.Popen[bytes]) -> tuple[int, str]:
    """The exit status and stderr of a process that ends."""
    _, errors = process.communicate(timeout=SECONDS)
    assert b"Traceback" not in errors, errors.decode()
    return process.returncode, errors.decode()


def configure(data: Path, **hub_settings: str | float) -> None:
    """Write settings of the section [hub]."""
    lines = [f"{key} = {json.dumps(value)}" for key, value in hub_settings.items()]
    (data / "config.toml").write_text("\n".join(["[hub]", *lines, ""]))


def copy_tree(place: Path, version: str) -> Path:
    """A copy of the source tree that calls itself another version."""
    for name in ("server", "storage", "tools_impl"):
        shutil.copytree(ROOT / name, place / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "config.toml", place / "config.toml")
    module = place / "server" / "__init__.py"
    text, count = re.subn(r'__version__ = "[^"]+"', f'__version__ = "{version}"', module.read_text())
    assert count == 1
    module.write_text(text)
    return place


def greet(endpoint: Endpoint, **changes: Any) -> tuple[socket.socket, dict[str, Any]]:
    """A bare connection to a hub, and its answer to a hello."""
    if endpoint.socket is None:
        sock = socket.create_connection((endpoint.host, endpoint.port), timeout=SECONDS)
    else:
        sock = socket.socket(socket.AF_UNIX)
        sock.settimeout(SECONDS)
        sock.connect(endpoint.socket)
    sock.sendall(Hello(__version__, secret=endpoint.secret)._replace(**changes).line())
    return sock, read_line(sock)


def read_line(sock: socket.socket) -> dict[str, Any]:
    """One line of a socket, read byte by byte so that the rest stays; empty at its end."""
    line = b""
    while not line.endswith(b"\n"):
        byte = sock.recv(1)
        if not byte:
            return {}
        line += byte
    answer: dict[str, Any] = json.loads(line)
    return answer


def request(number: int | str, method: str, **params: Any) -> dict[str, Any]:
    """A request of the handshake era."""
    return {"jsonrpc": "2.0", "id": number, "method": method, "params": params}


def modern(number: int | str, method: str, **params: Any) -> dict[str, Any]:
    """A request of the 2026 era."""
    return request(number, method, **params, _meta=_ENVELOPE)


def initialize(number: int) -> dict[str, Any]:
    """The request that opens a session of the handshake era."""
    info = {"name": "test", "version": "1"}
    return request(number, "initialize", protocolVersion="2025-11-25", capabilities={}, clientInfo=info)


INITIALIZED: dict[str, Any] = {"jsonrpc": "2.0", "method": "notifications/initialized"}


class Raw:
    """A proxy spoken to line by line."""

    def __init__(self, data: Path, *arguments: str, tree: Path = ROOT) -> None:
        self.process = subprocess.Popen(
            command(data, *arguments),
            env=environment(tree),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        self._lines: queue.Queue[bytes] = queue.Queue()
        self._errors: list[bytes] = []
        self._threads = [
            threading.Thread(target=self._read, daemon=True),
            threading.Thread(target=self._read_errors, daemon=True),
        ]
        for thread in self._threads:
            thread.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self._lines.put(line)
        self._lines.put(b"")

    def _read_errors(self) -> None:
        assert self.process.stderr is not None
        self._errors.extend(self.process.stderr)

    def send(self, *lines: dict[str, Any] | bytes) -> None:
        """Write messages, or bytes as they are."""
        assert self.process.stdin is not None
        for line in lines:
            self.process.stdin.write(line if isinstance(line, bytes) else json.dumps(line).encode() + b"\n")
        self.process.stdin.flush()

    def receive(self) -> dict[str, Any]:
        """The next message; empty at the end."""
        line = self._lines.get(timeout=SECONDS)
        answer: dict[str, Any] = json.loads(line) if line else {}
        return answer

    def answer(self, number: int | str) -> dict[str, Any]:
        """The answer to a request; what comes before it is dropped."""
        while (message := self.receive()).get("id") != number:
            assert message, f"the proxy ended without an answer to {number}"
        return message

    def open(self) -> Self:
        """Shake hands as clients of 2025 do."""
        self.send(initialize(0))
        assert "result" in self.answer(0)
        self.send(INITIALIZED)
        return self

    def tool(self, number: int, name: str, **arguments: Any) -> None:
        """Ask for a tool's result in the handshake era."""
        self.send(request(number, "tools/call", name=name, arguments=arguments))

    def finish(self) -> tuple[int, list[dict[str, Any]], str]:
        """Close stdin and wait: the exit status, what was still written, and stderr."""
        assert self.process.stdin is not None
        self.process.stdin.close()
        status = self.process.wait(SECONDS)
        for thread in self._threads:
            thread.join(SECONDS)
        rest = []
        while message := self.receive():
            rest.append(message)
        return status, rest, b"".join(self._errors).decode()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.process.kill()
        self.process.wait()
        for thread in self._threads:  # a stream that is closed under its reader breaks it
            thread.join(SECONDS)
        for stream in (self.process.stdin, self.process.stdout, self.process.stderr):
            assert stream is not None
            stream.close()

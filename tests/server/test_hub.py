"""The hub's side of the socket: who gets in, what it carries out, and how connections end."""

import json
import os
import signal
import socket
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from server.endpoint import MAX_LINE, Endpoint, Hello, encode, version_key
from server.lock import FileLock, is_locked
from tests.processes import (
    INITIALIZED,
    SECONDS,
    Raw,
    configure,
    data_directory,
    ended,
    foreground,
    greet,
    hub,
    hub_pid,
    initialize,
    read_line,
    request,
    run,
    runs,
    status,
)


@pytest.fixture
def running(data: Path) -> Iterator[Endpoint]:
    """A hub in the foreground, as a child of the test."""
    with foreground(data) as process:
        yield hub(data)
        process.send_signal(signal.SIGTERM)
        assert ended(process)[0] == 0
    assert not (data / "hub.json").exists()
    assert not (data / "hub.sock").exists()


# Who gets in.


def test_only_its_user_can_reach_it(data: Path, running: Endpoint) -> None:
    assert running.socket == str(data / "hub.sock")
    for name in ("hub.json", "hub.sock", "hub.lock"):
        assert stat.S_IMODE((data / name).stat().st_mode) == 0o600


def test_a_long_path_gets_a_socket_on_a_short_one(tmp_path: Path) -> None:
    place = tmp_path / ("x" * 60) / ("y" * 60)
    place.mkdir(parents=True)
    with data_directory(place) as data:
        with Raw(data).open() as proxy:
            path = Path(hub(data).socket or "")
            assert len(os.fsencode(path)) <= 100
            assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
            proxy.send(request(1, "ping"))
            assert proxy.answer(1)["result"] == {}
        assert run(data, "stop").returncode == 0
        assert not path.exists()


@pytest.mark.parametrize("secret", ["", "forged", "é"])
def test_a_wrong_secret_is_refused(running: Endpoint, secret: str) -> None:
    sock, answer = greet(running, secret=secret)
    with sock:
        assert (answer["ok"], answer["code"]) == (False, "forbidden")
        assert read_line(sock) == {}
    sock, answer = greet(running)
    with sock:
        assert answer == {"ok": True, "version": running.version, "pid": running.pid}


@pytest.mark.parametrize("line", [b"\n", b"GET / HTTP/1.1\r\n\r\n", b'{"one-mcp": 2}\n', b'"x"\n', b"\xff\n"])
def test_what_says_no_hello_is_not_answered(running: Endpoint, line: bytes) -> None:
    sock, answer = greet(running)
    with sock:
        assert answer["ok"]
    sock = _connected(running)
    with sock:
        sock.sendall(line)
        assert sock.recv(100) == b""


def test_a_hello_that_never_ends_is_cut_off(running: Endpoint) -> None:
    with _connected(running) as sock:
        try:
            for _ in range(40):
                sock.sendall(b"x" * (1 << 20))
        except (BrokenPipeError, ConnectionResetError):
            return
        assert read_line(sock)["error"]["code"] == -32600


def test_an_unknown_agent_is_refused(running: Endpoint) -> None:
    sock, answer = greet(running, acts_as="agent_99")
    with sock:
        assert answer["code"] == "unknown_caller"
        assert "agent_99" in answer["message"]


def _connected(endpoint: Endpoint) -> socket.socket:
    sock = socket.socket(socket.AF_UNIX)
    sock.settimeout(SECONDS)
    assert endpoint.socket is not None
    sock.connect(endpoint.socket)
    return sock


# What it carries out.


def test_what_is_done_for_a_key_is_done_once(running: Endpoint) -> None:
    created = _tool(running, "key-1", 1, "create_conversation", title="Launch plan")
    conversation = created["result"]["structuredContent"]["_id"]
    first = _tool(running, "key-2", 1, "send_message", conversationId=conversation, content="Hello")
    again = _tool(running, "key-2", 7, "send_message", conversationId=conversation, content="Hello", retry=True)
    assert again["result"]["structuredContent"]["_id"] == first["result"]["structuredContent"]["_id"]
    listed = _tool(running, "key-3", 1, "list_messages", conversationId=conversation)
    assert len(listed["result"]["structuredContent"]["messages"]) == 1


def _tool(endpoint: Endpoint, key: str, number: int, name: str, *, retry: bool = False, **arguments: Any) -> Any:
    """A tool's answer on a connection of its own, as a proxy would ask for it."""
    sock, _ = greet(endpoint)
    with sock:
        meta = {"one-mcp/key": key, **({"one-mcp/retry": True} if retry else {})}
        tool = request(number, "tools/call", name=name, arguments=arguments, _meta=meta)
        sock.sendall(encode(initialize(0)) + encode(INITIALIZED) + encode(tool))
        while (message := read_line(sock)).get("id") != number:
            assert message
        return message


def test_a_broken_line_costs_only_itself(running: Endpoint) -> None:
    sock, _ = greet(running)
    with sock:
        sock.sendall(b"{broken\n" + encode({"jsonrpc": "2.0", "id": 4}) + encode(initialize(5)))
        assert read_line(sock)["error"]["code"] == -32700
        assert read_line(sock)["error"]["code"] == -32600
        assert read_line(sock)["id"] == 5


def test_a_line_that_is_too_long_ends_the_connection_with_the_reason(running: Endpoint) -> None:
    sock, _ = greet(running)
    with sock:
        try:
            sock.sendall(b'{"x": "' + b"x" * (MAX_LINE + 100))
        except (BrokenPipeError, ConnectionResetError):
            pass  # it need not read all of it
        assert read_line(sock)["error"]["code"] == -32600
    sock, answer = greet(running)
    with sock:
        assert answer["ok"]


def test_a_client_that_does_not_read_holds_nobody_up(data: Path, running: Endpoint) -> None:
    sock, _ = greet(running)
    with sock, Raw(data).open() as proxy:
        listing = [encode(request(number, "tools/list")) for number in range(1, 3000)]
        sock.setblocking(False)
        sent = 0
        lines = b"".join([encode(initialize(0)), encode(INITIALIZED), *listing])
        try:
            while sent < len(lines):
                sent += sock.send(lines[sent:])
        except BlockingIOError:
            pass  # the hub has stopped to take more of what it cannot answer
        proxy.send(request(1, "ping"))
        assert proxy.answer(1)["result"] == {}


def test_status_tells_what_runs(data: Path, running: Endpoint) -> None:
    with Raw(data).open():
        facts = status(data)
        assert facts["running"] is True
        assert facts["pid"] == running.pid
        assert facts["version"] == running.version
        assert facts["socket"] == running.socket
        assert facts["clients"] == 1
        table = run(data, "status").stdout
        assert str(running.pid) in table
        assert "started at" in table


def test_an_unknown_command_is_named(running: Endpoint) -> None:
    sock, _ = greet(running, client="control")
    with sock:
        sock.sendall(encode({"command": "dance"}))
        assert "'dance'" in read_line(sock)["message"]
        sock.sendall(encode({"command": "status"}))
        assert read_line(sock)["ok"] is True


# How it ends.


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_lets_what_was_taken_be_answered(data: Path, number: signal.Signals) -> None:
    with foreground(data) as process, Raw(data).open() as proxy:
        for count in range(1, 101):
            proxy.tool(count, "create_conversation", title=f"Plan {count}")
        proxy.answer(1)
        process.send_signal(number)
        answers: list[dict[str, Any]] = []
        while len(answers) < 99:
            message = proxy.receive()
            answers += [message] if "id" in message else []
        assert sorted(answer["id"] for answer in answers) == list(range(2, 101))
        assert all("result" in answer for answer in answers)
        assert ended(process)[0] == 0


def test_a_second_hub_is_refused_and_told_who_is_there(data: Path, running: Endpoint) -> None:
    for arguments in (("hub",), ("hub", "--auto"), ("serve", "--no-auth", "--port", "0")):
        second = run(data, *arguments)
        assert second.returncode == 1
        assert second.stdout == (second.stderr if "--auto" in arguments else "")  # a client reads why from there
        assert second.stderr.startswith("one-mcp: ")
        assert second.stderr.count("\n") == 1
        assert f"pid {running.pid}, version {running.version}" in second.stderr
    assert hub_pid(data) == running.pid


def test_it_ends_when_its_directory_is_taken_away(data: Path) -> None:
    with foreground(data) as process:
        (data / "hub.lock").unlink()
        exit_status, errors = ended(process)
    assert exit_status == 1
    assert errors.splitlines()[-1] == f"one-mcp: {data} is gone"


def test_settings_that_cannot_be_used_are_named(data: Path) -> None:
    configure(data, transport="pigeon")
    shown = run(data, "hub")
    assert shown.returncode == 1
    assert "hub.transport" in shown.stderr
    assert not runs(data)


# What it is made of.


def test_versions_are_ordered_as_people_read_them() -> None:
    ordered = ["nonsense", "0.1.0.dev1", "0.1.0a1", "0.1.0rc2", "0.1.0", "0.1.1", "0.9", "0.10", "1.0rc1", "1"]
    assert sorted(ordered, key=version_key) == ordered
    assert version_key("1.0.0") == version_key("1") == version_key("1.0+local")


def test_a_hello_survives_the_wire() -> None:
    hello = Hello("1.2", secret="s", client="control", acts_as="agent_7", toolsets=("core", "sql"), read_only=True)
    assert Hello.parse(hello.line()) == hello
    assert Hello.parse(Hello("1.2").line()) == Hello("1.2")


def test_half_a_hub_json_is_none(tmp_path: Path) -> None:
    endpoint = Endpoint(7, "1.2", "s", 3, auto=True, host="127.0.0.1", port=9)
    endpoint.write(tmp_path)
    assert Endpoint.read(tmp_path) == endpoint
    whole = (tmp_path / "hub.json").read_text()
    for text in ("", "[]", whole[:-9], json.dumps({"pid": 7})):
        (tmp_path / "hub.json").write_text(text)
        assert Endpoint.read(tmp_path) is None
    Endpoint.remove(tmp_path)
    assert Endpoint.read(tmp_path) is None


def test_a_lock_is_held_once(tmp_path: Path) -> None:
    path = tmp_path / "x.lock"
    first, second = FileLock(path), FileLock(path)
    assert not is_locked(path)
    assert first.acquire()
    assert is_locked(path)
    assert not second.acquire(0.05)
    assert first.in_place()
    first.release()
    assert second.acquire()
    path.unlink()
    assert not second.in_place()
    second.release()

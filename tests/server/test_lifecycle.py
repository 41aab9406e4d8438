"""Hubs that start, race, die, idle, are stopped and replaced, while clients go on."""

import os
import signal
import socket
import subprocess
from pathlib import Path

import anyio
import pytest
from mcp import Client

from server import __version__
from server.endpoint import LOCK_FILE, Endpoint
from storage.memory import tuned
from tests.processes import (
    ROOT,
    Raw,
    call,
    client,
    configure,
    copy_tree,
    ended,
    foreground,
    hub,
    hub_pid,
    initialize,
    kill,
    messages,
    request,
    run,
    runs,
    status,
    wait_until,
)

pytestmark = pytest.mark.anyio
NEWER = "99.0.0"


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


def _starts(data: Path) -> int:
    """How many hubs have served on a directory."""
    return (data / "hub.log").read_text().count(" serves ")


# Starting.


async def test_eight_clients_that_start_at_once_share_one_hub(data: Path) -> None:
    async def one(number: int) -> None:
        async with client(data) as mcp:
            await call(mcp, "create_conversation", title=f"Plan {number}")
            reached.append(hub(data).pid)

    reached: list[int] = []
    async with anyio.create_task_group() as group:
        for number in range(8):
            group.start_soon(one, number)
    assert len(reached) == 8
    assert len(set(reached)) == 1
    assert _starts(data) == 1


async def test_what_a_killed_hub_left_behind_is_in_nobodys_way(data: Path) -> None:
    async with client(data) as mcp:
        await call(mcp, "create_conversation", title="Launch plan")
    pid = kill(data)
    assert hub_pid(data) == pid
    assert (data / "hub.sock").exists()
    assert status(data)["running"] is False
    async with client(data) as mcp:
        await call(mcp, "create_conversation", title="Launch plan")
    assert hub(data).pid != pid


@pytest.mark.parametrize("left", ["a port that another program has", "nonsense"])
async def test_a_stale_hub_json_is_replaced(data: Path, left: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        if left == "nonsense":
            (data / "hub.json").write_text("{")
        else:
            Endpoint(os.getpid(), "9", "s", 1, auto=True, host="127.0.0.1", port=other.getsockname()[1]).write(data)
        (data / LOCK_FILE).touch()
        (data / "hub.sock").write_text("no socket")
        async with client(data) as mcp:
            await call(mcp, "create_conversation", title="Launch plan")
    assert hub(data).pid != os.getpid()


async def test_over_tcp_it_is_the_same(data: Path) -> None:
    configure(data, transport="tcp")
    async with client(data) as mcp, client(data, mode="legacy") as other:
        conversation = await call(mcp, "create_conversation", title="Launch plan")
        endpoint = hub(data)
        assert endpoint.socket is None
        assert endpoint.host == "127.0.0.1"
        kill(data)
        sent = await call(other, "send_message", conversationId=conversation["_id"], content="Hello")
        assert [row["_id"] for row in await messages(mcp, conversation["_id"])] == [sent["_id"]]


def test_a_hub_that_cannot_start_says_why_to_the_client(data: Path) -> None:
    (data / "one.duckdb").write_bytes(b"This is no database." * 500)
    with Raw(data) as proxy:
        proxy.send(initialize(1), request(2, "ping"))
        for number in (1, 2):
            text = proxy.answer(number)["error"]["message"]
            assert f"{data / 'one.duckdb'} is not a DuckDB database" in text
            assert str(data / "hub.log") in text
        # It is no trap: once the reason is gone, the same process serves.
        (data / "one.duckdb").unlink()
        proxy.open()
        proxy.send(request(3, "ping"))
        assert proxy.answer(3)["result"] == {}


def test_a_directory_that_cannot_be_used_is_said_to_the_client(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    place = tmp_path / "file" / "data"
    with Raw(place) as proxy:
        proxy.send(initialize(1))
        assert str(place) in proxy.answer(1)["error"]["message"]
        assert "Traceback" not in proxy.finish()[2]


@pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="only Linux shows the state of processes so")
def test_the_hub_gets_a_clean_environment_and_a_session_of_its_own(data: Path) -> None:
    with Raw(data).open():
        pid = hub(data).pid
        process = Path(f"/proc/{pid}")
        assert (process / "cwd").readlink() == data
        assert os.getsid(pid) == pid
        # glibc ends its settings there where it has read them.
        found = (process / "environ").read_text().replace("\0glibc.", ":glibc.")
        names = {entry.partition("=")[0] for entry in found.split("\0")}
        assert names <= {"", "PATH", "HOME", "USER", "LANG", "TMPDIR", "PYTHONPATH", *tuned({})}
        assert (process / "fd" / "0").readlink() == Path(os.devnull)
        assert {(process / "fd" / number).readlink() for number in "12"} == {data / "hub.log"}


# Ending.


async def test_idle_it_ends(data: Path) -> None:
    configure(data, idle_exit_seconds=0.5)
    async with client(data) as mcp:
        await call(mcp, "create_conversation", title="Launch plan")
        assert runs(data)
    wait_until(lambda: not runs(data), "the end of an idle hub")
    assert not (data / "hub.json").exists()
    assert not (data / "hub.sock").exists()
    assert "nobody was connected" in (data / "hub.log").read_text()


async def test_with_a_client_it_does_not_end_and_status_is_none(data: Path) -> None:
    configure(data, idle_exit_seconds=1.0)
    async with client(data) as mcp:
        await call(mcp, "create_conversation", title="Launch plan")
        await anyio.sleep(2.5)  # the time is what is tested
        assert runs(data)
    began = anyio.current_time()
    while status(data)["running"]:
        assert anyio.current_time() - began < 10


async def test_stopped_and_asked_again_it_starts_again(data: Path) -> None:
    async with client(data) as mcp:
        conversation = await call(mcp, "create_conversation", title="Launch plan")
        first = hub(data).pid
        stopped = run(data, "stop")
        assert (stopped.returncode, stopped.stdout) == (0, f"The hub (pid {first}) has ended.\n")
        assert not runs(data)
        sent = await call(mcp, "send_message", conversationId=conversation["_id"], content="Hello")
        assert [row["_id"] for row in await messages(mcp, conversation["_id"])] == [sent["_id"]]
        assert hub(data).pid != first


def test_without_a_hub_status_and_stop_say_so(data: Path) -> None:
    assert status(data) == {"running": False, "dataDir": str(data)}
    for name in ("status", "stop"):
        shown = run(data, name)
        assert shown.returncode == 0
        assert "No hub runs" in shown.stdout
    assert list(data.iterdir()) == []


@pytest.mark.slow
def test_a_hub_that_hangs_is_named(data: Path) -> None:
    with Raw(data).open():
        pid = hub(data).pid
        os.kill(pid, signal.SIGSTOP)
        try:
            shown = run(data, "status")
        finally:
            os.kill(pid, signal.SIGCONT)
        assert shown.returncode == 1
        assert f"pid {pid}" in shown.stderr
        assert "does not answer" in shown.stderr


# Dying.


@pytest.mark.parametrize("mode", ["legacy", "2026-07-28"])
async def test_killed_in_mid_call_the_client_sees_the_answer_once(data: Path, mode: str) -> None:
    async with client(data, mode=mode) as mcp:
        conversation = await call(mcp, "create_conversation", title="Launch plan")
        answers: list[str] = []

        async def send(number: int) -> None:
            row = await call(mcp, "send_message", conversationId=conversation["_id"], content=f"Message {number}")
            answers.append(row["_id"])

        os.kill(hub(data).pid, signal.SIGSTOP)  # the calls are with a hub that will never answer
        async with anyio.create_task_group() as group:
            for number in range(20):
                group.start_soon(send, number)
            await anyio.sleep(0.1)
            await anyio.to_thread.run_sync(kill, data)
        rows = await messages(mcp, conversation["_id"])
        assert sorted(row["_id"] for row in rows) == sorted(answers)
        assert sorted(row["content"] for row in rows) == sorted(f"Message {number}" for number in range(20))


def test_an_idle_client_alone_starts_a_killed_hub_again(data: Path) -> None:
    with Raw(data).open():
        first = kill(data)
        assert hub(data).pid != first


def test_killed_while_it_starts_it_is_started_again(data: Path) -> None:
    with Raw(data) as proxy:
        wait_until(lambda: runs(data), "a hub on its way")
        found = subprocess.run(["pgrep", "-P", str(proxy.process.pid)], capture_output=True, text=True, check=True)
        starting = int(found.stdout)
        os.kill(starting, signal.SIGKILL)
        proxy.open()
        assert hub(data).pid != starting


# Replacing.


@pytest.mark.slow
async def test_a_newer_client_replaces_the_hub_in_mid_session(data: Path, tmp_path: Path) -> None:
    newer = copy_tree(tmp_path / "newer", NEWER)
    async with client(data) as old, client(data, mode="legacy") as other:
        conversation = await call(old, "create_conversation", title="Launch plan")
        assert hub(data).version == __version__
        sent: list[str] = []

        async def send(mcp: Client, count: int) -> None:
            for number in range(count):
                text = f"Message {number}"
                row = await call(mcp, "send_message", conversationId=conversation["_id"], content=text)
                sent.append(row["_id"])

        async with anyio.create_task_group() as group:
            group.start_soon(send, old, 150)
            group.start_soon(send, other, 150)
            await anyio.sleep(0.05)
            async with client(data, tree=newer) as new:
                await send(new, 10)
                assert hub(data).version == NEWER
        rows = await messages(old, conversation["_id"])
        assert len(sent) == 310
        assert sorted(row["_id"] for row in rows) == sorted(sent)
        assert status(data)["version"] == NEWER
        assert status(data)["clients"] == 2
    assert _starts(data) == 2


async def test_an_older_client_uses_a_newer_hub_as_it_is(data: Path, tmp_path: Path) -> None:
    newer = copy_tree(tmp_path / "newer", NEWER)
    async with client(data, tree=newer) as new:
        conversation = await call(new, "create_conversation", title="Launch plan")
        pid = hub(data).pid
        async with client(data, tree=ROOT) as old:
            await call(old, "send_message", conversationId=conversation["_id"], content="Hello")
            assert (hub(data).pid, hub(data).version) == (pid, NEWER)


async def test_a_hub_that_a_person_started_is_not_replaced(data: Path, tmp_path: Path) -> None:
    newer = copy_tree(tmp_path / "newer", NEWER)
    with foreground(data) as process:
        async with client(data, tree=newer) as new:
            await call(new, "create_conversation", title="Launch plan")
        assert hub(data).pid == process.pid
        assert hub(data).version == __version__


# Serving over HTTP as well.


async def test_serve_is_the_same_hub_with_http(data: Path) -> None:
    with foreground(data, "serve", "--no-auth", "--port", "0") as process:
        wait_until(lambda: hub(data).http, "HTTP")
        url = hub(data).http
        assert url is not None
        assert status(data)["http"] == url
        async with Client(url) as remote, client(data) as local:
            conversation = await call(remote, "create_conversation", title="Launch plan")
            sent = await call(local, "send_message", conversationId=conversation["_id"], content="Hello")
            assert [row["_id"] for row in await messages(remote, conversation["_id"])] == [sent["_id"]]
        process.send_signal(signal.SIGINT)
        assert ended(process)[0] == 0
    assert not runs(data)


def test_serve_on_a_port_that_is_taken_says_so(data: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = str(other.getsockname()[1])
        shown = run(data, "serve", "--no-auth", "--port", port)
    assert shown.returncode == 1
    assert shown.stderr.splitlines()[-1].startswith(f"one-mcp: HTTP cannot be served on 127.0.0.1:{port}")
    assert not (data / "hub.json").exists()


def test_a_socket_that_cannot_be_made_is_said(data: Path) -> None:
    configure(data, transport="unix")
    (data / "hub.sock").mkdir()
    shown = run(data, "hub")
    assert shown.returncode == 1
    assert shown.stderr.splitlines()[-1].startswith(f"one-mcp: {data} cannot be served to local clients")

"""`one-mcp import` as a person runs it: real processes, killed in the middle."""

import json
import os
import pty
import signal
import subprocess
import threading
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import anyio
import duckdb
import pytest

from server import __version__
from server.endpoint import Hello
from server.importer import LINE_BYTES
from server.launch import attach
from tests.processes import (
    SECONDS,
    call,
    client,
    command,
    environment,
    kill,
    messages,
    run,
    runs,
    wait_until,
)

pytestmark = pytest.mark.anyio

MANY = 24_000
"""Messages that take long enough to import that something can happen meanwhile."""
PEOPLE: tuple[dict[str, Any], ...] = (
    {"table": "users", "_id": "u-ann", "name": "Ann", "email": "ann@example.org"},
    {"table": "conversations", "_id": "c-launch", "title": "Launch", "createdBy": "u-ann"},
    {
        "table": "conversationParticipants",
        "_id": "m-ann",
        "kind": "user",
        "conversationId": "c-launch",
        "userId": "u-ann",
        "status": "active",
        "isRemoved": False,
        "addedAt": 1_700_000_000_000,
    },
)


def message(content: str, **more: Any) -> dict[str, Any]:
    return {
        "table": "conversationMessages",
        "conversationId": "c-launch",
        "authorParticipantId": "m-ann",
        "kind": "participant",
        "content": content,
        **more,
    }


def write(place: Path, *rows: dict[str, Any]) -> Path:
    """A file to import."""
    path = place / "rows.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


@pytest.fixture
def many(tmp_path: Path) -> Path:
    """A file with many messages: half of them bring an id, every tenth says what another one says."""
    ids = ({} if number % 2 else {"_id": f"m{number}"} for number in range(MANY))
    rows = (message(f"text {number - number % 10 % 2}", **own) for number, own in enumerate(ids))
    return write(tmp_path, *PEOPLE, *rows)


def importing(data: Path, file: Path) -> "subprocess.Popen[str]":
    """An import under way."""
    process = subprocess.Popen(
        command(data, "import", str(file), "--batch", "200"),
        env=environment(),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    wait_until(lambda: runs(data), "a hub")
    return process


def interrupt(process: "subprocess.Popen[str]", data: Path, share: float, how: Callable[[], object]) -> None:
    """Do something to the import when a share of the messages is stored, unless it was faster."""

    def so_far() -> bool:
        link = attach(data, Hello(__version__, client="control"))
        if link is None:
            return False
        with closing(link):
            stored: int = link.call("status")["messages"]
        return stored > MANY * share

    wait_until(lambda: process.poll() is not None or so_far(), "messages")
    if process.poll() is None:
        how()
    else:
        assert share > 0.1, "the import was over before anything could happen"


def contents(data: Path) -> list[str]:
    """What the file says, once the hub has ended."""
    assert run(data, "stop").returncode == 0
    with duckdb.connect(str(data / "one.duckdb"), read_only=True) as connection:
        return [text for (text,) in connection.execute('SELECT content FROM "conversationMessages"').fetchall()]


def expected(file: Path) -> list[str]:
    rows = [json.loads(line) for line in file.read_text().splitlines()]
    return sorted(row["content"] for row in rows if row["table"] == "conversationMessages")


def test_a_file_and_then_the_same_again(data: Path, tmp_path: Path) -> None:
    file = write(tmp_path, *PEOPLE, message("one"), message("one"), message("two", _id="x"))
    first = run(data, "import", str(file))
    assert (first.returncode, first.stderr) == (0, "")
    assert first.stdout.startswith("6 rows added, 0 there already, 0 lines refused (")
    again = run(data, "import", str(file))
    assert (again.returncode, again.stderr) == (0, "")
    assert again.stdout.startswith("0 rows added, 6 there already, 0 lines refused (")
    assert contents(data) == ["one", "one", "two"]


def test_bad_lines_are_named_by_number_and_the_others_go_in(data: Path, tmp_path: Path) -> None:
    file = tmp_path / "rows.jsonl"
    lines = [
        b"\xef\xbb\xbf" + json.dumps(PEOPLE[0]).encode() + b"\r\n",
        b"\r\n",
        b"{broken\n",
        json.dumps(PEOPLE[1]).encode() + b"\n",
        b'{"table": "users", "name": "\xff", "email": "a@b"}\n',
        b'{"table": "users", "name": "' + b"x" * LINE_BYTES + b'", "email": "a@b"}\n',
        json.dumps({"table": "user", "name": "Bo"}).encode() + b"\n",
        json.dumps(PEOPLE[2]).encode(),
    ]
    file.write_bytes(b"".join(lines))
    done = run(data, "import", str(file))
    assert done.returncode == 1
    assert done.stdout.startswith("3 rows added, 0 there already, 4 lines refused (")
    said = done.stderr.splitlines()
    assert [line.partition(":")[0] for line in said] == ["line 3", "line 5", "line 6", "line 7"]
    assert "This is not JSON in UTF-8" in said[0]
    assert "This is not JSON in UTF-8" in said[1]
    assert said[2] == "line 6: The line has more than 2 MiB."
    assert said[3] == "line 7: Unknown table 'user': did you mean 'users'?"


def test_a_pipe(data: Path) -> None:
    text = "".join(json.dumps(row) + "\n" for row in (*PEOPLE, message("one")))
    done = subprocess.run(
        command(data, "import", "-"),
        check=False,
        env=environment(),
        input=text,
        capture_output=True,
        text=True,
        timeout=SECONDS,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("4 rows added")


def test_what_cannot_be_imported_at_all(data: Path, tmp_path: Path) -> None:
    missing = run(data, "import", str(tmp_path / "none.jsonl"))
    assert (missing.returncode, missing.stdout) == (1, "")
    assert "none.jsonl" in missing.stderr
    assert len(missing.stderr.splitlines()) == 1
    assert not runs(data)
    file = write(tmp_path, *PEOPLE)
    assert run(data, "import", str(file), "--batch", "0").returncode == 2
    (data / "one.duckdb").write_text("not a database at all")
    failed = run(data, "import", str(file))
    assert failed.returncode == 1
    assert "is not a DuckDB database" in failed.stderr
    assert "Traceback" not in failed.stderr


def test_a_terminal_shows_a_bar_and_the_refused_lines(data: Path, tmp_path: Path) -> None:
    file = write(tmp_path, *PEOPLE, {"table": "nothing"}, message("one"))
    leader, follower = pty.openpty()
    seen: list[bytes] = []

    def read() -> None:
        while True:
            try:
                seen.append(os.read(leader, 65_536))
            except OSError:  # the other side is closed
                return

    process = subprocess.Popen(
        command(data, "import", str(file)),
        env={**environment(), "TERM": "xterm"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=follower,
    )
    os.close(follower)
    reader = threading.Thread(target=read)
    reader.start()
    output, _ = process.communicate(timeout=2 * SECONDS)
    reader.join(SECONDS)
    os.close(leader)
    screen = b"".join(seen).decode()
    assert process.returncode == 1
    assert output.startswith(b"4 rows added, 0 there already, 1 line refused (")
    assert "line 4: Unknown table 'nothing'" in screen
    assert "lines/s" in screen


@pytest.mark.slow
def test_the_hub_is_stopped_meanwhile(data: Path, many: Path) -> None:
    process = importing(data, many)
    for share in (0.1, 0.4):
        interrupt(process, data, share, lambda: run(data, "stop"))
    _, errors = process.communicate(timeout=2 * SECONDS)
    assert process.returncode == 0, errors
    assert sorted(contents(data)) == expected(many)


@pytest.mark.slow
def test_the_hub_is_killed_again_and_again(data: Path, many: Path) -> None:
    process = importing(data, many)
    for share in (0.1, 0.3, 0.5, 0.8):
        interrupt(process, data, share, lambda: kill(data))
    output, errors = process.communicate(timeout=2 * SECONDS)
    assert process.returncode == 0, errors
    assert "0 lines refused" in output
    assert sorted(contents(data)) == expected(many)


@pytest.mark.slow
def test_the_importer_is_killed_and_started_again(data: Path, many: Path) -> None:
    for share in (0.1, 0.4, 0.7):
        process = importing(data, many)
        interrupt(process, data, share, process.kill)
        process.communicate()
    done = run(data, "import", str(many))
    assert done.returncode == 0, done.stderr
    assert sorted(contents(data)) == expected(many)


@pytest.mark.slow
def test_ctrl_c_says_how_to_go_on(data: Path, many: Path) -> None:
    process = importing(data, many)
    interrupt(process, data, 0.1, lambda: process.send_signal(signal.SIGINT))
    output, errors = process.communicate(timeout=2 * SECONDS)
    assert (process.returncode, output) == (130, "")
    assert errors.splitlines()[-1].startswith("Stopped. ")
    assert errors.splitlines()[-1].endswith("The same command goes on from there.")
    assert run(data, "import", str(many)).returncode == 0
    assert sorted(contents(data)) == expected(many)


@pytest.mark.slow
def test_the_same_file_twice_at_once(data: Path, many: Path) -> None:
    both = [importing(data, many), importing(data, many)]
    for process in both:
        _, errors = process.communicate(timeout=2 * SECONDS)
        assert process.returncode == 0, errors
    assert sorted(contents(data)) == expected(many)


@pytest.mark.slow
async def test_others_write_meanwhile(data: Path, many: Path) -> None:
    process = importing(data, many)
    async with client(data) as mcp:
        conversation = (await call(mcp, "create_conversation", title="Meanwhile"))["_id"]
        sent: list[str] = []
        while process.poll() is None:
            row = await call(mcp, "send_message", conversationId=conversation, content=f"note {len(sent)}")
            sent.append(row["_id"])
        assert [row["_id"] for row in await messages(mcp, conversation)] == sent
    _, errors = await anyio.to_thread.run_sync(process.communicate)
    assert process.returncode == 0, errors
    assert len(sent) > 5
    assert len(contents(data)) == MANY + len(sent)

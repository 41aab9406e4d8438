"""A day of a swarm over real processes: what `one-mcp demo` shows, and what is then in the data."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from server.demo import play
from tests.processes import ROOT, SECONDS, call, client, command, environment, hub_pid, run, wait_until
from tools_impl import OPERATIONS

LINES_MOST = 90
WIDTH = 120
DEMO_SECONDS = 60.0


@pytest.fixture
def temporary(tmp_path: Path) -> Iterator[Path]:
    """Where a demo makes its data; no hub is left behind."""
    place = tmp_path / "tmp"
    place.mkdir()
    yield place
    for data in made(place):
        run(data, "stop")


def demo(temporary: Path, *arguments: str) -> subprocess.Popen[str]:
    """`one-mcp demo` in a session of its own."""
    home = temporary.parent / "home"
    return subprocess.Popen(
        [*command(home)[:-2], "demo", *arguments],
        env={**environment(), "TMPDIR": str(temporary), "HOME": str(home)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def made(temporary: Path) -> list[Path]:
    """The data of demos."""
    return list(temporary.glob("one-mcp-demo-*"))


def is_alive(pid: int) -> bool:
    """Whether a process runs."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


async def rows(mcp: Any, table: str, **where: Any) -> list[dict[str, Any]]:
    """Rows of a table, the oldest first."""
    found: list[dict[str, Any]] = (await call(mcp, "find", table=table, where=where, order="_id", limit=200))[table]
    return found


async def test_the_day_uses_every_operation_and_leaves_what_it_told(
    data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    told: list[str] = []
    assert await play(data, told.append) == {operation.name for operation in OPERATIONS}
    story = "\n".join(told)
    async with client(data) as mcp:
        people = {row["_id"]: row["name"] for row in await rows(mcp, "users")}
        agents = {row["_id"]: row["name"] for row in await rows(mcp, "agents")}
        named = {name: row_id for row_id, name in (people | agents).items()}
        assert (set(people.values()), len(agents)) == ({"Ann", "Ben", "Cleo"}, 5)

        lead = await call(mcp, "get", id=named["Lead"])
        assert lead["delegatesTo"] == [named["Scout"], named["Writer"]]
        (room,) = await rows(mcp, "conversations", title="Launch of the tea shop")
        present = await rows(mcp, "conversationParticipants", conversationId=room["_id"])
        members = {(people | agents)[row.get("userId") or row["agentId"]] for row in present}
        assert members == {"Ann", "Ben", "Lead", "Scout", "Coder", "Tester", "Cleo"}

        messages = await rows(mcp, "conversationMessages", conversationId=room["_id"], kind="participant")
        question, answer, deleted, last = messages
        assert question["content"] == f"@[Coder](agent:{named['Coder']}) why is the basket so slow?"
        assert answer["content"] == "Mended: shipping costs are kept for an hour."
        assert (deleted["content"], deleted["status"]) == ("", "deleted")
        assert last["content"].startswith(f"@[Cleo](user:{named['Cleo']})")
        assert "tea4two" not in story
        whole = await call(mcp, "get", id=answer["_id"])
        assert [one["type"] for one in whole["reactions"]] == ["thanks", "confirmed"]
        assert [one["content"] for one in whole["comments"]] == ["Tester, have a look."]

        knowledge = await rows(mcp, "knowledge", ownerId=named["Scout"])
        assert [row["sources"] for row in knowledge] == [[question["_id"]]] * 3
        assert f"→ {knowledge[0]['_id']}: Half of the visitors give up" in story, "found by its meaning"

        (handed,) = await rows(mcp, "conversationMessages", type="hand_over")
        theirs = await rows(mcp, "conversationParticipants", conversationId=handed["conversationId"])
        assert {row["agentId"] for row in theirs} == {named["Lead"], named["Writer"]}
        (reminder,) = await rows(mcp, "reminders")
        assert (reminder["agentId"], reminder["status"]) == (named["Lead"], "fired")
        tasting, release = await rows(mcp, "events")
        assert tasting["startTime"] == release["startTime"]
        assert "conflicts: Tasting, Ann and Ben" in story
        assert await rows(mcp, "follows") == []
        (prompt,) = await rows(mcp, "prompts")
        assert (await call(mcp, "get", id=named["Writer"]))["attachedPrompts"] == [prompt["_id"]]
    async with client(data, "--as", named["Cleo"]) as mcp:
        assert (await call(mcp, "inbox"))["unread"] == 0


def test_a_newcomer_sees_it_in_a_minute_and_nothing_stays(temporary: Path) -> None:
    process = demo(temporary)
    shown, errors = process.communicate(timeout=DEMO_SECONDS)
    assert (process.returncode, errors) == (0, "")
    lines = shown.splitlines()
    assert len(lines) <= LINES_MOST
    assert max(map(len, lines)) <= WIDTH
    assert "... woke " in shown
    assert "did you mean 'conversationId'?" in shown
    assert made(temporary) == []
    assert not (temporary.parent / "home").exists(), "the swarm of whoever tries it is left alone"


@pytest.mark.slow
def test_its_data_can_be_kept(temporary: Path) -> None:
    shown, _ = demo(temporary, "--keep").communicate(timeout=DEMO_SECONDS)
    (kept,) = made(temporary)
    assert shown.splitlines()[-1] == f"Its data stays in {kept}: one-mcp status --data {kept}"
    assert (kept / "one.duckdb").exists()
    assert "No hub runs" in run(kept, "status").stdout


def test_who_stops_reading_ends_it(temporary: Path) -> None:
    process = demo(temporary)
    assert process.stdout is not None
    assert process.stdout.readline().startswith("A day of a swarm")
    process.stdout.close()
    assert process.stderr is not None
    with process.stderr:
        assert (process.stderr.read(), process.wait(SECONDS)) == ("", 0)
    assert made(temporary) == []


@pytest.mark.slow
@pytest.mark.parametrize("when", ["A day of a swarm", "They remember"])
def test_ctrl_c_ends_its_hub_and_clears_up(temporary: Path, when: str) -> None:
    process = demo(temporary)
    assert process.stdout is not None
    for line in process.stdout:
        if line.startswith(when):
            break
    (data,) = made(temporary)
    pid = hub_pid(data)
    assert pid is not None
    os.killpg(process.pid, signal.SIGINT)
    _, errors = process.communicate(timeout=SECONDS)
    assert (process.returncode, errors) == (130, "")
    assert made(temporary) == []
    wait_until(lambda: not is_alive(pid), "the end of the hub")

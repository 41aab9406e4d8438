"""SIGTERM while requests are under way, over HTTP and over the socket."""

from __future__ import annotations

import signal
import subprocess
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import anyio
import httpx2
import pytest

from tests.processes import call, client, data_directory, ended, foreground, hub, kill, messages, wait_until
from tests.remote import raw_post

WRITERS = 16
LOCAL = 2
SLOW = "SELECT count(*) FROM range(100000000000) a, range(100000) b"

AUDITED = "SELECT count(*), count(DISTINCT ids[1]) FROM \"auditLog\" WHERE action = 'send_message'"


@pytest.fixture
def data(tmp_path: Path) -> Iterator[Path]:
    with data_directory(tmp_path) as directory:
        yield directory


class Load:
    """Clients that write until they are told to stop, and what they were answered."""

    def __init__(self, conversation: str) -> None:
        self.conversation = conversation
        self.acknowledged: dict[str, str] = {}
        self.answers: Counter[str] = Counter()
        self.over = False

    async def over_http(self, url: str, name: str) -> None:
        async with httpx2.AsyncClient(timeout=30) as http:
            number = 0
            while not self.over:
                number += 1
                text = f"{name} {number}"
                params = {"name": "send_message", "arguments": {"conversationId": self.conversation, "content": text}}
                try:
                    answer = await raw_post(http, url, "tools/call", params)
                except httpx2.TransportError:
                    return self.answers.update(["no connection"])
                self._take(answer, text)
                if answer.status_code != 200:
                    return None
        return None

    def _take(self, answer: httpx2.Response, text: str) -> None:
        if answer.status_code != 200:
            self.answers[f"{answer.status_code} {answer.json()['error']}"] += 1
            return
        result = answer.json()["result"]
        if result["isError"]:
            self.answers[result["structuredContent"]["error"]["code"]] += 1
        else:
            self.answers["acknowledged"] += 1
            self.acknowledged[result["structuredContent"]["_id"]] = text

    async def over_socket(self, data: Path, name: str) -> None:
        async with client(data) as mcp:
            number = 0
            while not self.over:
                number += 1
                text = f"{name} {number}"
                row = await call(mcp, "send_message", conversationId=self.conversation, content=text)
                self.acknowledged[row["_id"]] = text


async def _slow(url: str, tool: str, arguments: dict[str, Any], answers: list[tuple[int, str]]) -> None:
    async with httpx2.AsyncClient(timeout=30) as http:
        answer = await raw_post(http, url, "tools/call", {"name": tool, "arguments": arguments})
        answers.append((answer.status_code, answer.text))


def _terminated(process: subprocess.Popen[bytes]) -> tuple[int, float]:
    began = time.monotonic()
    process.send_signal(signal.SIGTERM)
    status, _ = ended(process)
    return status, time.monotonic() - began


@pytest.mark.slow
async def test_what_is_under_way_at_the_end_is_answered_and_what_was_acknowledged_is_kept(data: Path) -> None:
    with foreground(data, "serve", "--no-auth", "--port", "0") as process:
        wait_until(lambda: hub(data).http, "HTTP")
        url = str(hub(data).http)
        async with client(data) as mcp:
            load = Load((await call(mcp, "create_conversation", title="Plan"))["_id"])
            quiet = (await call(mcp, "create_conversation", title="Quiet"))["_id"]
        answers: list[tuple[int, str]] = []
        async with anyio.create_task_group() as tasks:
            for number in range(WRITERS):
                tasks.start_soon(load.over_http, url, f"http {number}")
            for number in range(LOCAL):
                tasks.start_soon(load.over_socket, data, f"socket {number}")
            tasks.start_soon(_slow, url, "wait_for_messages", {"conversationId": quiet}, answers)
            tasks.start_soon(_slow, url, "query", {"sql": SLOW}, answers)
            await anyio.to_thread.run_sync(wait_until, lambda: len(load.acknowledged) > 300, "load")
            status, seconds = await anyio.to_thread.run_sync(_terminated, process)
            # Local clients go on, with the hub that follows; those of HTTP have nobody who starts one.
            before = len(load.acknowledged)
            await anyio.to_thread.run_sync(wait_until, lambda: len(load.acknowledged) > before + 10, "the next hub")
            load.over = True
    assert status == 0
    assert seconds < 10
    known = {"acknowledged", "unavailable", "no connection"}
    assert all(answer in known or answer.startswith("503 The hub is stopping") for answer in load.answers)
    assert len(answers) == 2
    assert any('"messages":[]' in text for code, text in answers if code == 200)
    assert any("The hub is stopping" in text for _, text in answers)
    async with client(data) as mcp:
        rows = {row["_id"]: row["content"] for row in await messages(mcp, load.conversation)}
        found = await call(mcp, "query", fresh=True, sql=AUDITED)
    assert load.acknowledged.items() <= rows.items()
    assert len(set(rows.values())) == len(rows)
    assert found["rows"] == [[len(rows), len(rows)]]


@pytest.mark.slow
async def test_killed_under_load_every_message_has_its_row_in_the_audit_log(data: Path) -> None:
    async with client(data) as mcp:
        load = Load((await call(mcp, "create_conversation", title="Plan"))["_id"])
    async with anyio.create_task_group() as tasks:
        for number in range(4):
            tasks.start_soon(load.over_socket, data, f"socket {number}")
        for _ in range(6):
            more = len(load.acknowledged) + 40
            await anyio.to_thread.run_sync(wait_until, lambda more=more: len(load.acknowledged) > more, "load")
            await anyio.to_thread.run_sync(kill, data)
        load.over = True
    async with client(data) as mcp:
        rows = {row["_id"] for row in await messages(mcp, load.conversation)}
        found = await call(mcp, "query", fresh=True, sql=AUDITED)
    assert load.acknowledged.keys() <= rows
    assert found["rows"] == [[len(rows), len(rows)]]

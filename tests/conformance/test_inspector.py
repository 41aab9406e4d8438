"""The inspector's command line as a client of both eras, over stdio and over HTTP."""

from __future__ import annotations

import asyncio
import json
import shlex
from pathlib import Path
from typing import Any

import pytest

from tests.conformance import suite
from tests.processes import ROOT, command, data_directory, environment, run, served

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(300),
    pytest.mark.skipif(not suite.INSTALLED.exists(), reason="the inspector is not installed: make conformance-tools"),
]
SECONDS = 60
ERAS = ("legacy", "modern")


class Inspector:
    """The inspector, and how it reaches the server."""

    def __init__(self, era: str, home: Path, *target: str) -> None:
        self._era = era
        self._home = home
        self._target = target

    async def __call__(self, method: str, *options: str) -> dict[str, Any]:
        """The result of a method, as the inspector prints it."""
        how = ("--cli", *self._target, "--protocol-era", self._era, "--format", "json")
        process = await asyncio.create_subprocess_exec(
            *(*suite.program("mcp-inspector"), *how, "--method", method, *options),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env=environment() | {"HOME": str(self._home)},
        )
        async with asyncio.timeout(SECONDS):
            out, errors = await process.communicate()
        assert process.returncode == 0, (out + errors).decode()
        result: dict[str, Any] = json.loads(out)["result"]
        return result


async def _uses_it(inspect: Inspector) -> None:
    """What a person tries first."""
    tools = (await inspect("tools/list", "--strict"))["tools"]
    assert {"create_conversation", "send_message", "search"} <= {tool["name"] for tool in tools}
    made = await inspect("tools/call", "--tool-name", "create_conversation", "--tool-arg", "title=Plan")
    row_id = made["structuredContent"]["_id"]
    said = ("--tool-name", "send_message", "--tool-arg", f"conversationId={row_id}", "content=Tuesday")
    assert (await inspect("tools/call", *said))["isError"] is False
    listed, read, prompts = await asyncio.gather(
        inspect("resources/list"),
        inspect("resources/read", "--uri", f"one://conversations/{row_id}"),
        inspect("prompts/list"),
    )
    assert f"one://conversations/{row_id}" in {resource["uri"] for resource in listed["resources"]}
    assert "Tuesday" in read["contents"][0]["text"]
    assert "catch_up" in {prompt["name"] for prompt in prompts["prompts"]}


@pytest.mark.parametrize("era", ERAS)
async def test_the_inspector_uses_it_over_stdio(era: str, tmp_path: Path) -> None:
    launcher = tmp_path / "one-mcp"  # its own options would be taken for the inspector's
    with data_directory(tmp_path) as data:
        launcher.write_text(f"#!/bin/sh\nPYTHONPATH={shlex.quote(str(ROOT))} exec {shlex.join(command(data))}\n")
        launcher.chmod(0o700)
        await _uses_it(Inspector(era, tmp_path, str(launcher)))


@pytest.mark.parametrize("era", ERAS)
async def test_the_inspector_uses_it_over_http(era: str, tmp_path: Path) -> None:
    data = tmp_path / "data"
    with served(data, tmp_path / "serve.log") as (_, url):
        token = run(data, "token", "create", "--scopes", "read,write").stdout.split()[0]
        await _uses_it(Inspector(era, tmp_path, url, "--header", f"Authorization: Bearer {token}"))

"""No file of a data directory is for other users of the machine, whatever their umask lets through."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from server.endpoint import Endpoint
from tests.processes import call, client, ended, foreground, run, wait_until


@pytest.fixture
def open_umask() -> Iterator[None]:
    before = os.umask(0o022)
    yield
    os.umask(before)


def readable_for_others(directory: Path) -> dict[str, str]:
    found = {directory, *directory.rglob("*")}
    return {str(path): oct(stat.S_IMODE(mode)) for path in found if (mode := path.lstat().st_mode) & 0o077}


@pytest.mark.slow
async def test_what_is_written_is_its_owners_alone(tmp_path: Path, open_umask: None) -> None:
    data = tmp_path / "data"
    data.mkdir(mode=0o755)  # made by somebody, open to all
    with foreground(data, "serve", "--port", "0") as process:
        wait_until(lambda: (found := Endpoint.read(data)) and found.http, "HTTP")
        async with client(data) as mcp:
            plan = await call(mcp, "create_conversation", title="Plan")
            await call(mcp, "send_message", conversationId=plan["_id"], content="Tuesday")
        assert run(data, "token", "create").returncode == 0
        assert run(data, "snapshot").returncode == 0
        assert run(data, "sql", "SELECT 1").returncode == 0
        names = {path.name for path in data.rglob("*")}
        assert {"one.duckdb", "auth.duckdb", "analytics.duckdb", "hub.json", "hub.sock"} <= names
        assert readable_for_others(data) == {str(data): "0o755"}
        process.terminate()
        ended(process)
    assert readable_for_others(data) == {str(data): "0o755"}


@pytest.mark.slow
async def test_a_directory_that_the_hub_makes_is_private(tmp_path: Path, open_umask: None) -> None:
    data = tmp_path / "data"
    async with client(data) as mcp:  # the proxy starts the hub
        await call(mcp, "create_conversation", title="Plan")
        assert readable_for_others(data) == {}
    assert run(data, "stop").returncode == 0
    assert (data / "hub.log").exists()
    assert readable_for_others(data) == {}

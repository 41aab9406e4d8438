"""No hostile request makes the server fail, hang, or say what it must not."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.clients import Swarm
from tests.fuzz.running import run, send_all
from tests.fuzz.world import HTTP, fill
from tests.remote import served


async def test_some_hostile_requests(swarm: Swarm, caplog: pytest.LogCaptureFixture) -> None:
    world = await fill(swarm)
    async with served(swarm, **HTTP) as (url, _):
        world.port = int(url.removesuffix("/mcp").rpartition(":")[2])
        outcome = await send_all(world, range(300), seed=0)
    assert outcome.findings == []
    assert [record.getMessage() for record in caplog.records if record.exc_info] == []


@pytest.mark.slow
@pytest.mark.timeout(900)
async def test_many_hostile_requests_at_a_process(tmp_path: Path) -> None:
    outcome = await run(tmp_path, range(20_000), seed=1)
    print(outcome.report())
    assert outcome.findings == []

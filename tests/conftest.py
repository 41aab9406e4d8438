"""Fixtures: a swarm in a temporary directory, and clients of both protocol eras."""

from __future__ import annotations

import signal
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from tests.clients import ERAS, Swarm, Tools
from tests.imports import BASE, Outcome, load

# The machines that run this share their cores: no deadline, and the same examples on each run.
settings.register_profile("quick", deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
settings.load_profile("quick")

# A shell lets what it starts in the background ignore Ctrl-C, and so would the programs that the tests interrupt.
signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    """The hub runs on asyncio."""
    return "asyncio"


@pytest.fixture(params=ERAS)
def era(request: pytest.FixtureRequest) -> str:
    """How a client opens the connection."""
    return str(request.param)


@pytest.fixture
async def swarm(tmp_path: Path) -> AsyncIterator[Swarm]:
    """A service on a fresh directory."""
    async with Swarm(tmp_path / "data") as opened:
        yield opened


@pytest.fixture(scope="module")
async def shared(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Swarm]:
    """A service that the tests of a module share: each looks at what it made itself."""
    async with Swarm(tmp_path_factory.mktemp("shared") / "data") as opened:
        yield opened


@pytest.fixture
async def filled(swarm: Swarm) -> Swarm:
    """A swarm with an imported user, agent, tool, prompt and conversation."""
    assert await load(swarm, *BASE) == Outcome(added=len(BASE))
    return swarm


@pytest.fixture
def owner(swarm: Swarm) -> Tools:
    """A client of the local owner, an admin."""
    return swarm.owner

"""The sign-in as fixtures."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from tests.clients import Swarm
from tests.signing_in import Browser, Door, Program, door


@pytest.fixture(scope="module")
async def hall(shared: Swarm) -> AsyncIterator[Door]:
    """A swarm with the built-in sign-in, which the tests of a module share."""
    async with door(shared) as opened:
        yield opened


@pytest.fixture
async def ann(hall: Door) -> Browser:
    """Somebody new, who is signed in."""
    return await hall.person("Ann")


@pytest.fixture
async def probe(hall: Door) -> Program:
    """A client that has registered."""
    program = hall.program()
    await program.register()
    return program

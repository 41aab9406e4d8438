"""Every cell of the matrix, carried out for real: a client in memory for each role, in both protocol eras."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

import pytest
from mcp import Client

from server.session import Session
from tests.clients import USER_SCOPES, Swarm, transport
from tests.listening import Connect, Ear, listening
from tests.permissions.calls import NOTICES, SECTIONS
from tests.permissions.judging import outcome
from tests.permissions.table import ROLES, rows
from tests.permissions.world import SCOPES, World, world_of

_, LAST = NOTICES["that the list of prompts changed"]
"""What everybody hears of."""
OFTEN = ("creator", "removed", "stranger")
"""The roles whose cells are among the fast tests."""
ROLE = pytest.mark.parametrize(
    "role", [role if role in OFTEN else pytest.param(role, marks=pytest.mark.slow) for role in ROLES]
)


@pytest.fixture
async def world(shared: Swarm, role: str) -> World:
    return await world_of(shared, role)


def expected(role: str) -> dict[tuple[str, str], str]:
    """The letters of a column, by section and row."""
    return {(section, name): letters[role] for section, name, letters in rows()}


@ROLE
async def test_every_cell_is_as_declared(world: World, role: str) -> None:
    declared = expected(role)
    wrong = []
    for section, calls in SECTIONS.items():
        for name, call in calls.items():
            found = await outcome(world, call)
            if found != declared[section, name]:
                wrong.append(f"{section}, {name}: {found}, declared {declared[section, name]}")
    assert not wrong


@ROLE
async def test_every_notification_comes_to_whom_it_is_declared(world: World, role: str, era: str) -> None:
    declared = expected(role)
    followed = {name: uri.format_map(world.rows) for name, (uri, _) in NOTICES.items()}
    uris = [uri for name, uri in followed.items() if ":" in uri and declared["Notifications", name] == "+"]

    me = Session(world.rows["me"], SCOPES.get(role, USER_SCOPES))
    async with listening(_connecting(world, era, me), era, *uris) as ear, _witness(world, era) as witness:
        hears = declared["Notifications", "that the list of prompts changed"] == "+"
        hearing = [witness, ear] if hears else [witness]
        await _told(world, hearing)  # what comes late of how the world was made
        for _, deed in NOTICES.values():
            await deed(world)
        told = await _told(world, hearing)
        # Who hears nothing has heard nothing when others have heard everything.
        heard = {*told[1], "prompts"} if hears else set()
        heard |= {ear.heard.get_nowait() for _ in range(ear.heard.qsize())}
    assert heard == {uri for name, uri in followed.items() if declared["Notifications", name] == "+"}


async def _told(world: World, hearing: list[Ear]) -> list[list[str]]:
    """What each hears until all is told. What is told at once comes in any order, so the last deed is done twice."""
    told: list[list[str]] = [[] for _ in hearing]
    for _ in range(2):
        await LAST(world)
        for place, one in enumerate(hearing):
            told[place] += await one.until("prompts")
    return told


def _witness(world: World, era: str) -> AbstractAsyncContextManager[Ear]:
    """A client of the owner, who hears of all lists."""
    return listening(_connecting(world, era, Session(world.swarm.service.owner.id)), era)


def _connecting(world: World, era: str, session: Session) -> Connect:
    @asynccontextmanager
    async def connect(**options: Any) -> AsyncIterator[Client]:
        async with Client(transport(world.swarm.service, session), mode=era, **options) as client:
            yield client

    return connect

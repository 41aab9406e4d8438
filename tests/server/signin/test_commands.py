"""What the owner says about accounts and sessions: both sides of the commands."""

from __future__ import annotations

from typing import Any

import pytest

from server.cli import command_line
from server.connections import CommandFailed
from server.signin_cli import _SAID, _sent
from server.signin_commands import SignInCommands
from tests.clients import Swarm
from tests.signing_in import Browser, Door, Program


async def _nowhere(_: dict[str, Any]) -> None:
    """Nobody watches."""


async def run(swarm: Swarm, line: str) -> str:
    """What a command prints."""
    arguments = command_line().parse_args(line.split())
    command = SignInCommands(swarm.service).commands()[f"{arguments.command}.{arguments.action}"]
    return _SAID[arguments.command, arguments.action](await command(_sent(arguments), _nowhere))


@pytest.fixture
async def opened(hall: Door) -> Door:
    """The sign-in as the hub's."""
    hall.swarm.service.sign_in = hall.sign_in
    return hall


async def test_an_account_from_its_invitation_to_its_end(opened: Door, probe: Program) -> None:
    swarm = opened.swarm
    assert await run(swarm, "user list") == "There are no accounts.\n"
    said = await run(swarm, "user invite ANN@example.org --name Ann --scopes read,analyst")
    link = said.split()[0]
    assert link.startswith("http://127.0.0.1:8000/sign-up?invitation=")
    assert "becomes ann@example.org (read, analyst)" in said
    assert "ann@example.org  read,analyst  invited until" in await run(swarm, "user list")
    ann = opened.browser()
    page = await ann.open(link)
    assert 'value="Ann"' in page.text
    await ann.sign_up(link.partition("=")[2], "ann@example.org")
    await probe.connect(ann)
    assert "ann@example.org  Ann  analyst,read  2 sessions" in await run(swarm, "user list")
    listed = await run(swarm, "session list --user ann@example.org")
    assert listed == await run(swarm, "session list")
    browser, client = listed.splitlines()
    assert "browser" in browser
    assert "ann@example.org  Probe  read" in client
    assert "has ended" in await run(swarm, f"session revoke {client.split()[0]}")
    assert len((await run(swarm, "session list")).splitlines()) == 1
    link = (await run(swarm, "user reset ann@example.org")).split()[0]
    assert (await opened.browser().open(link)).status == 200
    assert "read, write at most" in await run(swarm, "user enable ann@example.org --scopes read,write")
    assert "cannot sign in any more" in await run(swarm, "user disable ann@example.org")
    assert await run(swarm, "session list") == "There are no sessions.\n"
    assert "disabled" in await run(swarm, "user list")
    with pytest.raises(CommandFailed, match="is disabled"):
        await run(swarm, "user reset ann@example.org")
    await run(swarm, "user enable ann@example.org")
    assert (await opened.browser().sign_in("ann@example.org")).url.endswith("/account")
    assert "has ended" in await run(swarm, "session revoke --user ann@example.org")
    assert await run(swarm, "session revoke --user ann@example.org") == "There was none.\n"


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ("user invite nonsense", "is no email address"),
        ("user invite new@example.org --scopes read,everything", "There is no scope 'everything'"),
        ("user disable nobody@example.org", "has no account"),
        ("user reset nobody@example.org", "has no account"),
        ("session revoke session_99", "No session 'session_99'"),
        ("session list --user nobody@example.org", "has no account"),
    ],
)
async def test_what_cannot_be_done_is_said(opened: Door, line: str, why: str) -> None:
    with pytest.raises(CommandFailed, match=why):
        await run(opened.swarm, line)


async def test_who_has_an_account_is_not_invited(opened: Door, ann: Browser) -> None:
    with pytest.raises(CommandFailed, match="has an account already"):
        await run(opened.swarm, f"user invite {ann.email}")


async def test_a_second_invitation_replaces_the_first(opened: Door) -> None:
    links = [(await run(opened.swarm, "user invite twice@example.org")).split()[0] for _ in range(2)]
    assert (await opened.browser().open(links[0])).error
    assert (await opened.browser().open(links[1])).status == 200


async def test_without_the_sign_in_there_is_nothing_to_invite_to(swarm: Swarm) -> None:
    for line in ("user invite ann@example.org", "user reset ann@example.org"):
        with pytest.raises(CommandFailed, match="The built-in sign-in is off"):
            await run(swarm, line)
    assert await run(swarm, "session list") == "There are no sessions.\n"

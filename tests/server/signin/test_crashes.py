"""Two files and a crash: no account without its user, no session that nobody can end."""

from __future__ import annotations

import asyncio
import contextlib
import random
import signal
import socket
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import duckdb
import httpx2
import pytest

from server import __version__
from server.endpoint import Failure, Hello
from server.launch import attach
from storage.auth_tables import AuthAccount, AuthInvitation, AuthRefreshToken, AuthSession
from tests.clients import Swarm
from tests.processes import data_directory, foreground, hub, kill
from tests.signing_in import PASSWORD, Browser, Program, door

ROUNDS = 30


async def test_a_sign_up_that_stopped_after_any_step_is_finished_at_the_next_start(swarm: Swarm) -> None:
    async with door(swarm) as hall:
        accounts, people, now = hall.sign_in.accounts, hall.sign_in.people, hall.clock()
        for number, steps in enumerate((1, 2)):
            email = f"user{number}@example.org"
            invitation = accounts.invitation(now, await hall.invite(email))
            assert invitation is not None
            started = await accounts.accept(now, invitation, "Ann", await hall.sign_in.passwords.hash(PASSWORD))
            assert started is not None
            assert await accounts.accept(now, invitation, "Eve", "of somebody else") is None
            if steps == 2:
                await swarm.owner("create_user", name="Ann", email=email)
        await people.repair()
        await people.repair()
        assert accounts.invitations() == []
        for account in accounts.all():
            assert (await swarm.owner("get", id=account.user_id))["email"] == account.provider_account_id
            assert (await hall.browser().sign_in(account.provider_account_id)).url.endswith("/account")


async def test_what_belongs_to_nobody_is_ended_at_the_next_start(swarm: Swarm) -> None:
    async with door(swarm) as hall:
        ann = await hall.person("Ann")
        await hall.program().connect(ann)
        file = swarm.service.auth_file()
        async with file.change(hall.clock()) as change:
            lost = change.insert(
                AuthAccount, user_id="user_99", provider="password", provider_account_id="lost@example.org"
            )
            change.insert(AuthSession, user_id=lost.user_id, expiration_time=2**43, kind="browser")
            stray = change.insert(AuthSession, user_id="user_98", expiration_time=2**43, kind="client")
            change.insert(AuthRefreshToken, session_id=stray.id, expiration_time=2**43)
            change.insert(AuthRefreshToken, session_id="session_0", expiration_time=2**43)
        kept = {session.id for session in hall.sign_in.sessions.all()} - {stray.id}
        await hall.sign_in.people.repair()
        assert [account.id for account in hall.sign_in.accounts.all()] == [hall.account(ann).id]
        left = hall.sign_in.sessions.all()
        assert {one.user_id for one in left} == {hall.account(ann).user_id}
        assert {one.id for one in left} < kept
        assert len(file.all(AuthRefreshToken)) == 1


async def test_an_invitation_of_a_deactivated_user_makes_no_account(swarm: Swarm) -> None:
    async with door(swarm) as hall:
        gone = await swarm.owner("create_user", name="Gone", email="gone@example.org")
        await swarm.owner("create_conversation", title="Plan", participants=[gone["_id"]])
        assert (await swarm.owner("delete", id=gone["_id"]))["outcome"] == "deactivated"
        browser = hall.browser()
        await browser.open(f"/sign-up?invitation={await hall.invite('gone@example.org')}")
        page = await browser.send(email="gone@example.org", name="Gone", password=PASSWORD)
        assert page.error == "This account cannot be made. Ask the owner of this server."
        await hall.sign_in.people.repair()
        assert hall.sign_in.accounts.all() == []
        assert swarm.service.auth_file().all(AuthInvitation) != []


# -- real processes ----------------------------------------------------------------------------------------------------


@dataclass
class Life:
    """What the test knows was acknowledged."""

    data: Path
    base: str
    signed_up: list[str] = field(default_factory=list)
    tokens: dict[int, dict[str, Any]] = field(default_factory=dict)
    clients: dict[int, Program] = field(default_factory=dict)
    lost: int = 0
    invited: int = 0
    acknowledged: int = 0
    opened: contextlib.AsyncExitStack = field(default_factory=contextlib.AsyncExitStack)

    def command(self, name: str, **arguments: Any) -> dict[str, Any]:
        link = attach(self.data, Hello(__version__, client="control"))
        if link is None:
            raise ConnectionError("killed")
        try:
            return link.call(name, **arguments)
        finally:
            link.close()

    async def browser(self) -> Browser:
        http = httpx2.AsyncClient(base_url=self.base, timeout=30)
        return Browser(await self.opened.enter_async_context(http))

    async def sign_up(self) -> Browser:
        self.invited += 1
        email = f"user{self.invited}@example.org"
        answer = await asyncio.to_thread(self.command, "user.invite", email=email)
        browser = await self.browser()
        await browser.sign_up(answer["link"].partition("invitation=")[2], email)
        self.signed_up.append(email)
        self.acknowledged += 1
        return browser

    async def sign_ups(self) -> None:
        while True:
            await self.sign_up()

    async def refreshes(self, lane: int) -> None:
        if lane not in self.tokens:
            person = await self.sign_up()
            self.clients[lane] = Program((await self.browser()).http)
            self.tokens[lane] = await self.clients[lane].connect(person)
        while True:
            answer = await self.clients[lane].refresh(self.tokens[lane]["refresh_token"])
            if answer.status_code != 200:  # the answer that told the next one was lost for longer than 10 s
                assert answer.json()["error"] == "invalid_grant"
                self.lost += 1
                del self.tokens[lane]
                return
            self.tokens[lane] = answer.json()
            self.acknowledged += 1


@pytest.mark.slow
@pytest.mark.timeout(900)
async def test_thirty_times_killed_amid_sign_ups_and_refreshes(tmp_path: Path) -> None:
    with data_directory(tmp_path) as data, socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        taken.close()
        (data / "config.toml").write_text(
            "[sign_in]\nenabled = true\npassword_memory_kib = 64\npassword_rounds = 1\n"
            '[embedding]\nprovider = "none"\n[analytics]\nmax_age_seconds = 0.0\n'
        )
        life, chance, began = Life(data, f"http://127.0.0.1:{port}"), random.Random(30), time.monotonic()
        for _ in range(ROUNDS):
            with foreground(data, "serve", "--port", str(port)):
                await asyncio.to_thread(_serves, data)
                await _live(life, chance.uniform(0, 0.2))
            _check(data)
        with foreground(data, "serve", "--port", str(port)):
            await asyncio.to_thread(_serves, data)
            await _all_is_well(life)
        await life.opened.aclose()
        seconds = time.monotonic() - began
        print(
            f"{len(life.signed_up)} of {life.invited} sign-ups acknowledged, {len(life.tokens)} clients, "
            f"{life.lost} refresh chains lost, {ROUNDS} kills, {seconds:.0f} s"
        )


def _serves(data: Path) -> None:
    deadline = time.monotonic() + 30
    while not hub(data).http:
        assert time.monotonic() < deadline
        time.sleep(0.02)


async def _live(life: Life, seconds: float) -> None:
    """People sign up and clients refresh, until the hub is killed amid it."""
    lanes = [life.sign_ups(), life.sign_ups(), *(life.refreshes(lane) for lane in range(4))]
    tasks = [asyncio.create_task(lane) for lane in lanes]
    target = life.acknowledged + 12
    async with asyncio.timeout(60):
        while life.acknowledged < target and not all(task.done() for task in tasks):
            await asyncio.sleep(0.005)
    await asyncio.sleep(seconds)
    await asyncio.to_thread(kill, life.data, signal.SIGKILL)
    for outcome in await asyncio.gather(*tasks, return_exceptions=True):
        # What was on its way when the hub died has failed, and nothing else.
        if outcome is not None and not isinstance(outcome, httpx2.TransportError | OSError | Failure):
            raise outcome


def _check(data: Path) -> None:
    """What the files say that the killed hub left."""
    with contextlib.closing(duckdb.connect()) as files:
        for name in ("auth", "one"):
            files.execute(f"ATTACH '{data / f'{name}.duckdb'}' AS {name} (READ_ONLY)")
        for what, query in {
            "accounts without their user": 'FROM auth."authAccounts" WHERE "userId" NOT IN (SELECT _id FROM one.users)',
            "users that are there twice": "FROM (SELECT email FROM one.users GROUP BY email HAVING count(*) > 1)",
            "accounts that are there twice": 'FROM (SELECT "providerAccountId" FROM auth."authAccounts" GROUP BY ALL '
            "HAVING count(*) > 1)",
            "sessions without an account": 'FROM auth."authSessions" WHERE "userId" NOT IN '
            '(SELECT "userId" FROM auth."authAccounts")',
            "tokens without a session": 'FROM auth."authRefreshTokens" WHERE "sessionId" NOT IN '
            '(SELECT _id FROM auth."authSessions")',
        }.items():
            assert files.execute(query).fetchall() == [], what


async def _all_is_well(life: Life) -> None:
    """Who was told that they signed up can sign in, what clients hold is good, and every session can be ended."""
    listed = await asyncio.to_thread(life.command, "user.list")
    emails = {user["email"] for user in listed["users"]}
    assert set(life.signed_up) <= emails
    assert all("name" in user for user in listed["users"])
    for email in life.signed_up[:: max(1, len(life.signed_up) // 10)]:
        assert (await (await life.browser()).sign_in(email)).url.endswith("/account")
    for lane, tokens in life.tokens.items():
        assert await life.clients[lane].may(tokens["access_token"])
    sessions = (await asyncio.to_thread(life.command, "session.list"))["sessions"]
    for session in sessions:
        await asyncio.to_thread(life.command, "session.revoke", id=session["_id"])
    assert (await asyncio.to_thread(life.command, "session.list"))["sessions"] == []
    for lane, tokens in life.tokens.items():
        assert not await life.clients[lane].may(tokens["access_token"])
        assert (await life.clients[lane].refresh(tokens["refresh_token"])).status_code == 400

"""Nothing secret is found where it has no business: logs, the application's file, snapshots, answers of tools."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

import pytest

from tests.clients import Swarm
from tests.signing_in import PASSWORD, door

AUTH_TABLES = ("authAccounts", "authSessions", "authRefreshTokens", "authClients", "authInvitations")


async def test_nothing_secret_is_found_anywhere(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    """Every secret of every flow, looked for as it is and as its hash, in all that the hub writes and says."""
    caplog.set_level(logging.DEBUG)
    directory = tmp_path / "data"
    secrets: dict[str, str] = {"password": PASSWORD}
    said: list[str] = []
    async with Swarm(directory) as swarm, door(swarm) as hall:
        secrets["invitation"] = await hall.invite("ann@example.org")
        ann, program = hall.browser(), hall.program()
        await ann.sign_up(secrets["invitation"], "ann@example.org")
        await program.register()
        answer = await ann.allow(program.url())
        secrets["authorization code"] = answer["code"]
        tokens = (await program.token(code=answer["code"])).json()
        renewed = (await program.refresh(tokens["refresh_token"])).json()
        for name, pair in (("first", tokens), ("next", renewed)):
            secrets |= {f"{name} {kind}": pair[kind] for kind in ("access_token", "refresh_token")}
        assert await program.may(renewed["access_token"])
        await hall.browser().sign_in(ann.email, "wrong, but near")
        secrets["wrong password"] = "wrong, but near"
        other = hall.browser()
        await other.open("/sign-in")
        await other.send("/sign-in/code", email=ann.email)
        code = await hall.outbox.code(ann.email)
        secrets["reset"] = await hall.sign_in.accounts.reset_link(hall.clock(), hall.account(ann).id, 2**43)
        for browser in (ann, other):
            secrets[f"cookie {id(browser)}"] = browser.http.cookies["one_sign_in"]
        hashes = _hashes(swarm)
        said += await _answers(swarm)
    # What the test's own browser logs is not the hub's.
    logged = "".join(record.getMessage() + "\n" for record in caplog.records if record.name != "httpx2")
    logged += "".join(capsys.readouterr())
    assert "Published" in logged
    assert code not in logged
    files = {path: path.read_bytes() for path in directory.rglob("*") if path.is_file()}
    for name, secret in secrets.items():
        assert secret not in logged, name
        assert [path for path, content in files.items() if secret.encode() in content] == [], name
        assert [text for text in said if secret in text] == [], name
    assert len(hashes) > 10
    for secret in hashes:
        assert secret not in logged
        assert [p.name for p, content in files.items() if secret.encode() in content and p.stem != "auth"] == []
        assert [text for text in said if secret in text] == []
    assert (directory / "auth.duckdb").stat().st_mode & 0o077 == 0


def _hashes(swarm: Swarm) -> list[str]:
    """Every hash that the file of accounts holds."""
    file = swarm.service.auth_file()
    names = ("hash", "access_hash", "secret", "code", "signature", "verifier")
    found = (getattr(row, name, None) for table in file.tables for row in file.all(table) for name in names)
    return [value for value in found if value]


async def _answers(swarm: Swarm) -> list[str]:
    """What the tools say about all that there is, and to who asks for the tables of the sign-in."""
    owner, ids = (
        swarm.owner,
        ("account_1", "session_3", "refresh_5", "invitation_1", "client_2", "verifier_4", "code_6"),
    )
    said: list[Any] = [
        *[await owner("find", table=table) for table in ("users", "agents", "conversations", "knowledge", "events")],
        *[vars(await owner.refused("find", table=table)) for table in AUTH_TABLES],
        await owner("query", sql="SELECT table_name FROM duckdb_tables()", fresh=True),
        *[vars(await owner.refused("query", sql=f'FROM "{table}"')) for table in AUTH_TABLES],
        *[vars(await owner.refused("get", id=row_id)) for row_id in ids],
    ]
    return [json.dumps(one) for one in said]

"""`auth.duckdb`: when tokens and sessions were last used."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from storage.auth_file import USE_NOTED_EVERY_MS, AuthFile, now_ms
from storage.auth_tables import AccessToken
from storage.tokens import Tokens

pytestmark = pytest.mark.anyio


async def _stored(directory: Path) -> dict[str, AccessToken]:
    file = AuthFile.open(directory, "64MB")
    try:
        return {token.id: token for token in file.all(AccessToken)}
    finally:
        await file.close()


async def test_the_use_of_many_tokens_is_stored_without_anybody_waiting(tmp_path: Path) -> None:
    file = AuthFile.open(tmp_path, "64MB")
    tokens = Tokens(file)
    made = [await tokens.create("u1", ["read"]) for _ in range(20)]
    before = now_ms()
    async with file.change(before):  # another change is under way
        for _ in range(3):
            for text, token in made:
                found = tokens.check(text)
                assert found is not None
                assert found.id == token.id
    await file.close()

    stored = await _stored(tmp_path)
    assert len(stored) == 20
    assert all(before <= (token.last_used_time or 0) <= now_ms() for token in stored.values())
    assert sorted(token.rev for token in stored.values()) == list(range(21, 41)), "each once"


async def test_a_use_is_noted_once_a_minute(tmp_path: Path) -> None:
    file = AuthFile.open(tmp_path, "64MB")
    _, token = await Tokens(file).create("u1", ["read"])
    moments = [1_000_000, 1_000_001, 1_000_000 + USE_NOTED_EVERY_MS, 1_000_001 + USE_NOTED_EVERY_MS]
    seen = []
    for moment in moments:
        file.note_use(file.get(AccessToken, token.id) or token, moment)
        await asyncio.sleep(0)  # it waits for the lock now
        async with file.change(moment):
            current = file.get(AccessToken, token.id)
            seen.append(current.last_used_time if current is not None else None)
    assert seen == [moments[0]] * 3 + [moments[3]]
    await file.close()


async def test_a_token_that_is_revoked_meanwhile_stays_so(tmp_path: Path) -> None:
    file = AuthFile.open(tmp_path, "64MB")
    tokens = Tokens(file)
    text, token = await tokens.create("u1", ["read"])
    assert tokens.check(text) is not None
    await tokens.revoke(token.id)
    await file.close()
    (stored,) = (await _stored(tmp_path)).values()
    assert stored.revoked_time is not None
    assert stored.last_used_time is not None

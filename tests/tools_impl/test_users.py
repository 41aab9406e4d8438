from __future__ import annotations

import asyncio

import pytest

from tests.clients import Refusal, Swarm, Tools


@pytest.fixture
def swarm(shared: Swarm) -> Swarm:
    """The tests of this module share a swarm."""
    return shared


async def test_a_person_is_added(swarm: Swarm, era: str) -> None:
    tools = await swarm.connect(era=era)
    row = await tools("create_user", name="  Ada ", email=f" Ada.{era}@Example.org ", image="https://example.org/a.png")
    assert list(row) == ["_id", "createdAt", "name", "email", "image", "seq"]
    assert row["_id"] == f"user_{row['seq']}"
    assert (row["name"], row["email"]) == ("Ada", f"ada.{era}@example.org")
    assert await tools("get", id=row["_id"]) == row


async def test_an_email_is_given_once(owner: Tools) -> None:
    row = await owner("create_user", name="Bob", email="bob@example.org")
    error = await owner.refused("create_user", name="Other", email="BOB@example.org")
    text = f"'{row['_id']}' (Bob) has the email bob@example.org already."
    assert error == Refusal("conflict", text, {"id": row["_id"]})


async def test_of_two_at_once_one_gets_the_email(owner: Tools) -> None:
    calls = [owner.raw("create_user", name=f"{n}", email="race@example.org") for n in range(5)]
    results = await asyncio.gather(*calls)
    assert sorted(bool(result.is_error) for result in results) == [False, True, True, True, True]


@pytest.mark.parametrize("email", ["ada", "@", "a@", "@b", "a b@c", "a@b c", "a@b@c", ""])
async def test_an_email_has_the_form_of_one(owner: Tools, email: str) -> None:
    error = await owner.refused("create_user", name="Ada", email=email)
    assert error.text == f"'email' must be an address like ana@example.org, not '{email}'."


async def test_only_admins_add_people(swarm: Swarm, owner: Tools) -> None:
    await owner("create_user", name="Cy", email="cy@example.org")
    _, stranger = await swarm.user("Stranger")
    # The same answer whether the email is taken or not.
    for email in ("cy@example.org", "free@example.org"):
        error = await stranger.refused("create_user", name="X", email=email)
        assert error == Refusal("forbidden", "Only the owner of this swarm or an admin adds people.")


async def test_emails_are_seen_by_their_owner_and_admins(swarm: Swarm, owner: Tools) -> None:
    user, tools = await swarm.user("Dora")
    other, _ = await swarm.user("Emil")
    assert (await tools("get", id=user))["email"] == "dora@example.org"
    assert "email" not in await tools("get", id=other)
    assert [row.get("email") for row in await tools.find("users", where={"name": {"in": ["Dora", "Emil"]}})] == [
        None,
        "dora@example.org",
    ]
    assert (await owner("get", id=other))["email"] == "emil@example.org"


@pytest.mark.parametrize(
    "asked",
    [
        {"where": {"email": {"contains": "@"}}},
        {"where": {"phone": {"exists": True}}},
        {"where": {"emailVerificationTime": {"gt": 0}}},
        {"order": "email"},
        {"order": "-phoneVerificationTime"},
    ],
)
async def test_private_fields_cannot_be_asked_for(swarm: Swarm, asked: dict[str, object]) -> None:
    _, tools = await swarm.user(f"Asker{abs(hash(str(asked)))}")
    error = await tools.refused("find", table="users", **asked)
    assert error.code == "forbidden"
    assert error.text.endswith("is private; find by another field.")


async def test_the_first_start_makes_the_local_owner(swarm: Swarm, owner: Tools) -> None:
    (first,) = await owner.find("users", where={"_id": swarm.service.owner.id})
    assert first["email"] == f"{first['name'].lower()}@localhost"

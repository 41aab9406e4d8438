from __future__ import annotations

import asyncio
from typing import Any

import pytest

from tests.clients import Swarm, Tools


@pytest.fixture
def swarm(shared: Swarm) -> Swarm:
    """The tests of this module share a swarm."""
    return shared


async def test_a_name_exists_once(swarm: Swarm, owner: Tools, era: str) -> None:
    user, tools = await swarm.user(f"Tagger{era}")
    tools = await swarm.connect(user, era=era)
    name = f"urgent {era}"
    first = await tools("create_tag", name=f" {name} ", color="#ff8800")
    assert first == {
        "_id": first["_id"],
        "name": name,
        "color": "#ff8800",
        "createdBy": user,
        "createdAt": first["createdAt"],
        "seq": first["seq"],
    }
    again = await asyncio.gather(*(owner("create_tag", name=name, color="red") for _ in range(5)))
    assert again == [first] * 5
    # Also one that a row made.
    await owner("create_conversation", title="C", tags=[f"made {era}"])
    (made,) = await owner.find("tags", where={"name": f"made {era}"})
    assert (await owner("create_tag", name=f"made {era}"))["_id"] == made["_id"]
    # An agent's is its creator's.
    mine = (await tools("create_agent", name="A", description="d", kind="user_agent"))["_id"]
    assert (await tools("create_tag", name=f"agents {era}", as_=mine))["createdBy"] == user
    assert (await tools("update", id=first["_id"], fields={"color": None})).get("color") is None
    assert (await tools("delete", id=first["_id"]))["outcome"] == "deleted"


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ({}, "Missing argument 'name'."),
        ({"name": ""}, "'name' must not be empty."),
        ({"name": "x" * 101}, "'name' has 101 characters; at most 100 are possible."),
        ({"name": ["x"]}, "'name' must be a text, not list."),
        ({"name": "x", "colour": "red"}, "Unknown argument 'colour': did you mean 'color'?"),
        ({"name": "x", "color": ""}, "'color' must not be empty."),
    ],
    ids=lambda value: str(value)[:40],
)
async def test_wrong_arguments(owner: Tools, arguments: dict[str, Any], text: str) -> None:
    error = await owner.refused("create_tag", **arguments)
    assert (error.code, error.text) == ("invalid", text)

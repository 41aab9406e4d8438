from __future__ import annotations

from typing import Any

import pytest

from tests.clients import Refusal, Swarm, Tools


@pytest.fixture
def swarm(shared: Swarm) -> Swarm:
    """The tests of this module share a swarm."""
    return shared


@pytest.fixture
async def agent(owner: Tools) -> str:
    return str((await owner("create_agent", name="A", description="d", kind="user_agent"))["_id"])


async def known(tools: Tools, tag: str, **more: Any) -> list[str]:
    page = await tools("search_knowledge_by_tag", tag=tag, **more)
    return [row["content"] for row in page["knowledge"]]


async def test_knowledge_is_kept_word_for_word(swarm: Swarm, agent: str, era: str) -> None:
    tools = await swarm.connect(era=era)
    source = await tools("add_knowledge", ownerType="agent", ownerId=agent, content="source")
    given = {
        "ownerType": "agent",
        "ownerId": agent,
        "content": " The sky\nis blue. ",
        "vector": [0.25, 1e-30],
        "tags": [f"sky-{era}"],
        "sources": [source["_id"], agent],
        "supersedes": source["_id"],
    }
    row = await tools("add_knowledge", **given)
    vector = given.pop("vector")
    assert {key: row[key] for key in given} == given
    assert row["vector"] == pytest.approx(vector)
    (found,) = (await tools("search_knowledge_by_tag", tag=f" sky-{era} "))["knowledge"]
    assert {**found, "seq": row["seq"]} == row


@pytest.mark.parametrize(
    ("arguments", "code", "text"),
    [
        ({"ownerType": "user"}, "invalid", "' is an agent, not user."),
        ({"ownerType": "group"}, "invalid", "'ownerType' must be 'agent' or 'user', not 'group'."),
        ({"ownerId": "agent_99999"}, "not_found", "No row 'agent_99999' in agents."),
        ({"ownerId": "conv_1"}, "invalid", "'conv_1' is an id of conversations; here a user or an agent is needed."),
        ({"content": ""}, "invalid", "'content' must not be empty."),
        ({"content": "x" * 100_001}, "invalid", "'content' has 100,001 characters; at most 100,000 are possible."),
        ({"sources": ["msg_99999"]}, "not_found", "No row 'msg_99999'."),
        ({"sources": ["x"] * 101}, "invalid", "'sources' has 101 items; at most 100 are possible."),
        ({"supersedes": "know_99999"}, "not_found", "No row 'know_99999' in knowledge."),
        ({"supersedes": "agent_1"}, "invalid", "'agent_1' is an id of agents; here an id of knowledge is needed"),
        ({"owner_id": "x"}, "invalid", "Unknown argument 'owner_id': did you mean 'ownerId'?"),
    ],
    ids=lambda value: str(value)[:40],
)
async def test_wrong_arguments(owner: Tools, agent: str, arguments: dict[str, Any], code: str, text: str) -> None:
    minimal = {"ownerType": "agent", "ownerId": agent, "content": "x"}
    error = await owner.refused("add_knowledge", **minimal | arguments)
    assert error.code == code
    assert text in error.text


async def test_people_teach_themselves_and_their_agents(swarm: Swarm, owner: Tools, agent: str) -> None:
    user, tools = await swarm.user("Teacher")
    mine = (await tools("create_agent", name="Mine", description="d", kind="user_agent"))["_id"]
    await tools("add_knowledge", ownerType="user", ownerId=user, content="x")
    await tools("add_knowledge", ownerType="agent", ownerId=mine, content="x")
    await tools("add_knowledge", ownerType="agent", ownerId=mine, content="x", as_=mine)
    for owner_type, owner_id, acting in [
        ("agent", agent, {}),
        ("user", swarm.service.owner.id, {}),
        ("user", user, {"as_": mine}),
    ]:
        error = await tools.refused("add_knowledge", ownerType=owner_type, ownerId=owner_id, content="x", **acting)
        assert error == Refusal("forbidden", f"'{owner_id}' is neither you nor an agent of yours.")
    # An admin teaches anybody.
    await owner("add_knowledge", ownerType="user", ownerId=user, content="x")


async def test_what_was_superseded_is_left_out(owner: Tools, agent: str) -> None:
    minimal = {"ownerType": "agent", "ownerId": agent, "tags": ["moon"]}
    first = (await owner("add_knowledge", **minimal, content="cheese"))["_id"]
    second = (await owner("add_knowledge", **minimal, content="rock", supersedes=first))["_id"]
    assert await known(owner, "moon") == ["rock"]
    third = (await owner("add_knowledge", **minimal, content="dust", supersedes=second))["_id"]
    assert await known(owner, "moon") == ["dust"]
    await owner("delete", id=third)
    assert await known(owner, "moon") == ["rock"]
    assert (await owner("get", id=first))["content"] == "cheese"


async def test_nobody_hides_what_others_know(swarm: Swarm, owner: Tools, agent: str) -> None:
    user, tools = await swarm.user("Hider")
    victim = (await owner("add_knowledge", ownerType="agent", ownerId=agent, content="truth", tags=["truth"]))["_id"]
    arguments = {"ownerType": "user", "ownerId": user, "content": "x"}
    error = await tools.refused("add_knowledge", **arguments, supersedes=victim)
    assert error == Refusal("invalid", f"'{victim}' belongs to '{agent}', not to '{user}'.")
    mine = (await tools("add_knowledge", **arguments))["_id"]
    error = await tools.refused("update", id=mine, fields={"supersedes": victim})
    assert error == Refusal("invalid", f"'{victim}' belongs to '{agent}', not to '{user}'.")
    assert (await tools.refused("update", id=mine, fields={"sources": ["know_99999"]})).code == "not_found"
    assert await known(owner, "truth") == ["truth"]


async def test_knowledge_by_tag_pages_newest_first(owner: Tools, agent: str) -> None:
    for number in range(7):
        await owner("add_knowledge", ownerType="agent", ownerId=agent, content=f"{number}", tags=["many", "x"])
    await owner("add_knowledge", ownerType="agent", ownerId=agent, content="other", tags=["manyfold"])
    found: list[str] = []
    cursor: dict[str, str] = {}
    while True:
        page = await owner("search_knowledge_by_tag", tag="many", limit=3, **cursor)
        found += [row["content"] for row in page["knowledge"]]
        if "nextCursor" not in page:
            break
        cursor = {"cursor": page["nextCursor"]}
    assert found == ["6", "5", "4", "3", "2", "1", "0"]
    assert await known(owner, "nothing") == []
    error = await owner.refused("search_knowledge_by_tag", tag="many", cursor="x")
    assert error == Refusal("invalid", "That cursor is not one of ours; pass nextCursor as it came.")
    assert (await owner.refused("search_knowledge_by_tag", tag=" ")).text == "'tag' must not be empty."
    assert (await owner.refused("search_knowledge_by_tag")).text == "Missing argument 'tag'."


async def test_a_brief_shows_what_an_agent_knows_now(owner: Tools, agent: str) -> None:
    first = (await owner("add_knowledge", ownerType="agent", ownerId=agent, content="The moon is cheese."))["_id"]
    for number in range(25):
        await owner("add_knowledge", ownerType="agent", ownerId=agent, content=f"fact {number}")
    second = (await owner("add_knowledge", ownerType="agent", ownerId=agent, content="It is rock.", supersedes=first))[
        "_id"
    ]
    brief = await owner.read(f"one://agents/{agent}/brief")
    _, _, listed = brief.partition("## Knowledge\n\n")
    assert len(listed.splitlines()) == 20
    assert listed.endswith(f"- {second}: It is rock.\n")
    assert "cheese" not in brief

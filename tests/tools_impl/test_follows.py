from __future__ import annotations

import asyncio
from typing import Any

import pytest

from tests.clients import Refusal, Swarm, Tools


@pytest.fixture
def swarm(shared: Swarm) -> Swarm:
    """The tests of this module share a swarm."""
    return shared


async def agent(tools: Tools, /, **more: Any) -> str:
    return str((await tools("create_agent", name="A", description="d", kind="user_agent", **more))["_id"])


async def test_following_and_unfollowing(swarm: Swarm, era: str) -> None:
    user, _ = await swarm.user(f"Fan{era}")
    star, stars = await swarm.user(f"Star{era}")
    tools = await swarm.connect(user, era=era)
    mine = await agent(tools)
    for followee, kind in ((star, "user"), (mine, "agent")):
        first = await tools("follow", followeeId=followee)
        assert first == {
            "_id": first["_id"],
            "followerId": user,
            "followeeId": followee,
            "kind": kind,
            "createdAt": first["createdAt"],
            "seq": first["seq"],
        }
        assert await asyncio.gather(*(tools("follow", followeeId=followee) for _ in range(4))) == [first] * 4
    assert (await tools("follow", followeeId=star, as_=mine))["followerId"] == mine
    # Who is followed sees it, others do not.
    assert len(await stars.find("follows")) == 2
    _, stranger = await swarm.user(f"Stranger{era}")
    assert await stranger.find("follows") == []
    (row,) = await tools.find("follows", where={"followerId": user, "followeeId": star})
    assert await tools("unfollow", followeeId=star) == {"_id": row["_id"], "outcome": "deleted"}
    assert [one["followerId"] for one in await stars.find("follows")] == [mine]
    error = await tools.refused("unfollow", followeeId=star)
    assert error.code == "not_found"
    assert error.text == f"You do not follow '{star}'. find(table=\"follows\") lists them."
    assert (await tools("follow", followeeId=star))["_id"] != row["_id"]


async def test_whom_one_cannot_follow(swarm: Swarm, owner: Tools) -> None:
    user, tools = await swarm.user("Lonely")
    mine = await agent(tools)
    assert await tools.refused("follow", followeeId=user) == Refusal("invalid", "Nobody follows themselves.")
    assert (await tools.refused("follow", followeeId=mine, as_=mine)).text == "Nobody follows themselves."
    private = await agent(owner, visibility="private")
    for tool in ("follow", "unfollow"):
        hidden = await tools.refused(tool, followeeId=private)
        never = f"agent_8{private.removeprefix('agent_')}8"
        missing = await tools.refused(tool, followeeId=never)
        assert hidden.code == missing.code == "not_found"
        assert hidden.text.replace(private, "ID") == missing.text.replace(never, "ID")
    assert (await tools.refused("follow", followeeId="user_99999")).code == "not_found"
    error = await tools.refused("follow", followeeId="conv_1")
    assert error == Refusal("invalid", "'conv_1' is an id of conversations; here a user or an agent is needed.")
    error = await tools.refused("follow", followee_id=user)
    assert error.text == "Unknown argument 'followee_id': did you mean 'followeeId'?"
    gone = await agent(owner)
    await owner("add_knowledge", ownerType="agent", ownerId=gone, content="x")
    await owner("delete", id=gone)
    assert (await tools.refused("follow", followeeId=gone)).text == f"'{gone}' (A) is deactivated."


async def test_one_may_stop_following_what_became_private(swarm: Swarm, owner: Tools) -> None:
    _, tools = await swarm.user("Former")
    star = await agent(owner)
    await tools("follow", followeeId=star)
    await owner("update", id=star, fields={"visibility": "private"})
    assert (await tools("unfollow", followeeId=star))["outcome"] == "deleted"


async def test_follows_go_with_either_side(swarm: Swarm, owner: Tools) -> None:
    fan, star = await agent(owner), await agent(owner)
    await owner("follow", followeeId=star, as_=fan)
    await owner("follow", followeeId=star)
    assert (await owner("delete", id=star))["outcome"] == "deleted"
    assert await owner.find("follows", where={"followeeId": star}) == []
    assert (await owner.refused("unfollow", followeeId=star, as_=fan)).code == "not_found"

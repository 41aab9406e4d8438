"""React and comment: who may, what repeats, and what `get` shows of them."""

from __future__ import annotations

import asyncio
import itertools
from typing import Any

import pytest

from tests.clients import Refusal, Swarm, Tools
from tests.invariants import check


@pytest.fixture
def swarm(shared: Swarm) -> Swarm:
    """The tests of this module share a swarm."""
    return shared


NUMBERS = itertools.count()


class Scene:
    """A conversation with a message, a member, an agent of theirs that takes part, and a stranger."""

    def __init__(self, swarm: Swarm) -> None:
        self.swarm = swarm

    async def make(self) -> None:
        self.member_id, self.member = await self.swarm.user(f"Member{next(NUMBERS)}")
        _, self.stranger = await self.swarm.user(f"Stranger{next(NUMBERS)}")
        row = await self.member("create_agent", name="Helper", description="d", kind="user_agent")
        self.agent = row["_id"]
        self.place = (await self.member("create_conversation", title="C", participants=[self.agent]))["_id"]
        self.message = (await self.member("send_message", conversationId=self.place, content="hello"))["_id"]


@pytest.fixture
async def scene(swarm: Swarm) -> Scene:
    made = Scene(swarm)
    await made.make()
    return made


async def test_reacting_twice_is_reacting_once(scene: Scene, era: str) -> None:
    tools = await scene.swarm.connect(scene.member_id, era=era)
    first = await tools("react", messageId=scene.message)
    assert first == {
        "_id": first["_id"],
        "messageId": scene.message,
        "userId": scene.member_id,
        "type": "like",
        "createdAt": first["createdAt"],
        "seq": first["seq"],
    }
    again = await asyncio.gather(*(tools("react", messageId=scene.message) for _ in range(5)))
    assert again == [first] * 5
    other = await tools("react", messageId=scene.message, type=" love ")
    assert (other["type"], other["_id"] != first["_id"]) == ("love", True)
    by_agent = await tools("react", messageId=scene.message, as_=scene.agent)
    assert (by_agent["agentId"], "userId" in by_agent) == (scene.agent, False)
    assert await tools("react", messageId=scene.message, as_=scene.agent) == by_agent
    shown = await tools("get", id=scene.message)
    assert shown["reactions"] == [
        {"type": "like", "by": [scene.member_id, scene.agent]},
        {"type": "love", "by": [scene.member_id]},
    ]
    # Taken back, it can be given again.
    await tools("delete", id=first["_id"])
    assert (await tools("get", id=scene.message))["reactions"][0] == {"type": "love", "by": [scene.member_id]}
    assert (await tools("react", messageId=scene.message))["_id"] != first["_id"]


async def test_commenting(scene: Scene, era: str) -> None:
    tools = await scene.swarm.connect(scene.member_id, era=era)
    first = await tools("comment", messageId=scene.message, content="one")
    second = await tools("comment", messageId=scene.message, content="two", as_=scene.agent)
    parts = {
        row.get("userId") or row["agentId"]: row["_id"]
        for row in await tools.find("conversationParticipants", where={"conversationId": scene.place})
    }
    assert first["authorParticipantId"] == parts[scene.member_id]
    assert second["authorParticipantId"] == parts[scene.agent]
    shown = await tools("get", id=scene.message)
    assert shown["comments"] == [
        {
            "_id": first["_id"],
            "author": {"_id": scene.member_id, "name": (await tools("get", id=scene.member_id))["name"]},
            "content": "one",
            "createdAt": first["createdAt"],
        },
        {
            "_id": second["_id"],
            "author": {"_id": scene.agent, "name": "Helper"},
            "content": "two",
            "createdAt": second["createdAt"],
        },
    ]
    assert "reactions" not in shown
    assert (await tools("update", id=first["_id"], fields={"content": "changed"}))["content"] == "changed"
    assert (await tools("get", id=scene.message))["comments"][0]["content"] == "changed"
    # A key makes it one comment; without, two.
    keyed = [await tools("comment", messageId=scene.message, content="k", idempotencyKey=f"k{era}") for _ in range(2)]
    assert keyed[0] == keyed[1]


CALLS: list[tuple[str, dict[str, Any]]] = [("react", {}), ("comment", {"content": "x"})]


@pytest.mark.parametrize(("tool", "more"), CALLS)
async def test_who_may_not(scene: Scene, tool: str, more: dict[str, Any]) -> None:
    hidden = await scene.stranger.refused(tool, messageId=scene.message, **more)
    missing = await scene.stranger.refused(tool, messageId="msg_99999", **more)
    assert hidden.code == missing.code == "not_found"
    assert hidden.text.replace(scene.message, "ID") == missing.text.replace("msg_99999", "ID")
    # An agent that takes no part is a stranger, its creator's rights or not.
    other = (await scene.member("create_agent", name="O", description="d", kind="user_agent"))["_id"]
    assert (await scene.member.refused(tool, messageId=scene.message, as_=other, **more)).code == "not_found"
    # An admin sees it, but takes no part.
    error = await scene.swarm.owner.refused(tool, messageId=scene.message, **more)
    assert error.code == "forbidden"
    assert error.text.startswith(f"You take no part in '{scene.place}'. Join with add_participant")
    await scene.member("delete", id=scene.message)
    error = await scene.member.refused(tool, messageId=scene.message, **more)
    assert error == Refusal("conflict", f"'{scene.message}' was deleted.")


@pytest.mark.parametrize(
    ("tool", "arguments", "text"),
    [
        ("react", {}, "Missing argument 'messageId'."),
        ("react", {"message_id": "msg_1"}, "Unknown argument 'message_id': did you mean 'messageId'?"),
        ("react", {"messageId": "conv_1"}, "'conv_1' is an id of conversations; here an id of conversationMessages"),
        ("react", {"messageId": "msg_1", "type": " "}, "'type' must not be empty."),
        ("react", {"messageId": "msg_1", "type": 5}, "'type' must be a text, not 5."),
        ("react", {"messageId": "msg_1", "type": "x" * 201}, "'type' has 201 characters; at most 200 are possible."),
        ("comment", {"messageId": "msg_1"}, "Missing argument 'content'."),
        ("comment", {"messageId": "msg_1", "content": ""}, "'content' must not be empty."),
        ("comment", {"messageId": "comment_1", "content": "x"}, "'comment_1' is an id of comments; here an id of"),
    ],
    ids=lambda value: str(value)[:40],
)
async def test_wrong_arguments(owner: Tools, tool: str, arguments: dict[str, Any], text: str) -> None:
    error = await owner.refused(tool, **arguments)
    assert error.code == "invalid"
    assert error.text.startswith(text)


async def test_everything_goes_with_its_conversation(scene: Scene) -> None:
    rows = [await scene.member("react", messageId=scene.message, type=kind) for kind in ("like", "love")]
    rows.append(await scene.member("comment", messageId=scene.message, content="x"))
    await scene.member("delete", id=scene.place)
    for row in [*rows, {"_id": scene.message}]:
        assert (await scene.swarm.owner.refused("get", id=row["_id"])).code == "not_found"
    timelines = scene.swarm.service.engine.store.timelines.items()
    assert [
        timeline for (_, field), timeline in timelines if field == "message_id" and timeline.of(scene.message)
    ] == []
    await check(scene.swarm)

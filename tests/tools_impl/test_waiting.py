"""Waiting for messages: who is woken, when, and by what not."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import anyio
import pytest
from mcp import Client
from mcp.shared.exceptions import MCPError

from server.session import Session
from tests.clients import Refusal, Swarm, Tools, transport


@pytest.fixture
def swarm(shared: Swarm) -> Swarm:
    """The tests of this module share a swarm."""
    return shared


async def agent(tools: Tools, name: str = "Bot") -> str:
    return str((await tools("create_agent", name=name, description="d", kind="user_agent"))["_id"])


async def place(tools: Tools, *members: str) -> str:
    return str((await tools("create_conversation", title="Plan", participants=list(members)))["_id"])


async def say(tools: Tools, conversation: str, text: str, **more: Any) -> str:
    return str((await tools("send_message", conversationId=conversation, content=text, **more))["_id"])


async def until(condition: Callable[[], bool]) -> None:
    """Let the loop run until something is so."""
    with anyio.fail_after(10):
        while not condition():
            await anyio.sleep(0.001)


class Waiting:
    """Calls of wait_for_messages that are under way."""

    def __init__(self, swarm: Swarm) -> None:
        self._arrivals = swarm.service.engine.store.arrivals
        self._tasks: list[asyncio.Task[Any]] = []

    async def begin(self, tools: Tools, **arguments: Any) -> asyncio.Task[dict[str, Any]]:
        """Begin to wait, and come back when the hub has it."""
        task = asyncio.create_task(tools("wait_for_messages", **arguments))
        await self._known(task)
        return task

    async def begin_refused(self, tools: Tools, **arguments: Any) -> asyncio.Task[Refusal]:
        task = asyncio.create_task(tools.refused("wait_for_messages", **arguments))
        await self._known(task)
        return task

    async def _known(self, task: asyncio.Task[Any]) -> None:
        self._tasks.append(task)
        count = sum(not task.done() for task in self._tasks)
        await until(lambda: len(self._arrivals) == count)

    async def nobody(self) -> None:
        await until(lambda: len(self._arrivals) == 0)


@pytest.fixture
def waiting(swarm: Swarm) -> Waiting:
    return Waiting(swarm)


async def test_a_message_wakes_who_waits(swarm: Swarm, waiting: Waiting, owner: Tools, era: str) -> None:
    bot = await agent(owner)
    room = await place(owner, bot)
    tools = await swarm.connect(bot, era=era)
    task = await waiting.begin(tools, conversationId=room)
    sent = await say(owner, room, "hello")
    found = await asyncio.wait_for(task, 5)
    created = (await owner("get", id=sent))["createdAt"]
    me = swarm.service.owner
    assert found == {
        "messages": [{"_id": sent, "from": me.id, "content": "hello", "createdAt": created}],
        "authors": {me.id: me.name},
        "after": sent.removeprefix("msg_"),
    }
    await waiting.nobody()


async def test_any_conversation_of_the_caller(waiting: Waiting, owner: Tools) -> None:
    bot = await agent(owner)
    rooms = [await place(owner, bot) for _ in range(2)]
    elsewhere = await place(owner)
    task = await waiting.begin(owner, as_=bot)
    await say(owner, elsewhere, "not for the bot")
    await say(owner, rooms[1], "for the bot")
    (message,) = (await asyncio.wait_for(task, 5))["messages"]
    assert (message["content"], message["conversationId"]) == ("for the bot", rooms[1])


async def test_what_is_there_is_returned_at_once_in_order(owner: Tools) -> None:
    bot = await agent(owner)
    rooms = [await place(owner, bot) for _ in range(2)]
    first = await say(owner, rooms[0], "0")
    for number in range(1, 5):
        await say(owner, rooms[number % 2], str(number))
    found = await owner("wait_for_messages", as_=bot, after=first)
    assert [message["content"] for message in found["messages"]] == ["1", "2", "3", "4"]
    found = await owner("wait_for_messages", as_=bot, after=first, conversationId=rooms[1])
    assert [message["content"] for message in found["messages"]] == ["1", "3"]
    found = await owner("wait_for_messages", as_=bot, after=found["after"], timeoutSeconds=0.05)
    assert [message["content"] for message in found["messages"]] == ["4"]
    found = await owner("wait_for_messages", as_=bot, after=found["after"], timeoutSeconds=0.05)
    assert found == {"messages": [], "after": found["after"]}


async def test_more_than_fits_comes_with_the_next_call(owner: Tools) -> None:
    bot = await agent(owner)
    room = await place(owner, bot)
    seen: list[str] = []
    after = await say(owner, room, "start")
    for number in range(60):
        await say(owner, room, f"{number} " + "x" * 500)
    while len(seen) < 60:
        found = await owner("wait_for_messages", as_=bot, after=after)
        assert found["messages"]
        assert len(str(found)) < 18_000
        seen += [message["content"].split()[0] for message in found["messages"]]
        after = found["after"]
    assert seen == [str(number) for number in range(60)]


async def test_ones_own_messages_wake_nobody(waiting: Waiting, owner: Tools) -> None:
    bot = await agent(owner)
    room = await place(owner, bot)
    tasks = [await waiting.begin(owner, as_=bot), await waiting.begin(owner, as_=bot, conversationId=room)]
    mine = await say(owner, room, "mine", as_=bot)
    await owner("delete", id=mine)
    await say(owner, room, "another's")
    for task in tasks:
        found = await asyncio.wait_for(task, 5)
        assert [message["content"] for message in found["messages"]] == ["another's"]


async def test_being_brought_in_by_a_mention_wakes(waiting: Waiting, owner: Tools) -> None:
    bot = await agent(owner)
    room = await place(owner)
    task = await waiting.begin(owner, as_=bot)
    await say(owner, room, f"@[Bot](agent:{bot})")
    found = await asyncio.wait_for(task, 5)
    assert [message.get("kind", "participant") for message in found["messages"]] == ["system", "participant"]


async def test_who_was_removed_hears_no_more(waiting: Waiting, owner: Tools) -> None:
    bot = await agent(owner)
    room = await place(owner, bot)
    (part,) = await owner.find("conversationParticipants", where={"conversationId": room, "agentId": bot})
    anywhere = await waiting.begin(owner, as_=bot, timeoutSeconds=1)
    here = await waiting.begin_refused(owner, as_=bot, conversationId=room)
    await owner("delete", id=part["_id"])
    await say(owner, room, "secret")
    refusal = await asyncio.wait_for(here, 5)
    assert refusal.code == "not_found"
    assert "secret" not in refusal.text
    assert (await anywhere)["messages"] == []


async def test_a_conversation_that_is_hidden_or_missing(swarm: Swarm, owner: Tools) -> None:
    _, ada = await swarm.user("Ada")
    hidden = await place(owner)
    sent = await say(owner, hidden, "secret")
    for arguments in (
        {"conversationId": hidden},
        {"conversationId": "conv_999999"},
        {"after": sent},
        {"after": "msg_9x"},
    ):
        error = await ada.refused("wait_for_messages", **arguments)
        assert error.code == "not_found", arguments
        assert "secret" not in error.text


@pytest.mark.parametrize("seconds", [-1, 26, "x"])
async def test_times_that_are_refused(owner: Tools, seconds: object) -> None:
    assert (await owner.refused("wait_for_messages", timeoutSeconds=seconds)).code == "invalid"


async def test_a_cancelled_call_waits_no_more(swarm: Swarm, waiting: Waiting, owner: Tools, era: str) -> None:
    tools = await swarm.connect(era=era)
    task = await waiting.begin(tools)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    await waiting.nobody()
    assert (await tools("inbox"))["reminders"] == []


async def test_the_end_of_a_connection_ends_the_wait(swarm: Swarm, waiting: Waiting) -> None:
    async with Client(transport(swarm.service, Session(swarm.service.owner.id)), mode="legacy") as client:
        task = await waiting.begin(Tools(client))
    await waiting.nobody()
    with pytest.raises(MCPError, match="Connection closed"):
        await task


async def test_a_hub_that_ends_lets_everybody_go_at_once(tmp_path: Any) -> None:
    async with Swarm(tmp_path / "data") as swarm:
        waiting = Waiting(swarm)
        room = await place(swarm.owner)
        tasks = [await waiting.begin(swarm.owner), await waiting.begin(swarm.owner, conversationId=room)]
        swarm.service.engine.store.arrivals.end()
        for task in tasks:
            assert (await asyncio.wait_for(task, 2))["messages"] == []
        assert (await asyncio.wait_for(swarm.owner("wait_for_messages"), 2))["messages"] == []


async def test_who_takes_part_need_not_be_in_memory(tmp_path: Any) -> None:
    async with Swarm(tmp_path / "data", cache={"rows_bytes": 0}) as swarm:
        owner, waiting = swarm.owner, Waiting(swarm)
        bot, other = await agent(owner), await agent(owner, "Other")
        room = await place(owner, bot)
        tasks = [await waiting.begin(owner, as_=one, timeoutSeconds=2) for one in (bot, other)]
        await say(owner, room, "hello")
        (message,) = (await tasks[0])["messages"]
        assert message["content"] == "hello"
        assert (await tasks[1])["messages"] == []


async def test_many_wait_and_each_hears_once(swarm: Swarm, waiting: Waiting, owner: Tools) -> None:
    bot = await agent(owner)
    rooms = [await place(owner, bot) for _ in range(20)]
    tasks = [await waiting.begin(owner, as_=bot, conversationId=room) for room in rooms]
    await say(owner, rooms[7], "hello")
    found = await asyncio.wait_for(tasks[7], 5)
    assert [message["content"] for message in found["messages"]] == ["hello"]
    assert sum(task.done() for task in tasks) == 1
    for room in rooms:
        await say(owner, room, "all")
    for task in tasks:
        await asyncio.wait_for(task, 5)
    await waiting.nobody()


async def test_many_deleted_messages_are_passed_over(owner: Tools) -> None:
    bot = await agent(owner)
    room = await place(owner, bot)
    first = await say(owner, room, "first")
    for number in range(150):
        await owner("delete", id=await say(owner, room, str(number)))
    last = await say(owner, room, "last")
    found = await owner("wait_for_messages", as_=bot, after=first, timeoutSeconds=5)
    assert [message["_id"] for message in found["messages"]] == [last]


async def test_who_does_not_wait_is_told_what_is_there_already(tmp_path: Any) -> None:
    async with Swarm(tmp_path / "data") as swarm:
        bot = await agent(swarm.owner)
        room = await place(swarm.owner, bot)
        first = await say(swarm.owner, room, "first")
        await say(swarm.owner, room, "second")
    async with Swarm(tmp_path / "data") as swarm:  # nothing is in memory
        found = await swarm.owner("wait_for_messages", as_=bot, after=first, timeoutSeconds=0)
        assert [message["content"] for message in found["messages"]] == ["second"]


async def test_what_arrives_elsewhere_while_one_looks_is_not_passed_over(
    swarm: Swarm, waiting: Waiting, owner: Tools, monkeypatch: pytest.MonkeyPatch
) -> None:
    bot = await agent(owner)
    one, other = await place(owner, bot), await place(owner, bot)
    task = await waiting.begin(owner, as_=bot)
    members = swarm.service.engine.store.members
    looks, go_on, of = asyncio.Event(), asyncio.Event(), members.of

    async def held(member: str) -> Any:
        looks.set()
        await go_on.wait()
        return await of(member)

    monkeypatch.setattr(members, "of", held)
    await say(owner, one, "a")
    await looks.wait()
    await say(owner, other, "b")
    await say(owner, one, "c")
    go_on.set()
    found = await task
    texts = [message["content"] for message in found["messages"]]
    found = await owner("wait_for_messages", as_=bot, after=found["after"], timeoutSeconds=0)
    assert texts + [message["content"] for message in found["messages"]] == ["a", "b", "c"]


async def test_a_place_that_is_yet_to_come_is_now(waiting: Waiting, owner: Tools) -> None:
    bot = await agent(owner)
    room = await place(owner, bot)
    task = await waiting.begin(owner, as_=bot, after="999999999")
    await say(owner, room, "hello")
    assert [message["content"] for message in (await task)["messages"]] == ["hello"]

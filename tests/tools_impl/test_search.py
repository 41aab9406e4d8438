"""`search` through MCP: what is found, by whom, in which order and how it is told."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import anyio
import pytest

from storage.index.search import POOL
from storage.tables import Message
from tests.clients import Swarm, Tools
from tests.hashed_words import DIMS, HashedWords

DAY_MS = 24 * 3600 * 1000


@pytest.fixture
def model() -> HashedWords:
    """Makes the vectors of the swarm."""
    return HashedWords()


@pytest.fixture
async def swarm(tmp_path: Path, model: HashedWords, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Swarm]:
    """A service with a model."""
    monkeypatch.setattr("server.service.open_embedder", lambda *_: model)
    async with Swarm(tmp_path / "data") as opened:
        yield opened


@pytest.fixture
async def room(owner: Tools) -> str:
    """A conversation of the owner."""
    conversation: str = (await owner("create_conversation", title="Launch"))["_id"]
    return conversation


async def found(client: Tools, query: str, **arguments: Any) -> list[str]:
    """The ids that a search finds, best first."""
    if "in_" in arguments:
        arguments["in"] = arguments.pop("in_")
    return [result["_id"] for result in (await client("search", query=query, **arguments))["results"]]


async def say(client: Tools, room: str, content: str, **arguments: Any) -> str:
    """Send a message; its id."""
    message: str = (await client("send_message", conversationId=room, content=content, **arguments))["_id"]
    return message


async def learn(swarm: Swarm, content: str, **arguments: Any) -> str:
    """Knowledge of the owner; its id."""
    owner = {"ownerType": "user", "ownerId": swarm.service.owner.id}
    known: str = (await swarm.owner("add_knowledge", **{**owner, **arguments}, content=content))["_id"]
    return known


async def embedded(client: Tools) -> None:
    """Wait until nothing is pending."""
    with anyio.fail_after(30):
        while "pending" in await client("search", query="anything"):
            await anyio.sleep(0.02)


# -- found ------------------------------------------------------------------------------------------------------------


async def test_a_message_is_found_by_its_words_the_moment_it_is_acknowledged(
    owner: Tools, room: str, model: HashedWords
) -> None:
    model.gate.clear()
    try:
        for number in range(20):
            message = await say(owner, room, f"the rocket number{number} flies")
            result = await owner("search", query=f"number{number}")
            assert result["results"][0]["_id"] == message
            assert result["pending"] == number + 1
            assert result["mode"] == "hybrid"
    finally:
        model.gate.set()


async def test_the_first_search_of_a_new_hub_finds_what_was_said_before(tmp_path: Path) -> None:
    async with Swarm(tmp_path / "data") as swarm:
        room = (await swarm.owner("create_conversation", title="Launch"))["_id"]
        message = await say(swarm.owner, room, "the rocket flies")
    async with Swarm(tmp_path / "data") as swarm:
        assert await found(swarm.owner, "rocket") == [message]


async def test_what_was_meant_is_found_after_embedding(swarm: Swarm, owner: Tools, room: str) -> None:
    message = await say(owner, room, "my cat sleeps")
    await say(owner, room, "the car is red")
    known = await learn(swarm, "a cat purrs")
    await embedded(owner)
    assert set((await found(owner, "feline"))[:2]) == {message, known}
    assert await found(owner, "feline", mode="text") == []
    assert (await found(owner, "feline", mode="vector", in_="messages"))[0] == message


async def test_a_long_text_is_found_by_each_of_its_parts_with_a_snippet_around_the_hit(swarm: Swarm) -> None:
    parts = [f"Paragraph {name} speaks of {name}s and nothing else at all." for name in ("apple", "rocket", "violin")]
    filler = " ".join(["Nothing of note happened on that long and quiet day."] * 30)
    known = await learn(swarm, f" {filler} ".join(parts))
    await embedded(swarm.owner)
    for word in ("apples", "rockets", "violins"):
        for mode in ("text", "hybrid"):
            (result,) = (await swarm.owner("search", query=word, mode=mode))["results"]
            assert result["_id"] == known
            assert word in result["content"], mode
            assert len(result["content"]) < 400


async def test_a_result_says_who_where_and_when(swarm: Swarm, owner: Tools, room: str) -> None:
    await say(owner, room, "the rocket flies", tags=["space"])
    (result,) = (await owner("search", query="rocket"))["results"]
    assert result["table"] == "conversationMessages"
    assert result["conversationId"] == room
    assert result["title"] == "Launch"
    assert result["author"] == {"_id": swarm.service.owner.id, "name": swarm.service.owner.name}
    assert result["tags"] == ["space"]
    assert result["createdAt"] > 0


async def test_a_speaker_is_searched_with_what_they_said_by_their_present_name(swarm: Swarm, owner: Tools) -> None:
    ada, client = await swarm.user("Ada")
    room = (await client("create_conversation", title="Maths"))["_id"]
    message = await say(client, room, "hello")
    assert await found(client, "Ada") == [message]
    await owner("update", id=ada, fields={"name": "Countess"})
    assert await found(client, "Countess") == [message]
    assert await found(client, "Ada", mode="text") == []


async def test_a_vector_of_the_caller_is_used(swarm: Swarm, model: HashedWords) -> None:
    vector = [float(number) for number in model.embed_query("cat")]
    known = await learn(swarm, "zzz", vector=vector)
    other = await learn(swarm, "the car")
    await embedded(swarm.owner)
    assert await found(swarm.owner, "feline", mode="vector") == [known, other]


async def test_a_vector_of_another_length_is_refused(swarm: Swarm) -> None:
    owner = {"ownerType": "user", "ownerId": swarm.service.owner.id}
    error = await swarm.owner.refused("add_knowledge", **owner, content="x", vector=[1.0, 2.0])
    assert str(DIMS) in error.text


# -- filters and visibility -------------------------------------------------------------------------------------------


async def test_filters(swarm: Swarm, owner: Tools, room: str) -> None:
    other = (await owner("create_conversation", title="Other"))["_id"]
    agent = (await owner("create_agent", name="Robo", description="d", kind="user_agent"))["_id"]
    await owner("add_participant", conversationId=room, kind="agent", agentId=agent)
    mine = await say(owner, room, "rocket one", tags=["space", "fast"])
    theirs = await say(owner, room, "rocket two", as_=agent, step="Gift", tags=["space"])
    elsewhere = await say(owner, other, "rocket three")
    known = await learn(swarm, "rocket four", tags=["space"])
    taught = await learn(swarm, "rocket five", ownerType="agent", ownerId=agent)

    async def ids(**arguments: Any) -> set[str]:
        return set(await found(owner, "rocket", **arguments))

    assert await ids() == {mine, theirs, elsewhere, known, taught}
    assert await ids(in_="messages") == {mine, theirs, elsewhere}
    assert await ids(in_="knowledge") == {known, taught}
    assert await ids(conversationId=room) == {mine, theirs}
    assert await ids(ownerId=agent) == {taught}
    assert await ids(authorId=agent, in_="messages") == {theirs}
    assert await ids(tags=["space"]) == {mine, theirs, known}
    assert await ids(tags=["space", "fast"]) == {mine}
    assert await ids(step="Gift") == {theirs}
    moment = (await owner("get", id=theirs))["createdAt"]
    assert elsewhere in await ids(after=moment)
    assert await ids(before=1) == set()
    assert await ids(after=moment + DAY_MS) == set()


async def test_a_tag_with_a_quote_is_no_syntax(owner: Tools, room: str) -> None:
    message = await say(owner, room, "rocket", tags=["it's"])
    assert await found(owner, "rocket", tags=["it's"]) == [message]
    assert await found(owner, 'rocket\' OR "1"=1 AND (title:x^2', tags=["x' OR '1'='1"]) == []


@pytest.mark.parametrize("query", ['"', "AND", "rocket~", "(", "a:b", "*", "-", "\\", "?", "日本", "🚀", "' OR 1=1"])
async def test_a_query_is_words_and_not_a_language(owner: Tools, room: str, query: str) -> None:
    await say(owner, room, "rocket")
    found = await owner("search", query=query)
    assert found["mode"] in ("hybrid", "text", "vector")
    assert {result["table"] for result in found["results"]} <= {"conversationMessages"}


async def test_a_stranger_never_finds_what_is_hidden(swarm: Swarm, owner: Tools) -> None:
    _, ada = await swarm.user("Ada")
    _, bob = await swarm.user("Bob")
    secret = (await ada("create_conversation", title="Secret"))["_id"]
    for number in range(POOL + 20):  # enough to crowd out everything else, if they were ranked
        await say(ada, secret, f"rocket rocket {number}")
    private = await ada.client.call_tool("get", {"id": secret})
    assert not private.is_error
    room = (await bob("create_conversation", title="Bob's"))["_id"]
    message = await say(bob, room, "a long text with a rocket somewhere in it")
    for mode in ("text", "hybrid"):
        result = await bob("search", query="rocket", mode=mode, limit=1)
        assert [one["_id"] for one in result["results"]] == [message], mode
        assert "nextCursor" not in result
    assert (await bob.refused("search", query="rocket", conversationId=secret)).code == "not_found"
    everything = await ada("search", query="rocket", limit=1)
    stolen = await bob("search", query="rocket", cursor=everything["nextCursor"])
    assert all(one["conversationId"] == room for one in stolen["results"])
    assert len(await found(owner, "rocket", limit=50)) == 50


@pytest.mark.parametrize("mode", ["text", "hybrid"])
async def test_hidden_rows_change_neither_the_order_nor_the_scores_of_a_stranger(swarm: Swarm, mode: str) -> None:
    _, ada = await swarm.user("Ada")
    _, bob = await swarm.user("Bob")
    secret = (await ada("create_conversation", title="Secret"))["_id"]
    room = (await bob("create_conversation", title="Bob's"))["_id"]
    for text in ("the rocket flies", "a falcon flies", "a rocket and a very long sentence about it", "falcon falcon"):
        await say(bob, room, text)
    index = await swarm.service.engine.store.index.get(swarm.service.engine.store)

    async def seen() -> list[tuple[str, float]]:
        await embedded(bob)
        await index.tables[Message].maintain()  # until then LanceDB counts only what is visible
        result = await bob("search", query="rocket or falcon", mode=mode)
        return [(one["_id"], one["score"]) for one in result["results"]]

    before = await seen()
    for number in range(50):
        await say(ada, secret, f"falcon {number} {'and so on ' * 20}")
    assert await seen() == before


async def test_knowledge_of_a_user_is_their_own(swarm: Swarm) -> None:
    ada_id, ada = await swarm.user("Ada")
    _, bob = await swarm.user("Bob")
    known = (await ada("add_knowledge", ownerType="user", ownerId=ada_id, content="the rocket code is 7"))["_id"]
    await embedded(ada)
    assert await found(ada, "rocket code") == [known]
    for mode in ("text", "vector", "hybrid"):
        assert await found(bob, "rocket code", mode=mode) == []
        assert await found(bob, "rocket code", mode=mode, ownerId=ada_id) == []


async def test_who_left_finds_no_more_and_who_came_finds_all(swarm: Swarm) -> None:
    _, ada = await swarm.user("Ada")
    bob_id, bob = await swarm.user("Bob")
    room = (await ada("create_conversation", title="Secret"))["_id"]
    message = await say(ada, room, "rocket")
    assert await found(bob, "rocket") == []
    participant = (await ada("add_participant", conversationId=room, kind="user", userId=bob_id))["_id"]
    assert await found(bob, "rocket") == [message]
    await ada("delete", id=participant)
    assert await found(bob, "rocket") == []


# -- what changes -----------------------------------------------------------------------------------------------------


async def test_deleted_and_changed_rows(swarm: Swarm, owner: Tools, room: str) -> None:
    message, known = await say(owner, room, "rocket"), await learn(swarm, "rocket science")
    kept = await learn(swarm, "rocket engines")
    await embedded(owner)
    await owner("delete", id=message)
    await owner("delete", id=known)
    assert await found(owner, "rocket") == [kept]
    await owner("update", id=kept, fields={"content": "violin strings"})
    assert await found(owner, "rocket", mode="text") == []
    assert await found(owner, "violin", mode="text") == [kept]
    await embedded(owner)
    assert (await owner("search", query="violin", mode="vector"))["results"][0]["score"] == 1.0
    vectors = await swarm.service.engine.store.index.get(swarm.service.engine.store)
    assert [await table.count() for table in vectors.tables.values()] == [0, 1]


async def test_a_row_that_changes_while_its_vector_is_made(swarm: Swarm, owner: Tools, model: HashedWords) -> None:
    known = await learn(swarm, "cat")
    await embedded(owner)
    model.gate.clear()
    await owner("update", id=known, fields={"content": "rocket"})
    await found(owner, "rocket", mode="text")
    await owner("update", id=known, fields={"content": "violin"})
    assert await found(owner, "violin", mode="text") == [known]
    model.gate.set()
    await embedded(owner)
    assert await found(owner, "violin", mode="text") == [known]
    assert await found(owner, "rocket", mode="text") == []
    index = await swarm.service.engine.store.index.get(swarm.service.engine.store)
    assert [await table.count() for table in index.tables.values()] == [0, 1]
    assert model.embedded[-1] == "violin"


async def test_what_is_superseded_is_hidden_until_its_successor_goes(swarm: Swarm, owner: Tools) -> None:
    old = await learn(swarm, "the rocket flies on monday")
    await embedded(owner)
    new = await learn(swarm, "the rocket flies on tuesday", supersedes=old)
    assert await found(owner, "rocket") == [new]
    await owner("delete", id=new)
    assert await found(owner, "rocket") == [old]


async def test_a_conversation_goes_with_its_messages(swarm: Swarm, owner: Tools, room: str) -> None:
    for number in range(5):
        await say(owner, room, f"rocket {number}")
    await embedded(owner)
    await owner("delete", id=room)
    assert await found(owner, "rocket") == []
    index = await swarm.service.engine.store.index.get(swarm.service.engine.store)
    assert [await table.count() for table in index.tables.values()] == [0, 0]


async def test_a_deleted_tag_finds_nothing(owner: Tools, room: str) -> None:
    message = await say(owner, room, "rocket", tags=["space", "fast"])
    assert await found(owner, "rocket", tags=["space"]) == [message]
    (tag,) = await owner.find("tags", where={"name": "space"})
    await owner("delete", id=tag["_id"])
    assert await found(owner, "rocket", tags=["fast"]) == [message]
    assert await found(owner, "rocket", tags=["space"]) == []


# -- pages, modes, mistakes -------------------------------------------------------------------------------------------


async def pages(client: Tools, query: str, limit: int, between: Any = None, **arguments: Any) -> list[str]:
    """The ids of all pages."""
    ids: list[str] = []
    cursor: dict[str, str] = {}
    while True:
        page = await client("search", query=query, limit=limit, **arguments, **cursor)
        ids += [result["_id"] for result in page["results"]]
        if "nextCursor" not in page:
            return ids
        cursor = {"cursor": page["nextCursor"]}
        if between is not None:
            await between()


@pytest.mark.parametrize("mode", ["text", "vector", "hybrid"])
async def test_pages_neither_repeat_nor_skip(swarm: Swarm, owner: Tools, room: str, mode: str) -> None:
    said = [await say(owner, room, f"rocket {'very ' * (number % 7)} fast {number}") for number in range(30)]
    known = [await learn(swarm, f"a rocket {'so ' * (number % 5)} {number}") for number in range(10)]
    await embedded(owner)

    async def meanwhile() -> None:
        await say(owner, room, "rocket rocket " * 5)

    paged = await pages(owner, "rocket", 7, meanwhile, mode=mode)
    assert sorted(paged) == sorted([*said, *known])


@pytest.mark.parametrize("cursor", ["x", "", "bm90IGpzb24", "W10", "WzEsICJhIl0", "Wy0xLCAxXQ", "WzEsIDFd" * 20])
async def test_a_cursor_that_is_not_ours(owner: Tools, cursor: str) -> None:
    assert (await owner.refused("search", query="rocket", cursor=cursor)).code == "invalid"


async def test_no_more_tokens_than_asked_for(swarm: Swarm, owner: Tools) -> None:
    for number in range(10):
        await learn(swarm, f"rocket {number} " + "and so on and on " * 40)
    whole = await owner.raw("search", query="rocket")
    short = await owner.raw("search", query="rocket", maxTokens=400)
    size = [len(block.text) for result in (whole, short) for block in result.content if block.type == "text"]
    assert size[0] > 4 * 700
    assert size[1] <= 4 * 450


async def test_recency_prefers_what_is_new(swarm: Swarm, owner: Tools, room: str) -> None:
    (participant,) = await owner.find("conversationParticipants", where={"conversationId": room})
    new = await say(owner, room, "rocket and many other words that make it match less well")
    old = await swarm.insert(
        Message,
        conversation_id=room,
        author_participant_id=participant["_id"],
        kind="participant",
        content="rocket",
        created_at=1,
    )
    assert await found(owner, "rocket", mode="text") == [old.id, new]
    assert await found(owner, "rocket", mode="text", recencyDays=30) == [new, old.id]


async def test_the_mode_that_was_used_is_told(swarm: Swarm, owner: Tools, room: str, model: HashedWords) -> None:
    message = await say(owner, room, "rocket")
    await embedded(owner)
    for mode in ("text", "vector", "hybrid"):
        assert (await owner("search", query="rocket", mode=mode))["mode"] == mode
    model.broken = True
    result = await owner("search", query="rocket", mode="vector")
    assert result["mode"] == "text"
    assert [one["_id"] for one in result["results"]] == [message]


async def test_without_a_model_only_words_are_searched(tmp_path: Path) -> None:
    async with Swarm(tmp_path / "none", embedding={"provider": "none"}) as swarm:
        room = (await swarm.owner("create_conversation", title="Launch"))["_id"]
        message = await say(swarm.owner, room, "rocket")
        result = await swarm.owner("search", query="rocket")
        assert result["mode"] == "text"
        assert "pending" not in result
        assert [one["_id"] for one in result["results"]] == [message]


async def test_the_embedded_model_finds_what_was_meant(tmp_path: Path) -> None:
    async with Swarm(tmp_path / "model", embedding={"provider": "embedded"}) as swarm:
        room = (await swarm.owner("create_conversation", title="Launch"))["_id"]
        message = await say(swarm.owner, room, "We had to put our old dog to sleep.")
        for text in ("The invoice is due on Friday.", "The build is green again.", "Who brings the cake?"):
            await say(swarm.owner, room, text)
        await embedded(swarm.owner)
        assert (await found(swarm.owner, "death of a pet"))[0] == message


@pytest.mark.parametrize(
    "arguments",
    [
        {},
        {"query": ""},
        {"query": "  "},
        {"query": "x" * 2_001},
        {"query": "x", "mode": "fuzzy"},
        {"query": "x", "in": "users"},
        {"query": "x", "limit": 0},
        {"query": "x", "limit": 1_000},
        {"query": "x", "maxTokens": 1},
        {"query": "x", "recencyDays": 0},
        {"query": "x", "step": "nonsense"},
        {"query": "x", "conversationId": "conv_2", "ownerId": "user_1"},
        {"query": "x", "conversationId": "conv_2", "in": "knowledge"},
        {"query": "x", "ownerId": "user_1", "in": "messages"},
        {"query": "x", "limt": 3},
    ],
)
async def test_wrong_arguments(owner: Tools, arguments: dict[str, Any]) -> None:
    assert (await owner.refused("search", **arguments)).code == "invalid"

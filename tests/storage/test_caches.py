"""What memory says is what the file says, however small the caches are and however reads and writes overlap."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from storage.cache import rows_size
from storage.database import Database
from storage.row import column_list
from storage.tables import Agent, Conversation, Message, Participant, Reaction, Tag, User
from storage.tails import TAIL
from storage.timeline import Timeline
from storage.transaction import Transaction
from tests.clients import Swarm
from tests.invariants import check, rows_in_file

BUDGETS = {
    "none": {"rows_bytes": 0, "messages_bytes": 0},
    "one row": {"rows_bytes": 3_000, "messages_bytes": 2_500},
    "plenty": {"rows_bytes": 1 << 24, "messages_bytes": 1 << 24},
}


@pytest.mark.parametrize("budget", BUDGETS.values(), ids=BUDGETS.keys())
async def test_reads_that_overlap_commits_never_leave_old_rows_in_memory(
    tmp_path: Path, budget: dict[str, int]
) -> None:
    rng = random.Random(3)
    async with Swarm(tmp_path / "data", cache=budget) as swarm:
        owner = swarm.owner
        places = [(await owner("create_conversation", title="C"))["_id"] for _ in range(3)]
        messages = [
            (await owner("send_message", conversationId=place, content="0"))["_id"]
            for place in places
            for _ in range(3)
        ]
        agents = [(await owner("create_agent", name="A", description="0", kind="user_agent"))["_id"] for _ in range(3)]
        latest: dict[str, int] = {}

        async def write(number: int) -> None:
            row_id = rng.choice([*messages, *agents])
            field = "content" if row_id in messages else "description"
            row = await owner("update", id=row_id, fields={field: f"{number}"})
            latest[row_id] = max(latest.get(row_id, 0), row["seq"])

        async def read() -> None:
            row_id = rng.choice([*messages, *agents])
            known = latest.get(row_id, 0)
            # What was acknowledged before the read began is what it sees, or something newer.
            assert (await owner("get", id=row_id))["seq"] >= known
            await owner("list_messages", conversationId=rng.choice(places))

        async def add() -> None:
            place = rng.choice(places)
            sent = await owner("send_message", conversationId=place, content="new")
            page = await owner("list_messages", conversationId=place, limit=200)
            assert sent["_id"] in {row["_id"] for row in page["messages"]}

        for number in range(8):
            await asyncio.gather(*(write(number) for _ in range(4)), *(read() for _ in range(6)), add())
        await check(swarm)


async def test_what_is_not_stored_is_not_made_up(swarm: Swarm, owner_conversation: str) -> None:
    """A message without a status, with a vector, with every kind of JSON: from memory as from the file."""
    owner = swarm.owner
    sent = await owner(
        "send_message",
        conversationId=owner_conversation,
        content='\u2028\0\U0001f600"\\',
        vector=[0.1, -1e-30],
        meta={"_id": "msg_1", "createdAt": 1, "big": 2**70, "float": 1e22, "": [None, True]},
        attachments=[None, {"x": [[]]}],
        type="note",
        step="Hook",
    )
    plain = await owner("send_message", conversationId=owner_conversation, content="x")
    await owner("update", id=plain["_id"], fields={"status": None})
    read = await owner("update", id=sent["_id"], fields={"vector": None, "status": "read"})
    assert read["status"] == "read"
    bare = await owner("get", id=plain["_id"])
    assert "status" not in bare
    await check(swarm)


async def loaded(swarm: Swarm) -> None:
    """Wait until nothing is read in the background any more."""
    loading = swarm.service.engine._loading
    await asyncio.wait(loading)


class Held:
    """Reads of the file that have their answer but do not tell yet."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self._answers = asyncio.Semaphore(0)
        self.go_on = asyncio.Event()
        read = Database.read

        async def held(database: Database, work: Callable[[Any], Any]) -> Any:
            answer = await read(database, work)
            self._answers.release()
            await self.go_on.wait()
            return answer

        monkeypatch.setattr(Database, "read", held)

    async def have(self, count: int) -> None:
        """Wait until so many have their answer."""
        for _ in range(count):
            await self._answers.acquire()


async def test_a_read_that_a_commit_overtakes_is_not_remembered(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with Swarm(tmp_path / "data") as swarm:
        place = (await swarm.owner("create_conversation", title="C"))["_id"]
        (part,) = await swarm.owner.find("conversationParticipants")
        sent = (await swarm.owner("send_message", conversationId=place, content="old"))["_id"]
        agent = (await swarm.owner("create_agent", name="A", description="old", kind="user_agent"))["_id"]
    async with Swarm(tmp_path / "data") as swarm:
        store, writer = swarm.service.engine.store, swarm.service.engine.writer
        await loaded(swarm)
        store._forget_all()

        async def change(tx: Transaction) -> Agent:
            for number in range(2):
                tx.insert(User, name="U", email=f"{number}@example.org")
            tx.update(Participant.loaded(rows[0]), status="new")
            tx.update(Message.loaded(rows[1]), content="new")
            return tx.update(Agent.loaded(rows[2]), description="new")

        rows = [
            (await swarm.sql(f'SELECT {column_list(table)} FROM "{table.table}" WHERE _id = ?', row_id))[0]
            for table, row_id in ((Participant, part["_id"]), (Message, sent), (Agent, agent))
        ]
        held = Held(monkeypatch)
        reads = [
            asyncio.create_task(read)
            for read in (
                store.row(agent, Agent),
                store.rows_where(User, "email", "1@example.org"),
                store.rows_where(Participant, "conversation_id", place),
                store.pages.before(place, None, 10),
            )
        ]
        await held.have(4)
        await writer.run(change)
        held.go_on.set()
        await asyncio.gather(*reads)
        monkeypatch.undo()
        assert (await swarm.owner("get", id=agent))["description"] == "new"
        assert (await swarm.owner("get", id=sent))["content"] == "new"
        assert (await swarm.owner("list_messages", conversationId=place))["messages"][0]["content"] == "new"
        assert len(await store.rows_where(User, "email", "1@example.org")) == 1
        (found,) = (await store.rows_where(Participant, "conversation_id", place)).values()
        assert found.status == "new"
        await check(swarm)


async def test_a_page_that_a_cascade_overtakes_is_not_remembered(
    swarm: Swarm, owner_conversation: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    await swarm.owner("send_message", conversationId=owner_conversation, content="x", tags=["red"])
    await loaded(swarm)
    (red,) = await rows_in_file(swarm, Tag)
    store = swarm.service.engine.store
    store.pages.forget_rendered()

    async def strip(tx: Transaction) -> Tag:
        assert isinstance(red, Tag)
        await tx.drop_tag(red)
        return red

    held = Held(monkeypatch)
    reading = asyncio.create_task(store.pages.before(owner_conversation, None, 10))
    await held.have(1)
    await swarm.service.engine.writer.run(strip)
    held.go_on.set()
    await reading
    monkeypatch.undo()
    (message,) = (await swarm.owner("list_messages", conversationId=owner_conversation))["messages"]
    assert message["tags"] == []


async def test_a_message_that_comes_while_its_page_is_read_is_on_the_page(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with Swarm(tmp_path / "data") as swarm:
        place = (await swarm.owner("create_conversation", title="C"))["_id"]
        await swarm.owner("send_message", conversationId=place, content="first")
    async with Swarm(tmp_path / "data") as swarm:
        pages = swarm.service.engine.store.pages
        await loaded(swarm)
        await swarm.owner("get", id=place)
        # What writing needs is in memory, so that only the page waits for the file.
        await swarm.owner("send_message", conversationId=place, content="second")
        pages.forget_rendered()
        held = Held(monkeypatch)
        reading = asyncio.create_task(pages.before(place, None, 10))
        await held.have(1)
        await swarm.owner("send_message", conversationId=place, content="third")
        held.go_on.set()
        lines, _ = await reading
        assert len(lines) == 2
        page = await swarm.owner("list_messages", conversationId=place)
        assert [message["content"] for message in page["messages"]] == ["first", "second", "third"]
        await check(swarm)


async def test_a_page_is_read_before_the_places_of_messages_are_loaded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with Swarm(tmp_path / "data") as swarm:
        place = (await swarm.owner("create_conversation", title="C"))["_id"]
        sent = [
            (await swarm.owner("send_message", conversationId=place, content=str(number)))["_id"] for number in range(5)
        ]
    monkeypatch.setattr(Timeline, "loaded", property(lambda _: False))
    async with Swarm(tmp_path / "data") as swarm:
        newest = await swarm.owner("list_messages", conversationId=place, limit=2)
        assert [message["_id"] for message in newest["messages"]] == sent[3:]
        older = await swarm.owner("list_messages", conversationId=place, limit=2, cursor=newest["nextCursor"])
        assert [message["_id"] for message in older["messages"]] == sent[1:3]
        oldest = await swarm.owner("list_messages", conversationId=place, limit=2, cursor=older["nextCursor"])
        assert [message["_id"] for message in oldest["messages"]] == sent[:1]
        assert "nextCursor" not in oldest


async def test_what_is_read_most_likely_is_brought_into_memory(tmp_path: Path) -> None:
    async with Swarm(tmp_path / "data") as swarm:
        place = (await swarm.owner("create_conversation", title="C"))["_id"]
        await swarm.owner("send_message", conversationId=place, content="old")
    async with Swarm(tmp_path / "data") as swarm:
        engine = swarm.service.engine
        await engine.warm()
        assert place in engine.store.pages
        assert engine.store.remembered(place) is not None
        assert engine.store.remembered_where(Participant, "conversation_id", place)
        await check(swarm)


async def test_who_asks_after_a_commit_is_not_told_what_was_read_before_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with Swarm(tmp_path / "data", cache=BUDGETS["none"]) as swarm:
        row = await swarm.owner("create_agent", name="A", description="old", kind="user_agent")
        store = swarm.service.engine.store
        stored = await store.row(row["_id"], Agent)
        assert stored is not None

        async def change(tx: Transaction) -> Agent:
            return tx.update(stored, description="new")

        held = Held(monkeypatch)
        early = asyncio.create_task(store.row(row["_id"], Agent))
        await held.have(1)
        await swarm.service.engine.writer.run(change)
        late = asyncio.create_task(store.row(row["_id"], Agent))
        await asyncio.sleep(0)
        held.go_on.set()
        found = [await read for read in (early, late)]
        assert [agent.description for agent in found if agent is not None] == ["old", "new"]


@pytest.fixture
async def owner_conversation(swarm: Swarm) -> str:
    return str((await swarm.owner("create_conversation", title="C"))["_id"])


async def test_an_id_finds_its_own_row_only(swarm: Swarm) -> None:
    """Imports bring ids of any form: some look like ours, of other numbers or other tables."""
    owner = await swarm.insert(User, name="Ada", email="ada@example.org", row_id="ada")
    place = await swarm.insert(Conversation, title="C", created_by=owner.id, row_id="a/b c")
    part = await swarm.insert(
        Participant,
        kind="user",
        conversation_id=place.id,
        user_id=owner.id,
        status="active",
        is_removed=False,
        added_at=1,
    )
    brought = await swarm.insert(
        Message,
        row_id="imported",
        conversation_id=place.id,
        author_participant_id=part.id,
        kind="participant",
        status="sent",
        content="x",
    )
    ours = await swarm.insert(
        Message,
        row_id="msg_0012",
        conversation_id=place.id,
        author_participant_id=part.id,
        kind="system",
        status="sent",
        content="y",
    )
    far = await swarm.insert(User, name="Far", email="far@example.org", row_id="user_500")
    assert far.seq == 500
    assert (await swarm.owner("create_agent", name="A", description="d", kind="user_agent"))["_id"] == "agent_501"
    for _ in range(2):
        page = await swarm.owner("list_messages", conversationId="a/b c")
        assert [row["_id"] for row in page["messages"]] == ["imported", "msg_0012"]
        for row_id in ("ada", "a/b c", "imported", "msg_0012", "user_500"):
            assert (await swarm.owner("get", id=row_id))["_id"] == row_id
        for wrong in (f"msg_{brought.seq}", f"msg_{ours.seq}", "msg_12", "msg_012", "conv_500", f"user_{owner.seq}"):
            assert (await swarm.owner.refused("get", id=wrong)).code == "not_found", wrong
    await check(swarm)


async def test_only_the_newest_messages_stay_on_the_page_in_memory(swarm: Swarm, owner_conversation: str) -> None:
    sent = []
    for number in range(TAIL + 30):
        arguments = {"conversationId": owner_conversation, "content": f"{number}"}
        sent.append((await swarm.owner("send_message", **arguments))["_id"])
        if number == TAIL // 2:
            await swarm.owner("list_messages", conversationId=owner_conversation, limit=200)
    for row_id, content in ((sent[0], "0"), (sent[40], "40"), (sent[-1], f"{TAIL + 29}")):
        assert (await swarm.owner("get", id=row_id))["content"] == content
    page = await swarm.owner("list_messages", conversationId=owner_conversation, limit=200)
    assert [message["_id"] for message in page["messages"]] == sent[-200:]
    await check(swarm)


async def test_a_read_that_fails_is_told_to_all_who_wait_and_forgotten(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with Swarm(tmp_path / "data", cache=BUDGETS["none"]) as swarm:
        agent = (await swarm.owner("create_agent", name="A", description="d", kind="user_agent"))["_id"]

        async def broken(*_: object) -> None:
            raise OSError("the disk is gone")

        store = swarm.service.engine.store
        with monkeypatch.context() as patched:
            patched.setattr(Database, "read", broken)
            reads = await asyncio.gather(*(store.row(agent, Agent) for _ in range(3)), return_exceptions=True)
        assert [str(read) for read in reads] == ["the disk is gone"] * 3
        assert (await swarm.owner("get", id=agent))["name"] == "A"


async def test_statistics_stay_within_the_budgets(tmp_path: Path) -> None:
    budget: dict[str, Any] = {"rows_bytes": 50_000, "messages_bytes": 40_000}
    async with Swarm(tmp_path / "data", cache=budget) as swarm:
        for _ in range(5):
            place = (await swarm.owner("create_conversation", title="C"))["_id"]
            for number in range(40):
                await swarm.owner("send_message", conversationId=place, content="x" * (1 + number * 30))
            await swarm.owner("list_messages", conversationId=place, limit=200)
            cache = swarm.service.status()["cache"]
            assert cache["rowsBytes"] <= 50_000
            assert cache["messagesBytes"] <= 40_000


async def test_who_takes_part_is_counted_as_what_it_takes(swarm: Swarm, owner_conversation: str) -> None:
    owner, store = swarm.owner, swarm.service.engine.store
    agents = [(await owner("create_agent", name=f"A{n}", description="d", kind="user_agent"))["_id"] for n in range(10)]
    parts = [
        (await owner("add_participant", conversationId=owner_conversation, kind="agent", agentId=one))["_id"]
        for one in agents
    ]
    await owner("update", id=parts[3], fields={"status": "blocked for a long time"})
    await owner("delete", id=parts[4])
    sent = (await owner("send_message", conversationId=owner_conversation, content="x"))["_id"]
    likes = [(await owner("react", messageId=sent, as_=one))["_id"] for one in agents[5:]]
    for like in likes[::2]:
        await owner("delete", id=like)
    assert len(store.remembered_where(Reaction, "message_id", sent) or ()) == 2
    assert store._lookups.used == sum(map(rows_size, store._lookups.values()))


async def test_reactions_do_not_fill_the_caches(swarm: Swarm, owner_conversation: str) -> None:
    owner, store = swarm.owner, swarm.service.engine.store
    await store.timelines[Reaction, "message_id"].ready()
    sent = (await owner("send_message", conversationId=owner_conversation, content="x"))["_id"]
    before = store.statistics()
    like = await owner("react", messageId=sent)
    note = await owner("comment", messageId=sent, content="why")
    assert store.statistics() == before
    assert await owner("react", messageId=sent) == like
    assert (await owner("get", id=note["_id"]))["content"] == "why"
    await owner("delete", id=like["_id"])
    assert (await owner("react", messageId=sent))["_id"] != like["_id"]

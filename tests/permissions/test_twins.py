"""Two swarms that differ in nothing but the private rows of others: whatever a stranger asks, the answers are the same.

So nothing hidden shows in what is found, in its order and counts, in cursors, suggestions and errors.
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import dataclass, field

import anyio
import pytest

from server.resources import TEMPLATES
from storage.row import Row, by_name, columns
from storage.store import table_of
from storage.tables import BY_NAME, TABLES
from tests.clients import Swarm, Tools
from tests.hashed_words import DIMS, HashedWords
from tests.one_of_each import OPEN_TABLES, Creation, creation, one_of_each
from tests.permissions.asking import Ask, answer, complete, follow, listed, prompt, read, tool
from tests.permissions.calls import LISTS

pytestmark = pytest.mark.slow
PRIVATE = [table for table in TABLES if table.table not in OPEN_TABLES]
COMMON = "harvest"
"""A word in rows of the stranger's and in hidden ones: how rare it is must not show."""
PRIVATE_FIELDS = {("users", name) for name in ("email", "emailVerificationTime", "phone", "phoneVerificationTime")}
_DIFFERS = re.compile(r'DTSTAMP:\w+|\b1\d{12}\b|\d{4}-\d\d-\d\dT[\d:.]+Z|(?<=after\W{3})"\d+"|(?<=after\\": \\")\d+')


@dataclass
class Twins:
    """The swarm with the private rows and the one without, and the stranger's clients of both."""

    swarms: list[Swarm] = field(default_factory=list)
    strangers: list[Tools] = field(default_factory=list)
    own: dict[str, str] = field(default_factory=dict)
    hidden: list[str] = field(default_factory=list)

    async def fill(self, swarm: Swarm, words: Sequence[str]) -> None:
        """Make what is the same in both, and then private rows with some words."""
        creator_id, creator = await swarm.user("Creator")
        me, tools = await swarm.user("Stranger")
        self.own = await one_of_each(swarm, tools, me, COMMON, dims=DIMS)
        for content in ("lantern", f"{COMMON} lantern", "lantern of a long row of other words"):
            await tools("send_message", conversationId=self.own["conversations"], content=content)
        ids = {"me": creator_id}
        for name in OPEN_TABLES:
            maker = swarm.owner if name == "users" else creator
            ids[name] = await _make(maker, creation(BY_NAME[name], {}, f"open-{name}", tag="common"))
        for word in words:
            rows = dict(ids)
            for table in PRIVATE:
                call = creation(table, rows, f"{COMMON} {word}", tag="Tag open-tags", dims=DIMS)
                rows[table.table] = await _make(creator, call)
                self.hidden.append(rows[table.table])
        with anyio.fail_after(60):
            while "pending" in await swarm.owner("search", query="anything"):
                await anyio.sleep(0.01)
        self.swarms.append(swarm)
        self.strangers.append(tools)


async def _make(tools: Tools, call: Creation) -> str:
    given = {name: value for name, value in call.arguments.items() if value is not None}
    return str((await tools(call.tool, **given))["_id"])


@pytest.fixture(scope="module")
async def twins(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Twins]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("server.service.open_embedder", lambda *_: HashedWords())
        found = Twins()
        # One after the other, with their clients: what is opened last is closed first.
        async with Swarm(tmp_path_factory.mktemp("with") / "data") as swarm:
            await found.fill(swarm, ("zanzibar", "quux"))
            async with Swarm(tmp_path_factory.mktemp("without") / "data") as other:
                await found.fill(other, ())
                yield found


def about(row_id: str, own: dict[str, str]) -> Iterator[Ask]:
    """Whatever can be asked about one row by its id."""
    table = table_of(row_id)
    assert table is not None
    for name in ("get", "delete"):
        yield tool(name, id=row_id)
    yield tool("update", id=row_id, fields={"content": "x"}, ifSeq=1)
    yield tool("find", table=table.table, where={"_id": row_id})
    yield tool("find", table=table.table, where={"_id": {"gte": row_id}}, limit=200)
    yield tool("find", table=table.table, where={"_id": {"ne": row_id}}, limit=200)
    for uri in (one.uri.replace("{id}", row_id) for one in TEMPLATES):
        yield from (read(uri), follow(uri))
    for other in TABLES:
        for column in columns(other):
            if column.refers_to is not None and table.table in column.refers_to.tables:
                yield tool(
                    "find", table=other.table, where={column.name: {"has": row_id} if "[" in column.sql else row_id}
                )
    yield tool("wait_for_messages", after=row_id, timeoutSeconds=0)
    yield tool("create_reminder", message="m", remindAt=0, relatedEntity=row_id)
    yield tool("attach_prompt", promptId=own["prompts"], ownerType="group", ownerId=row_id)
    yield tool("search", query=COMMON, conversationId=row_id)
    yield tool("search", query=COMMON, ownerId=row_id)
    yield tool("search", query=COMMON, authorId=row_id)
    yield tool("find", table="agents", as_=row_id)
    yield prompt("catch_up", conversation=row_id)
    yield prompt("hand_over", agent=row_id, task="t")
    yield prompt("catch_up", conversation=own["conversations"], agent=row_id)


def lists_of(table: type[Row]) -> Iterator[Ask]:
    """A table in each order, and by parts of each text."""
    for column in columns(table):
        if (table.table, column.name) in PRIVATE_FIELDS or column.sql == "JSON" or "[" in column.sql:
            continue
        for order in (column.name, f"-{column.name}"):
            # A cursor carries the value, and times differ.
            yield tool("find", table=table.table, order=order, limit=200 if column.is_time else 3)
        if column.sql == "VARCHAR":
            yield tool("find", table=table.table, where={column.name: {"contains": COMMON[:5]}}, limit=200)
            yield tool("find", table=table.table, where={column.name: {"gte": "a"}}, limit=2)
    for name in ("tags", "participants", "tools", "attachedPrompts"):
        if name in by_name(table):
            yield tool("find", table=table.table, where={name: {"has": "Tag open-tags"}})


def without_naming() -> Iterator[Ask]:
    """Whatever can be asked of everything."""
    for table in TABLES:
        yield from lists_of(table)
    for mode in ("text", "vector", "hybrid"):
        for where in ("all", "messages", "knowledge"):
            for words in (COMMON, f"{COMMON} zanzibar", "zanzibar", "Said"):
                yield tool("search", query=words, mode=mode, in_=where, limit=200)
        yield tool("search", query=COMMON, mode=mode, tags=["Tag open-tags"], recencyDays=1.0)
    for name in ("inbox", "feed"):
        yield tool(name, limit=200)
    yield tool("wait_for_messages", after="0", timeoutSeconds=0)
    yield tool("search_knowledge_by_tag", tag="Tag open-tags")
    for words in (f"Plan {COMMON} zanzibar", f"Agent {COMMON} quux", "zanzibar", f"group {COMMON} quux"):
        for name, argument in (("get", "id"), ("list_messages", "conversationId"), ("react", "messageId")):
            yield tool(name, **{argument: words})
        yield tool("hand_over", to=words, task="t")
        yield tool("follow", followeeId=words)
        yield prompt("catch_up", conversation=words)
        yield prompt("act_as_agent", agent=words)
        yield complete("resource", "one://conversations/{id}", "id", words)
        yield complete("prompt", "act_as_agent", "agent", words)
    yield prompt("infer_insights", topic=COMMON)
    yield prompt("infer_insights", tag="Tag open-tags")
    yield from (read("one://conversations"), read("one://calendar.ics"))
    yield from (listed(method) for method in LISTS)


async def test_whatever_a_stranger_asks_hidden_rows_make_no_difference(twins: Twins) -> None:
    asked = [ask for row_id in twins.hidden for ask in about(row_id, twins.own)]
    asked += without_naming()
    for ask in asked:
        with_them, without_them = [
            _DIFFERS.sub("_", (await answer(tools.client, ask)).text) for tools in twins.strangers
        ]
        assert with_them == without_them, ask


async def test_the_scores_of_words_are_all_that_hidden_rows_shift(twins: Twins) -> None:
    """How rare a word is counts over all rows of the index: the page of permissions says so."""
    for swarm in twins.swarms:
        index = await swarm.service.engine.store.index.get(swarm.service.engine.store)
        for chunks in index.tables.values():
            await chunks.maintain()
    words = {"query": f"{COMMON} lantern", "mode": "text", "limit": 200}
    found = [(await tools("search", **words))["results"] for tools in twins.strangers]
    with_them, without_them = [sorted((row["_id"], row["content"]) for row in results) for results in found]
    assert with_them == without_them

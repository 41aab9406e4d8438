"""Reading rows by key: who asks together shares a query, and nobody gets what a visible commit has replaced."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import duckdb
import pytest

from storage.loader import KEYS_A_QUERY
from storage.tables import Message, Tag
from tests.clients import Swarm
from tests.imports import CONVERSATION, MEMBER, MESSAGE, USER, load


async def test_who_asks_for_the_same_row_gets_the_same_answer_until_a_commit_is_visible(tmp_path: Path) -> None:
    async with Swarm(tmp_path / "data") as swarm:
        tag = await swarm.owner("create_tag", name="t", color="#000000")
        store = swarm.service.engine.store
        first, second = await asyncio.gather(*(store.rows_at(Tag, [tag["seq"]]) for _ in range(2)))
        later = await store.rows_at(Tag, [tag["seq"]])
        assert first[tag["seq"]] is second[tag["seq"]] is later[tag["seq"]]

        under_way = asyncio.create_task(store.rows_at(Tag, [tag["seq"]]))
        await asyncio.sleep(0)
        await swarm.owner("update", id=tag["_id"], fields={"color": "#ffffff"})
        assert (await store.rows_at(Tag, [tag["seq"]]))[tag["seq"]].color == "#ffffff"
        await under_way


async def test_more_rows_than_a_query_takes(tmp_path: Path) -> None:
    async with Swarm(tmp_path / "data") as swarm:
        place = (await swarm.owner("create_conversation", title="C"))["_id"]
        sent = [
            await swarm.owner("send_message", conversationId=place, content=f"{number}")
            for number in range(KEYS_A_QUERY + 1)
        ]
        found = await swarm.service.engine.store.rows_at(Message, [row["seq"] for row in sent] + [10**9])
        assert [found[row["seq"]].content for row in sent] == [f"{number}" for number in range(KEYS_A_QUERY + 1)]
        assert 10**9 not in found


async def test_a_query_that_failed_is_asked_again(tmp_path: Path) -> None:
    async with Swarm(tmp_path / "data") as swarm:
        tag = await swarm.owner("create_tag", name="kept")
        store = swarm.service.engine.store
        await store.database.write(lambda connection: connection.execute("ALTER TABLE tags RENAME TO elsewhere"))
        with pytest.raises(duckdb.Error):
            await store.rows_at(Tag, [tag["seq"]])
        await store.database.write(lambda connection: connection.execute("ALTER TABLE elsewhere RENAME TO tags"))
        assert (await store.rows_at(Tag, [tag["seq"]]))[tag["seq"]].name == "kept"


async def test_messages_whose_ids_an_import_brought_along_keep_them_on_a_page(tmp_path: Path) -> None:
    nothing_in_memory: dict[str, Any] = {"rows_bytes": 0, "messages_bytes": 0}
    async with Swarm(tmp_path / "data", cache=nothing_in_memory) as swarm:
        await load(swarm, USER, CONVERSATION, MEMBER, MESSAGE)
        (own,) = (await swarm.owner("list_messages", conversationId="c-launch"))["messages"]
        assert own["_id"].startswith("msg_")
        await load(swarm, {**MESSAGE, "_id": "brought along"})
        here = await swarm.owner("list_messages", conversationId="c-launch")
    async with Swarm(tmp_path / "data", cache=nothing_in_memory) as swarm:
        later = await swarm.owner("list_messages", conversationId="c-launch")
        assert (await swarm.owner("get", id="brought along"))["conversationId"] == "c-launch"
    for page in (here, later):
        assert [message["_id"] for message in page["messages"]] == [own["_id"], "brought along"]

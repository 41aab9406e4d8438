"""The index beside the store: fusion, comparing and repairing, and what is not embedded twice."""

from __future__ import annotations

import asyncio
import shutil
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import pytest

from storage.index.fusion import Hit, fused, scaled
from storage.index.indexer import Indexer
from storage.index.search import Filters, condition, quoted
from storage.tables import Knowledge, Message
from tests.clients import Swarm
from tests.hashed_words import HashedWords

ROWS = 50
Opened = Callable[..., Any]


@pytest.fixture
def opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Opened:
    """Opens a swarm on the same directory again and again, each time with a model of its own."""

    @asynccontextmanager
    async def open_swarm(model: HashedWords) -> AsyncIterator[tuple[Swarm, Indexer]]:
        monkeypatch.setattr("server.service.open_embedder", lambda *_: model)
        async with Swarm(tmp_path / "data") as swarm:
            store = swarm.service.engine.store
            yield swarm, await store.index.get(store)

    return open_swarm


async def fill(swarm: Swarm) -> str:
    """Messages and knowledge; the conversation's id."""
    room: str = (await swarm.owner("create_conversation", title="Launch"))["_id"]
    long = " ".join(f"word{number}." for number in range(100))
    for number in range(ROWS):
        content = f"rocket {number}" + (f" {long}" if number % 10 == 0 else "")
        await swarm.owner("send_message", conversationId=room, content=content)
    for number in range(5):
        owner = {"ownerType": "user", "ownerId": swarm.service.owner.id}
        await swarm.owner("add_knowledge", **owner, content=f"cat {number}")
    return room


async def settled(index: Indexer) -> None:
    """Wait until every row has its vectors."""
    with anyio.fail_after(30):
        for table in index.tables:
            await index.catch_up(table)
        while index.pending():
            await asyncio.sleep(0.02)


async def assert_equal(swarm: Swarm, index: Indexer) -> None:
    """Every row is indexed as it is, with all its vectors, and nothing twice."""
    for table in (Message, Knowledge):
        await index.catch_up(table)
        chunks = await index.tables[table]._table.query().select(["key", "seq", "rev"]).to_list()
        assert [key for key, count in Counter(chunk["key"] for chunk in chunks).items() if count > 1] == []
        rows = await swarm.sql(f"SELECT seq, rev FROM \"{table.table}\" WHERE content <> ''")
        assert {(chunk["seq"], chunk["rev"]) for chunk in chunks} == set(rows)
        assert await index.tables[table].without_vector() == []


# -- fusion -----------------------------------------------------------------------------------------------------------


def hits(**scores: float) -> list[Hit]:
    return [Hit(int(name[1:]), 0, score) for name, score in scores.items()]


def test_scores_are_scaled_to_one() -> None:
    assert scaled([]) == {}
    assert scaled(hits(s1=7.0)) == {1: 1.0}
    assert scaled(hits(s1=4.0, s2=3.0, s3=2.0)) == {1: 1.0, 2: 0.5, 3: 0.0}
    assert scaled(hits(s1=4.0, s2=3.0), floor=0.0) == {1: 1.0, 2: 0.75}
    assert scaled(hits(s1=2.0, s2=2.0)) == {1: 1.0, 2: 1.0}


def test_both_rankings_count_by_their_weight() -> None:
    found = fused(hits(s1=4.0, s2=2.0), hits(s3=0.9, s2=0.8, s1=0.1), {1: 0.3, 2: 0.3, 3: 0.3})
    assert [one.seq for one in found] == [1, 2, 3]
    assert [round(one.score, 4) for one in found] == [0.7, 0.7 * 0.5 + 0.3 * 0.875, 0.3]


def test_one_ranking_alone_is_kept_as_it_is() -> None:
    words = hits(s1=4.0, s2=1.0)
    assert [(one.seq, one.score) for one in fused(words, [], {1: 0.5, 2: 0.5})] == [(1, 1.0), (2, 0.25)]
    meaning = hits(s1=0.4, s2=0.2)
    assert [(one.seq, one.score) for one in fused([], meaning, {1: 0.5, 2: 0.5})] == [(1, 1.0), (2, 0.0)]


def test_of_equal_ones_the_newest_is_first() -> None:
    assert [one.seq for one in fused(hits(s1=1.0, s3=1.0, s2=1.0), [], {})] == [3, 2, 1]


def test_the_place_of_the_words_wins_over_that_of_the_meaning() -> None:
    (one,) = fused([Hit(1, 700, 2.0)], [Hit(1, 0, 0.9)], {1: 0.5})
    assert one.start == 700


def test_conditions_quote_what_they_are_given() -> None:
    assert quoted("it's") == "'it''s'"
    text = condition(Knowledge, Filters(scope="a'b", tags=["x'y"], scopes=[]))
    assert text == "NOT hidden AND scope = 'a''b' AND FALSE AND array_has(tags, 'x''y')"


async def test_after_a_rest_all_words_are_in_the_index(opened: Opened, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("storage.index.indexer.REST_SECONDS", 0.1)
    async with opened(HashedWords()) as (swarm, index):
        await fill(swarm)
        await settled(index)
        table = index.tables[Message]._table
        (words,) = [found for found in await table.list_indices() if found.columns == ["words"]]
        with anyio.fail_after(30):
            while (stats := await table.index_stats(words.name)) is None or stats.num_unindexed_rows:
                await asyncio.sleep(0.02)
        assert stats.num_indexed_rows == await table.count_rows()


async def test_vectors_do_not_stay_in_memory_until_the_hub_ends(
    opened: Opened, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("storage.index.embeddings.CHECKPOINT_VECTORS", 1)
    async with opened(HashedWords()) as (swarm, index):
        await fill(swarm)
        await settled(index)
        log = swarm.directory / "embeddings.duckdb.wal"
        assert not log.exists() or log.stat().st_size == 0
        assert await index._kept.count() >= ROWS


# -- comparing and repairing ------------------------------------------------------------------------------------------


async def nothing(_: Indexer) -> None:
    """No damage."""


async def rows_gone(index: Indexer) -> None:
    await index.tables[Message]._table.delete("seq % 3 = 0")


async def all_gone(index: Indexer) -> None:
    await index.tables[Message]._table.delete("true")


async def older(index: Indexer) -> None:
    await index.tables[Message]._table.update({"rev": 1}, where="seq % 4 = 0")


async def chunks_without_vectors(index: Indexer) -> None:
    await index.tables[Message]._table.update(updates_sql={"vector": "NULL"}, where="seq % 5 = 0")


async def rows_nobody_knows(index: Indexer) -> None:
    await index.tables[Message]._table.update(
        updates_sql={"seq": "seq + 1000000", "key": "key + 1024000000"}, where="seq % 6 = 0"
    )


async def hidden_wrongly(index: Indexer) -> None:
    await index.tables[Knowledge]._table.update({"hidden": True})


async def names_of_others(index: Indexer) -> None:
    await index.tables[Message]._table.update({"speaker": 7, "words": "Somebody: something"}, where="seq % 2 = 0")


@pytest.mark.parametrize(
    "damage",
    [
        nothing,
        rows_gone,
        all_gone,
        older,
        chunks_without_vectors,
        rows_nobody_knows,
        hidden_wrongly,
        names_of_others,
    ],
)
async def test_a_damaged_index_repairs_itself_at_the_next_start(
    opened: Opened, damage: Callable[[Indexer], Awaitable[None]]
) -> None:
    async with opened(HashedWords()) as (swarm, index):
        await fill(swarm)
        await settled(index)
        await assert_equal(swarm, index)
        await damage(index)
    again = HashedWords()
    async with opened(again) as (swarm, index):
        await settled(index)
        await assert_equal(swarm, index)
        found = await swarm.owner("search", query=swarm.service.owner.name, mode="text", limit=50)
        assert len(found["results"]) == ROWS
        found = await swarm.owner("search", query="cat", mode="text", limit=50)
        assert len(found["results"]) == 5
        assert again.embedded == []  # the vectors of all texts were kept


async def test_a_deleted_index_costs_no_embedding(opened: Opened, tmp_path: Path) -> None:
    async with opened(HashedWords()) as (swarm, index):
        await fill(swarm)
        await settled(index)
    shutil.rmtree(tmp_path / "data" / "vectors")
    again = HashedWords()
    async with opened(again) as (swarm, index):
        await settled(index)
        await assert_equal(swarm, index)
        assert again.embedded == []
        assert (await swarm.owner("search", query="feline", mode="vector"))["results"][0]["table"] == "knowledge"


@pytest.mark.parametrize("pattern", ["**/*.lance", "**/*.manifest", "**/*.idx"])
async def test_a_directory_with_damaged_files_is_made_anew(opened: Opened, tmp_path: Path, pattern: str) -> None:
    async with opened(HashedWords()) as (swarm, index):
        await fill(swarm)
        await settled(index)
        for table in index.tables.values():
            await table.maintain()
    damaged = [path for path in (tmp_path / "data" / "vectors").glob(pattern) if path.is_file()]
    assert damaged or pattern == "**/*.idx"
    for path in damaged:
        path.write_bytes(b"not what it was")
    again = HashedWords()
    async with opened(again) as (swarm, index):
        await settled(index)
        await assert_equal(swarm, index)
        found = await swarm.owner("search", query="rocket", mode="text", limit=50)
        assert len(found["results"]) == ROWS
        assert again.embedded == []


async def test_a_table_without_its_indexes_gets_them(opened: Opened) -> None:
    """The hub may be killed between making a table and making its indexes."""
    async with opened(HashedWords()) as (swarm, index):
        await fill(swarm)
        await settled(index)
        for found in await index.tables[Message]._table.list_indices():
            await index.tables[Message]._table.drop_index(found.name)
    async with opened(HashedWords()) as (swarm, index):
        assert len((await swarm.owner("search", query="rocket", mode="text", limit=50))["results"]) == ROWS


@pytest.mark.parametrize("step", ["put", "keep", "read"])
async def test_what_was_cut_off_is_done_at_the_next_start(
    opened: Opened, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    """Whichever of its steps the indexer did not come to, and whichever it did before."""
    from storage.index.embeddings import Embeddings
    from storage.index.lance import ChunkTable
    from storage.index.reading import DocumentReader

    owner_of = {"put": ChunkTable, "keep": Embeddings, "read": DocumentReader}[step]
    calls = 0
    whole = getattr(owner_of, step)

    async def cut_off(*arguments: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls % 2 == 0:
            raise OSError("cut off")
        return await whole(*arguments)

    with monkeypatch.context() as patched:
        async with opened(HashedWords()) as (swarm, index):
            patched.setattr(owner_of, step, cut_off)
            await fill(swarm)
            await asyncio.sleep(0)
            while calls < 2:  # a message now and then: the indexer waits for a quiet moment
                await swarm.owner("send_message", conversationId="conv_2", content=f"again {calls}")
                await asyncio.sleep(0.2)
    async with opened(HashedWords()) as (swarm, index):
        await settled(index)
        await assert_equal(swarm, index)


async def test_searches_and_changes_at_once_leave_no_duplicates(opened: Opened) -> None:
    async with opened(HashedWords()) as (swarm, index):
        room = await fill(swarm)
        messages = [row["_id"] for row in await swarm.owner.find("conversationMessages")]

        async def change(part: int) -> None:
            for number, message in enumerate(messages[part::4]):
                await swarm.owner("update", id=message, fields={"content": f"rocket changed {number}"})
                if number % 5 == 0:
                    await swarm.owner("delete", id=message)

        async def search() -> None:
            for _ in range(30):
                await swarm.owner("search", query="rocket", conversationId=room)

        async def rename() -> None:
            for number in range(10):
                await swarm.owner("update", id=swarm.service.owner.id, fields={"name": f"Name{number}"})

        await asyncio.gather(*(change(part) for part in range(4)), search(), search(), rename())
        await settled(index)
        await assert_equal(swarm, index)
        found = await swarm.owner("search", query="Name9", mode="text", limit=50)
        left = await swarm.sql("SELECT count(*) FROM \"conversationMessages\" WHERE content <> ''")
        assert [(len(found["results"]),)] == left


# -- models -----------------------------------------------------------------------------------------------------------


async def test_searches_that_wait_together_are_served_by_one_round(opened: Opened) -> None:
    async with opened(HashedWords()) as (swarm, index):
        room = await fill(swarm)
        await settled(index)
        work = index._work[Message]
        async with index._turn:
            await swarm.owner("send_message", conversationId=room, content="lantern one")
            searches = [asyncio.create_task(swarm.owner("search", query="lantern", mode="text")) for _ in range(10)]
            with anyio.fail_after(30):
                while len(index._turn._waiters or ()) < len(searches):
                    await asyncio.sleep(0)
            await swarm.owner("send_message", conversationId=room, content="lantern two")
            begun = work.rounds_begun
        for found in await asyncio.gather(*searches):
            assert "lantern one" in {row["content"] for row in found["results"]}
        assert work.rounds_begun <= begun + 2  # of the indexer itself there may be one
        # Who comes later finds what came later.
        found = await swarm.owner("search", query="lantern", mode="text")
        assert len(found["results"]) == 2


async def test_another_model_embeds_everything_and_the_first_one_nothing_again(opened: Opened) -> None:
    async with opened(HashedWords()) as (swarm, index):
        await fill(swarm)
        await settled(index)
    other = HashedWords("other")
    async with opened(other) as (swarm, index):
        await settled(index)
        await assert_equal(swarm, index)
        assert len(set(other.embedded)) > ROWS
    first = HashedWords()
    async with opened(first) as (swarm, index):
        await settled(index)
        await assert_equal(swarm, index)
        assert first.embedded == []


async def test_a_model_that_fails_is_told_and_words_go_on(opened: Opened) -> None:
    model = HashedWords()
    model.broken = True
    async with opened(model) as (swarm, index):
        await fill(swarm)
        with anyio.fail_after(10):
            while index.alarm() is None:
                await asyncio.sleep(0.02)
        assert "does not answer" in str(index.alarm())
        found = await swarm.owner("search", query="rocket", limit=50)
        assert (len(found["results"]), found["mode"]) == (ROWS, "text")


async def test_nothing_of_what_was_deleted_stays(opened: Opened) -> None:
    async with opened(HashedWords()) as (swarm, index):
        room = await fill(swarm)
        await settled(index)
        await swarm.owner("delete", id=room)
        for row in await swarm.owner.find("knowledge"):
            await swarm.owner("delete", id=row["_id"])
        await settled(index)
        await assert_equal(swarm, index)
        assert await index._kept.count() == 0

from __future__ import annotations

import asyncio

from storage.timeline import Timeline


async def test_what_comes_before_the_stored_rows_is_kept_behind_them() -> None:
    timeline = Timeline()
    timeline.add("a", 3)
    timeline.add("a", 5)
    timeline.add("gone", 4)
    timeline.forget("gone")
    waiting = asyncio.create_task(timeline.ready())
    await asyncio.sleep(0)
    assert not waiting.done()
    timeline.load([("a", [1, 3]), ("gone", [2])])
    await waiting
    timeline.add("a", 8)
    assert list(timeline.before("a", None, 10)[0]) == [1, 3, 5, 8]
    assert list(timeline.before("gone", None, 10)[0]) == []
    assert timeline.count() == 4


async def test_what_is_removed_before_the_stored_rows_come_stays_away() -> None:
    timeline = Timeline()
    timeline.add("a", 9)
    timeline.remove("a", 9)
    timeline.remove("a", 2)
    timeline.remove("b", 5)
    timeline.load([("a", [1, 2, 3]), ("b", [5])])
    assert list(timeline.of("a")) == [1, 3]
    assert list(timeline.of("b")) == []
    timeline.remove("a", 2)
    timeline.remove("none", 2)
    timeline.remove("a", 3)
    timeline.add("a", 10)
    assert list(timeline.of("a")) == [1, 10]
    assert timeline.count() == 2


def test_pages_and_what_comes_after_a_row() -> None:
    timeline = Timeline()
    timeline.load([("a", [2, 4, 6, 8])])
    for seq, limit, page, more in [
        (None, 2, [6, 8], True),
        (6, 2, [2, 4], False),
        (7, 2, [4, 6], True),
        (2, 2, [], False),
        (None, 9, [2, 4, 6, 8], False),
        (100, 1, [8], True),
    ]:
        seqs, earlier = timeline.before("a", seq, limit)
        assert (list(seqs), earlier) == (page, more)
    assert list(timeline.after("a", 4)) == [6, 8]
    assert list(timeline.after("a", 3)) == [4, 6, 8]
    assert list(timeline.after("none", 0)) == []


def test_a_parent_that_comes_back_before_the_stored_rows_come_keeps_its_new_ones() -> None:
    timeline = Timeline()
    timeline.add("a", 4)
    timeline.forget("a")
    timeline.add("a", 9)
    timeline.load([("a", [1, 4])])
    assert list(timeline.of("a")) == [9]

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from storage.cache import ByteBudget, Loads


@pytest.fixture
def cache() -> ByteBudget[str, str]:
    return ByteBudget(10, len)


def test_the_least_recently_used_go_first(cache: ByteBudget[str, str]) -> None:
    for key in "abc":
        cache.put(key, key * 3)
    assert cache.get("a") == "aaa"
    cache.put("d", "dddd")
    assert [key for key in "abcd" if key in cache] == ["a", "c", "d"]
    assert cache.used == 10


def test_what_is_larger_than_the_budget_displaces_nothing_else() -> None:
    evicted: list[str] = []
    cache: ByteBudget[str, str] = ByteBudget(10, len, evicted.append)
    cache.put("a", "aaa")
    cache.put("b", "b" * 11)
    assert cache.get("b") is None
    assert cache.get("a") == "aaa"
    cache.put("a", "a" * 11)
    assert cache.get("a") is None
    assert cache.used == 0
    assert evicted == ["b" * 11, "a" * 11]


@given(
    st.integers(0, 12),
    st.lists(st.tuples(st.sampled_from("abcd"), st.one_of(st.none(), st.text("x", max_size=15))), max_size=40),
)
def test_it_never_holds_more_than_its_budget(budget: int, steps: list[tuple[str, str | None]]) -> None:
    cache: ByteBudget[str, str] = ByteBudget(budget, len)
    last: dict[str, str] = {}
    for key, value in steps:
        if value is None:
            cache.discard(key)
            last.pop(key, None)
        elif (held_value := cache.get(key)) is not None:
            cache.replace(key, value, len(value) - len(held_value))
            last[key] = value
        else:
            cache.put(key, value)
            last[key] = value
        assert cache.used <= budget
        held = {key: cache.get(key) for key in "abcd" if key in cache}
        assert cache.used == sum(len(value or "") for value in held.values())
        assert held.items() <= last.items()
    cache.clear()
    assert (cache.used, len(cache)) == (0, 0)


def test_a_commit_tells_the_reads_that_it_overtakes() -> None:
    loads = Loads()
    with loads.track("a") as first, loads.track("a") as second, loads.track("b") as other:
        loads.touch("a")
        with loads.track("a") as late:
            assert (first.stale, second.stale, other.stale, late.stale) == (True, True, False, False)
        loads.touch_all()
        assert other.stale


@pytest.mark.parametrize("first_ends_first", [True, False])
def test_reads_of_the_same_end_in_any_order(first_ends_first: bool) -> None:
    loads = Loads()
    tracks = [loads.track("a"), loads.track("a")]
    first, second = [track.__enter__() for track in tracks]
    tracks[0 if first_ends_first else 1].__exit__(None, None, None)
    loads.touch("a")
    assert (first.stale, second.stale) == (not first_ends_first, first_ends_first)
    tracks[1 if first_ends_first else 0].__exit__(None, None, None)
    loads.touch("a")

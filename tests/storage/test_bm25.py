"""BM25 by our own count, beside LanceDB's and beside the formula."""

from __future__ import annotations

import math
from pathlib import Path

import lancedb
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from lancedb.index import FTS

from storage.index.bm25 import LENGTH_SHARE, SATURATION, STOP_WORDS, scores

TEXTS = [
    "Ada: the horses were running in the café",
    "MÜLLER runs; x-ray of a foo_bar, 3.14",
    "don't say naïve things about dying skies",
    "Ada and Ada again, running",
    "火箭 飞",
]
WORDS = ["rocket", "falcon", "fly", "moon"]


def scored(query: str, texts: list[str], total: int | None = None) -> list[float]:
    """The scores as floats."""
    found: list[float] = scores(query, pa.chunked_array([texts], pa.string()), total or len(texts)).tolist()
    return found


async def matching(tmp_path: Path, texts: list[str], queries: list[str]) -> dict[str, set[str]]:
    """What LanceDB finds with each query."""
    database = await lancedb.connect_async(str(tmp_path))
    table = await database.create_table("texts", pa.table({"words": texts}))
    await table.create_index("words", config=FTS(with_position=False))
    found = {}
    for query in queries:
        rows = await table.query().nearest_to_text(query).limit(len(texts)).to_arrow()
        found[query] = set(rows["words"].to_pylist())
    return found


@pytest.mark.parametrize(
    "query",
    [
        "running",
        "horse café",
        "muller",
        "ray",
        "foo",
        "3",
        "naive die",
        "ada",
        "the",
        "don't",
        "火箭",
        "?!",
        "aß",
        "ﾞ",
        "ﾞ ada",
    ],
)
async def test_words_match_as_in_lancedb(tmp_path: Path, query: str) -> None:
    found = (await matching(tmp_path, TEXTS, [query]))[query]
    assert {text for text, score in zip(TEXTS, scored(query, TEXTS), strict=True) if score > 0} == found


async def test_the_stop_words_are_those_of_lancedb(tmp_path: Path) -> None:
    words = sorted({*STOP_WORDS, "rocket", "ani", "becaus", "befor", "veri", "could", "would", "shall"})
    found = await matching(tmp_path, words, words)
    assert {word for word in words if word not in found[word]} == STOP_WORDS


def test_rows_that_came_while_they_were_counted_are_not_worth_less_than_none() -> None:
    assert all(score > 0 for score in scored("rocket", ["rocket", "rocket moon"], total=1))


@given(st.lists(st.lists(st.sampled_from(WORDS), min_size=1), min_size=1, max_size=8), st.sets(st.sampled_from(WORDS)))
def test_the_formula(texts: list[list[str]], query: set[str]) -> None:
    total = len(texts) + 5
    average = sum(map(len, texts)) / len(texts)
    expected = []
    for text in texts:
        score = 0.0
        for word in query:
            occurs, count = sum(word in one for one in texts), text.count(word)
            rarity = math.log(1 + (total - occurs + 0.5) / (occurs + 0.5))
            damped = SATURATION * (1 - LENGTH_SHARE + LENGTH_SHARE * len(text) / average)
            score += rarity * count * (SATURATION + 1) / (count + damped)
        expected.append(score)
    assert scored(" ".join(query), [" ".join(text) for text in texts], total) == pytest.approx(expected)

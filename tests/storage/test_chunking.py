"""Long texts in pieces: nothing is lost, offsets are right, cuts are where a reader would make them."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from storage.embedding.chunking import Chunk, split


def words(text: str) -> int:
    """A tokenizer that is easy to reckon with: a token for each word, more for long ones."""
    return sum(-(-len(word) // 10) for word in text.split())


def texts(chunks: list[Chunk]) -> list[str]:
    return [chunk.text for chunk in chunks]


@given(st.text(st.sampled_from("ab .!?\n\t。,'\")é"), max_size=400), st.integers(8, 40))
def test_chunks_cover_the_text_within_the_limit(text: str, limit: int) -> None:
    chunks = split(text, words, limit)
    covered: set[int] = set()
    for chunk in chunks:
        assert chunk.text == text[chunk.start : chunk.end] != ""
        assert chunk.text == chunk.text.strip()
        assert words(chunk.text) <= limit
        covered |= set(range(chunk.start, chunk.end))
    assert all(text[place].isspace() for place in set(range(len(text))) - covered)
    assert all(one.start < two.start and one.end < two.end for one, two in pairwise(chunks))


def test_a_short_text_is_one_chunk_without_its_blank_ends() -> None:
    assert split("  \n Hello there.  How are you? \n", words, 10) == [Chunk(4, 30, "Hello there.  How are you?")]


def test_a_blank_text_has_no_chunk() -> None:
    assert split("", words, 10) == split(" \n\t ", words, 10) == []


def test_cuts_are_between_sentences() -> None:
    sentences = [f"This is sentence number {number} of all!" for number in range(20)]
    chunks = split(" ".join(sentences), words, 24)
    assert all(chunk.text.startswith("This is") and chunk.text.endswith("of all!") for chunk in chunks)


def test_cuts_are_between_lines() -> None:
    lines = [f"- item {number} without a full stop" for number in range(20)]
    chunks = split("\n".join(lines), words, 24)
    assert all(chunk.text.startswith("- item") and chunk.text.endswith("full stop") for chunk in chunks)


def test_neighbours_share_a_sentence_if_it_is_short() -> None:
    text = " ".join(f"Sentence {number}." for number in range(100))
    chunks = split(text, words, 32)
    for one, two in pairwise(chunks):
        assert two.start < one.end
        assert 1 <= words(text[two.start : one.end]) <= 4


def test_the_last_chunk_is_no_crumb() -> None:
    text = " ".join(f"Sentence {number}." for number in range(65))  # 130 tokens: five short of a fifth chunk
    sizes = [words(chunk.text) for chunk in split(text, words, 32)]
    assert min(sizes) >= max(sizes) // 2


def test_a_long_sentence_is_cut_between_words() -> None:
    chunks = split("word " * 100, words, 20)
    assert all(set(chunk.text.split()) == {"word"} for chunk in chunks)


def test_a_long_word_is_cut_anywhere() -> None:
    chunks = split("start " + "x" * 1000 + " end", words, 20)
    assert all(words(chunk.text) <= 20 for chunk in chunks)
    assert texts(chunks)[0].startswith("start x")
    assert texts(chunks)[-1].endswith("x end")


def test_runs_of_spaces_that_count_are_cut_too() -> None:
    assert split(" " * 1000, len, 20) == []
    assert texts(split("one" + " " * 1000 + "two", len, 20)) == ["one", "two"]


def test_a_sentence_ends_without_a_space_where_a_script_has_none() -> None:
    chunks = split("东京是日本的首都。" * 10, len, 20)
    assert all(chunk.text.startswith("东京") and chunk.text.endswith("首都。") for chunk in chunks)

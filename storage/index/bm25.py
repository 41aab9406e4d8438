"""BM25 by the statistics of the texts that somebody may see.

LanceDB counts how often a word occurs over all rows, whoever may see them. A caller who sees some rows only could tell
from the order and the scores of their own how common a word is in the others'. Those callers' hits are scored here.
"""

from __future__ import annotations

import re
import unicodedata
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import pyarrow as pa

SATURATION, LENGTH_SHARE = 1.2, 0.75
"""k1 and b; LanceDB has the same."""
NOT_ALPHANUMERIC = r"[^\pL\pN]+"
"""What separates words, for RE2: as in LanceDB's "simple" tokenizer."""
STOP_WORDS = frozenset(
    """
    a about after again against ain all am an and are aren as at be been below between both but by can couldn d
    did didn do doesn don down each few for from further had hadn has hasn have haven he her here herself him
    himself his how i if in into is isn it itself just ll m ma me mightn more most mustn my myself needn no nor
    not now o of off on or other our out over own re s same shan she should shouldn so some such t than that the
    their them then there these they this those through to too under until up ve was wasn we were weren what when
    where which while who whom will with won wouldn y you your yourself
    """.split()  # noqa: SIM905 - read as words
)
"""Stems of English words that LanceDB leaves out of its index."""


def scores(query: str, texts: pa.ChunkedArray, total: int) -> np.ndarray[Any, Any]:
    """BM25 of each text (float64, 0 where no word of the query occurs).

    `texts` are all that match of `total` visible ones, or the best: a word is taken to occur in no others. Robertson,
    Zaragoza: The Probabilistic Relevance Framework: BM25 and Beyond (2009), with the idf of Lucene, which is never
    negative.
    """
    import pyarrow.compute as pc
    from Stemmer import Stemmer

    stem = Stemmer("english", 0).stemWords
    asked = {_folded(word) for word in stem(re.findall(r"[^\W_]+", query.lower())) if word not in STOP_WORDS} - {""}
    if not asked or not len(texts):
        return np.zeros(len(texts))
    place = {word: number for number, word in enumerate(sorted(asked))}
    words = pc.split_pattern_regex(pc.utf8_lower(texts.combine_chunks()), NOT_ALPHANUMERIC)
    encoded = pc.list_flatten(words).dictionary_encode()
    # Of each word of each text: which text, and which word of the query (-1: none).
    text = pc.list_parent_indices(words).to_numpy()
    kinds = np.full(len(encoded.dictionary), -1)
    # Stemming changes no first letter, so a few words need to be looked at in Python, and folding only these.
    initials = "".join(sorted({word[0] for word in asked}))
    likely = pc.indices_nonzero(pc.match_substring_regex(encoded.dictionary, f"^[{initials}]|^[^[:ascii:]]"))
    kinds[likely] = [place.get(_folded(word), -1) for word in stem(encoded.dictionary.take(likely).to_pylist())]
    which = kinds[encoded.indices.to_numpy()]
    found = which >= 0
    counts = np.bincount(text[found] * len(place) + which[found], minlength=len(texts) * len(place))
    counts = counts.reshape(len(texts), len(place))
    occurs = (counts > 0).sum(axis=0)
    total = max(total, len(texts))  # it was counted beside, and somebody may have written
    rarity = np.log1p((total - occurs + 0.5) / (occurs + 0.5))
    lengths = np.bincount(text, minlength=len(texts))
    damped = SATURATION * (1 - LENGTH_SHARE + LENGTH_SHARE * lengths / lengths.mean())
    score: np.ndarray[Any, Any] = (rarity * counts * (SATURATION + 1) / (counts + damped[:, None])).sum(axis=1)
    return score


def _folded(word: str) -> str:
    """Without accents."""
    if word.isascii():
        return word
    return "".join(letter for letter in unicodedata.normalize("NFKD", word) if not unicodedata.combining(letter))

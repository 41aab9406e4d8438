"""BERT's uncased WordPiece tokenizer, in the steps of its reference implementation.

Text is decomposed (NFD), lower-cased and stripped of accents and control characters; spaces, punctuation and CJK
ideographs part it into words; a word is cut into the longest pieces of the vocabulary, from left to right. Unlike the
reference, "[SEP]" and its like inside a text are plain text: what somebody writes must not steer the model.
"""

from __future__ import annotations

import functools
import string
import unicodedata
from importlib.resources import files

_UNKNOWN = "[UNK]"
_CONTINUED = "##"
_WORD_CHARACTERS = 100
"""A longer word is one unknown token."""
_CACHED_WORDS = 20_000
_LAST_KEPT = 0xFFFF
"""The last code point whose treatment is remembered: no text can fill the memory with a million of them."""
_PUNCTUATION = frozenset(string.punctuation)
_DROPPED = frozenset({"Cc", "Cf", "Co", "Cs", "Mn"})
"""Control, format, private and surrogate characters; accents. Not what the Unicode tables do not know yet."""
_CJK = (
    (0x4E00, 0x9FFF),
    (0x3400, 0x4DBF),
    (0x20000, 0x2A6DF),
    (0x2A700, 0x2B73F),
    (0x2B740, 0x2B81F),
    (0x2B920, 0x2CEAF),
    (0xF900, 0xFAFF),
    (0x2F800, 0x2FA1F),
)
"""The ideographs that BERT takes for words of their own: first and last code point of each block."""


class WordPiece:
    """Cuts text into token ids. Safe to use from several threads."""

    def __init__(self, vocabulary: list[str]) -> None:
        """`vocabulary`: the tokens, each at the index that is its id."""
        self._ids = {token: number for number, token in enumerate(vocabulary)}
        self._unknown = (self._ids[_UNKNOWN],)
        self._longest = max(map(len, vocabulary))
        self._characters = _Characters()
        # Most words of a text were seen before. The cache belongs to the instance, so it goes when the model goes.
        self._pieces = functools.lru_cache(_CACHED_WORDS)(self._cut)

    @classmethod
    def bert_uncased(cls) -> WordPiece:
        """With the vocabulary of bert-base-uncased, 30,522 tokens."""
        text = files(__package__).joinpath("vocab.txt").read_text(encoding="utf-8")
        return cls(text.removesuffix("\n").split("\n"))

    def id(self, token: str) -> int:
        """The id of a token of the vocabulary; KeyError if there is none."""
        return self._ids[token]

    def encode(self, text: str) -> list[int]:
        """The ids of the text, without special tokens."""
        words = unicodedata.normalize("NFD", text).translate(self._characters).split()
        return [piece for word in words for piece in self._pieces(word)]

    def _cut(self, word: str) -> tuple[int, ...]:
        if len(word) > _WORD_CHARACTERS:
            return self._unknown
        pieces = []
        start = 0
        while start < len(word):
            prefix = _CONTINUED if start else ""
            for end in range(min(len(word), start + self._longest), start, -1):
                piece = self._ids.get(prefix + word[start:end])
                if piece is not None:
                    break
            else:
                return self._unknown
            pieces.append(piece)
            start = end
        return tuple(pieces)


class _Characters(dict[int, str]):
    """What each character of a decomposed text becomes, worked out when it is first met. For `str.translate`."""

    def __missing__(self, code: int) -> str:
        result = _normal(chr(code))
        if code <= _LAST_KEPT:
            self[code] = result
        return result


def _normal(character: str) -> str:
    category = unicodedata.category(character)
    if character in "\t\n\r" or category.startswith("Z"):
        return " "
    if category in _DROPPED or character == "\N{REPLACEMENT CHARACTER}":
        return ""
    if character in _PUNCTUATION or category.startswith("P") or _is_ideograph(ord(character)):
        return f" {character} "
    return character.lower()


def _is_ideograph(code: int) -> bool:
    return any(first <= code <= last for first, last in _CJK)

"""Short names for lines of text, and sets of them that take little memory. Standard library only."""

from __future__ import annotations

import hashlib
from array import array
from bisect import bisect_left
from collections.abc import Iterable

_BUCKETS = 4096


def line_digest(line: str, occurrence: int) -> int:
    """64 bits that name the line which has `occurrence` equal ones before it in its file, wherever in the file it is.

    Two of a million lines have the same with a probability of 3 in 100 million.
    """
    text = line if occurrence == 0 else f"{occurrence}\n{line}"
    return int.from_bytes(hashlib.blake2b(text.encode(errors="surrogatepass"), digest_size=8).digest(), "big")


def knowledge_digest(owner_id: str, content: str) -> int:
    """64 bits that name a text of an owner; `KNOWLEDGE_DIGEST` is the same in SQL."""
    text = f"{owner_id}\n{content}"
    return int.from_bytes(hashlib.md5(text.encode(), usedforsecurity=False).digest()[8:], "little")


KNOWLEDGE_DIGEST = 'md5_number_lower("ownerId" || chr(10) || content)'


class Digests:
    """A set of 64-bit numbers in 9 bytes each; Python's own takes 70."""

    def __init__(self) -> None:
        self._buckets = [array("Q") for _ in range(_BUCKETS)]
        self.loaded = False
        """Whether what was stored before has been taken in."""

    def load(self, stored: Iterable[int]) -> None:
        """Take in what was stored before."""
        for digest in stored:
            self.add(digest)
        self.loaded = True

    def __contains__(self, digest: int) -> bool:
        bucket = self._buckets[digest % _BUCKETS]
        place = bisect_left(bucket, digest)
        return place < len(bucket) and bucket[place] == digest

    def add(self, digest: int) -> bool:
        """Take it in; whether it is new."""
        bucket = self._buckets[digest % _BUCKETS]
        place = bisect_left(bucket, digest)
        if place < len(bucket) and bucket[place] == digest:
            return False
        bucket.insert(place, digest)
        return True

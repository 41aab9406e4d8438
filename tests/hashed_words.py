"""A stand-in for an embedding model in tests: quick, and the same text always has the same vector."""

from __future__ import annotations

import threading
import zlib

import numpy as np

from storage.embedding import EmbeddingUnavailable, NoEmbedder
from storage.embedding.vectors import Vectors

DIMS = 64
SYNONYMS = {"feline": "cat", "kitten": "cat", "automobile": "car", "physician": "doctor"}


class HashedWords(NoEmbedder):
    """Texts with common words, or synonyms, are near each other. `gate` stops it, `broken` makes it fail."""

    dims = DIMS
    max_tokens = 40

    def __init__(self, name: str = "hashed-words") -> None:
        self.id = f"test/{name}/{DIMS}"
        self.gate = threading.Event()
        self.gate.set()
        self.broken = False
        self.embedded: list[str] = []

    def embed_documents(self, texts: list[str]) -> Vectors:
        assert self.gate.wait(60)
        if self.broken:
            raise EmbeddingUnavailable("The model does not answer.")
        self.embedded += texts
        return np.stack([_vector(text) for text in texts])

    def embed_query(self, text: str) -> Vectors:
        if self.broken:
            raise EmbeddingUnavailable("The model does not answer.")
        return _vector(text)


def _vector(text: str) -> Vectors:
    vector = np.full(DIMS, 1e-3, dtype=np.float32)
    for word in text.lower().replace(".", " ").replace("?", " ").split():
        vector[zlib.crc32(SYNONYMS.get(word, word).encode()) % DIMS] += 1
    normalised: Vectors = vector / np.linalg.norm(vector)
    return normalised

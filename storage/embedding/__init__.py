"""Texts as vectors: the models that make them, and the chunks that long texts are cut into."""

from storage.embedding.chunking import Chunk
from storage.embedding.embedder import (
    Embedder,
    EmbeddingError,
    EmbeddingSettings,
    EmbeddingUnavailable,
    NoEmbedder,
    open_embedder,
)

__all__ = [
    "Chunk",
    "Embedder",
    "EmbeddingError",
    "EmbeddingSettings",
    "EmbeddingUnavailable",
    "NoEmbedder",
    "open_embedder",
]

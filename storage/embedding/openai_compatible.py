"""Embeddings from a service that speaks OpenAI's HTTP interface: OpenAI, Ollama, vLLM, LM Studio and others."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx2
import numpy as np

from storage.embedding.chunking import Chunk, chunking, estimate, split
from storage.embedding.embedder import EmbeddingError, EmbeddingSettings, EmbeddingUnavailable
from storage.embedding.keys import api_key
from storage.embedding.lazy import Lazy
from storage.embedding.vectors import Vectors, normalised

_BATCH = 64
_ATTEMPTS = {"query": 2, "document": 3}
"""Someone waits for a query; documents come again later, for the indexer keeps its queue."""
_FIRST_WAIT = 0.5
_LONGEST_WAIT = 5.0
"""Seconds between attempts; doubled each time, more if the service says so."""
_BUSY = (408, 429)
_UNAUTHORISED = (401, 403)
_SHOWN = 300
"""Characters of a service's message that go into ours."""


class OpenAICompatible:
    """`POST {base_url}/embeddings` with the configured model.

    With `dims` 0 the model's own number is taken; another number is asked for with `dimensions` if the model's differs.
    """

    def __init__(self, settings: EmbeddingSettings, data_dir: Path) -> None:
        """Raises EmbeddingError if `base_url` or `model` cannot be used."""
        place = _place(settings.base_url)
        if place is None:
            raise EmbeddingError(f"embedding.base_url is like https://api.openai.com/v1, not {settings.base_url!r}.")
        if not settings.model:
            raise EmbeddingError("embedding.model is empty: name a model that the service at embedding.base_url has.")
        self._place = place
        self._settings = settings
        self._data_dir = data_dir
        self._found_dims = 0
        self._ask_for_dims = False
        self._key = ""
        self._client = Lazy(self._open_client, lambda client: client.close())

    @property
    def max_tokens(self) -> int:
        """`embedding.max_tokens`."""
        return self._settings.max_tokens

    @property
    def dims(self) -> int:
        """The configured number, or the model's own, for which the service is asked once."""
        if not self._settings.dims and not self._found_dims:
            self._embed(["dimensions?"], _ATTEMPTS["query"])
        return self._settings.dims or self._found_dims

    @property
    def id(self) -> str:
        """Names the service too: what goes by one model name differs between services. Asks for `dims` if need be."""
        prefixes = f"{self._settings.query_prefix}|{self._settings.document_prefix}"
        return f"openai/{self._place}/{self._settings.model}/{self.dims}/{prefixes}/{chunking(self.max_tokens)}"

    def count(self, text: str) -> int:
        """An estimate: only the service has the tokenizer."""
        return estimate(text)

    def chunk(self, text: str) -> list[Chunk]:
        """The text in pieces of at most `max_tokens`."""
        return split(text, self.count, self.max_tokens)

    def embed_documents(self, texts: list[str]) -> Vectors:
        """float32 `[len(texts), dims]`. The service decides what becomes of a text that is too long for its model."""
        prefixed = [self._settings.document_prefix + text for text in texts]
        batches = [prefixed[start : start + _BATCH] for start in range(0, len(texts), _BATCH)]
        if not batches:
            return np.zeros((0, self.dims), np.float32)
        return np.concatenate([self._embed(batch, _ATTEMPTS["document"]) for batch in batches])

    def embed_query(self, text: str) -> Vectors:
        """float32 `[dims]`."""
        vector: Vectors = self._embed([self._settings.query_prefix + text], _ATTEMPTS["query"])[0]
        return vector

    def unload(self, idle_seconds: float = 0.0) -> bool:
        """Close the connections if they were not used for so long."""
        return self._client.drop(idle_seconds)

    def _embed(self, texts: list[str], attempts: int) -> Vectors:
        vectors = self._post(texts, attempts)
        wanted = self._settings.dims or self._found_dims
        if self._settings.dims not in (0, vectors.shape[1]) and not self._ask_for_dims:
            self._ask_for_dims = True  # not before: many services refuse `dimensions`, even with the right number
            vectors = self._post(texts, attempts)
        found = vectors.shape[1]
        if wanted and found != wanted:
            raise EmbeddingError(
                f"{self._settings.model} at {self._place} makes vectors of {found} dimensions, not {wanted}. "
                f"Set embedding.dims to {found}, or to 0 to take what it makes."
            )
        self._found_dims = found
        return vectors

    def _post(self, texts: list[str], attempts: int) -> Vectors:
        inputs = [text if text.strip() else "-" for text in texts]  # some services refuse a blank one
        body: dict[str, Any] = {"model": self._settings.model, "input": inputs}
        if self._ask_for_dims:
            body["dimensions"] = self._settings.dims
        pause = _FIRST_WAIT
        while True:
            attempts -= 1
            try:
                return self._vectors(self._answer(body), len(texts))
            except EmbeddingUnavailable as error:
                if not attempts:
                    raise
                time.sleep(min(max(pause, error.retry_after), _LONGEST_WAIT))
            pause *= 2

    def _answer(self, body: dict[str, Any]) -> httpx2.Response:
        client = self._client.get()
        try:
            response = client.post("embeddings", json=body)
        except httpx2.RequestError as error:
            reason = str(error) or type(error).__name__
            raise EmbeddingUnavailable(f"{self._place} does not answer: {reason}.") from error
        except RuntimeError as error:
            if not client.is_closed:
                raise
            raise EmbeddingUnavailable(f"The connection to {self._place} was closed by unloading it.") from error
        if response.is_success:
            return response
        said = f"{self._place} answered {response.status_code}: {self._reason(response)}"
        if response.status_code in _BUSY or response.is_server_error:
            raise EmbeddingUnavailable(said, _seconds(response.headers.get("retry-after", "")))
        if response.status_code in _UNAUTHORISED:
            said += (
                f" The key is what embedding.api_key_env names ({self._settings.api_key_env!r}),"
                " in the environment or in embedding.secrets_file."
            )
        raise EmbeddingError(said)

    def _vectors(self, response: httpx2.Response, expected: int) -> Vectors:
        try:
            rows = sorted(response.json()["data"], key=lambda row: int(row["index"]))
            vectors = np.array([row["embedding"] for row in rows], np.float32)
            if vectors.ndim != 2 or len(vectors) != expected:
                raise ValueError(f"{len(vectors)} vectors for {expected} texts")
            return normalised(vectors)
        except (KeyError, TypeError, ValueError) as error:
            raise EmbeddingError(f"{self._place} answered what is not a list of embeddings ({error!r}).") from error

    def _reason(self, response: httpx2.Response) -> str:
        """What the service says about an error, in one line, without the key."""
        try:
            said = response.json()["error"]
            said = said["message"] if isinstance(said, dict) else said
        except (KeyError, TypeError, ValueError):
            said = response.text
        line = " ".join(str(said).split()) or response.reason_phrase
        if self._key:
            line = line.replace(self._key, "***")
        return line if len(line) <= _SHOWN else f"{line[:_SHOWN]}..."

    def _open_client(self) -> httpx2.Client:
        name = self._settings.secrets_file
        secrets = self._data_dir / Path(name).expanduser() if name else None
        self._key = api_key(self._settings.api_key_env, secrets)
        return httpx2.Client(
            base_url=self._settings.base_url,
            headers={"authorization": f"Bearer {self._key}"} if self._key else {},
            timeout=self._settings.timeout_seconds,
        )


def _place(url: str) -> str | None:
    """Host, port and path, to be shown and stored: without a user and password. None: it is no address."""
    try:
        address = urlsplit(url)
        usable = address.scheme in ("http", "https") and address.hostname and address.port != 0
    except ValueError:
        return None
    return address.netloc.rpartition("@")[2] + address.path.rstrip("/") if usable else None


def _seconds(retry_after: str) -> float:
    """A Retry-After header in seconds; 0 if there is none or it is a date."""
    return float(retry_after) if retry_after.isdecimal() else 0.0

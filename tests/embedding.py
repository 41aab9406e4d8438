"""The settings of an embedder, for tests."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Embedding:
    """The section [embedding]."""

    provider: str
    base_url: str = "http://127.0.0.1:1/v1"
    model: str = "some-model"
    dims: int = 0
    max_tokens: int = 512
    query_prefix: str = ""
    document_prefix: str = ""
    api_key_env: str = ""
    secrets_file: str = ""
    timeout_seconds: float = 5.0

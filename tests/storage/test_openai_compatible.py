"""Embeddings over HTTP, against a small server on the loopback interface."""

from __future__ import annotations

import json
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from storage.embedding.embedder import Embedder, EmbeddingError, EmbeddingUnavailable, open_embedder
from tests.embedding import Embedding

OWN_DIMS = 6
"""Of the model that the server has."""
KEY = "sk-0123456789"


class Service(ThreadingHTTPServer):
    """A service with one model. `failures` are answers to give first: status, headers, body."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.requests: list[dict[str, Any]] = []
        self.failures: list[tuple[int, dict[str, str], str]] = []
        self.shortens = True
        self.answer: str | None = None
        self.silent = threading.Event()
        self.silent.set()

    @property
    def base_url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/v1"


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Service

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        self.server.requests.append({"path": self.path, "key": self.headers["authorization"], **body})
        self.server.silent.wait()
        if self.server.failures:
            status, headers, text = self.server.failures.pop(0)
            self.reply(status, text, headers)
        else:
            dims = body.get("dimensions", OWN_DIMS) if self.server.shortens else OWN_DIMS
            self.reply(200, self.server.answer or json.dumps(embeddings(body["input"], dims)))

    def reply(self, status: int, text: str, headers: dict[str, str] | None = None) -> None:
        self.send_response(status)
        for name, value in {"content-type": "application/json", **(headers or {})}.items():
            self.send_header(name, value)
        self.send_header("content-length", str(len(text.encode())))
        self.end_headers()
        self.wfile.write(text.encode())

    def log_message(self, *args: Any) -> None:
        """Tests print nothing."""


def embeddings(texts: list[str], dims: int) -> dict[str, Any]:
    """A vector for each text that tells its length, out of order, as the interface allows."""
    rows = [{"index": index, "embedding": [len(text), 1] + [0] * (dims - 2)} for index, text in enumerate(texts)]
    return {"data": rows[::-1]}


@pytest.fixture
def service() -> Iterator[Service]:
    with Service() as running:
        thread = threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield running
        running.silent.set()
        running.shutdown()
        thread.join()


@pytest.fixture(autouse=True)
def pauses(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The seconds that would have been waited between attempts."""
    waited: list[float] = []
    monkeypatch.setattr("storage.embedding.openai_compatible.time.sleep", waited.append)
    return waited


@contextmanager
def connected(service: Service, data_dir: Path = Path(), **settings: Any) -> Iterator[Embedder]:
    embedder = open_embedder(Embedding("openai", **{"base_url": service.base_url, **settings}), data_dir)
    yield embedder
    embedder.unload()


def test_documents_and_queries(service: Service) -> None:
    with connected(service) as embedder:
        documents = embedder.embed_documents(["a", "bbb"])
        query = embedder.embed_query("bbb")
    assert (documents.dtype, documents.shape, query.shape) == (np.dtype(np.float32), (2, OWN_DIMS), (OWN_DIMS,))
    assert np.allclose(documents[0, :2], np.array([1, 1]) / 2**0.5)
    assert np.allclose(documents[1], query)
    assert service.requests[0] == {"path": "/v1/embeddings", "key": None, "model": "some-model", "input": ["a", "bbb"]}


def test_many_texts_go_in_batches_over_one_connection(service: Service) -> None:
    with connected(service) as embedder:
        vectors = embedder.embed_documents(["x" * (number + 1) for number in range(150)])
        assert embedder.embed_documents([]).shape == (0, OWN_DIMS)
    assert [len(request["input"]) for request in service.requests] == [64, 64, 22]
    assert np.allclose(vectors[:, 0] / vectors[:, 1], np.arange(1, 151))


def test_prefixes_are_put_before_and_are_part_of_the_id(service: Service) -> None:
    with connected(service, query_prefix="query: ", document_prefix="passage: ") as embedder:
        embedder.embed_documents(["a"])
        embedder.embed_query("b")
        assert "/query: |passage: /" in embedder.id
    assert [request["input"] for request in service.requests] == [["passage: a"], ["query: b"]]


def test_dims_are_asked_once_and_are_part_of_the_id(service: Service) -> None:
    with connected(service) as embedder:
        assert embedder.dims == OWN_DIMS
        assert embedder.id == f"openai/127.0.0.1:{service.server_port}/v1/some-model/{OWN_DIMS}/|/chunk512r1"
    assert len(service.requests) == 1


def test_configured_dims_need_no_request(service: Service) -> None:
    with connected(service, dims=4) as embedder:
        assert embedder.dims == 4
        assert "/some-model/4/" in embedder.id
    assert service.requests == []


def test_other_dims_are_asked_for(service: Service) -> None:
    with connected(service, dims=4) as embedder:
        assert embedder.embed_query("a").shape == (4,)
        assert embedder.embed_documents(["a"]).shape == (1, 4)
    assert [request.get("dimensions") for request in service.requests] == [None, 4, 4]


def test_the_models_own_dims_are_not_asked_for(service: Service) -> None:
    with connected(service, dims=OWN_DIMS) as embedder:
        embedder.embed_query("a")
    assert "dimensions" not in service.requests[0]


def test_dims_that_cannot_be_had_are_an_error(service: Service) -> None:
    service.shortens = False
    with (
        connected(service, dims=4) as embedder,
        pytest.raises(EmbeddingError, match=r"of 6 dimensions, not 4.*dims to 6"),
    ):
        embedder.embed_query("a")


def test_a_model_that_changes_its_dims_is_an_error(service: Service) -> None:
    with connected(service) as embedder:
        assert embedder.dims == OWN_DIMS
        service.answer = json.dumps(embeddings(["a"], OWN_DIMS + 1))
        with pytest.raises(EmbeddingError, match="of 7 dimensions, not 6"):
            embedder.embed_query("a")


@pytest.mark.parametrize("status", [408, 429, 500, 503])
def test_an_overloaded_service_is_asked_again(service: Service, pauses: list[float], status: int) -> None:
    service.failures = [(status, {}, "busy"), (status, {"retry-after": "2"}, "busy")]
    with connected(service) as embedder:
        assert embedder.embed_documents(["a"]).shape == (1, OWN_DIMS)
    assert pauses == [0.5, 2.0]


def test_a_service_that_stays_overloaded_is_unavailable(service: Service, pauses: list[float]) -> None:
    busy = (503, {"retry-after": "60"}, json.dumps({"error": {"message": "The model\nis loading"}}))
    service.failures = [busy] * 3
    with (
        connected(service) as embedder,
        pytest.raises(EmbeddingUnavailable, match="503: The model is loading") as raised,
    ):
        embedder.embed_documents(["a"])
    assert raised.value.retry_after == 60
    assert pauses == [5.0, 5.0]


def test_a_query_waits_less_than_documents(service: Service, pauses: list[float]) -> None:
    service.failures = [(500, {}, "broken")] * 2
    with connected(service) as embedder, pytest.raises(EmbeddingUnavailable, match="500: broken"):
        embedder.embed_query("a")
    assert pauses == [0.5]


def test_a_service_that_is_not_there_is_unavailable(service: Service) -> None:
    place = "http://127.0.0.1:1/v1"
    with (
        connected(service, base_url=place) as embedder,
        pytest.raises(EmbeddingUnavailable, match=r"127\.0\.0\.1:1/v1 does not"),
    ):
        embedder.embed_query("a")


def test_a_service_that_is_silent_is_unavailable(service: Service) -> None:
    service.silent.clear()
    with (
        connected(service, timeout_seconds=0.05) as embedder,
        pytest.raises(EmbeddingUnavailable, match="does not answer: timed out"),
    ):
        embedder.embed_query("a")


def test_a_refusal_is_not_repeated(service: Service, pauses: list[float]) -> None:
    service.failures = [(404, {}, json.dumps({"error": "model 'some-model' not found"}))]
    with (
        connected(service) as embedder,
        pytest.raises(EmbeddingError, match="404: model 'some-model' not found") as raised,
    ):
        embedder.embed_query("a")
    assert not isinstance(raised.value, EmbeddingUnavailable)
    assert pauses == []


@pytest.mark.parametrize(
    "answer",
    [
        "<html>",
        "[]",
        "{}",
        '{"data": null}',
        '{"data": []}',
        '{"data": [{"index": 0}]}',
        '{"data": [{"index": 0, "embedding": "AAAA"}]}',
        '{"data": [{"index": 0, "embedding": [0, 0, 0]}]}',
        '{"data": [{"index": 0, "embedding": [1, null]}]}',
    ],
)
def test_an_answer_that_is_none_is_an_error(service: Service, answer: str) -> None:
    service.answer = answer
    with connected(service) as embedder, pytest.raises(EmbeddingError, match="not a list of embeddings"):
        embedder.embed_query("a")


def test_a_blank_text_is_not_sent_blank(service: Service) -> None:
    with connected(service) as embedder:
        embedder.embed_documents(["", " \n"])
    assert service.requests[0]["input"] == ["-", "-"]


def test_connections_are_closed_and_opened_again(service: Service) -> None:
    with connected(service) as embedder:
        embedder.embed_query("a")
        assert not embedder.unload(idle_seconds=3600)
        assert embedder.unload()
        assert not embedder.unload()
        embedder.embed_query("a")


def test_tokens_are_estimated_and_long_texts_cut(service: Service) -> None:
    with connected(service, max_tokens=50) as embedder:
        assert (embedder.count("abcdef"), embedder.count("abcdefg"), embedder.count("漢字")) == (2, 3, 2)
        chunks = embedder.chunk("A sentence of some words. " * 20)
        assert max(embedder.count(chunk.text) for chunk in chunks) <= embedder.max_tokens == 50
    assert service.requests == []


# The key.


def test_the_key_comes_from_the_environment(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOME_KEY", KEY)
    with connected(service, api_key_env="SOME_KEY") as embedder:
        embedder.embed_query("a")
    assert service.requests[0]["key"] == f"Bearer {KEY}"


def test_the_key_comes_from_a_file_of_the_data_directory(service: Service, tmp_path: Path) -> None:
    secrets = tmp_path / "secrets.env"
    secrets.write_text(f'# keys\nOTHER=1\nSOME_KEY = "{KEY}"\n', encoding="utf-8")
    secrets.chmod(0o600)
    with connected(service, tmp_path, api_key_env="SOME_KEY", secrets_file="secrets.env") as embedder:
        embedder.embed_query("a")
    assert service.requests[0]["key"] == f"Bearer {KEY}"


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no permission bits")
@pytest.mark.parametrize("mode", [0o640, 0o604, 0o644])
def test_a_file_that_others_can_read_is_refused(service: Service, tmp_path: Path, mode: int) -> None:
    secrets = tmp_path / "secrets.env"
    secrets.write_text(f"SOME_KEY={KEY}\n", encoding="utf-8")
    secrets.chmod(mode)
    with (
        connected(service, api_key_env="SOME_KEY", secrets_file=str(secrets)) as embedder,
        pytest.raises(EmbeddingError, match="chmod 600"),
    ):
        embedder.embed_query("a")
    assert service.requests == []


def test_a_missing_file_is_said(service: Service, tmp_path: Path) -> None:
    settings = {"api_key_env": "SOME_KEY", "secrets_file": "nowhere"}
    with (
        connected(service, tmp_path, **settings) as embedder,
        pytest.raises(EmbeddingError, match="nowhere cannot be read"),
    ):
        embedder.embed_query("a")


def test_a_key_is_never_shown(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOME_KEY", KEY)
    service.failures = [(401, {}, json.dumps({"error": {"message": f"Incorrect key {KEY}."}}))]
    with connected(service, api_key_env="SOME_KEY") as embedder:
        with pytest.raises(EmbeddingError, match=r"401: Incorrect key \*\*\*\. The key is what .* \('SOME_KEY'\)"):
            embedder.embed_query("a")
        assert KEY not in embedder.id
    monkeypatch.setenv("SOME_KEY", KEY + "\nx")
    with (
        connected(service, api_key_env="SOME_KEY") as embedder,
        pytest.raises(EmbeddingError, match="no key has") as raised,
    ):
        embedder.embed_query("a")
    assert KEY not in str(raised.value)


@pytest.mark.parametrize(
    "base_url", ["", "localhost:11434/v1", "ftp://127.0.0.1/v1", "http://", "http://[", "http://host:port/v1"]
)
def test_an_unusable_address_is_said(tmp_path: Path, base_url: str) -> None:
    with pytest.raises(EmbeddingError, match=r"embedding\.base_url is like"):
        open_embedder(Embedding("openai", base_url=base_url), tmp_path)


def test_a_missing_model_is_said(tmp_path: Path) -> None:
    with pytest.raises(EmbeddingError, match=r"embedding\.model is empty"):
        open_embedder(Embedding("openai", model=""), tmp_path)


def test_a_password_in_the_address_is_not_shown(tmp_path: Path) -> None:
    embedder = open_embedder(Embedding("openai", base_url="https://me:secret@host.example/v1/", dims=3), tmp_path)
    assert embedder.id == "openai/host.example/v1/some-model/3/|/chunk512r1"

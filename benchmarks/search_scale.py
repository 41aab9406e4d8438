"""How search does at a size: latency beside LanceDB alone, memory, and what indexing costs those who write.

The messages bring random vectors along, so that no model has to make them; queries are embedded as always.
"""

from __future__ import annotations

import json
import random
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from statistics import mean, median
from typing import Any

import numpy as np

from benchmarks.data import CACHE
from benchmarks.dataset import Dataset
from benchmarks.load import Target
from benchmarks.raw_lance import nearest, raw_hybrid
from benchmarks.report import table
from benchmarks.search_client import Searcher, quantile
from benchmarks.servers import ONE_MCP, environment, product
from benchmarks.wire import Call, Era
from benchmarks.words import Words

DIMS = 384
QUERIES = 100
WAITING = 10_000
POSTS = 15_000
"""Enough for the indexer to run out of patience several times."""
CONNECTIONS = 8
COMPARED = 40
"""So many queries are compared with an exact search, which takes 2 s at a million."""
ROUNDS = 3
SHORT = 400
"""Characters that are one chunk: of longer texts each would be embedded, though they bring a vector."""


def at_size(messages: int) -> str:
    """The table for one size."""
    place = _loaded(Dataset(messages))
    words = Words(random.Random(11))
    queries = [" ".join(words.message().split()[:6]) for _ in range(QUERIES)]
    agent = Dataset(messages).agents[0]
    with product(place) as server:
        started = server.memory()
        search = Searcher(server.port)
        search.wait_until_embedded()
        before = server.memory()
        rows = [_timed(search, mode, queries, {}) for mode in ("text", "vector", "hybrid")]
        rows.append(_timed(search, "hybrid", queries, {"authorId": agent}))
        after = server.memory()
        compared = queries[:COMPARED]
        found = [{row["_id"] for row in _vector(search, query)["results"]} for query in compared]
    exact = nearest(place, "messages", compared)
    recall = mean(len(one & {f"msg_{seq}" for seq in seqs}) / len(seqs) for one, seqs in zip(found, exact, strict=True))
    raw = raw_hybrid(place, "messages", queries)
    cells = [
        (
            f"{messages:,}",
            what,
            f"{median(taken):.1f}",
            f"{quantile(taken, 0.95):.1f}",
            f"{median(taken) / median(raw):.2f}",
        )
        for what, taken in rows
    ]
    cells.append((f"{messages:,}", "LanceDB + embedding", f"{median(raw):.1f}", f"{quantile(raw, 0.95):.1f}", ""))
    sizes = ", ".join(
        f"{size / 2**20:.0f} MiB {when}"
        for size, when in ((started, "at the start"), (before, "indexed"), (after, "after the searches"))
    )
    figures = table(("messages", "search", "p50 ms", "p95 ms", "times raw"), cells)
    return f"{figures}\n\nThe hub: {sizes}. Recall of 10 by meaning, of an exact search: {recall:.3f}."


def _vector(search: Searcher, query: str) -> dict[str, Any]:
    return search(query=query, mode="vector", limit=10, **{"in": "messages"})


def _timed(search: Searcher, mode: str, queries: list[str], filters: dict[str, Any]) -> tuple[str, list[float]]:
    taken = []
    for query in queries:
        began = time.perf_counter()
        search(query=query, mode=mode, limit=10, **{"in": "messages"}, **filters)
        taken.append((time.perf_counter() - began) * 1000)
    return f"{mode}, {', '.join(filters)}" if filters else mode, taken


def posting() -> str:
    """Messages a second while 10,000 rows wait for their vectors, beside the same without a model."""
    dataset = Dataset(WAITING)
    ratios, lines = [], []
    for _ in range(ROUNDS):
        rates = {}
        for provider in ("none", "embedded"):
            place = _imported(dataset.rows(), CACHE / f"posting-{provider}", keep=False)
            (place / "config.toml").write_text(f'[embedding]\nprovider = "{provider}"\n')
            with product(place) as server:
                search = Searcher(server.port)
                search(query="anything")
                waiting = search(query="anything").get("pending", 0)
                target = Target(server.port, Era.STATELESS)
                calls = _posts(dataset)
                target.run(calls[:200], CONNECTIONS)
                rates[provider] = target.run(calls[200:], CONNECTIONS).rate
                left = Searcher(server.port)(query="anything").get("pending", 0)
            lines.append((provider, f"{rates[provider]:.0f}", f"{waiting:,}", f"{left:,}"))
        ratios.append(rates["embedded"] / rates["none"])
    head = ("model", "messages/s", "waiting before", "waiting after")
    share = f"{median(ratios):.2f} of the throughput ({CONNECTIONS} connections)"
    return f"{table(head, lines)}\n\nWhile the indexer works: {share}."


def _posts(dataset: Dataset) -> list[Call]:
    rng, words = random.Random(12), Words(random.Random(13))
    homes = rng.choices(range(len(dataset.conversations)), cum_weights=dataset.cum_weights, k=POSTS + 200)
    return [
        Call(
            "send_message",
            {
                "conversationId": dataset.conversations[home],
                "content": words.message(),
                "as": dataset.agents_in(home)[0],
            },
        )
        for home in homes
    ]


def _loaded(dataset: Dataset) -> Path:
    place = CACHE / f"vectors-{dataset.messages}"
    return place if place.exists() else _imported(_with_vectors(dataset), place, keep=True)


def _with_vectors(dataset: Dataset) -> Iterator[dict[str, Any]]:
    rng = np.random.default_rng(10)
    for row in dataset.rows():
        if row["table"] == "conversationMessages":
            vector = rng.standard_normal(DIMS)
            row["content"] = row["content"][:SHORT]
            row["vector"] = [round(float(number), 3) for number in vector / np.linalg.norm(vector)]
        yield row


def _imported(rows: Iterator[dict[str, Any]], place: Path, *, keep: bool) -> Path:
    """A data directory of these rows. What is not to be kept is for one run: written to, and made again."""
    if not keep:
        original = _imported_once(rows, place.with_name("posting"))
        shutil.rmtree(place, ignore_errors=True)
        shutil.copytree(original, place, ignore=shutil.ignore_patterns("hub.*"))
        return place
    return _imported_once(rows, place)


def _imported_once(rows: Iterator[dict[str, Any]], place: Path) -> Path:
    if place.exists():
        return place
    CACHE.mkdir(parents=True, exist_ok=True)
    unfinished, file = place.with_suffix(".unfinished"), place.with_suffix(".jsonl")
    shutil.rmtree(unfinished, ignore_errors=True)
    unfinished.mkdir(mode=0o700)
    (unfinished / "config.toml").write_text('[embedding]\nprovider = "none"\n')
    with file.open("w") as lines:
        lines.writelines(json.dumps(row, separators=(",", ":")) + "\n" for row in rows)
    for arguments in (("import", str(file)), ("stop",)):
        command = [*ONE_MCP, "--data", str(unfinished), *arguments]
        subprocess.run(command, env=environment(), check=True, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    file.unlink()
    (unfinished / "config.toml").unlink()
    shutil.rmtree(unfinished / "vectors", ignore_errors=True)
    unfinished.rename(place)
    return place

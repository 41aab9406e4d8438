"""`make bench-search DATA=FILE...`: how well and how fast `search` finds, beside LanceDB alone on the same table.

A file is `{"corpus": [{"id", "text"}], "queries": [{"text", "rel": {id: gain}}]}`. It is imported as knowledge and as
messages, and every query goes through the `search` tool.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import math
import subprocess
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import mean, median
from typing import Any

from benchmarks.data import CACHE
from benchmarks.raw_lance import raw_hybrid
from benchmarks.report import table
from benchmarks.search_client import Searcher, quantile
from benchmarks.search_scale import at_size, posting
from benchmarks.servers import ONE_MCP, environment, product

DEPTH = 10
MODES = ("text", "vector", "hybrid")
KINDS = ("knowledge", "messages")


@dataclass(frozen=True, slots=True)
class Query:
    """A question and how much each text is worth as an answer."""

    text: str
    gains: dict[str, float]


@dataclass(frozen=True, slots=True)
class Collection:
    """Texts by id, and queries."""

    name: str
    texts: dict[str, str]
    queries: list[Query]

    @classmethod
    def read(cls, path: Path) -> Collection:
        """From a file; its name without the ending is the collection's."""
        data = json.loads(path.read_text(encoding="utf-8"))
        queries = [Query(query["text"], query["rel"]) for query in data["queries"]]
        return cls(path.stem, {text["id"]: text["text"] for text in data["corpus"]}, queries)

    def rows(self, kind: str) -> Iterator[dict[str, Any]]:
        """The texts as `one-mcp import` takes them; the place in the corpus is in the id."""
        yield {"table": "users", "_id": "user_2", "name": "Ada", "email": "ada@example.org"}
        if kind == "messages":
            yield {"table": "conversations", "_id": "conv_3", "title": self.name, "createdBy": "user_2"}
            yield {
                "table": "conversationParticipants",
                "_id": "part_4",
                "conversationId": "conv_3",
                "kind": "user",
                "userId": "user_2",
                "status": "active",
                "isRemoved": False,
                "addedAt": 0,
            }
        for place, text in enumerate(self.texts.values()):
            if kind == "knowledge":
                owner = {"ownerType": "user", "ownerId": "user_2"}
                yield {"table": "knowledge", "_id": f"know_{10 + place}", **owner, "content": text}
            else:
                home = {"conversationId": "conv_3", "authorParticipantId": "part_4"}
                said = {"kind": "participant", "status": "sent", "content": text}
                yield {"table": "conversationMessages", "_id": f"msg_{10 + place}", **home, **said}


@dataclass(frozen=True, slots=True)
class Row:
    """What was measured for one mode. Times in milliseconds."""

    collection: str
    kind: str
    mode: str
    ndcg: float
    latencies: Sequence[float]

    def cells(self, raw: Sequence[float]) -> tuple[object, ...]:
        """As a row of the table; `raw` are the times of LanceDB alone."""
        p50, raw_p50 = median(self.latencies), median(raw)
        beside = (f"{raw_p50:.1f}", f"{p50 / raw_p50:.2f}") if self.mode == "hybrid" else ("", "")
        speeds = (f"{p50:.1f}", f"{quantile(self.latencies, 0.95):.1f}")
        return (self.collection, self.kind, self.mode, f"{self.ndcg:.4f}", *speeds, *beside)


def ndcg(ids: Sequence[str], gains: dict[str, float]) -> float:
    """The normalised discounted cumulative gain of a ranking, 0 to 1."""
    ideal = sorted(gains.values(), reverse=True)[:DEPTH]
    best = sum(gain / math.log2(place + 2) for place, gain in enumerate(ideal))
    got = sum(gains.get(found, 0.0) / math.log2(place + 2) for place, found in enumerate(ids[:DEPTH]))
    return got / best if best else 0.0


def loaded(collection: Collection, kind: str) -> Path:
    """The data directory of a collection; the texts are imported if this was not done before."""
    rows = "\n".join(json.dumps(row) for row in collection.rows(kind)) + "\n"
    place = CACHE / f"{collection.name}-{kind}-{hashlib.blake2b(rows.encode(), digest_size=6).hexdigest()}"
    if not place.exists():
        CACHE.mkdir(parents=True, exist_ok=True)
        for arguments in (("import", "-"), ("stop",)):
            command = [*ONE_MCP, "--data", str(place), *arguments]
            subprocess.run(command, env=environment(), input=rows, text=True, check=True, stdout=subprocess.DEVNULL)
    return place


def measured(collection: Collection, kind: str, modes: Sequence[str]) -> tuple[list[Row], list[float]]:
    """Every query in every mode, and the milliseconds of LanceDB alone for the same queries."""
    place = loaded(collection, kind)
    ids = list(collection.texts)
    rows = []
    with product(place) as server:
        search = Searcher(server.port)
        seconds = search.wait_until_embedded()
        print(f"{collection.name} as {kind}: {len(ids):,} texts, embedded within {seconds:.0f} s", flush=True)
        for mode in modes:
            gains, latencies = [], []
            for query in collection.queries:
                started = time.perf_counter()
                found = search(query=query.text, limit=DEPTH, mode=mode, **{"in": kind})
                latencies.append((time.perf_counter() - started) * 1000)
                places = [int(result["_id"].rpartition("_")[2]) - 10 for result in found["results"]]
                gains.append(ndcg([ids[one] for one in places], query.gains))
                if found["mode"] != mode:
                    raise RuntimeError(f"asked for {mode}, got {found['mode']}")
            rows.append(Row(collection.name, kind, mode, mean(gains), latencies))
    return rows, raw_hybrid(place, kind, [query.text for query in collection.queries])


def main() -> None:
    arguments = _arguments()
    cells = []
    for path in arguments.files:
        collection = Collection.read(path)
        for kind in arguments.kinds:
            rows, raw = measured(collection, kind, arguments.modes)
            cells += [row.cells(raw) for row in rows]
    for size in arguments.sizes:
        print(f"{at_size(size)}\n", flush=True)
    if arguments.posting:
        print(f"{posting()}\n", flush=True)
    if not cells:
        return
    head = ("data", "as", "mode", "nDCG@10", "p50 ms", "p95 ms", "raw LanceDB + embedding p50", "times raw")
    print(f"\n{table(head, cells)}")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.search", description=__doc__)
    parser.add_argument("files", nargs="*", type=Path, metavar="FILE", help="a file of texts and queries")
    parser.add_argument("--kinds", nargs="+", choices=KINDS, default=KINDS, help="what the texts are imported as")
    parser.add_argument("--modes", nargs="+", choices=MODES, default=MODES, help="how is searched")
    parser.add_argument("--sizes", nargs="+", type=int, metavar="N", default=(), help="latency with so many messages")
    parser.add_argument("--posting", action="store_true", help="what indexing costs those who write")
    return parser.parse_args()


if __name__ == "__main__":
    main()

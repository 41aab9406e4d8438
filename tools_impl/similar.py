"""What somebody knows already: near duplicates of a text are told, not kept from being stored."""

from __future__ import annotations

from typing import Any, ClassVar

import anyio
from typing_extensions import override

from storage.embedding import EmbeddingError
from storage.index.search import Filters, condition
from storage.row import Result
from storage.tables import Knowledge
from storage.view import View
from tools_impl.caller import Caller

SIMILAR_ENOUGH = 0.9
"""Cosine from which two texts say the same in other words; unrelated ones of one subject stay below 0.7."""
MENTIONED = 3
PATIENCE_SECONDS = 3.0
"""A hint that takes longer is left out."""


class Noted(Result):
    """A new row of knowledge, and what its owner knows that is nearly the same."""

    table: ClassVar[str] = "noted"

    row: Knowledge
    similar: list[dict[str, Any]]

    @override
    def wire(self) -> dict[str, Any]:
        return {**self.row.wire(), "similar": self.similar}

    @override
    def text(self) -> str:
        listed = ",".join(f'{{"_id":"{one["_id"]}","score":{one["score"]}}}' for one in self.similar)
        return f'{self.row.text()[:-1]},"similar":[{listed}]}}'


async def with_similar(view: View, _me: Caller, row: Result) -> Result:
    """The row, with the ids of near duplicates if there are any and there is a model to tell."""
    assert isinstance(row, Knowledge)
    similar: list[dict[str, Any]] = []
    with anyio.move_on_after(PATIENCE_SECONDS):
        similar = await _similar(view, row)
    return Noted(row=row, similar=similar) if similar else row


async def _similar(view: View, row: Knowledge) -> list[dict[str, Any]]:
    index = await view.store.index.get(view.store)
    if not index.embedder.dims:
        return []
    try:
        vector = (await index.embed_documents([row.content]))[0]
    except EmbeddingError:
        return []  # why is in the status; the row itself is stored
    same_owner = condition(Knowledge, Filters(scope=row.owner_id))
    hits = await index.tables[Knowledge].by_vector(vector, same_owner, MENTIONED + 1)
    near = {hit.seq: hit.score for hit in hits if hit.score >= SIMILAR_ENOUGH and hit.seq != row.seq}
    found = await view.store.rows_at(Knowledge, near)
    return [{"_id": found[seq].id, "score": round(near[seq], 3)} for seq in near if seq in found][:MENTIONED]

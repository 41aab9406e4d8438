"""`one-mcp reindex`: the hub's side."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from server.connections import CommandFailed, Progress
from storage.errors import StorageFault

if TYPE_CHECKING:
    from server.service import Service

REPORT_SECONDS = 0.25


async def reindex(service: Service, arguments: dict[str, Any], progress: Progress) -> dict[str, Any]:
    """Build the index anew; with `embed` the vectors, too. Reports how many rows are `done` of `total`.

    It goes on in the hub when whoever asked is gone. Raises CommandFailed when rows cannot be indexed.
    """
    store = service.engine.store
    try:
        index = await store.index.get(store)
    except StorageFault as error:
        raise CommandFailed(str(error)) from error
    await index.rebuild(embed=bool(arguments.get("embed")))
    total = index.pending()
    while pending := index.pending():
        total = max(total, pending)  # rows may come meanwhile
        if alarm := index.alarm():
            raise CommandFailed(alarm)
        await progress({"done": total - pending, "total": total})
        await asyncio.sleep(REPORT_SECONDS)
    return {"rows": total, "model": index.embedder.id}

"""`one-mcp snapshot` and `one-mcp sql`: the hub's side."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from server.connections import CommandFailed, Progress
from storage.errors import Unavailable

if TYPE_CHECKING:
    from server.service import Service


async def snapshot(service: Service, arguments: dict[str, Any], _progress: Progress) -> dict[str, Any]:
    """The snapshot's path, bytes, `asOf` (epoch ms), and the `seconds` it took; `fresh`: of all acknowledged so far.

    Raises:
        CommandFailed: it cannot be published.
    """
    started = time.monotonic()
    try:
        published = await service.engine.store.snapshots.latest(fresh=arguments["fresh"])
        size = published.path.stat().st_size
    except Unavailable as error:
        raise CommandFailed(error.message) from None
    return {
        "path": str(published.path),
        "asOf": published.as_of,
        "bytes": size,
        "seconds": round(time.monotonic() - started, 3),
    }

"""`one-mcp doctor` with a hub running: the hub's side, for nobody else can open its file."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from server.connections import Progress
from storage.audit import checks, run

if TYPE_CHECKING:
    from server.service import Service


async def audit(service: Service, _arguments: dict[str, Any], _progress: Progress) -> dict[str, Any]:
    """How many rules were `checked`, and the `findings`. Query by query, so that other readers get their turn."""
    read = service.engine.store.database.read
    asked = list(checks())
    findings = [finding for check in asked if (finding := await read(partial(run, check=check))) is not None]
    return {"checked": len(asked), "findings": [finding._asdict() for finding in findings]}

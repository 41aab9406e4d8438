"""What is worth noting about sign-ins."""

from __future__ import annotations

import logging

logger = logging.getLogger(__name__)


async def note(
    action: str, *, member_id: str | None = None, grant_id: str | None = None, origin: str, about: str | None = None
) -> None:
    """Note that something happened: never a secret, and never an address that has no account."""
    logger.info("%s: member %s, grant %s, from %s, about %s", action, member_id, grant_id, origin, about)

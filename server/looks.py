"""Who sees what, asked for many clients at once."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Collection
from typing import TYPE_CHECKING

from server.news import Topic
from server.session import Session, caller_of
from storage.errors import DomainError
from storage.row import Row
from storage.tables import Conversation
from storage.view import View
from tools_impl.access import visible
from tools_impl.caller import Caller

if TYPE_CHECKING:
    from server.service import Service

log = logging.getLogger(__name__)

CHECKS_IN_A_ROW = 50
"""So many questions before others get their turn."""


class Looks:
    """Who sees what at one moment. Sessions of the same caller are asked for once."""

    def __init__(self, service: Service) -> None:
        self.view: View = service.engine.view()
        self._service = service
        self._callers: dict[Session, Caller | None] = {}
        self._seen: dict[tuple[Session, Topic], bool] = {}
        self._checks = 0

    async def caller(self, session: Session) -> Caller | None:
        """Who hears, or None: their token has ended, or they are deactivated."""
        if session not in self._callers:
            me = None
            if self._service.is_good(session):
                try:
                    me = await caller_of(self.view, session)
                except DomainError:
                    log.debug("'%s' is not told of changes any more", session.member_id)
            self._callers[session] = me
        return self._callers[session]

    async def at(self, session: Session, topic: Topic) -> bool:
        """Whether a row is there for that caller. What all may list is there for all."""
        known = self._seen.get((session, topic))
        if known is None:
            table, row_id = topic
            row = await self.view.find_row(row_id, table) if row_id else None
            me = await self.caller(session)
            known = me is not None and (not row_id or (row is not None and await self._sees(me, row)))
            self._seen[session, topic] = known
        return known

    async def see_any(self, session: Session, rows: Collection[Row]) -> bool:
        """Whether that caller sees one of some rows, as they are given."""
        me = await self.caller(session)
        if me is not None:
            for row in rows:
                if await self._sees(me, row):
                    return True
        return False

    async def concern(self, session: Session, conversations: Collection[str], moved: Collection[str]) -> bool:
        """Whether that caller takes part in one of some conversations, or came to or left one."""
        me = await self.caller(session)
        if me is not None and me.id in moved:
            return True
        for row_id in conversations:
            if await self.at(session, (Conversation, row_id)):
                return True
        return False

    async def _sees(self, me: Caller, row: Row) -> bool:
        self._checks += 1
        if self._checks % CHECKS_IN_A_ROW == 0:
            await asyncio.sleep(0)
        return await visible(me, type(row)).holds(row, self.view)

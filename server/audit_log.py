"""What goes into the audit log besides the writes themselves: sign-ins, tokens, and what was refused.

Whoever is refused can ask again as often as they like. So a refusal is written at once only when there was none like it
within the minute, and the others of that minute become one row that counts them.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Coroutine
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, TypeAlias

import anyio

from storage.audit_log import Act, prune_audit
from storage.errors import Unavailable

if TYPE_CHECKING:
    from server.config import AuditSettings
    from server.session import Session
    from storage.engine import Engine
    from tools_impl.caller import Caller

MINUTE_SECONDS = 60.0
MOST_KINDS = 100
"""Refusals that differ in who, where from and why, within a minute. More are counted together."""
REFUSED = "_refused"
"""How an action ends that anybody can bring about."""
DONE = "done"
UNCHANGED = "unchanged"
MANY = "many addresses"
DAY_SECONDS = 24 * 3600.0
MOST_SEEN = 10_000

log = logging.getLogger(__name__)

_Kind: TypeAlias = tuple[Act, str]


@dataclass(slots=True)
class _Count:
    requests: int = 0
    about: str | None = None


class AuditLog:
    """Writes rows of the audit log through the writer; nothing when it is switched off."""

    def __init__(self, engine: Engine, settings: AuditSettings, owner_id: str) -> None:
        self._engine = engine
        self._owner_id = owner_id
        self._settings = settings
        self._minute: dict[_Kind, _Count] = {}
        self._ending: asyncio.TimerHandle | None = None
        self._seen: dict[tuple[str, str], float] = {}
        self._behind: set[asyncio.Task[None]] = set()

    async def note(
        self, action: str, *, member_id: str | None, grant_id: str | None, origin: str, about: str | None = None
    ) -> None:
        """Tell of a sign-in, a token or a command, and return once that is durable.

        Actions that end in "_refused" are counted by the minute, and not waited for. `origin` is an address, or
        "local"; `about` one more word, never a secret.

        Raises:
            Unavailable: the store cannot write; what was to be told of should not be done.
        """
        if not self._settings.enabled:
            return
        act = Act(action, member_id, grant_id, origin)
        if action.endswith(REFUSED):
            self._count(act, "refused", about)
        else:
            await self._engine.writer.note(act, DONE, about=about)

    def act(self, action: str, session: Session, caller: Caller) -> Act | None:
        """Who writes, for the row that is stored with what they write; None: none is."""
        if not self._settings.enabled:
            return None
        member = session.member_id
        return Act(action, member, session.grant_id, session.origin, None if caller.id == member else caller.id)

    def by_command(self, action: str) -> Act | None:
        """The local owner, who has a command carried out."""
        return Act(action, self._owner_id) if self._settings.enabled else None

    def not_written(self, action: str, session: Session, outcome: str) -> None:
        """A tool that writes was called, and wrote nothing: `outcome` is the code of the error, or "unchanged"."""
        if self._settings.enabled and self._settings.refusals:
            self._count(Act(action, session.member_id, session.grant_id, session.origin), outcome, None)

    def seen(self, session: Session) -> None:
        """A request came with a token: a row for the first one from an address, within a day."""
        if session.grant_id is None or not self._settings.enabled:
            return
        place, now = (session.grant_id, session.origin), time.monotonic()
        if now - self._seen.get(place, -DAY_SECONDS) < DAY_SECONDS:
            return
        while len(self._seen) >= MOST_SEEN:
            del self._seen[next(iter(self._seen))]
        self._seen[place] = now
        self._begin(self._written(Act("connected", session.member_id, *place), DONE, _Count(1)))

    def _count(self, act: Act, outcome: str, about: str | None) -> None:
        count = self._minute.get((act, outcome))
        if count is None and len(self._minute) >= MOST_KINDS:
            act = Act(act.action, None, None, MANY)
            count = self._minute.setdefault((act, outcome), _Count())
        if count is not None:
            count.requests, count.about = count.requests + 1, about
            return
        self._minute[act, outcome] = _Count()
        self._begin(self._written(act, outcome, _Count(1, about)))
        if self._ending is None:
            loop = asyncio.get_running_loop()
            self._ending = loop.call_later(MINUTE_SECONDS, lambda: self._begin(self._end_minute()))

    async def _end_minute(self) -> None:
        """Write what was counted."""
        if self._ending is not None:
            self._ending.cancel()
        counted, self._minute, self._ending = self._minute, {}, None
        for (act, outcome), count in counted.items():
            if count.requests:
                await self._written(act, outcome, count)

    async def _written(self, act: Act, outcome: str, count: _Count) -> None:
        try:
            await self._engine.writer.note(act, outcome, about=count.about, requests=count.requests)
        except Unavailable as error:
            log.error("the audit log lacks %s (%s) of %s: %s", act.action, outcome, act.origin, error.message)

    def _begin(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._behind.add(task)
        task.add_done_callback(self._behind.discard)

    async def prune(self) -> None:
        """Remove rows that are older than they are to be kept, once a day. Never ends."""
        while True:
            before = (time.time_ns() // 1_000_000) - self._settings.keep_days * 24 * 3_600_000
            await self._engine.store.database.write(partial(prune_audit, before=before))
            await anyio.sleep(DAY_SECONDS)

    async def flush(self) -> None:
        """Write what is not written yet."""
        await self._end_minute()
        await asyncio.gather(*self._behind)

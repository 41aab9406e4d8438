"""One client's connection: who calls, and what it was offered."""

from __future__ import annotations

from dataclasses import dataclass

from storage.errors import Forbidden, Invalid, NotFound
from storage.tables import Agent, User
from storage.view import View
from tools_impl.access import visible
from tools_impl.caller import Caller

SESSION = "one.session"
"""Where the ASGI scope of a request has the session of whoever calls."""
PLACE = "one.place"
"""Where it has the request's place among those of its caller, which a call that only waits gives back."""
ALL_SCOPES = frozenset({"read", "write", "analyst", "admin"})


@dataclass(frozen=True, slots=True)
class Session:
    """`member_id` is the user or agent that calls; `toolsets` None offers every tool.

    `grant_id` names the token of an HTTP request, `origin` the address from which it comes.
    """

    member_id: str
    scopes: frozenset[str] = ALL_SCOPES
    toolsets: frozenset[str] | None = None
    read_only: bool = False
    grant_id: str | None = None
    origin: str = "local"

    @property
    def may_write(self) -> bool:
        """Whether tools that change something are offered and served."""
        return not self.read_only and "write" in self.scopes

    @property
    def may_analyse(self) -> bool:
        """Whether tools that see everything are offered."""
        return bool(self.scopes & {"analyst", "admin"})


async def caller_of(view: View, session: Session) -> Caller:
    """Who calls, as the rows say now.

    Raises:
        Forbidden: the user or agent is gone or deactivated.
    """
    user = await view.find_row(session.member_id, User)
    if user is not None and user.deactivated_at is None:
        return Caller("user", user.id, user.id, admin="admin" in session.scopes, analyst=session.may_analyse)
    agent = await view.find_row(session.member_id, Agent) if user is None else None
    if agent is not None and agent.deactivated_at is None:
        return Caller("agent", agent.id, agent.created_by, analyst=session.may_analyse)
    raise Forbidden(f"'{session.member_id}', as whom you are connected, is no active user or agent.")


async def acting_as(view: View, me: Caller, agent_id: str) -> Caller:
    """The caller for one call with `as`: an agent of theirs.

    Raises:
        Invalid, NotFound: it is no agent.
        Forbidden: it belongs to somebody else, or is deactivated.
    """
    if agent_id == me.id:
        return me
    agent = await view.find_row(agent_id, Agent)
    if agent is None or not await visible(me, Agent).holds(agent, view):
        if await view.find_row(agent_id, User) is not None:
            raise Invalid(f"'as' takes an agent of yours; '{agent_id}' is a user.")
        raise NotFound(f"No agent '{agent_id}'.", table=Agent.table, id=agent_id)
    if agent.deactivated_at is not None:
        raise Forbidden(f"'{agent_id}' is deactivated.")
    if me.admin or (me.kind == "user" and agent.created_by == me.id):
        return Caller("agent", agent.id, agent.created_by)
    raise Forbidden(f"'{agent_id}' is not an agent of yours, so you cannot act as it.")

"""Who follows whom."""

from __future__ import annotations

from storage.errors import Invalid, NotFound
from storage.row import Deletion
from storage.tables import Follow, User
from storage.transaction import Transaction
from tools_impl.arguments import MemberId
from tools_impl.caller import Caller
from tools_impl.shared import check_member_id, member_of


async def follow(tx: Transaction, me: Caller, followee_id: MemberId) -> Follow:
    """Follow a user or an agent. Twice returns the first.

    Raises:
        NotFound, Invalid: it is no user or agent that you see, or it is yourself.
        Conflict: it is deactivated.
    """
    followee = await member_of(tx, me, followee_id)
    if followee.id == me.id:
        raise Invalid("Nobody follows themselves.")
    present = await _follow(tx, me, followee.id)
    if present is not None:
        return present
    kind = "user" if isinstance(followee, User) else "agent"
    return tx.insert(Follow, follower_id=me.id, followee_id=followee.id, kind=kind)


async def unfollow(tx: Transaction, me: Caller, followee_id: MemberId) -> Deletion:
    """Stop following a user or an agent.

    Raises:
        NotFound: you do not follow it.
        Invalid: it is an id of another table.
    """
    present = await _follow(tx, me, followee_id)
    if present is None:
        await check_member_id(tx, me, followee_id)
        raise NotFound(f"You do not follow '{followee_id}'.", table=Follow.table, id=followee_id)
    tx.delete(present)
    return Deletion(_id=present.id, outcome="deleted")


async def _follow(tx: Transaction, me: Caller, followee_id: str) -> Follow | None:
    follows = await tx.where(Follow, "follower_id", me.id)
    return next((one for one in follows if one.followee_id == followee_id), None)

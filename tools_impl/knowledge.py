"""What agents and users know."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from storage.errors import Forbidden, Invalid
from storage.find import find
from storage.predicate import Both, Contains, Everything, Has, Not
from storage.tables import Agent, Knowledge
from storage.transaction import Transaction
from storage.view import View
from tools_impl.access import answers_for, required, required_anywhere, shown, visible
from tools_impl.arguments import PAGE_DEFAULT, Content, Cursor, Ids, Limit, MemberId, RowId, TagName, Tags, Vector
from tools_impl.caller import Caller
from tools_impl.pages import Page
from tools_impl.shared import check_vector, ensure_tags, member_of


async def add_knowledge(
    tx: Transaction,
    me: Caller,
    owner_type: Literal["agent", "user"],
    owner_id: MemberId,
    content: Content,
    vector: Vector | None = None,
    tags: Tags | None = None,
    sources: Annotated[Ids | None, Field(description="ids it was drawn from")] = None,
    supersedes: Annotated[RowId | None, Field(description="id of the knowledge that this replaces")] = None,
) -> Knowledge:
    """Store something worth knowing for an agent or a user, word for word. The same text again returns the first row.

    Raises:
        Invalid: `ownerId` is not of `ownerType`, or `supersedes` is knowledge of another owner.
        NotFound: the owner or a source does not exist.
        Forbidden: the owner is neither the caller nor an agent of the caller.
    """
    owner = await member_of(tx, me, owner_id)
    if isinstance(owner, Agent) != (owner_type == "agent"):
        raise Invalid(f"'{owner_id}' is {'an agent' if isinstance(owner, Agent) else 'a user'}, not {owner_type}.")
    if not answers_for(me, owner):
        raise Forbidden(f"'{owner.id}' is neither you nor an agent of yours.")
    check_vector(tx, vector)
    await check_sources(tx, me, owner.id, sources, supersedes)
    known = await _same_text(tx, owner.id, content)
    if known is not None:
        return known
    if supersedes is not None:
        replaced = await required(tx, me, Knowledge, supersedes)
        tx.update(replaced)  # it is hidden from now on, which the index hears of
    return tx.insert(
        Knowledge,
        owner_type=owner_type,
        owner_id=owner.id,
        content=content,
        vector=vector,
        tags=await ensure_tags(tx, me, tags),
        sources=sources,
        supersedes=supersedes,
    )


async def _same_text(tx: Transaction, owner_id: str, content: str) -> Knowledge | None:
    """The first row of that owner with that text."""
    if not tx.may_be_known(owner_id, content):
        return None
    same = [row for row in await tx.where(Knowledge, "content", content) if row.owner_id == owner_id]
    return same[0] if same else None


async def check_sources(
    view: View, me: Caller, owner_id: str, sources: list[str] | None, supersedes: str | None
) -> None:
    """Check what an entry of `owner_id` was drawn from and what it replaces.

    Raises:
        NotFound: a row does not exist.
        Invalid: `supersedes` is knowledge of another owner.
    """
    for source in sources or ():
        await required_anywhere(view, me, source)
    if supersedes is not None:
        replaced = await required(view, me, Knowledge, supersedes)
        if replaced.owner_id != owner_id:
            raise Invalid(f"'{supersedes}' belongs to '{replaced.owner_id}', not to '{owner_id}'.")


async def search_knowledge_by_tag(
    view: View, me: Caller, tag: TagName, limit: Limit = PAGE_DEFAULT, cursor: Cursor | None = None
) -> Page:
    """The knowledge that carries a tag, newest first. What was superseded is left out.

    Raises:
        Invalid: the cursor is not one of ours.
    """
    superseded = Has("id", Knowledge, Knowledge, "supersedes", Everything())
    seen = Both((visible(me, Knowledge), Contains(Knowledge, "tags", tag), Not(superseded)))
    rows, next_cursor = await find(view.store, Knowledge, seen, limit=limit, cursor=cursor)
    return Page.of(Knowledge.table, [await shown(view, me, row) for row in rows], next_cursor)

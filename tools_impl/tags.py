"""Tags."""

from __future__ import annotations

from storage.tables import Tag
from storage.transaction import Transaction
from tools_impl.arguments import Name, TagName
from tools_impl.caller import Caller


async def create_tag(
    tx: Transaction,
    me: Caller,
    name: TagName,
    color: Name | None = None,
) -> Tag:
    """Create a tag. An existing name returns the first; tags in other calls create themselves."""
    for tag in await tx.where(Tag, "name", name):
        return tag
    return tx.insert(Tag, name=name, color=color, created_by=me.user_id)

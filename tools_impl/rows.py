"""Any row of the 16 application tables: get, find, update, delete."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field, ValidationError

from storage.errors import Conflict, Forbidden, Invalid
from storage.find import find as find_rows
from storage.row import Deletion, Row, by_name
from storage.tables import BY_NAME, Agent, Message, Participant, Prompt, Tool, User
from storage.transaction import Transaction
from storage.view import View
from tools_impl.access import PRIVATE_FIELDS, required_anywhere, required_to_change, shown, visible
from tools_impl.arguments import PAGE_DEFAULT, Cursor, Limit, Name, RowId
from tools_impl.caller import Caller
from tools_impl.deletion import delete_row
from tools_impl.mistakes import field_errors
from tools_impl.pages import Page
from tools_impl.shared import check_all, check_team, ensure_tags, sync_attachments, sync_grants
from tools_impl.users import email_is_free

IMMUTABLE: dict[str, frozenset[str]] = {
    "users": frozenset({"deactivatedAt"}),
    "agents": frozenset({"createdBy", "updatedAt", "updatedBy", "deactivatedAt"}),
    "tools": frozenset({"createdBy"}),
    "prompts": frozenset({"createdBy"}),
    "conversations": frozenset({"createdBy", "lastMessageTime"}),
    "conversationParticipants": frozenset({"kind", "conversationId", "userId", "agentId", "addedAt"}),
    "conversationMessages": frozenset({"conversationId", "authorParticipantId", "kind"}),
    "agentTools": frozenset({"agentId", "toolId"}),
    "attachments": frozenset({"ownerType", "ownerId", "promptId", "createdBy"}),
    "knowledge": frozenset({"ownerType", "ownerId"}),
    "tags": frozenset({"name", "createdBy"}),
    "reactions": frozenset({"messageId", "userId", "agentId"}),
    "comments": frozenset({"messageId", "authorParticipantId"}),
    "follows": frozenset({"followerId", "followeeId", "kind"}),
    "events": frozenset({"createdBy"}),
    "reminders": frozenset({"userId", "agentId", "status", "firedAt"}),
}
"""Per table the fields that `update` never changes: identity, parents, and what the server sets."""

ALWAYS_IMMUTABLE = frozenset({"_id", "seq", "rev", "createdAt"})


async def get(view: View, me: Caller, id: RowId) -> Row:
    """One row by its id, of any table. Its `seq` can be passed to `update` as `ifSeq`.

    Raises:
        NotFound: no such row, or it is hidden from the caller.
    """
    return shown(me, await required_anywhere(view, me, id))


async def find(
    view: View,
    me: Caller,
    table: Annotated[Name, Field(description="one of the 16 tables, like agents or conversations")],
    where: Annotated[
        dict[str, Any] | None,
        Field(description="{field: value | {eq,ne,lt,lte,gt,gte,in,has,contains,exists: ...}}; all must hold"),
    ] = None,
    order: Annotated[Name | None, Field(description="field, or -field for descending; newest first by default")] = None,
    limit: Limit = PAGE_DEFAULT,
    cursor: Cursor | None = None,
) -> Page:
    """Rows of a table that match. `has` asks a list for an item, `contains` a text for a part of it.

    Raises:
        Invalid: no such table, field or operator; a value of the wrong kind; a cursor that is not ours.
    """
    declared = BY_NAME.get(table)
    if declared is None:
        raise Invalid(f"There is no table '{table}'. Tables: {', '.join(BY_NAME)}.")
    asked = {*(where or {}), (order or "").removeprefix("-")}
    if not me.admin:
        for attribute in PRIVATE_FIELDS.get(declared, ()):
            if declared.model_fields[attribute].alias in asked:
                raise Forbidden(f"{declared.model_fields[attribute].alias} is private; find by another field.")
    if "lastMessageTime" in asked:
        await view.fold()
    rows, next_cursor = await find_rows(
        view.store, declared, visible(me, declared), where=where, order=order, limit=limit, cursor=cursor
    )
    return Page.of(declared.table, [shown(me, row) for row in rows], next_cursor)


async def update(
    tx: Transaction,
    me: Caller,
    id: RowId,
    fields: Annotated[dict[str, Any], Field(description="new values by field; null removes an optional field")],
    if_seq: Annotated[int | None, Field(description="refuse if the row changed since this seq")] = None,
) -> Row:
    """Change fields of a row that is yours. Identity and parent fields stay as they are.

    Raises:
        NotFound: no such row.
        Forbidden: the row is somebody else's.
        Conflict: it changed since `ifSeq`, it was deleted, or a unique value is taken.
        Invalid: an unknown or immutable field, or a value of the wrong kind.
    """
    row = await required_anywhere(tx, me, id)
    await required_to_change(tx, me, row)
    if if_seq is not None and row.rev > if_seq:
        raise Conflict(f"'{id}' changed at seq {row.rev}, after {if_seq}. Read it again and decide.", seq=row.rev)
    if isinstance(row, Message) and row.status == "deleted":
        raise Conflict(f"'{id}' was deleted; what is left of it cannot be changed.")
    if not fields:
        raise Invalid("fields is empty; name at least one field and its new value.")
    changes = _by_attribute(type(row), fields)
    changed = await _consistent(tx, me, row, changes)
    if isinstance(row, Agent):
        changed |= {"updated_at": tx.now, "updated_by": me.user_id}
    try:
        after = tx.update(row, **changed)
    except ValidationError as error:
        raise Invalid(field_errors(error)) from None
    if isinstance(after, Agent):
        await sync_grants(tx, after, after.tools or ())
        await sync_attachments(tx, me, after, after.attached_prompts or ())
    return after


def _by_attribute(table: type[Row], fields: dict[str, Any]) -> dict[str, Any]:
    known = by_name(table)
    fixed = IMMUTABLE[table.table] | ALWAYS_IMMUTABLE
    open_to_change = [name for name in known if name not in fixed]
    for name in fields:
        if name not in known:
            raise Invalid(f"{table.table} has no field '{name}'. What can change: {', '.join(open_to_change)}.")
        if name in fixed:
            raise Invalid(f"'{name}' of {table.table} cannot change. What can: {', '.join(open_to_change)}.")
    return {known[name].attribute: value for name, value in fields.items()}


async def _consistent(tx: Transaction, me: Caller, row: Row, changes: dict[str, Any]) -> dict[str, Any]:
    """Check what one row cannot say of itself, and bring lists into the form that they are stored in."""
    checked = dict(changes)
    if isinstance(checked.get("tags"), list) and all(isinstance(tag, str) and tag for tag in checked["tags"]):
        checked["tags"] = await ensure_tags(tx, me, checked["tags"])
    match row:
        case User() if isinstance(checked.get("email"), str) and checked["email"] != row.email:
            if not me.admin:
                raise Forbidden("Only an admin changes an email.")
            await email_is_free(tx, checked["email"])
        case Agent():
            checked |= await _checked_agent(tx, me, row, checked)
        case Participant() if not me.admin and me.id != row.member_id and "last_read_seq" in checked:
            raise Forbidden("lastReadSeq is the participant's own.")
    return checked


async def _checked_agent(tx: Transaction, me: Caller, agent: Agent, changes: dict[str, Any]) -> dict[str, Any]:
    checked: dict[str, Any] = {}
    if _are_ids(changes.get("delegates_to")):
        checked["delegates_to"] = await check_team(tx, me, agent.id, changes["delegates_to"])
    if _are_ids(changes.get("tools")):
        checked["tools"] = await check_all(tx, me, Tool, changes["tools"])
    if _are_ids(changes.get("attached_prompts")):
        checked["attached_prompts"] = await check_all(tx, me, Prompt, changes["attached_prompts"])
    return checked


def _are_ids(value: object) -> bool:
    return isinstance(value, list) and all(isinstance(item, str) for item in value)


async def delete(tx: Transaction, me: Caller, id: RowId) -> Deletion:
    """Delete a row that is yours. The outcome says what became of it.

    Messages leave a tombstone, users and agents with a history are deactivated, participants are removed, a
    conversation goes with all it holds, a prompt or tool in use is refused.

    Raises:
        NotFound: no such row.
        Forbidden: the row is somebody else's.
        Conflict: it is in use.
    """
    row = await required_anywhere(tx, me, id)
    await required_to_change(tx, me, row)
    return await delete_row(tx, row)

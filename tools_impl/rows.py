"""Any row of the 16 application tables: get, find, update, delete."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import tzinfo
from functools import cache
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError, create_model
from pydantic.alias_generators import to_camel

from storage.errors import Conflict, Forbidden, Invalid
from storage.find import find as find_rows
from storage.predicate import Everything, Not
from storage.row import Deletion, Result, Row, by_name, columns
from storage.tables import (
    BY_NAME,
    Agent,
    Comment,
    Conversation,
    Event,
    Knowledge,
    Message,
    Participant,
    Prompt,
    Reminder,
    Tool,
    User,
)
from storage.transaction import Transaction
from storage.view import View
from tools_impl.access import LISTED_IDS, PRIVATE_FIELDS, required_anywhere, required_to_change, sees, shown, visible
from tools_impl.arguments import FIELD_TYPES, PAGE_DEFAULT, Cursor, Limit, Name, RowId, Text, Time
from tools_impl.caller import Caller
from tools_impl.deletion import delete_row
from tools_impl.events import check_span, invited
from tools_impl.knowledge import check_sources
from tools_impl.mistakes import closest, field_errors
from tools_impl.pages import Page
from tools_impl.related import with_related
from tools_impl.shared import check_all, check_team, check_vector, ensure_tags, sync_attachments, sync_grants
from tools_impl.users import email_is_free

IMMUTABLE: dict[str, frozenset[str]] = {
    "users": frozenset({"deactivatedAt", "emailVerificationTime", "phoneVerificationTime", "isAnonymous"}),
    "agents": frozenset({"createdBy", "updatedAt", "updatedBy", "deactivatedAt"}),
    "tools": frozenset({"createdBy"}),
    "prompts": frozenset({"createdBy"}),
    "conversations": frozenset({"createdBy", "lastMessageTime"}),
    "conversationParticipants": frozenset({"kind", "conversationId", "userId", "agentId", "addedAt", "lastMentionSeq"}),
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


async def get(view: View, me: Caller, id: RowId) -> Result:
    """One row by its id, of any table, with what hangs on it. Its `seq` can be passed to `update` as `ifSeq`.

    Raises:
        NotFound: no such row, or it is hidden from the caller.
    """
    return await with_related(view, me, await shown(view, me, await required_anywhere(view, me, id)))


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
        raise Invalid(f"There is no table '{table}'.{_meant(table, BY_NAME)} Tables: {', '.join(BY_NAME)}.")
    asked = {*(where or {}), *([order.removeprefix("-")] if order else [])}
    for name in asked:
        if name not in by_name(declared):
            names = by_name(declared)
            raise Invalid(f"{table} has no field '{name}'.{_meant(name, names)} Its fields: {', '.join(names)}.")
    if not me.admin:
        for attribute in PRIVATE_FIELDS.get(declared, ()):
            if declared.model_fields[attribute].alias in asked:
                raise Forbidden(f"{declared.model_fields[attribute].alias} is private; find by another field.")
    if "lastMessageTime" in asked:
        await view.fold()
    seen = visible(me, declared)
    if await _asks_for_hidden(view, me, declared, where or {}):
        seen = Not(Everything())
    rows, next_cursor = await find_rows(
        view.store, declared, seen, where=where, order=order, limit=limit, cursor=cursor
    )
    return Page.of(declared.table, [await shown(view, me, row) for row in rows], next_cursor)


async def _asks_for_hidden(view: View, me: Caller, table: type[Row], where: Mapping[str, Any]) -> bool:
    """Whether rows are asked for by an id in a list that `shown` leaves out of them.

    Raises:
        Forbidden: they are asked for by such a list as a whole.
    """
    name = to_camel(LISTED_IDS[table]) if table in LISTED_IDS else None
    if me.admin or name is None or name not in where:
        return False
    match where[name]:
        case {"has": str(row_id)} as terms if len(terms) == 1:
            return not await sees(view, me, row_id)
    raise Forbidden(f'{name} may have ids of rows that are hidden from you; find by {{"has": id}}.')


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
    changed = await _consistent(tx, me, row, _given(row, fields, tx.store.zone))
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


def _meant(word: str, among: Iterable[str]) -> str:
    meant = closest(word, among)
    return f" Did you mean '{meant}'?" if meant else ""


def _given(row: Row, fields: dict[str, Any], zone: tzinfo | None) -> dict[str, Any]:
    """The new values by Python name, each of its field's type."""
    table, known = type(row), by_name(type(row))
    fixed = IMMUTABLE[table.table] | ALWAYS_IMMUTABLE
    open_to_change = [name for name in known if name not in fixed]
    for name in fields:
        if name not in known:
            meant = _meant(name, open_to_change)
            raise Invalid(f"{table.table} has no field '{name}'.{meant} What can change: {', '.join(open_to_change)}.")
        if name in fixed:
            raise Invalid(f"'{name}' of {table.table} cannot change. What can: {', '.join(open_to_change)}.")
    try:
        changes = _changes(table).model_validate(fields, context={"zone": zone})
    except ValidationError as error:
        raise Invalid(field_errors(error)) from None
    return {name: getattr(changes, name) for name in changes.model_fields_set}


@cache
def _changes(table: type[Row]) -> type[BaseModel]:
    """The fields of a table with the limits of arguments."""
    fields: dict[str, Any] = {}
    for column in columns(table):
        other = Time if column.is_time else Text if column.annotation is str else column.annotation
        kind = FIELD_TYPES.get(column.attribute, other)
        fields[column.attribute] = (kind | None if column.optional else kind, None)
    return create_model(f"{table.__name__}Changes", __config__=ConfigDict(alias_generator=to_camel), **fields)


async def _consistent(tx: Transaction, me: Caller, row: Row, changes: dict[str, Any]) -> dict[str, Any]:
    """Check what one row cannot say of itself, and bring lists into the form that they are stored in."""
    checked = dict(changes)
    if "tags" in checked:
        checked["tags"] = await ensure_tags(tx, me, checked["tags"])
    if isinstance(checked.get("vector"), list):
        check_vector(tx, checked["vector"])
    match row:
        case User() if checked.get("email", row.email) != row.email:
            if not me.admin:
                raise Forbidden("Only an admin changes an email.")
            await email_is_free(tx, checked["email"])
        case Agent():
            checked |= await _checked_agent(tx, me, row, checked)
        case Participant() if not me.admin:
            await _may_change_participant(tx, me, row, checked)
        case Message() | Comment():
            await _may_edit(tx, me, row, checked)
        case Knowledge():
            await check_sources(tx, me, row.owner_id, checked.get("sources"), checked.get("supersedes"))
        case Event():
            check_span(checked.get("start_time") or row.start_time, checked.get("end_time") or row.end_time)
            if "participants" in checked:
                checked["participants"] = await invited(tx, me, checked["participants"])
        case Reminder():
            checked |= await _checked_reminder(tx, me, row, checked)
    return checked


async def _may_edit(tx: Transaction, me: Caller, row: Message | Comment, changes: dict[str, Any]) -> None:
    if isinstance(row, Message) and changes.get("status") == "deleted":
        raise Invalid(f"'{row.id}' is deleted with delete, not by its status.")
    author = await tx.find_row(row.author_participant_id, Participant)
    if author is not None and author.status != "active" and not me.admin:
        raise Forbidden(f"'{author.id}', who wrote it, cannot write: its status is '{author.status}'.")


async def _checked_reminder(tx: Transaction, me: Caller, row: Reminder, changes: dict[str, Any]) -> dict[str, Any]:
    if changes.get("related_entity") is not None:
        await required_anywhere(tx, me, changes["related_entity"])
    moved = changes.get("remind_at") not in (None, row.remind_at)
    return {"status": "pending", "fired_at": None} if moved else {}


async def _checked_agent(tx: Transaction, me: Caller, agent: Agent, changes: dict[str, Any]) -> dict[str, Any]:
    checked: dict[str, Any] = {}
    if "delegates_to" in changes:
        checked["delegates_to"] = await check_team(tx, me, agent.id, changes["delegates_to"])
    if "tools" in changes:
        checked["tools"] = await check_all(tx, me, Tool, changes["tools"])
    if "attached_prompts" in changes:
        checked["attached_prompts"] = await check_all(tx, me, Prompt, changes["attached_prompts"])
    return checked


async def _may_change_participant(tx: Transaction, me: Caller, row: Participant, changes: dict[str, Any]) -> None:
    if "last_read_seq" in changes and me.id != row.member_id:
        raise Forbidden("lastReadSeq is the participant's own.")
    conversation = await tx.find_row(row.conversation_id, Conversation)
    # An agent acts for its creator, but does not unblock itself.
    for_creator = conversation is not None and conversation.created_by == me.user_id
    if for_creator and (me.kind == "user" or row.member_id != me.id):
        return
    if "status" in changes:
        raise Forbidden("Only the conversation's creator or an admin changes a participant's status.")
    if changes.get("is_removed") is False and row.is_removed:
        raise Forbidden(f"'{row.id}' was removed; add_participant brings it back.")


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
    if me.admin and row.id == me.id:
        raise Conflict(f"'{id}' is you, an admin: the swarm would be left without. Let another admin do it.")
    return await delete_row(tx, me, row)

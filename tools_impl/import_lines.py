"""Reading a line of an import: JSON with a table's name and a row, in the schema's own names."""

from __future__ import annotations

import math
from collections.abc import Collection
from datetime import datetime
from functools import cache
from typing import Any, NamedTuple

from pydantic import TypeAdapter, ValidationError
from pydantic_core import from_json

from storage.auth_tables import AUTH_TABLES, OWN_AUTH_TABLES
from storage.errors import Invalid
from storage.row import Row, columns
from storage.store import table_of
from storage.tables import BY_NAME, Agent, Attachment, Conversation, Tag, User
from tools_impl.arguments import CONTENT_CHARS, Email, RowId, TagName, Tags
from tools_impl.mistakes import closest, field_errors

_CLOSED = frozenset(table.table for table in (*AUTH_TABLES, *OWN_AUTH_TABLES))
_ROW_ID: TypeAdapter[str] = TypeAdapter(RowId)
_EMAIL: TypeAdapter[str] = TypeAdapter(Email)
_TAG_NAME: TypeAdapter[str] = TypeAdapter(TagName)
_TAGS: TypeAdapter[list[str]] = TypeAdapter(Tags)


class Reference(NamedTuple):
    """A field that names rows of some tables."""

    attribute: str
    name: str
    tables: tuple[type[Row], ...]
    many: bool


class Line(NamedTuple):
    """A line whose row is of the right form. `row_id` is None when none was given, `dated` whether `createdAt` was.

    `references` are the ids that the row names, `digest` names the line when it has no id.
    """

    number: int
    row: Row
    row_id: str | None
    dated: bool
    references: list[tuple[Reference, str]]
    digest: int


class _Form(NamedTuple):
    """What a line of a table may say."""

    names: dict[str, None]
    times: tuple[str, ...]
    references: tuple[Reference, ...]


@cache
def _form(table: type[Row]) -> _Form:
    told = [column for column in columns(table) if column.attribute not in ("id", "seq", "rev")]
    references = [
        Reference(c.attribute, c.name, tuple(BY_NAME[name] for name in c.refers_to.tables), c.sql.endswith("[]"))
        for c in told
        if c.refers_to is not None
    ]
    return _Form(dict.fromkeys(c.name for c in told), tuple(c.name for c in told if c.is_time), tuple(references))


def read_line(number: int, text: str, digest: int) -> Line:
    """The row in a line, with times in epoch ms and lists without repetitions.

    Raises:
        Invalid: it is no JSON object with a row of one of the tables; the message says what is wrong.
    """
    try:
        data = from_json(text, allow_inf_nan=False)
    except (ValueError, TypeError) as error:  # TypeError: bytes that are not UTF-8
        raise Invalid(f"This is not JSON in UTF-8: {error}.") from None
    if not isinstance(data, dict):
        raise Invalid('A line is a JSON object like {"table": "users", "name": ...}.')
    table = _table(data.pop("table", None))
    row_id = _row_id(table, data.pop("_id", None))
    form = _form(table)
    for name in data:
        if name not in form.names:
            raise Invalid(_unknown(table, name, form.names))
    for name in form.times:
        value = data.get(name)
        if value is not None and type(value) is not int:
            data[name] = _epoch_ms(name, value)
    created_at = data.pop("createdAt", None)
    try:
        # Strict: "yes" is no boolean and "5" no number in a file that a program wrote.
        row = table.model_validate({"_id": "", "seq": 0, "rev": 0, "createdAt": created_at or 0, **data}, strict=True)
    except ValidationError as error:
        raise Invalid(field_errors(error)) from None
    row = _normalised(row)
    return Line(number, row, row_id, created_at is not None, _references(row, form.references), digest)


def _references(row: Row, fields: tuple[Reference, ...]) -> list[tuple[Reference, str]]:
    """The ids that a row names. A group's prompt may hang on any name: that is no reference."""
    values = row.__dict__
    found: list[tuple[Reference, str]] = []
    for field in fields:
        value = values[field.attribute]
        if value is None:
            continue
        if field.many:
            found += [(field, row_id) for row_id in value]
        elif not (field.attribute == "owner_id" and isinstance(row, Attachment) and _names_group(row)):
            found.append((field, value))
    return found


def _names_group(attachment: Attachment) -> bool:
    return attachment.owner_type == "group" and table_of(attachment.owner_id) is not Conversation


def _table(name: object) -> type[Row]:
    if not isinstance(name, str):
        raise Invalid(f"The field 'table' is missing. It names one of: {', '.join(BY_NAME)}.")
    table = BY_NAME.get(name)
    if table is not None:
        return table
    if name in _CLOSED:
        raise Invalid(f"'{name}' belongs to signing in; it is not imported.")
    meant = closest(name, BY_NAME)
    hint = f": did you mean '{meant}'?" if meant else f". Tables: {', '.join(BY_NAME)}."
    raise Invalid(f"Unknown table '{name}'{hint}")


def _row_id(table: type[Row], row_id: object) -> str | None:
    if row_id is None:
        return None
    try:
        checked = _ROW_ID.validate_python(row_id, strict=True)
    except ValidationError:
        raise Invalid("'_id' must be a text of 1 to 200 characters.") from None
    named = table_of(checked)
    if named is not None and named is not table:
        raise Invalid(f"'{checked}' has the form of an id of {named.table}; an id of {table.table} is needed.")
    return checked


def _unknown(table: type[Row], name: str, known: Collection[str]) -> str:
    meant = closest(name, known)
    hint = f": did you mean '{meant}'?" if meant else f". {table.table} has: _id, {', '.join(known)}."
    return f"Unknown field '{name}'{hint}"


def _epoch_ms(name: str, value: Any) -> int:
    if isinstance(value, float) and math.isfinite(value):
        return round(value)
    try:
        moment = datetime.fromisoformat(value)
    except (TypeError, ValueError):
        raise Invalid(f"'{name}' must be epoch milliseconds or an ISO 8601 time with an offset.") from None
    if moment.tzinfo is None:
        raise Invalid(f"'{name}': add an offset to the time, such as '{value}Z'.")
    return round(moment.timestamp() * 1000)


def _normalised(row: Row) -> Row:
    """The row in the form in which operations would have stored it.

    Raises:
        Invalid: a value that no operation would have taken.
    """
    values = row.__dict__
    if len(values.get("content") or "") > CONTENT_CHARS:
        raise Invalid(f"'content' has {len(values['content']):,} characters; at most {CONTENT_CHARS:,} are possible.")
    changes: dict[str, Any] = {}
    if values.get("tags") is not None:
        tags = _checked(_TAGS, values["tags"], "'tags' has at most 100 names of 1 to 100 characters.")
        changes["tags"] = _unique(tags)
    match row:
        case User():
            changes["email"] = _checked(
                _EMAIL, row.email, f"'email' must be an address like ana@example.org, not '{row.email}'."
            )
        case Tag():
            changes["name"] = _checked(_TAG_NAME, row.name, "'name' must have 1 to 100 characters.")
        case Agent():
            for field in ("delegates_to", "tools", "attached_prompts"):
                if values[field] is not None:
                    changes[field] = _unique(values[field])
        case Conversation():
            changes["last_message_time"] = None  # derived from its messages
    return row.model_copy(update=changes) if changes else row


def _checked(adapter: TypeAdapter[Any], value: object, reason: str) -> Any:
    try:
        return adapter.validate_python(value)
    except ValidationError:
        raise Invalid(reason) from None


def _unique(values: list[str]) -> list[str]:
    return list(dict.fromkeys(values))

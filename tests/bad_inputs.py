"""Bad values for every field, made from the declarations, each with what the error must say."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, get_args, get_origin, get_type_hints

from pydantic import BeforeValidator, TypeAdapter

from server.binding import BOUND
from storage.fields import RefersTo
from storage.row import Row, columns, unwrapped
from tools_impl.arguments import FIELD_TYPES, Ids, RowId, Text
from tools_impl.rows import ALWAYS_IMMUTABLE, IMMUTABLE

NOBODY = 999_999
"""No row has this number."""
STRANGER_TABLES = ("tags", "reactions")
"""No field but their own refers to rows of these: an id of theirs is one of another table."""
DEEP = 150
LEAKS = ("pydantic", "Input should", "validation error", "http", "Traceback", "File ", "something else", "NoneType")
"""What no error text may contain: words of our tools, and giving up."""


@dataclass(frozen=True)
class Field:
    """An argument of a tool, or a field that `update` changes."""

    name: str
    schema: dict[str, Any]
    refers: tuple[str, ...] = ()
    any_row: bool = False
    is_id: bool = False
    is_time: bool = False
    required: bool = False

    @property
    def plain(self) -> dict[str, Any]:
        """The schema of a value that is not null."""
        options = [one for one in self.schema.get("anyOf", ()) if one != {"type": "null"}]
        return options[0] if options else self.schema

    @property
    def nullable(self) -> bool:
        """Whether null is a value, or the same as leaving it out."""
        return not self.required


@dataclass(frozen=True)
class Bad:
    """A value that must be refused with a text in which all of `says` occur."""

    value: Any
    says: tuple[str, ...]
    code: str = "invalid"


def arguments_of(tool: str, table: type[Row] | None = None) -> list[Field]:
    """The arguments of a tool; those named like a field of `table` refer to what it refers to."""
    model = BOUND[tool].arguments
    schema = model.model_json_schema(by_alias=True)
    hints = get_type_hints(BOUND[tool].operation.function, include_extras=True)
    by_attribute = {column.attribute: column for column in columns(table)} if table is not None else {}
    found = []
    for attribute, info in model.model_fields.items():
        name, column = info.alias or attribute, by_attribute.get(attribute)
        refers = _refers(hints.get(attribute, str)) or (column.refers_to if column else None)
        found.append(
            Field(
                name,
                schema["properties"][name],
                refers.tables if refers is not None else ("agents",) if attribute == "as_" else (),
                any_row=refers is None and FIELD_TYPES.get(attribute) in (Ids, RowId),
                is_id=attribute == "as_" or refers is not None or _is_id(hints.get(attribute)),
                is_time=any(isinstance(mark, BeforeValidator) for mark in unwrapped(hints.get(attribute))[1]),
                required=info.is_required(),
            )
        )
    return found


def changeable(table: type[Row]) -> list[Field]:
    """The fields that `update` changes."""
    fixed = IMMUTABLE[table.table] | ALWAYS_IMMUTABLE
    found = []
    for column in columns(table):
        if column.name in fixed:
            continue
        kind = FIELD_TYPES.get(column.attribute, Text if column.annotation is str else column.annotation)
        if get_origin(column.annotation) is list and column.attribute not in FIELD_TYPES:
            kind = list[Any]
        refers = column.refers_to.tables if column.refers_to is not None else ()
        any_row = not refers and kind in (Ids, RowId)
        schema = TypeAdapter(kind).json_schema()
        required = not column.optional
        found.append(Field(column.name, schema, refers, any_row, is_time=column.is_time, required=required))
    return found


def bad_values(field: Field, ids: dict[str, str]) -> Iterator[Bad]:
    """What must be refused for a field; `ids` has a row of every table by name."""
    if field.required and "type" in field.plain:
        yield Bad(None, (f"'{field.name}'", _wanted(field)))
    yield from _bad(field, field.name, field.plain, ids)


def _wanted(field: Field) -> str:
    if field.is_time:
        return "ISO 8601 or epoch milliseconds"
    if "enum" in field.plain:
        return " or ".join(repr(one) for one in field.plain["enum"][-2:])
    return {
        "string": "must be a text, not null",
        "array": "must be a list, not null",
        "boolean": "must be true or false, not null",
        "object": "must be an object, not null",
    }[field.plain["type"]]


_SIMPLE: dict[str, tuple[tuple[Any, str], ...]] = {
    "number": (("x", "must be a number, not 'x'."), (None, "must be a number, not null.")),
    "integer": (
        ("many", "must be a whole number, not 'many'."),
        (1.5, "must be a whole number, not 1.5."),
        ([], "must be a whole number, not list."),
        (-1, "must be at least 0, not -1."),
    ),
    "boolean": (("perhaps", "must be true or false, not 'perhaps'."), (5, "must be true or false, not 5.")),
    "object": (("x", "must be an object, not 'x'."), (5, "must be an object, not 5.")),
}
_NO_TIMES: tuple[Any, ...] = ("soon", "", True, [], {"at": 1}, 10**18, 10**400, "2026-13-01T00:00:00Z")
_NO_LITERALS: tuple[Any, ...] = ("nonsense", "", 5, [])
_NO_LISTS: tuple[Any, ...] = ({}, 5, "x")
_NO_TEXTS: tuple[Any, ...] = (5, True, [], {})


def _bad(field: Field, name: str, schema: dict[str, Any], ids: dict[str, str]) -> Iterator[Bad]:
    quoted = f"'{name}'"
    if field.is_time:
        yield from (Bad(value, (quoted, "a time is")) for value in _NO_TIMES)
    elif "enum" in schema:
        says = (f"{quoted} must be ", *(repr(one) for one in schema["enum"]))
        yield from (Bad(value, says) for value in _NO_LITERALS)
    elif "type" not in schema:  # any JSON
        yield from _too_deep(name)
    elif schema["type"] == "string":
        yield from _bad_texts(quoted, schema)
        yield from _bad_ids(field, ids)
    elif schema["type"] == "array":
        yield from _bad_lists(field, name, schema, ids)
    else:
        yield from (Bad(value, (f"{quoted} {text}",)) for value, text in _SIMPLE[schema["type"]])


def _bad_lists(field: Field, name: str, schema: dict[str, Any], ids: dict[str, str]) -> Iterator[Bad]:
    quoted, items, most = f"'{name}'", schema["items"], schema.get("maxItems")
    yield from (Bad(value, (f"{quoted} must be a list, not",)) for value in _NO_LISTS)
    if most is not None:
        filler: Any = {"string": "x", "number": 1.0}.get(items.get("type"), {})
        yield Bad([filler] * (most + 1), (f"{quoted} has {most + 1} items; at most {most} are possible.",))
    if "minItems" in schema:
        yield Bad([], (f"{quoted} must not be empty.",))
    for one in _bad(field, f"{name}.0", items, ids):
        yield Bad([one.value], one.says, one.code)


def _bad_texts(quoted: str, schema: dict[str, Any]) -> Iterator[Bad]:
    yield from (Bad(value, (f"{quoted} must be a text, not",)) for value in _NO_TEXTS)
    most = schema["maxLength"]
    yield Bad("x" * (most + 1), (f"{quoted} has {most + 1:,} characters; at most {most:,} are possible.",))
    if "pattern" in schema:
        for value in ("", "nobody", "a b@c"):
            yield Bad(value, (f"{quoted} must be an address like",))
    else:
        yield Bad("", (f"{quoted} must not be empty.",))
    yield Bad("\ud800", (quoted, "Unicode"))


def _bad_ids(field: Field, ids: dict[str, str]) -> Iterator[Bad]:
    """An id of another table, and one that no row has: the text says which value it means."""
    if field.any_row:
        yield Bad(f"conv_{NOBODY}", (f"No row 'conv_{NOBODY}'.",), "not_found")
    for table in field.refers:
        missing = f"{ids[table].rpartition('_')[0]}_{NOBODY}"
        yield Bad(missing, (f"'{missing}'",), "not_found")
    if field.refers and field.name != "as":
        wrong = next(ids[table] for table in STRANGER_TABLES if table not in field.refers)
        yield Bad(wrong, (f"'{wrong}' is an id of {STRANGER_TABLES[0]}; ",))


def _too_deep(name: str) -> Iterator[Bad]:
    nested: Any = 1
    for _ in range(DEEP):
        nested = [nested]
    yield Bad(nested, (f"'{name.removesuffix('.0')}': this is not JSON",))


def _refers(annotation: Any) -> RefersTo | None:
    bare, metadata, _ = unwrapped(annotation)
    mark = next((one for one in metadata if isinstance(one, RefersTo)), None)
    return mark or (_refers(get_args(bare)[0]) if get_origin(bare) is list else None)


def _is_id(annotation: Any) -> bool:
    """Whether values are ids, or texts of which an id is one, of rows of whichever table."""
    bare, metadata, _ = unwrapped(annotation)
    return any(mark in metadata for mark in unwrapped(RowId)[1]) or (
        get_origin(bare) is list and _is_id(get_args(bare)[0])
    )


def is_clear(text: str) -> bool:
    """Whether an error is ours: a sentence, no traceback and no word of a library."""
    return text.endswith((".", "?")) and len(text) < 1_500 and not any(word in text for word in LEAKS)

"""Finding rows by their fields: `where` and `order` as SQL, pages by keyset so that none repeats or is skipped."""

from __future__ import annotations

import base64
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, tzinfo
from typing import Any, Literal, TypeVar, get_args, get_origin

from storage.errors import Invalid
from storage.fields import from_timestamp, time_of, to_timestamp
from storage.predicate import Predicate
from storage.row import Column, Row, by_name, column_list, columns
from storage.store import Store, table_of
from storage.view import View

R = TypeVar("R", bound=Row)

MAX_TERMS = 10
MAX_VALUES = 1_000
ORDERED_CHARS = 200
OPERATORS: dict[str, str] = {"eq": "=", "ne": "IS DISTINCT FROM", "lt": "<", "lte": "<=", "gt": ">", "gte": ">="}
"""The comparisons; what is absent is not equal, too. `in`, `has` (of lists), `contains` (of text, ignoring case) and
`exists` are written out below."""
ALL_OPERATORS = (*OPERATORS, "in", "has", "contains", "exists")

LIKE_ENOUGH = 0.8
"""Jaro-Winkler similarity from which a suggestion helps more than it misleads."""


@dataclass(frozen=True, slots=True)
class Order:
    """By which column, and whether downwards. Ties go by commit order."""

    column: Column
    descending: bool

    @property
    def key(self) -> str:
        """What is compared. Of a text its beginning: cursors carry it."""
        field = f't."{self.column.name}"'
        return f"left({field}, {ORDERED_CHARS})" if self.column.sql == "VARCHAR" else field


def column_named(table: type[Row], name: str) -> Column:
    """The column of that name of data.

    Raises:
        Invalid: there is none; the message names those there are.
    """
    found = by_name(table).get(name)
    if found is None:
        names = ", ".join(column.name for column in columns(table))
        raise Invalid(f"{table.table} has no field '{name}'. Its fields: {names}.")
    return found


def parse_order(table: type[Row], order: str | None) -> Order:
    """`field` or `-field`; None is the newest first."""
    if order is None:
        return Order(column_named(table, "seq"), descending=True)
    column = column_named(table, order.removeprefix("-"))
    if column.sql == "JSON" or column.sql.endswith("[]"):
        raise Invalid(f"{column.name} has no order.")
    return Order(column, descending=order.startswith("-"))


def conditions(table: type[Row], where: Mapping[str, Any] | None, zone: tzinfo | None) -> tuple[list[str], list[Any]]:
    """The terms of `where` as SQL on the alias `t`, all of which must hold, and their parameters.

    A time without an offset is of `zone` (None: the machine's).

    Raises:
        Invalid: an unknown field or operator, a value of the wrong kind, or too many terms.
    """
    texts: list[str] = []
    values: list[Any] = []
    for name, wanted in (where or {}).items():
        column = column_named(table, name)
        terms = wanted.items() if isinstance(wanted, dict) else [("eq", wanted)]
        if not terms:
            raise Invalid(f"{name}: the condition is empty. Operators: {', '.join(ALL_OPERATORS)}.")
        for operator, value in terms:
            text, parameters = _term(column, operator, value, zone)
            texts.append(text)
            values += parameters
    if len(texts) > MAX_TERMS:
        raise Invalid(f"where has {len(texts)} terms; at most {MAX_TERMS} are possible.")
    return texts, values


def _term(column: Column, operator: str, value: Any, zone: tzinfo | None) -> tuple[str, list[Any]]:
    field = f't."{column.name}"'
    match operator:
        case "exists":
            if not isinstance(value, bool):
                raise Invalid(f"{column.name}: exists takes true or false.")
            return f"{field} IS {'NOT ' if value else ''}NULL", []
        case "in":
            if not isinstance(value, list) or not 0 < len(value) <= MAX_VALUES:
                raise Invalid(f"{column.name}: in takes a list of 1 to {MAX_VALUES} values.")
            # As a join: a thousand values compared one by one take five times as long.
            given = [_parameter(column, one, zone) for one in value]
            return f"{field} IN (SELECT unnest(?::{column.sql}[]))", [given]
        case "has":
            if column.sql != "VARCHAR[]":
                raise Invalid(f"{column.name} is not a list of texts; use eq, or contains for a part of a text.")
            return f"list_contains({field}, ?)", [_plain(column, value)]
        case "contains":
            if column.sql != "VARCHAR":
                raise Invalid(f"{column.name} is not a text; use {'has' if column.sql.endswith('[]') else 'eq'}.")
            return f"contains(lower({field}), lower(?))", [_plain(column, value)]
        case "eq" | "ne" if value is None:
            return f"{field} IS {'NOT ' if operator == 'ne' else ''}NULL", []
        case _ if operator in OPERATORS:
            return f"{field} {OPERATORS[operator]} ?", [_parameter(column, value, zone)]
    raise Invalid(f"{column.name}: unknown operator '{operator}'. Operators: {', '.join(ALL_OPERATORS)}.")


def _plain(column: Column, value: Any) -> str:
    if not isinstance(value, str):
        raise Invalid(f"{column.name} is compared with a text, not with {json.dumps(value)}.")
    return value


def _parameter(column: Column, value: Any, zone: tzinfo | None) -> Any:
    match column.sql:
        case "TIMESTAMP":
            try:
                return to_timestamp(time_of(value, zone))
            except ValueError as error:
                raise Invalid(f"{column.name}: {error}.") from None
        case "BOOLEAN" if isinstance(value, bool):
            return value
        case "BIGINT" | "DOUBLE" if isinstance(value, int | float) and not isinstance(value, bool):
            if math.isfinite(value):
                return max(-(2**63), min(value, 2**63 - 1))
        case "VARCHAR":
            return _meant(column, _plain(column, value))
        case "VARCHAR[]" if isinstance(value, list):
            return [_plain(column, item) for item in value]
        case "VARCHAR[]":
            raise Invalid(f'{column.name} is a list; use {{"has": ...}} for one of its items.')
        case "JSON" | "FLOAT[]":
            raise Invalid(f"Of {column.name} only exists can be asked.")
    raise Invalid(f"{column.name} cannot be compared with {json.dumps(value)}.")


def _meant(column: Column, value: str) -> str:
    """A text that the column could hold: a wrong literal or an id of another table would only find nothing."""
    if get_origin(column.annotation) is Literal and value not in (allowed := get_args(column.annotation)):
        raise Invalid(f"{column.name} is one of {', '.join(map(repr, allowed))}, not {value!r}.")
    refers, named = column.refers_to, table_of(value)
    if refers is not None and refers.typed and named is not None and named.table not in refers.tables:
        raise Invalid(f"{column.name} is an id of {' or '.join(refers.tables)}; '{value}' is one of {named.table}.")
    return value


async def find(
    store: Store,
    table: type[R],
    seen: Predicate,
    *,
    where: Mapping[str, Any] | None = None,
    order: str | None = None,
    limit: int,
    cursor: str | None = None,
) -> tuple[list[R], str | None]:
    """A page of the rows that fulfil `seen` and `where`, and the cursor of the next one (None: this was the last).

    Raises:
        Invalid: `where`, `order` or `cursor` is not usable.
    """
    texts, values = conditions(table, where, store.zone)
    by = parse_order(table, order)
    text, more = (await _left(store, table, seen, where)).sql("t")
    texts.append(text)
    values += more
    if cursor is not None:
        text, more = _after(by, _decoded(by, cursor))
        texts.append(text)
        values += more
    direction = "DESC" if by.descending else "ASC"
    rows = await store.database.select(
        f'SELECT {column_list(table, "t.")} FROM "{table.table}" t WHERE {" AND ".join(texts)} '
        f"ORDER BY {by.key} {direction} NULLS LAST, t.seq {direction} LIMIT {limit + 1}",
        values,
    )
    found = [table.loaded(row) for row in rows[:limit]]
    next_cursor = _encoded(by, found[-1]) if len(rows) > limit else None
    return [store.current(row) for row in found], next_cursor


async def _left(store: Store, table: type[Row], seen: Predicate, where: Mapping[str, Any] | None) -> Predicate:
    """What is left of `seen` for the rows that `where` asks for: one lookup instead of joins in the query."""
    for name, wanted in (where or {}).items():
        column, value = column_named(table, name), wanted.get("eq") if isinstance(wanted, dict) else wanted
        if isinstance(value, str) and column.sql == "VARCHAR":
            seen = await seen.given(column.attribute, value, View(store))
    return seen


async def count(store: Store, table: type[Row], seen: Predicate) -> int:
    """How many rows fulfil `seen`."""
    text, values = seen.sql("t")
    ((found,),) = await store.database.select(f'SELECT count(*) FROM "{table.table}" t WHERE {text}', values)
    return int(found)


def _after(by: Order, position: tuple[Any, int]) -> tuple[str, list[Any]]:
    value, seq = position
    sign = "<" if by.descending else ">"
    if value is None:
        return f"({by.key} IS NULL AND t.seq {sign} ?)", [seq]
    text = f"({by.key} {sign} ? OR ({by.key} = ? AND t.seq {sign} ?) OR {by.key} IS NULL)"
    return text, [value, value, seq]


def _encoded(by: Order, last: Row) -> str:
    value = last.stored()[[column.name for column in columns(type(last))].index(by.column.name)]
    if isinstance(value, datetime):
        value = from_timestamp(value)
    elif isinstance(value, str):
        value = value[:ORDERED_CHARS]
    text = json.dumps([by.column.name, by.descending, value, last.seq], separators=(",", ":"), ensure_ascii=False)
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


def _decoded(by: Order, cursor: str) -> tuple[Any, int]:
    try:
        name, descending, value, seq = json.loads(base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)))
        same = name == by.column.name and descending is by.descending
        if same and not (type(seq) is int and 0 <= seq < 2**63):
            raise ValueError(seq)
        if same and value is not None:
            value = _parameter(by.column, value, None)
    except (ValueError, TypeError, RecursionError, Invalid):
        raise Invalid("That cursor is not one of ours; pass nextCursor as it came.") from None
    if not same:
        raise Invalid("That cursor belongs to another order; start again without it.")
    return value, seq


async def nearest(store: Store, table: type[Row], seen: Predicate, text: str) -> tuple[str, str] | None:
    """The id and name of the row most like `text` (an id or a name), among those that fulfil `seen`."""
    named = next((name for name in ("name", "title") if name in by_name(table)), None)
    label = f'"{named}"' if named else "''"
    condition, values = seen.sql("t")
    rows = await store.database.select(
        f"SELECT _id, {label}, greatest(jaro_winkler_similarity(lower(_id), lower(?)), "
        f"jaro_winkler_similarity(lower({label}), lower(?))) AS likeness "
        f'FROM (SELECT * FROM "{table.table}" t WHERE {condition} ORDER BY seq DESC LIMIT 10000) '
        "ORDER BY likeness DESC, seq DESC LIMIT 1",
        [text, text, *values],
    )
    return (rows[0][0], rows[0][1]) if rows and rows[0][2] >= LIKE_ENOUGH else None

"""Finding rows by their fields: `where` and `order` as SQL, pages by keyset so that none repeats or is skipped."""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, tzinfo
from typing import Any, TypeVar

from storage.errors import Invalid
from storage.fields import from_timestamp, to_timestamp
from storage.predicate import Predicate
from storage.row import Column, Row, by_name, column_list, columns
from storage.store import Store

R = TypeVar("R", bound=Row)

MAX_TERMS = 10
OPERATORS: dict[str, str] = {"eq": "=", "ne": "<>", "lt": "<", "lte": "<=", "gt": ">", "gte": ">="}
"""The comparisons; `in`, `has` (of lists), `contains` (of text, ignoring case) and `exists` are written out below."""
ALL_OPERATORS = (*OPERATORS, "in", "has", "contains", "exists")

LIKE_ENOUGH = 0.8
"""Jaro-Winkler similarity from which a suggestion helps more than it misleads."""


@dataclass(frozen=True, slots=True)
class Order:
    """By which column, and whether downwards. Ties go by commit order."""

    column: Column
    descending: bool


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
    return Order(column_named(table, order.removeprefix("-")), descending=order.startswith("-"))


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
            if not isinstance(value, list) or not value:
                raise Invalid(f"{column.name}: in takes a list of values.")
            return f"{field} IN ({', '.join('?' * len(value))})", [_parameter(column, one, zone) for one in value]
        case "has":
            if not column.sql.endswith("[]"):
                raise Invalid(f"{column.name} is not a list; use eq, or contains for a part of a text.")
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
            return _moment(column, value, zone)
        case "BOOLEAN" if isinstance(value, bool):
            return value
        case "BIGINT" | "DOUBLE" if isinstance(value, int | float) and not isinstance(value, bool):
            return value
        case "VARCHAR":
            return _plain(column, value)
        case sql if sql.endswith("[]") and isinstance(value, list):
            return value
        case sql if sql.endswith("[]"):
            raise Invalid(f'{column.name} is a list; use {{"has": ...}} for one of its items.')
        case "JSON":
            raise Invalid(f"{column.name} holds any JSON; only exists can be asked of it.")
    raise Invalid(f"{column.name} cannot be compared with {json.dumps(value)}.")


def _moment(column: Column, value: Any, zone: tzinfo | None) -> datetime:
    if isinstance(value, int | float) and not isinstance(value, bool):
        return to_timestamp(int(value))
    try:
        moment = datetime.fromisoformat(value)
    except (TypeError, ValueError):
        raise Invalid(f"{column.name} takes epoch milliseconds or an ISO 8601 time.") from None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=zone)
    return to_timestamp(round(moment.timestamp() * 1000))


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
    text, more = seen.sql("t")
    texts.append(text)
    values += more
    if cursor is not None:
        text, more = _after(by, _decoded(by, cursor))
        texts.append(text)
        values += more
    key, direction = f't."{by.column.name}"', "DESC" if by.descending else "ASC"
    rows = await store.database.select(
        f'SELECT {column_list(table, "t.")} FROM "{table.table}" t WHERE {" AND ".join(texts)} '
        f"ORDER BY {key} {direction} NULLS LAST, t.seq {direction} LIMIT {limit + 1}",
        values,
    )
    found = [store.current(table.loaded(row)) for row in rows[:limit]]
    return found, _encoded(by, found[-1]) if len(rows) > limit else None


def _after(by: Order, position: tuple[Any, int]) -> tuple[str, list[Any]]:
    value, seq = position
    key, sign = f't."{by.column.name}"', "<" if by.descending else ">"
    if value is None:
        return f"({key} IS NULL AND t.seq {sign} ?)", [seq]
    return f"({key} {sign} ? OR ({key} = ? AND t.seq {sign} ?) OR {key} IS NULL)", [value, value, seq]


def _encoded(by: Order, last: Row) -> str:
    value = last.stored()[[column.name for column in columns(type(last))].index(by.column.name)]
    if isinstance(value, datetime):
        value = from_timestamp(value)
    text = json.dumps([by.column.name, by.descending, value, last.seq], separators=(",", ":"))
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


def _decoded(by: Order, cursor: str) -> tuple[Any, int]:
    try:
        name, descending, value, seq = json.loads(base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)))
    except (ValueError, binascii.Error, TypeError):
        raise Invalid("That cursor is not one of ours; pass nextCursor as it came.") from None
    if name != by.column.name or descending is not by.descending or not isinstance(seq, int):
        raise Invalid("That cursor belongs to another order; start again without it.")
    if value is not None and by.column.is_time:
        value = to_timestamp(value)
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

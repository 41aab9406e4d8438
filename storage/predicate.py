"""Conditions on rows, which hold in memory and in SQL alike.

Who sees a row is said once, as a predicate (`tools_impl/access.py`): `holds` answers for a row at hand, `sql` for the
rows of a query, `ids` names all it holds for, `given` says what is left of it when a field is known. Property tests
compare them.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from typing_extensions import override

from storage.row import Row


class Rows(Protocol):
    """What `holds` may ask about other rows."""

    async def find_row(self, row_id: str, table: type[Row]) -> Row | None:
        """The row of that id."""
        ...

    async def where(self, table: type[Row], field: str, value: str) -> Sequence[Row]:
        """The rows whose `field` (Python name) equals `value`."""
        ...


class Predicate(ABC):
    """A condition on a row of one table."""

    @abstractmethod
    async def holds(self, row: Row, rows: Rows) -> bool:
        """Whether it holds for `row`."""

    @abstractmethod
    def sql(self, alias: str) -> tuple[str, list[Any]]:
        """The condition for the table aliased `alias`, and its parameters."""

    def ids(self, table: type[Row]) -> tuple[str, list[Any]]:
        """A query of the ids of `table` for which it holds, without joins where it can do without, and its parameters.

        An id may come twice, or be that of a row which is gone while others name it.
        """
        text, values = self.sql("t")
        return f'SELECT t."_id" FROM "{table.table}" t WHERE {text}', values

    async def given(self, field: str, value: str, rows: Rows) -> Predicate:
        """What is left to ask of rows whose `field` (Python name) is `value`: what follows from it is decided once."""
        return self


def _name(table: type[Row], field: str) -> str:
    return f'"{table.model_fields[field].alias}"'


@dataclass(frozen=True, slots=True)
class Everything(Predicate):
    """Holds for every row."""

    @override
    async def holds(self, row: Row, rows: Rows) -> bool:
        return True

    @override
    def sql(self, alias: str) -> tuple[str, list[Any]]:
        return "TRUE", []


def _decided(outcome: bool) -> Predicate:
    return Everything() if outcome else Not(Everything())


@dataclass(frozen=True, slots=True)
class Is(Predicate):
    """A field equals a value; None means absent."""

    table: type[Row]
    field: str
    value: str | bool | None

    @override
    async def holds(self, row: Row, rows: Rows) -> bool:
        return bool(getattr(row, self.field) == self.value)

    @override
    def sql(self, alias: str) -> tuple[str, list[Any]]:
        column = f"{alias}.{_name(self.table, self.field)}"
        return (f"{column} IS NULL", []) if self.value is None else (f"{column} IS NOT DISTINCT FROM ?", [self.value])

    @override
    async def given(self, field: str, value: str, rows: Rows) -> Predicate:
        return _decided(self.value == value) if field == self.field else self


@dataclass(frozen=True, slots=True)
class Contains(Predicate):
    """A list field contains a value."""

    table: type[Row]
    field: str
    value: str

    @override
    async def holds(self, row: Row, rows: Rows) -> bool:
        return self.value in (getattr(row, self.field) or ())

    @override
    def sql(self, alias: str) -> tuple[str, list[Any]]:
        column = f"{alias}.{_name(self.table, self.field)}"
        return f"coalesce(list_contains({column}, ?), FALSE)", [self.value]


@dataclass(frozen=True, slots=True)
class Either(Predicate):
    """At least one holds."""

    parts: tuple[Predicate, ...]

    @override
    async def holds(self, row: Row, rows: Rows) -> bool:
        for part in self.parts:
            if await part.holds(row, rows):
                return True
        return False

    @override
    def sql(self, alias: str) -> tuple[str, list[Any]]:
        return _joined(self.parts, alias, " OR ")

    @override
    def ids(self, table: type[Row]) -> tuple[str, list[Any]]:
        queries = [part.ids(table) for part in self.parts]
        return " UNION ALL ".join(text for text, _ in queries), [value for _, values in queries for value in values]

    @override
    async def given(self, field: str, value: str, rows: Rows) -> Predicate:
        parts = tuple([await part.given(field, value, rows) for part in self.parts])
        return Everything() if Everything() in parts else Either(parts)


@dataclass(frozen=True, slots=True)
class Both(Predicate):
    """All hold."""

    parts: tuple[Predicate, ...]

    @override
    async def holds(self, row: Row, rows: Rows) -> bool:
        for part in self.parts:
            if not await part.holds(row, rows):
                return False
        return True

    @override
    def sql(self, alias: str) -> tuple[str, list[Any]]:
        return _joined(self.parts, alias, " AND ")

    @override
    async def given(self, field: str, value: str, rows: Rows) -> Predicate:
        parts = tuple([await part.given(field, value, rows) for part in self.parts])
        nothing = _decided(False)
        return nothing if nothing in parts else Both(parts)


def _joined(parts: tuple[Predicate, ...], alias: str, word: str) -> tuple[str, list[Any]]:
    compiled = [part.sql(alias) for part in parts]
    return f"({word.join(text for text, _ in compiled)})", [value for _, values in compiled for value in values]


@dataclass(frozen=True, slots=True)
class Refers(Predicate):
    """The row named by `field` is of table `to` and `then` holds for it."""

    table: type[Row]
    field: str
    to: type[Row]
    then: Predicate

    @override
    async def holds(self, row: Row, rows: Rows) -> bool:
        row_id = getattr(row, self.field)
        return bool(row_id) and await self._holds_for(row_id, rows)

    async def _holds_for(self, row_id: str, rows: Rows) -> bool:
        target = await rows.find_row(row_id, self.to)
        return target is not None and await self.then.holds(target, rows)

    @override
    def sql(self, alias: str) -> tuple[str, list[Any]]:
        inner = f"{alias}r"
        text, values = self.then.sql(inner)
        column = f"{alias}.{_name(self.table, self.field)}"
        return f'{column} IN (SELECT {inner}."_id" FROM "{self.to.table}" {inner} WHERE {text})', values

    @override
    async def given(self, field: str, value: str, rows: Rows) -> Predicate:
        return _decided(await self._holds_for(value, rows)) if field == self.field else self


@dataclass(frozen=True, slots=True)
class Has(Predicate):
    """Some row of table `other` names this one in `field`, and `then` holds for it. `mine` is the naming value."""

    mine: str
    table: type[Row]
    other: type[Row]
    field: str
    then: Predicate

    @override
    async def holds(self, row: Row, rows: Rows) -> bool:
        for found in await rows.where(self.other, self.field, getattr(row, self.mine)):
            if await self.then.holds(found, rows):
                return True
        return False

    @override
    def sql(self, alias: str) -> tuple[str, list[Any]]:
        text, values = self._named(f"{alias}h")
        return f"{alias}.{_name(self.table, self.mine)} IN ({text})", values

    @override
    def ids(self, table: type[Row]) -> tuple[str, list[Any]]:
        return self._named("t") if self.mine == "id" else Predicate.ids(self, table)

    def _named(self, alias: str) -> tuple[str, list[Any]]:
        text, values = self.then.sql(alias)
        named = f"{alias}.{_name(self.other, self.field)}"
        return f'SELECT {named} FROM "{self.other.table}" {alias} WHERE {named} IS NOT NULL AND {text}', values


@dataclass(frozen=True, slots=True)
class Not(Predicate):
    """The condition does not hold."""

    part: Predicate

    @override
    async def holds(self, row: Row, rows: Rows) -> bool:
        return not await self.part.holds(row, rows)

    @override
    def sql(self, alias: str) -> tuple[str, list[Any]]:
        text, values = self.part.sql(alias)
        return f"NOT coalesce({text}, FALSE)", values

    @override
    async def given(self, field: str, value: str, rows: Rows) -> Predicate:
        return Not(await self.part.given(field, value, rows))

"""`Row`, the base of every table's declaration, and `Column`, what SQL and documentation read from it."""

from __future__ import annotations

import json
import types
import typing
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from operator import itemgetter
from types import MappingProxyType
from typing import Any, ClassVar, Literal, NamedTuple, Self

from pydantic import BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel
from pydantic.fields import FieldInfo
from pydantic_core import to_json

from storage.fields import Extension, RefersTo, Sql, Time, from_timestamp, to_timestamp

INTERNAL = {"seq", "rev"}


@dataclass(frozen=True, slots=True)
class Union:
    """A table whose rows differ by a discriminator: which optional field each variant has."""

    by: str
    variants: dict[str, str]


class Image(NamedTuple):
    """An image that goes with a result."""

    data: bytes
    mime: str


class Result(BaseModel):
    """What an operation returns. `table` is its kind; names are camelCase outside Python, absent fields left out."""

    model_config = ConfigDict(
        alias_generator=to_camel, populate_by_name=True, extra="forbid", frozen=True, defer_build=True
    )

    table: ClassVar[str]

    def wire(self) -> dict[str, Any]:
        """The structured result: times in epoch ms."""
        return self.model_dump(by_alias=True, exclude_none=True)

    def structured(self) -> str:
        """`wire` as compact JSON."""
        return to_json(self.wire()).decode()

    def text(self) -> str:
        """The same with ISO 8601 times."""
        return self.model_dump_json(by_alias=True, exclude_none=True)

    def images(self) -> Sequence[Image]:
        """What is to be looked at; none for most."""
        return ()


class Deletion(Result):
    """What became of a row that was to go."""

    table: ClassVar[str] = "deletion"

    id: str = Field(alias="_id")
    outcome: Literal["deleted", "tombstone", "deactivated", "removed"]


class Row(Result):
    """One row of a table. Immutable: a change makes a new one with `changed`."""

    prefix: ClassVar[str]
    indexes: ClassVar[dict[str, tuple[str, ...]]] = {}
    union: ClassVar[Union | None] = None

    id: str = Field(alias="_id", description="short and typed; opaque")
    seq: int = Field(description="commit order of its creation")
    rev: int = Field(description="commit order of its last change")
    created_at: Time = Field(description="when it was made")

    def wire(self) -> dict[str, Any]:
        """The row as tools return it, `_id` first. Its `seq` is the commit number of its last change."""
        return {**self.listed(), "seq": self.rev}

    def text(self) -> str:
        """`wire` as compact JSON, with ISO 8601 times."""
        return f'{self.listed_text()[:-1]},"seq":{self.rev}}}'

    def listed(self) -> dict[str, Any]:
        """The row as one of many: without `seq`."""
        return self.model_dump(by_alias=True, exclude_none=True, exclude=INTERNAL)

    def listed_text(self) -> str:
        """`listed` as compact JSON, with ISO 8601 times."""
        return self.model_dump_json(by_alias=True, exclude_none=True, exclude=INTERNAL)

    def changed(self, **fields: Any) -> Self:
        """A validated copy with other values, by Python name; the order of fields set is kept."""
        return type(self).model_validate({**self.__dict__, **fields}).slimmed()

    def slimmed(self) -> Self:
        """The row itself, without its own set of the fields that are set: that is as large as their values."""
        object.__setattr__(self, "__pydantic_fields_set__", all_fields(type(self)))
        return self

    def stored(self) -> list[Any]:
        """The values for the Appender, in the order of `columns`."""
        attributes, converted = _storing(type(self))
        values = list(attributes(self.__dict__))
        for place, to_sql in converted:
            values[place] = to_sql(values[place])
        return values

    @classmethod
    def loaded(cls, values: tuple[Any, ...]) -> Self:
        """The row from a SELECT of `column_list`. Trusted: what is stored was validated when it was written."""
        names, in_order, converted = _loading(cls)
        fields = dict(zip(names, in_order(values), strict=True))
        for name, from_sql in converted:
            if fields[name] is not None:
                fields[name] = from_sql(fields[name])
        # As a row is unpickled: `model_construct` looks at each field and takes most of the time of reading a page.
        row = cls.__new__(cls)
        row.__setstate__(
            {
                "__dict__": fields,
                "__pydantic_fields_set__": all_fields(cls),  # see `slimmed`
                "__pydantic_extra__": None,
                "__pydantic_private__": None,
            }
        )
        return row


@dataclass(frozen=True, slots=True)
class Column:
    """One field as SQL, tools and documentation see it."""

    name: str
    attribute: str
    sql: str
    optional: bool
    extension: bool
    refers_to: RefersTo | None
    annotation: Any
    description: str
    to_sql: Callable[[Any], Any] | None
    from_sql: Callable[[Any], Any] | None

    @property
    def is_time(self) -> bool:
        """Whether values are epoch milliseconds."""
        return self.sql == "TIMESTAMP"


def _time_to_sql(value: int | None) -> datetime | None:
    return None if value is None else to_timestamp(value)


def _json_to_sql(value: Any) -> str | None:
    return None if value is None else to_json(value).decode()


_CONVERTERS: dict[str, tuple[Callable[[Any], Any], Callable[[Any], Any]]] = {
    "TIMESTAMP": (_time_to_sql, from_timestamp),
    "JSON": (_json_to_sql, json.loads),
}
_SQL_TYPES: dict[Any, str] = {str: "VARCHAR", int: "BIGINT", bool: "BOOLEAN", float: "DOUBLE"}


def without_none(annotation: Any) -> tuple[Any, bool]:
    """`X | None` as `(X, True)`; anything else as `(annotation, False)`."""
    if typing.get_origin(annotation) in (typing.Union, types.UnionType):
        rest = [part for part in typing.get_args(annotation) if part is not types.NoneType]
        if len(rest) == 1:
            return rest[0], True
    return annotation, False


def unwrapped(annotation: Any) -> tuple[Any, tuple[Any, ...], bool]:
    """The bare type, its metadata and whether it is optional, through nested Annotated and unions with None."""
    metadata: tuple[Any, ...] = ()
    optional = False
    while True:
        annotation, was_optional = without_none(annotation)
        optional = optional or was_optional
        if typing.get_origin(annotation) is not typing.Annotated:
            return annotation, metadata, optional
        metadata += tuple(annotation.__metadata__)
        annotation = annotation.__origin__


def _sql_type(annotation: Any, metadata: tuple[Any, ...]) -> str:
    for mark in metadata:
        if isinstance(mark, Sql):
            return mark.type
    origin = typing.get_origin(annotation)
    if origin is typing.Literal:
        return "VARCHAR"
    if origin is list:
        inner, inner_metadata, _ = unwrapped(typing.get_args(annotation)[0])
        return f"{_sql_type(inner, inner_metadata)}[]"
    return _SQL_TYPES[annotation]


def _reference(annotation: Any, metadata: tuple[Any, ...]) -> RefersTo | None:
    if typing.get_origin(annotation) is list:
        inner, inner_metadata, _ = unwrapped(typing.get_args(annotation)[0])
        return _reference(inner, inner_metadata)
    return next((mark for mark in metadata if isinstance(mark, RefersTo)), None)


def _column(attribute: str, field: FieldInfo) -> Column:
    annotation, metadata, optional = unwrapped(field.annotation)
    metadata = (*field.metadata, *metadata)
    sql = _sql_type(annotation, metadata)
    to_sql, from_sql = _CONVERTERS.get(sql, (None, None))
    return Column(
        name=field.alias or attribute,
        attribute=attribute,
        sql=sql,
        optional=optional or not field.is_required(),
        extension=any(isinstance(mark, Extension) for mark in metadata),
        refers_to=_reference(annotation, metadata),
        annotation=annotation,
        description=field.description or "",
        to_sql=to_sql,
        from_sql=from_sql,
    )


@cache
def columns(table: type[Row]) -> tuple[Column, ...]:
    """The columns of a table in the order of its DDL: `_id`, `seq`, `rev`, its own fields, `createdAt`."""
    found = [_column(attribute, field) for attribute, field in table.model_fields.items()]
    return (
        *(c for c in found if c.attribute != "created_at"),
        *(c for c in found if c.attribute == "created_at"),
    )


@cache
def _storing(table: type[Row]) -> tuple[itemgetter[Any], tuple[tuple[int, Callable[[Any], Any]], ...]]:
    """What takes the values out of a row, and at which places they are stored in another form."""
    every = columns(table)
    converted = tuple((place, c.to_sql) for place, c in enumerate(every) if c.to_sql is not None)
    return itemgetter(*(column.attribute for column in every)), converted


@cache
def _loading(table: type[Row]) -> tuple[tuple[str, ...], itemgetter[Any], tuple[tuple[str, Callable[[Any], Any]], ...]]:
    """The fields, what takes their values from a row of SQL, and which of them are stored in another form."""
    names = tuple(table.model_fields)
    places = {column.attribute: place for place, column in enumerate(columns(table))}
    converted = tuple((column.attribute, column.from_sql) for column in columns(table) if column.from_sql is not None)
    return names, itemgetter(*(places[name] for name in names)), converted


@cache
def all_fields(table: type[Row]) -> set[str]:
    """The Python names of all fields."""
    return set(table.model_fields)


def column_list(table: type[Row], prefix: str = "", instead: Mapping[str, str] = MappingProxyType({})) -> str:
    """The columns as SQL for a SELECT whose rows go to `Row.loaded`.

    `instead` has expressions, by the name of a column, for those that need not be read.
    """
    return ", ".join(instead.get(column.name, f'{prefix}"{column.name}"') for column in columns(table))


@cache
def by_name(table: type[Row]) -> dict[str, Column]:
    """The columns by the name of data."""
    return {column.name: column for column in columns(table)}

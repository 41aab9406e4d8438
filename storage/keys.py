"""Natural keys: what makes two rows the same thing, whatever their ids. The writer keeps them unique."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from storage.row import Row, column_list
from storage.store import Store
from storage.tables import AgentTool, Attachment, Participant, Tag, User

Key = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class NaturalKey:
    """The fields (Python names) that no two rows share. Of alternatives, the one that a row has."""

    fields: tuple[tuple[str, ...], ...]

    def of(self, row: Row) -> Key:
        """The key of a row."""
        values = row.__dict__
        return tuple(next((values[name] for name in names if values[name] is not None), "") for names in self.fields)

    def sql(self, table: type[Row], alias: str) -> list[str]:
        """The same as SQL expressions on `alias`."""
        named = [[f'{alias}."{table.model_fields[name].alias}"' for name in names] for names in self.fields]
        return [names[0] if len(names) == 1 else f"coalesce({', '.join(names)})" for names in named]


NATURAL_KEYS: dict[type[Row], NaturalKey] = {
    User: NaturalKey((("email",),)),
    Tag: NaturalKey((("name",),)),
    Participant: NaturalKey((("conversation_id",), ("user_id", "agent_id"))),
    AgentTool: NaturalKey((("agent_id",), ("tool_id",))),
    Attachment: NaturalKey((("owner_type",), ("owner_id",), ("prompt_id",))),
}


async def rows_with_keys(store: Store, table: type[Row], keys: Collection[Key]) -> list[Row]:
    """The committed rows of `table` with one of those natural keys, from one query."""
    parts = [list(part) for part in zip(*keys, strict=True)]
    wanted = ", ".join(f"unnest(?::VARCHAR[]) AS k{number}" for number in range(len(parts)))
    equal = [f"{sql} = wanted.k{number}" for number, sql in enumerate(NATURAL_KEYS[table].sql(table, "t"))]
    found = await store.database.select(
        f'SELECT {column_list(table, "t.")} FROM "{table.table}" t JOIN (SELECT {wanted}) wanted '
        f"ON {' AND '.join(equal)} ORDER BY t.seq",
        parts,
    )
    return [store.current(table.loaded(values)) for values in found]

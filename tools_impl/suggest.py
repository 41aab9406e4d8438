"""What else to say when a row was not found: the one that was probably meant, if the caller may see it."""

from __future__ import annotations

from collections.abc import Sequence

from storage.errors import NotFound
from storage.find import find, nearest
from storage.row import Row, by_name
from storage.store import table_of
from storage.tables import BY_NAME, TABLES
from storage.view import View
from tools_impl.access import visible
from tools_impl.caller import Caller

SAME_NAME = 3
"""So many rows of the same name are listed."""


async def advice(view: View, me: Caller, error: NotFound) -> str:
    """The error's message, with a suggestion and a way to list what there is."""
    names = error.among or (error.data.get("table"),)
    tables = [BY_NAME[name] for name in names if name in BY_NAME]
    text = str(error.data.get("id", ""))
    hint = await _named(view, me, tables or TABLES, text)
    if not tables:
        return f"{error.message}{hint} Ids look like 'conv_12' or 'agent_7'; find(table=...) lists them."
    for table in tables if not hint else ():
        meant = await nearest(view.store, table, visible(me, table), text)
        if meant is not None:
            hint = _meant(*meant)
            break
    listed = " or ".join(f'find(table="{table.table}")' for table in tables)
    return f"{error.message}{hint} {listed} lists them."


async def _named(view: View, me: Caller, tables: Sequence[type[Row]], text: str) -> str:
    """The rows that are called exactly so: people and models often give a name in place of an id."""
    if table_of(text) is not None:
        return ""
    found: list[str] = []
    for table in tables:
        label = label_of(table)
        if label is not None and text:
            rows, _ = await find(view.store, table, visible(me, table), where={label: text}, limit=SAME_NAME)
            found += [row.id for row in rows]
    if len(found) == 1:
        return _meant(found[0], text)
    return f" Several are called so: {', '.join(found[:SAME_NAME])}." if found else ""


def label_of(table: type[Row]) -> str | None:
    """The field that has what rows are called; None if they have no names."""
    return next((label for label in ("name", "title") if label in by_name(table)), None)


def _meant(row_id: str, name: str) -> str:
    return f" Did you mean '{row_id}'{f' ({name})' if name else ''}?"

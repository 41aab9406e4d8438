"""What else to say when a row was not found: the one that was probably meant, if the caller may see it."""

from __future__ import annotations

from storage.errors import NotFound
from storage.find import nearest
from storage.tables import BY_NAME
from storage.view import View
from tools_impl.access import visible
from tools_impl.caller import Caller


async def advice(view: View, me: Caller, error: NotFound) -> str:
    """The error's message, with a suggestion and a way to list what there is."""
    table = BY_NAME.get(error.data.get("table") or "")
    if table is None:
        return f"{error.message} Ids look like 'conv_12' or 'agent_7'; find(table=...) lists them."
    meant = await nearest(view.store, table, visible(me, table), str(error.data.get("id", "")))
    hint = ""
    if meant is not None:
        row_id, name = meant
        hint = f" Did you mean '{row_id}'{f' ({name})' if name else ''}?"
    return f'{error.message}{hint} find(table="{table.table}") lists them.'

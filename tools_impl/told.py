"""Results that are put together from several rows, in few tokens."""

from __future__ import annotations

from typing import Any, ClassVar

from pydantic_core import to_json
from typing_extensions import override

from storage.fields import iso
from storage.row import Result
from storage.tables import Message, Participant
from storage.view import View
from tools_impl.authors import member_name

CHARS_A_TOKEN = 4
ENTRY_CHARS = 120
"""About what an entry takes besides its text."""
LEAST_CUT = 400
TIMES = frozenset({"now", "createdAt", "remindAt", "startTime"})


class Told(Result):
    """Entries and what they have in common, as a JSON object. Its times, named in `TIMES`, are epoch ms."""

    table: ClassVar[str] = "told"

    data: dict[str, Any]

    @override
    def wire(self) -> dict[str, Any]:
        return self.data

    @override
    def text(self) -> str:
        return to_json(_with_iso_times(self.data)).decode()


def _with_iso_times(value: Any) -> Any:
    if isinstance(value, list):
        return [_with_iso_times(item) for item in value]
    if isinstance(value, dict):
        return {
            key: iso(item) if key in TIMES and isinstance(item, int) else _with_iso_times(item)
            for key, item in value.items()
        }
    return value


class Budget:
    """How much may still be told. The first entry always finds room, long texts are cut."""

    def __init__(self, tokens: int) -> None:
        self._left = tokens * CHARS_A_TOKEN
        self._longest = max(LEAST_CUT, self._left // 4)
        self._used = False

    def take(self, row_id: str, text: str) -> dict[str, str] | None:
        """The text as `content`, cut to what is usual; None when there is no room for it."""
        most = self._longest if self._used else min(self._longest, max(LEAST_CUT, self._left - ENTRY_CHARS))
        told = {"content": text}
        if len(text) > most:
            told = {"content": text[:most], "cut": f"get(id={row_id}) has all {len(text):,} characters"}
        cost = ENTRY_CHARS + len(told["content"])
        if self._used and cost > self._left:
            return None
        self._used = True
        self._left -= cost
        return told


async def messages_at(view: View, seqs: list[int]) -> dict[int, Message]:
    """Messages by commit number; those in memory without asking the file."""
    found: dict[int, Message] = {}
    missing: list[int] = []
    for seq in seqs:
        row = view.store.pages.message(seq) or view.store.remembered(f"{Message.prefix}_{seq}")
        if isinstance(row, Message) and row.seq == seq:
            found[seq] = row
        else:
            missing.append(seq)
    return found | (await view.store.rows_at(Message, missing) if missing else {})


async def told_message(view: View, message: Message, text: dict[str, str], names: dict[str, str]) -> dict[str, Any]:
    """An entry for a message: `from` is the id of the user or agent, whose name is noted in `names`."""
    participants = await view.store.rows_where(Participant, "conversation_id", message.conversation_id)
    author = participants.get(message.author_participant_id)
    entry: dict[str, Any] = {"_id": message.id}
    if author is not None:
        entry["from"] = author.member_id
        if author.member_id not in names:
            names[author.member_id] = await member_name(view, author)
    if message.kind == "system":
        entry["kind"] = "system"
    return {**entry, **text, "createdAt": message.created_at}

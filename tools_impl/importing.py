"""What importing a row means: which lines are taken in, which are there already, which are refused and why.

A line is checked completely before anything of it is staged, so a refused one leaves nothing behind, no tag and no
twin. Everything a batch asks of the store is looked up at once (`Known`); the rules themselves never wait.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, ClassVar

from storage.errors import Conflict, DomainError, Invalid, NotFound
from storage.row import Result, Row, columns
from storage.tables import (
    Agent,
    AgentTool,
    Attachment,
    Comment,
    Conversation,
    Follow,
    Knowledge,
    Message,
    Participant,
    Reaction,
    Reminder,
    Tag,
    User,
)
from storage.transaction import Transaction
from tools_impl.import_known import Known, Memory
from tools_impl.import_lines import Line

CLOCK_SKEW_MS = 5 * 60_000
"""How far ahead of this machine's clock `createdAt` may be. New rows are never dated before those there are."""

_TWINS: dict[type[Row], frozenset[str]] = {Agent: frozenset({"tools", "attached_prompts"})}
"""Lists that follow from other rows, and may have grown."""
_OURS: dict[type[Row], frozenset[str]] = {
    Conversation: frozenset({"last_message_time"}),
    Reminder: frozenset({"status", "fired_at"}),
}
"""Fields that the hub itself moves on."""


class ImportReport(Result):
    """What became of the lines of a batch. `refused` has line numbers and reasons."""

    table: ClassVar[str] = "importReport"

    added: int
    present: int
    refused: list[tuple[int, str]]


async def import_lines(tx: Transaction, lines: Sequence[Line], memory: Memory) -> ImportReport:
    """Stage the rows of a batch. Lines that cannot be taken in are left out; they do not hurt the others."""
    known = await Known.of(tx, lines, memory)
    added, present, digests = 0, 0, []
    refused: list[tuple[int, str]] = []
    for line in lines:
        if line.row_id is None and line.digest in memory.imported.lines:
            present += 1
            continue
        try:
            if _import(known, line):
                added += 1
                if line.row_id is None:
                    digests.append(line.digest)
            else:
                present += 1
        except DomainError as error:
            refused.append((line.number, error.message))
    known.keep(digests)
    return ImportReport(added=added, present=present, refused=refused)


def _import(known: Known, line: Line) -> bool:
    """Take a line in; False when its row was there."""
    row = line.row
    stored = known.stored(line.row_id) if line.row_id is not None else None
    if stored is not None:
        if type(stored) is not type(row):
            raise Conflict(f"The id '{line.row_id}' is one of {stored.table}; ids are unique over all tables.")
        if (field := _difference(stored, line)) is not None:
            raise Conflict(f"'{line.row_id}' exists with another {field}. What is stored stays as it is.")
        return False
    same = known.same_thing(row)
    if same is not None and not _gives_way(known, same, line):
        return False
    for reference, row_id in line.references:
        known.require(reference, row_id)
    if (rule := _RULES.get(type(row))) is not None:
        rule(known, row)
    if row.created_at > known.tx.now + CLOCK_SKEW_MS:
        raise Invalid("'createdAt' lies in the future.")
    _stage(known, line, same)
    return True


def _gives_way(known: Known, same: Row, line: Line) -> bool:
    """Whether the line takes the place of (with an id) or completes (without) a row that another line implied.

    Raises:
        Conflict: there is such a row, and it is another.
    """
    if line.row_id is None and (isinstance(same, Participant) or _difference(same, line) is None):
        return False
    if known.was_implied(same) and _is_bare(same):
        return True
    raise Conflict(f"{_thing(same)} already, as '{same.id}'. What is stored stays as it is.")


def _is_bare(row: Row) -> bool:
    match row:
        case Tag():
            return row.color is None and row.created_by is None
        case AgentTool():
            return row.config is None
        case Attachment():
            return row.created_by is None
    return False


def _thing(row: Row) -> str:
    match row:
        case User():
            return f"A user has the email {row.email}"
        case Tag():
            return f"There is a tag '{row.name}'"
        case Participant():
            return f"'{row.member_id}' takes part in '{row.conversation_id}'"
        case AgentTool():
            return f"'{row.agent_id}' has the tool '{row.tool_id}'"
        case Attachment():
            return f"'{row.owner_id}' has the prompt '{row.prompt_id}'"
    raise AssertionError(f"{row.table} has no natural key")


def _difference(stored: Row, line: Line) -> str | None:
    """The name of a field in which the stored row is not the line's; None when there is none.

    What follows from other rows may have grown since.
    """
    given, there = line.row.__dict__, stored.__dict__
    twins, ours = (fields.get(type(stored), frozenset()) for fields in (_TWINS, _OURS))
    for column in columns(type(stored)):
        name = column.attribute
        if name in ("id", "seq", "rev") or name in ours or (name == "created_at" and not line.dated):
            continue
        if name in twins:
            if not set(given[name] or ()) <= set(there[name] or ()):
                return column.name
        elif given[name] != there[name]:
            return column.name
    return None


def _stage(known: Known, line: Line, same: Row | None) -> None:
    """Stage a row that was found right, and what it implies. Only the first step can fail.

    Raises:
        Invalid: the number in the id is too large.
    """
    row = line.row
    if same is not None and line.row_id is None:
        known.complete(same, row)
        return
    if isinstance(row, Reminder) and row.status is None and row.remind_at > known.tx.now:
        row = row.changed(status="pending")  # what was due elsewhere does not fire here
    placed = known.place(row, line.row_id, row.created_at if line.dated else known.tx.now)
    if same is not None:
        known.tx.delete(same)
    for name in row.__dict__.get("tags") or ():
        if known.with_key(Tag, (name,)) is None:
            known.imply(Tag, name=name)
    match placed:
        case Agent():
            for tool_id in placed.tools or ():
                known.imply(AgentTool, agent_id=placed.id, tool_id=tool_id)
            for prompt_id in placed.attached_prompts or ():
                known.imply(Attachment, owner_type="agent", owner_id=placed.id, prompt_id=prompt_id)
        case AgentTool():
            known.list_in_agent(placed.agent_id, "tools", placed.tool_id)
        case Attachment() if placed.owner_type == "agent":
            known.list_in_agent(placed.owner_id, "attached_prompts", placed.prompt_id)


# -- rules of tables -------------------------------------------------------------------------------------------------


def _message(known: Known, row: Message) -> None:
    _author_in(known, row.author_participant_id, row.conversation_id)


def _comment(known: Known, row: Comment) -> None:
    message = known.find(row.message_id)
    if message is not None and message.within is not None:
        _author_in(known, row.author_participant_id, message.within)


def _author_in(known: Known, participant_id: str, conversation_id: str) -> None:
    author = known.find(participant_id)
    if author is not None and author.within != conversation_id:
        raise Invalid(f"'{participant_id}' is a participant of '{author.within}', not of '{conversation_id}'.")


def _attachment(known: Known, row: Attachment) -> None:
    if row.owner_type == "agent":
        _is_a(known, row.owner_id, "agent", "ownerType")


def _knowledge(known: Known, row: Knowledge) -> None:
    _is_a(known, row.owner_id, row.owner_type, "ownerType")
    replaced = known.find(row.supersedes) if row.supersedes is not None else None
    if replaced is not None and replaced.within != row.owner_id:
        raise Invalid(f"'{row.supersedes}' belongs to '{replaced.within}', not to '{row.owner_id}'.")
    for source in row.sources or ():
        if known.find(source) is None:
            raise NotFound(f"'sources': there is no row '{source}'. What a row refers to must come before it.")


def _follow(known: Known, row: Follow) -> None:
    _is_a(known, row.followee_id, row.kind, "kind")


def _is_a(known: Known, member_id: str, kind: str, name: str) -> None:
    found = known.find(member_id)
    if found is not None and (found.table is Agent) != (kind == "agent"):
        raise Invalid(f"'{member_id}' is a row of {found.table.table}, but '{name}' says '{kind}'.")


def _one_member(_: Known, row: Reaction | Reminder) -> None:
    if (row.user_id is None) == (row.agent_id is None):
        raise Invalid(f"A row of {row.table} has either 'userId' or 'agentId'.")


_RULES: dict[type[Row], Callable[[Known, Any], None]] = {
    Message: _message,
    Comment: _comment,
    Attachment: _attachment,
    Knowledge: _knowledge,
    Follow: _follow,
    Reaction: _one_member,
    Reminder: _one_member,
}
"""What a row's references and types do not say yet."""

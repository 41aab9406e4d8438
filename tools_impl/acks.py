"""What an inbox showed, as a short token that marks exactly that as read."""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
import zlib
from dataclasses import dataclass, field
from typing import Annotated, Any, ClassVar

from pydantic import Field, TypeAdapter, ValidationError

from storage.errors import Invalid
from storage.row import Result, Row
from storage.store import native_seq
from storage.tables import Conversation, Participant, Reminder
from storage.transaction import Transaction
from tools_impl.caller import Caller
from tools_impl.shared import participant_for

_DIGEST_BYTES = 3
_MOST_BYTES = 100_000
_Id = Annotated[int, Field(ge=1)] | Annotated[str, Field(max_length=200)]
_Seq = Annotated[int, Field(ge=0, le=2**63 - 1)]
_FORM: TypeAdapter[tuple[list[tuple[_Id, _Seq, _Seq]], list[_Id]]] = TypeAdapter(
    tuple[list[tuple[_Id, _Seq, _Seq]], list[_Id]]
)


@dataclass(slots=True)
class Shown:
    """By conversation up to where it was shown, and up to which mention; the reminders that were shown."""

    read: dict[str, int] = field(default_factory=dict)
    mentioned: dict[str, int] = field(default_factory=dict)
    reminders: list[str] = field(default_factory=list)

    def token(self, member: str) -> str | None:
        """What `acknowledge` takes from that member; None when nothing was shown."""
        conversations = [
            (_short(row_id, Conversation), self.read.get(row_id, 0), self.mentioned.get(row_id, 0))
            for row_id in self.read | self.mentioned
        ]
        if not conversations and not self.reminders:
            return None
        reminders = [_short(row_id, Reminder) for row_id in self.reminders]
        packer = zlib.compressobj(9, zlib.DEFLATED, -15)
        packed = packer.compress(json.dumps([conversations, reminders], separators=(",", ":")).encode())
        packed += packer.flush()
        return base64.urlsafe_b64encode(_digest(member, packed) + packed).decode().rstrip("=")

    @classmethod
    def of(cls, token: str, member: str) -> Shown:
        """What a token says.

        Raises:
            Invalid: it was not given to that member.
        """
        try:
            raw = base64.b64decode(token + "=" * (-len(token) % 4), altchars="-_", validate=True)
            digest, packed = raw[:_DIGEST_BYTES], raw[_DIGEST_BYTES:]
            if digest != _digest(member, packed):
                raise ValueError("of somebody else")
            text = zlib.decompressobj(-15).decompress(packed, _MOST_BYTES)
            conversations, reminders = _FORM.validate_json(text, strict=True)
        except (ValueError, binascii.Error, zlib.error, ValidationError):
            raise Invalid("That ack is not one of yours; pass the ack of your last inbox as it came.") from None
        shown = cls(reminders=[_long(one, Reminder) for one in reminders])
        for one, read, mentioned in conversations:
            shown.read[_long(one, Conversation)] = read
            shown.mentioned[_long(one, Conversation)] = mentioned
        return shown


class Acknowledged(Result):
    """How many rows were marked."""

    table: ClassVar[str] = "acknowledged"

    rows: int


async def acknowledge(tx: Transaction, me: Caller, ack: str) -> Acknowledged:
    """Mark as read what an inbox of the caller showed. Only forward: what is read stays read.

    Raises:
        Invalid: `ack` is not one that the caller was given.
    """
    shown = Shown.of(ack, me.id)
    await tx.bring_participants(shown.read)
    rows = 0
    for conversation_id, read in shown.read.items():
        mine = await participant_for(tx, conversation_id, me.id)
        if mine is not None:
            rows += _mark(tx, mine, read, shown.mentioned[conversation_id])
    for reminder_id in shown.reminders:
        reminder = await tx.find_row(reminder_id, Reminder)
        if reminder is not None and me.id in (reminder.user_id, reminder.agent_id) and reminder.status == "fired":
            tx.update(reminder, status="read")
            rows += 1
    return Acknowledged(rows=rows)


def _mark(tx: Transaction, mine: Participant, read: int, mentioned: int) -> bool:
    latest = tx.store.last_seq  # nothing that is yet to come can have been shown
    before = mine.seq if mine.last_read_seq is None else mine.last_read_seq
    changes: dict[str, Any] = {}
    if before < read <= latest:
        changes["last_read_seq"] = read
    if (mine.last_mention_seq or 0) < mentioned <= latest:
        changes["last_mention_seq"] = mentioned
    if changes:
        tx.update(mine, **changes)
    return bool(changes)


def _digest(member: str, packed: bytes) -> bytes:
    return hashlib.blake2b(packed, digest_size=_DIGEST_BYTES, person=b"one-mcp/ack", key=member.encode()[:64]).digest()


def _short(row_id: str, table: type[Row]) -> int | str:
    number = native_seq(row_id, table)
    return number if number > 0 else row_id


def _long(one: int | str, table: type[Row]) -> str:
    return f"{table.prefix}_{one}" if isinstance(one, int) else one

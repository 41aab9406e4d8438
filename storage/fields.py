"""The types of fields: what each is in Python, in SQL, on the wire and in the seed's schema.

A field is declared once, in `storage/tables.py`, as one of these types (or `list[...]`, `str`, `bool`).
Times are epoch milliseconds in Python and in structured results, ISO 8601 in text, TIMESTAMP (UTC) in SQL.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Literal

from pydantic import PlainSerializer

EPOCH = datetime(1970, 1, 1)  # noqa: DTZ001 - SQL's TIMESTAMP is UTC without saying so


@dataclass(frozen=True, slots=True)
class RefersTo:
    """The string is an id of one of `tables`. `typed` is false where the seed says plain string."""

    tables: tuple[str, ...]
    typed: bool = True


@dataclass(frozen=True, slots=True)
class Sql:
    """The column type, where the Python type does not imply it."""

    type: str


@dataclass(frozen=True, slots=True)
class Extension:
    """The field is ours, not the seed's."""


def ref(*tables: str, typed: bool = True) -> RefersTo:
    """Mark a string as an id of a row of `tables`."""
    return RefersTo(tables, typed)


def iso(ms: int) -> str:
    """ISO 8601 in UTC of epoch milliseconds: `1710000000000` is `2024-03-09T16:00:00Z`."""
    seconds, millis = divmod(ms, 1000)
    text = datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S")
    return f"{text}.{millis:03d}Z" if millis else f"{text}Z"


def to_timestamp(ms: int) -> datetime:
    """The naive UTC datetime that SQL stores for epoch milliseconds."""
    return EPOCH + timedelta(milliseconds=ms)


def from_timestamp(moment: datetime) -> int:
    """Epoch milliseconds of a naive UTC datetime from SQL."""
    return round((moment - EPOCH) / timedelta(milliseconds=1))


Time = Annotated[int, Sql("TIMESTAMP"), PlainSerializer(iso, return_type=str, when_used="json")]
Number = Annotated[float, Sql("DOUBLE")]
Json = Annotated[Any, Sql("JSON")]
JsonList = Annotated[list[Any], Sql("JSON")]
Vector = Annotated[list[float], Sql("FLOAT[]")]

UserId = Annotated[str, ref("users")]
AgentId = Annotated[str, ref("agents")]
ToolId = Annotated[str, ref("tools")]
PromptId = Annotated[str, ref("prompts")]
ConversationId = Annotated[str, ref("conversations")]
ParticipantId = Annotated[str, ref("conversationParticipants")]
MessageId = Annotated[str, ref("conversationMessages")]
SessionId = Annotated[str, ref("authSessions")]
AccountId = Annotated[str, ref("authAccounts")]
RefreshTokenId = Annotated[str, ref("authRefreshTokens")]
MemberId = Annotated[str, ref("users", "agents", typed=False)]
KnowledgeId = Annotated[str, ref("knowledge")]

Step = Literal[
    "Foundation",
    "Hook",
    "Gift",
    "Identify",
    "Engage",
    "Sell",
    "Nurture",
    "Upsell",
    "Educate",
    "Share",
]
"""The ten steps of the seed, in its order."""

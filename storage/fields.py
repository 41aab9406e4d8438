"""The types of fields: what each is in Python, in SQL, on the wire and in the seed's schema.

A field is declared once, in `storage/tables.py`, as one of these types (or `list[...]`, `str`, `bool`).
Times are epoch milliseconds in Python and in structured results, ISO 8601 in text, TIMESTAMP (UTC) in SQL.
"""

from __future__ import annotations

import math
from array import array
from dataclasses import dataclass
from datetime import date, datetime, timedelta, tzinfo
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, PlainSerializer

EPOCH = datetime(1970, 1, 1)  # noqa: DTZ001 - SQL's TIMESTAMP is UTC without saying so
EARLIEST_MS = -62_135_596_800_000
LATEST_MS = 253_402_300_799_999
"""The years 1 to 9999, which ISO 8601 and SQL can say."""
JSON_DEPTH = 100
"""How deep lists and objects in a JSON field may be nested: serializers have limits, too."""


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
    """ISO 8601 in UTC of epoch milliseconds: `1710000000000` is `2024-03-09T16:00:00.000Z`."""
    return (EPOCH + timedelta(milliseconds=ms)).isoformat(timespec="milliseconds") + "Z"


def to_timestamp(ms: int) -> datetime:
    """The naive UTC datetime that SQL stores for epoch milliseconds."""
    return EPOCH + timedelta(milliseconds=ms)


def from_timestamp(moment: datetime) -> int:
    """Epoch milliseconds of a naive UTC datetime from SQL."""
    return round((moment - EPOCH) / timedelta(milliseconds=1))


def time_of(value: object, zone: tzinfo | None) -> int:
    """Epoch milliseconds of what a caller gave: milliseconds, or ISO 8601; without an offset it is of `zone`.

    None is the zone of the machine. A date is the start of that day. Of two equal local times, in autumn, it is the
    first.

    Raises:
        ValueError: it is neither, or a local time that the clock skips. The text says which.
    """
    if isinstance(value, int) and not isinstance(value, bool):
        return _representable(value)
    if isinstance(value, float) and math.isfinite(value):
        return _representable(int(value))
    text = value.strip() if isinstance(value, str) else ""
    try:
        if text.isdecimal() and len(text) > len("20240309"):  # some would pass as a date with a time after any letter
            return _milliseconds(text)
        moment = datetime.fromisoformat(text)
        if moment.tzinfo is not None:
            return _representable(round(moment.timestamp() * 1000))
        seconds = moment.replace(tzinfo=zone, microsecond=0).timestamp()
        read_back = datetime.fromtimestamp(seconds, zone).replace(tzinfo=None, fold=0)
    except (ValueError, OverflowError, OSError):
        raise ValueError("a time is ISO 8601 or epoch milliseconds") from None
    if read_back != moment.replace(microsecond=0) and not _is_date(text):
        where = f"in {zone}" if zone is not None else "here"
        raise ValueError(f"{text} does not exist {where}, the clock skips it; say another time or add an offset")
    return _representable(round(seconds * 1000) + round(moment.microsecond / 1000))


def _milliseconds(text: str) -> int:
    """Of a number that came as a text. With fewer digits it may be seconds."""
    if not 12 <= len(text) <= 15:
        raise ValueError(text)
    return _representable(int(text))


def _is_date(text: str) -> bool:
    try:
        date.fromisoformat(text)
    except ValueError:
        return False
    return True


# What passes these checks can be stored and read again: an error in the writer would hit everybody's requests.


def _representable(ms: int) -> int:
    if not EARLIEST_MS <= ms <= LATEST_MS:
        raise ValueError("a time is in epoch milliseconds, between the years 1 and 9999")
    return ms


def _single_precision(values: list[float]) -> list[float]:
    """As the column keeps them, so that memory and file say the same."""
    rounded = array("f", values).tolist()
    if not all(map(math.isfinite, rounded)):
        raise ValueError("the numbers of a vector are finite and of single precision")
    return rounded


def _storable(value: Any) -> Any:
    if not _is_json(value, JSON_DEPTH):
        raise ValueError(
            f"this is not JSON: Unicode text, finite numbers, true, false, null, lists and objects, {JSON_DEPTH} deep"
        )
    return value


def _is_json(value: Any, depth: int) -> bool:
    match value:
        case None | bool() | int():
            return True
        case float():
            return math.isfinite(value)
        case str():
            return _is_unicode(value)
        case list():
            return depth > 0 and all(_is_json(item, depth - 1) for item in value)
        case dict():
            return depth > 0 and all(
                isinstance(key, str) and _is_unicode(key) and _is_json(item, depth - 1) for key, item in value.items()
            )
    return False


def _is_unicode(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


Time = Annotated[
    int, Sql("TIMESTAMP"), AfterValidator(_representable), PlainSerializer(iso, return_type=str, when_used="json")
]
Seq = Annotated[int, Field(ge=0, le=2**63 - 1)]
Number = Annotated[float, Sql("DOUBLE")]
Json = Annotated[Any, Sql("JSON"), AfterValidator(_storable)]
JsonObject = Annotated[dict[str, Any], Sql("JSON"), AfterValidator(_storable)]
JsonList = Annotated[list[Any], Sql("JSON"), AfterValidator(_storable)]
Vector = Annotated[list[float], Sql("FLOAT[]"), AfterValidator(_single_precision)]

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

"""The types of arguments: limits, and the words that a model reads about each in the tool's schema."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BeforeValidator, Field, StringConstraints, ValidationInfo, WithJsonSchema

from storage.fields import ConversationId as _ConversationId
from storage.fields import ParticipantId as _ParticipantId
from storage.fields import ref, time_of

NAME_CHARS = 200
TEXT_CHARS = 20_000
CONTENT_CHARS = 100_000
LIST_ITEMS = 100
PAGE_DEFAULT = 50
PAGE_MAX = 200

Name = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=NAME_CHARS)]
Text = Annotated[str, StringConstraints(min_length=1, max_length=TEXT_CHARS)]
Content = Annotated[str, StringConstraints(min_length=1, max_length=CONTENT_CHARS)]
Email = Annotated[
    str, StringConstraints(strip_whitespace=True, to_lower=True, max_length=320, pattern=r"^[^@\s]+@[^@\s]+$")
]
Url = Annotated[str, StringConstraints(min_length=1, max_length=2_000)]
TagName = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=100)]
Tags = Annotated[list[TagName], Field(max_length=LIST_ITEMS)]
Vector = Annotated[list[float], Field(min_length=1, max_length=8_192, description="your own embedding, kept as it is")]
Meta = Annotated[Any, Field(description="any JSON")]
Limit = Annotated[int, Field(ge=1, le=PAGE_MAX)]
Cursor = Annotated[
    str, StringConstraints(min_length=1, max_length=2_000), Field(description="nextCursor of the last page")
]
RowId = Annotated[str, StringConstraints(min_length=1, max_length=200)]
ConversationId = Annotated[_ConversationId, StringConstraints(min_length=1, max_length=200)]
ParticipantId = Annotated[_ParticipantId, StringConstraints(min_length=1, max_length=200)]
MemberId = Annotated[RowId, ref("users", "agents", typed=False)]
Members = Annotated[list[MemberId], Field(max_length=LIST_ITEMS)]
Ids = Annotated[list[RowId], Field(max_length=LIST_ITEMS)]

FIELD_TYPES: dict[str, Any] = {
    **dict.fromkeys(("name", "title", "model", "group_id", "type", "status", "output_type", "color", "phone"), Name),
    **dict.fromkeys(("content", "template"), Content),
    **dict.fromkeys(("image", "avatar_url"), Url),
    **dict.fromkeys(("delegates_to", "tools", "attached_prompts", "participants", "sources"), Ids),
    **dict.fromkeys(("supersedes", "related_entity"), RowId),
    "email": Email,
    "tags": Tags,
    "required_context": Annotated[list[Name], Field(max_length=LIST_ITEMS)],
    "vector": Vector,
}
"""What `update` takes for fields of these names; other texts are `Text`, the rest is of its declared type."""


def _time(value: object, info: ValidationInfo) -> int:
    """What a caller gave as a time; the context of the validation says in which `zone` one without an offset is."""
    return time_of(value, (info.context or {}).get("zone"))


Time = Annotated[int, BeforeValidator(_time), WithJsonSchema({"type": "string"}), Field(description="ISO 8601")]

"""Content and questions that the fixtures share."""

from __future__ import annotations

import base64
import struct
import zlib
from typing import Any

import mcp_types as types


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


_PIXEL = _chunk(b"IHDR", struct.pack(">IIBBBBB", 1, 1, 8, 2, 0, 0, 0))
_PIXEL += _chunk(b"IDAT", zlib.compress(b"\0\xff\0\0")) + _chunk(b"IEND", b"")
PNG = base64.b64encode(b"\x89PNG\r\n\x1a\n" + _PIXEL).decode()
"""One red pixel."""
WAV = base64.b64encode(
    struct.pack("<4sI4s4sIHHIIHH4sI", b"RIFF", 38, b"WAVE", b"fmt ", 16, 1, 1, 8000, 8000, 1, 8, b"data", 2)
    + b"\x80\x80"
).decode()
"""Two samples of silence."""
IMAGE = types.ImageContent(type="image", data=PNG, mime_type="image/png")
AUDIO = types.AudioContent(type="audio", data=WAV, mime_type="audio/wav")


def embedded(uri: str, mime_type: str, text: str) -> types.EmbeddedResource:
    """A resource inside a result."""
    resource = types.TextResourceContents(uri=uri, mime_type=mime_type, text=text)
    return types.EmbeddedResource(type="resource", resource=resource)


def form(**fields: Any) -> dict[str, Any]:
    """The schema of what a user is asked: each field a schema, or the name of a type."""
    properties = {name: {"type": one} if isinstance(one, str) else one for name, one in fields.items()}
    return {"type": "object", "properties": properties, "required": list(fields)}


def question(message: str, **fields: Any) -> types.ElicitRequest:
    """A question to the user, as the stateless era puts it into a result."""
    params = types.ElicitRequestFormParams(message=message, requested_schema=form(**fields))
    return types.ElicitRequest(params=params)


def sampling(prompt: str, max_tokens: int) -> types.CreateMessageRequest:
    """A question to the client's model."""
    content = types.TextContent(type="text", text=prompt)
    message = types.SamplingMessage(role="user", content=content)
    return types.CreateMessageRequest(
        params=types.CreateMessageRequestParams(messages=[message], max_tokens=max_tokens)
    )

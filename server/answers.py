"""Results of tools in their wire form: as a dict for the SDK, or as JSON that is spliced into what the SDK sends."""

from __future__ import annotations

from base64 import b64encode
from typing import Any, ClassVar, Self

from pydantic_core import to_json
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from typing_extensions import override

from storage.errors import DomainError
from storage.row import Result

ANSWER = "one-mcp/answer"
_PLACE = to_json({ANSWER: 0})
SLOT = "one.answers"
"""Where the ASGI scope of a request takes the JSON of its answer."""


class Failure(Result):
    """A tool's error: a text that says what to do, and the same for programs."""

    table: ClassVar[str] = "error"

    code: str
    message: str
    data: dict[str, Any]

    @classmethod
    def of(cls, error: DomainError, message: str | None = None) -> Self:
        """The failure of an error; `message` replaces its own."""
        return cls(code=error.code, message=message if message is not None else error.message, data=error.data)

    @override
    def wire(self) -> dict[str, Any]:
        return {"error": {"code": self.code, "message": self.message, "data": self.data}}

    @override
    def text(self) -> str:
        return self.message


def wire_form(result: Result, envelope: dict[str, Any]) -> dict[str, Any]:
    """The result of `tools/call` as the SDK takes it; `envelope` is what the protocol's era adds."""
    return {
        "content": [{"type": "text", "text": result.text()}, *_images(result)],
        "structuredContent": result.wire(),
        "isError": isinstance(result, Failure),
        **envelope,
    }


def json_form(result: Result, envelope: bytes) -> bytes:
    """The same as JSON; `envelope` begins with a comma."""
    failed = b"true" if isinstance(result, Failure) else b"false"
    text, structured = to_json(result.text()), result.structured().encode()
    images = b"".join(b"," + to_json(image) for image in _images(result))
    content = (b'{"content":[{"type":"text","text":', text, b"}", images, b'],"structuredContent":', structured)
    return b"".join((*content, b',"isError":', failed, envelope, b"}"))


def _images(result: Result) -> list[dict[str, str]]:
    return [
        {"type": "image", "data": b64encode(image.data).decode(), "mimeType": image.mime} for image in result.images()
    ]


class Spliced:
    """Puts ready JSON in the place that the SDK's answer leaves for it.

    The SDK walks a result several times on its way to the wire; for a page of 50 messages that costs more than all the
    rest. Everything else of the answer, and of the request, stays the SDK's.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        answers: list[bytes] = []
        scope[SLOT] = answers
        head: Message | None = None

        async def splice(message: Message) -> None:
            nonlocal head
            if message["type"] == "http.response.start":
                head = message  # its length is known with the body
                return
            if head is not None:
                if answers:
                    message["body"] = message["body"].replace(_PLACE, answers[0], 1)
                    length = str(len(message["body"])).encode()
                    head["headers"] = [
                        (name, length if name == b"content-length" else value) for name, value in head["headers"]
                    ]
                await send(head)
                head = None
            await send(message)

        await self._app(scope, receive, splice)

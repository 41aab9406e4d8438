"""A message as a page of messages shows it, made once and kept: what the page says once is left out."""

from __future__ import annotations

from functools import cached_property
from typing import Any

from storage.row import INTERNAL
from storage.tables import Message

_ON_THE_PAGE = INTERNAL | {"conversation_id", "vector"}


class Listed:
    """`data` for the structured result, `text` the same as JSON with ISO times. Both are made when first asked for."""

    def __init__(self, message: Message) -> None:
        self.message = message

    @property
    def seq(self) -> int:
        """The commit number of the message."""
        return self.message.seq

    @property
    def author(self) -> str:
        """The participant who wrote it."""
        return self.message.author_participant_id

    @property
    def size(self) -> int:
        """Roughly its bytes in memory: the row, two forms of the text, a dict."""
        return 2_000 + 3 * len(self.message.content)

    @cached_property
    def data(self) -> dict[str, Any]:
        """The structured form."""
        return self.message.model_dump(by_alias=True, exclude_none=True, exclude=self._left_out)

    @cached_property
    def text(self) -> str:
        """The text form."""
        return self.message.model_dump_json(by_alias=True, exclude_none=True, exclude=self._left_out)

    @property
    def _left_out(self) -> set[str]:
        return _ON_THE_PAGE | {"status"} if self.message.status == "sent" else _ON_THE_PAGE

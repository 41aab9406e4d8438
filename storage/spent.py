"""Where the time of a request goes, for whoever serves it and asks."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar


class Spent:
    """Seconds that one request waited for its turn, for the disk, and for the index; whether it left something behind.

    A request whose answer was kept from an earlier one has left it then.
    """

    __slots__ = ("commit", "queue", "search", "stored")

    def __init__(self) -> None:
        self.queue = 0.0
        self.commit = 0.0
        self.search = 0.0
        self.stored = False


SPENT: ContextVar[Spent | None] = ContextVar("spent", default=None)
"""Of the request that is being served."""


@contextmanager
def searching() -> Iterator[None]:
    """Around work of the index."""
    spent, began = SPENT.get(), time.perf_counter()
    try:
        yield
    finally:
        if spent is not None:
            spent.search += time.perf_counter() - began

"""What takes much memory and is not always needed."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Generic, TypeVar

from storage.memory import give_back

T = TypeVar("T")


class Lazy(Generic[T]):
    """A value made at its first use and let go when it was not used for a while. Safe to use from several threads.

    Whoever got the value may go on using it after it was dropped; `close` is therefore for values that bear being
    closed in the middle of a use.
    """

    def __init__(self, make: Callable[[], T], close: Callable[[T], None] | None = None) -> None:
        self._make = make
        self._close = close
        self._lock = threading.Lock()
        self._held: list[T] = []
        self._used = 0.0

    def get(self) -> T:
        """The value. Blocks while it is made; what `make` raises is raised here, and the next call tries again."""
        with self._lock:
            if not self._held:
                self._held.append(self._make())
                give_back()
            self._used = time.monotonic()
            return self._held[0]

    def drop(self, idle_seconds: float = 0.0) -> bool:
        """Let the value go if its last `get` is at least so long ago. Returns whether there was something to drop."""
        with self._lock:
            if not self._held or time.monotonic() - self._used < idle_seconds:
                return False
            value = self._held.pop()
        if self._close is not None:
            self._close(value)
        del value
        give_back()
        return True

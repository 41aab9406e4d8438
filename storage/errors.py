"""What can go wrong with a request, in terms a caller can act on.

Each error has a stable `code`, a message that says what to do next, and optional `data`.
They are turned into MCP results in one place, `server/binding.py`.
"""

from __future__ import annotations

from typing import Any, ClassVar


class DomainError(Exception):
    """A request that cannot be served. `message` is shown to the caller as it is."""

    code: ClassVar[str] = "error"

    def __init__(self, message: str, **data: Any) -> None:
        super().__init__(message)
        self.message = message
        self.data = data


class Invalid(DomainError):
    """An argument is missing, unknown or of the wrong kind."""

    code = "invalid"


class NotFound(DomainError):
    """No such row, or none that the caller may see: hidden equals missing.

    `among` are the tables whose row was asked for, where `table` in the data does not say it.
    """

    code = "not_found"

    def __init__(self, message: str, *, among: tuple[str, ...] = (), **data: Any) -> None:
        super().__init__(message, **data)
        self.among = among


class Forbidden(DomainError):
    """The caller sees the row but may not do this to it."""

    code = "forbidden"


class Conflict(DomainError):
    """The request contradicts what is stored (a taken name, a lost update, a used key)."""

    code = "conflict"


class Unavailable(DomainError):
    """The store cannot take the request now; nothing was changed."""

    code = "unavailable"


class StorageFault(Exception):
    """The data directory cannot be used. The text is one sentence for the person who runs the hub."""

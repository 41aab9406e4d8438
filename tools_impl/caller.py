"""Who is calling."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True)
class Caller:
    """A user or an agent. `user_id` is the user, or the agent's creator; an admin sees and may do everything, an
    `analyst` may read everything with SQL.

    On stdio without `--as` the caller is the local owner, who is an admin.
    """

    kind: Literal["user", "agent"]
    id: str
    user_id: str | None
    admin: bool = False
    analyst: bool = False
    may_write: bool = True

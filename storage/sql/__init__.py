"""SQL on published snapshots, in processes that can do no harm."""

from storage.sql.errors import SqlError, TimedOut
from storage.sql.limits import Limits
from storage.sql.runner import Answer, SqlRunner

__all__ = ["Answer", "Limits", "SqlError", "SqlRunner", "TimedOut"]

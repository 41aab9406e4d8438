"""Append-only: a released migration is never edited, a change of the tables is a new module at the end of its list.

The statements are frozen text, not made from today's declarations; a test holds the two against each other.
"""

from storage.migrations import (
    auth_m001_tables,
    auth_m002_sign_in,
    embeddings_m001_tables,
    m001_tables,
    m002_last_mention,
)

MIGRATIONS = (m001_tables, m002_last_mention)
"""For `one.duckdb`."""

AUTH_MIGRATIONS = (auth_m001_tables, auth_m002_sign_in)
"""For `auth.duckdb`."""

EMBEDDING_MIGRATIONS = (embeddings_m001_tables,)
"""For `embeddings.duckdb`."""

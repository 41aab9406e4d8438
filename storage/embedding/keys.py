"""Where a service's key comes from."""

from __future__ import annotations

import os
import stat
import sys
from pathlib import Path

from storage.embedding.embedder import EmbeddingError


def api_key(variable: str, secrets: Path | None) -> str:
    """The key: the environment variable's value, else what the file's line `variable=key` says, else empty.

    Raises:
        EmbeddingError: the file cannot be read, other users may read it, or the key is not one line of ASCII.
    """
    key = os.environ.get(variable, "") if variable else ""
    if not key and variable and secrets is not None:
        key = _lines(secrets).get(variable, "")
    key = key.strip()
    if not (key.isascii() and key.isprintable()):  # it goes into a header; an error there would quote it
        raise EmbeddingError(f"The key in {variable} has characters that no key has. Set it again.")
    return key


def _lines(path: Path) -> dict[str, str]:
    """The values of a file of lines `NAME=value`; lines that start with # are comments."""
    try:
        with path.open(encoding="utf-8") as file:
            if sys.platform != "win32" and os.fstat(file.fileno()).st_mode & (stat.S_IRWXG | stat.S_IRWXO):
                raise EmbeddingError(f"{path} can be read by others, so its key is not used. Run: chmod 600 {path}")
            lines = file.read().splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise EmbeddingError(f"embedding.secrets_file {path} cannot be read: {error}.") from error
    pairs = [line.partition("=") for line in lines if "=" in line and not line.lstrip().startswith("#")]
    return {name.strip(): value.strip().strip("\"'") for name, _, value in pairs}

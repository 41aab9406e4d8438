"""What a query may take, and amounts of memory as DuckDB writes them."""

from __future__ import annotations

import re
from dataclasses import dataclass

_UNITS = {"": 1, "K": 10**3, "M": 10**6, "G": 10**9, "T": 10**12}
_BINARY = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30, "T": 1 << 40}


def bytes_of(text: str) -> int:
    """`512MB` or `1.5 GiB` in bytes.

    Raises:
        ValueError: it is no amount.
    """
    found = re.fullmatch(r"(\d+(?:\.\d+)?)\s?([KMGT]?)(i?)B", text, re.IGNORECASE)
    if found is None:
        raise ValueError(f"'{text}' is no amount of memory")
    units = _BINARY if found[3] else _UNITS
    return int(float(found[1]) * units[found[2].upper()])


@dataclass(frozen=True, slots=True)
class Limits:
    """What a query may take: seconds; DuckDB's memory and temporary files, such as "512MB"; threads."""

    seconds: float = 10.0
    memory: str = "512MB"
    temp: str = "1GB"
    threads: int = 2

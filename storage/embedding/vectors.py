"""Vectors as arrays."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Vectors = NDArray[np.float32]
"""`[n, dims]` for documents, `[dims]` for a query; each of length 1."""


def normalised(rows: NDArray[Any]) -> Vectors:
    """The rows of `[n, dims]` at length 1, so that a dot product is the cosine.

    Raises:
        ValueError: a row has no direction: it is all zeros, or holds what is not a finite number.
    """
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    if not np.all(np.isfinite(lengths) & (lengths > 0)):
        raise ValueError("a vector is zero or not finite")
    return np.ascontiguousarray(rows / lengths, dtype=np.float32)

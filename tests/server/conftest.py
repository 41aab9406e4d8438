"""Fixtures of tests with real processes."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.processes import data_directory


@pytest.fixture
def data(tmp_path: Path) -> Iterator[Path]:
    """A data directory, where no hub is left behind."""
    with data_directory(tmp_path) as directory:
        yield directory

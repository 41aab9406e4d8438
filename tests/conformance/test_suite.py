"""The official conformance suite finds nothing that counts."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.conformance import page, suite

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(300),
    pytest.mark.skipif(not suite.INSTALLED.exists(), reason="the suite is not installed: make conformance-tools"),
]


@pytest.mark.parametrize("revision", suite.REVISIONS)
async def test_what_needs_no_fixtures_conforms_as_shipped(revision: str, tmp_path: Path) -> None:
    found = await suite.as_shipped(revision, tmp_path)
    assert suite.wrong(found, fixtures=False) == []
    # What is believed to need fixtures does: otherwise the page says less than is true.
    assert {one.name for one in found.values() if one.passes} & suite.NEED_FIXTURES == set()


@pytest.mark.parametrize("revision", suite.REVISIONS)
async def test_all_that_is_scored_conforms_with_fixtures(revision: str, tmp_path: Path) -> None:
    found = await suite.with_fixtures(revision, tmp_path)
    assert suite.wrong(found, fixtures=True) == []
    text = page.PAGE.read_text()
    assert [name for name in found if f"`{name}`" not in text] == []

"""`python -m tests.conformance`: run the suite in all four ways, and write docs/conformance.md."""

from __future__ import annotations

import asyncio
import sys
import tempfile
from pathlib import Path

from tests.conformance import page, suite


async def _results(place: Path) -> page.Results:
    results: page.Results = {}
    for revision in suite.REVISIONS:
        for fixtures in (False, True):
            one = place / f"{revision}-{fixtures}"
            one.mkdir()
            run = suite.with_fixtures if fixtures else suite.as_shipped
            results[revision, fixtures] = await run(revision, one)
    return results


def main() -> int:
    """Write the page; the process's exit status says whether all that is scored passes."""
    with tempfile.TemporaryDirectory() as place:
        results = asyncio.run(_results(Path(place)))
    page.PAGE.write_text(page.page(results))
    bad = [
        f"{name} ({revision}, {'with fixtures' if fixtures else 'as shipped'})"
        for (revision, fixtures), found in results.items()
        for name in suite.wrong(found, fixtures=fixtures)
    ]
    print("\n".join(["These scored scenarios fail:", *bad]) if bad else f"All scored scenarios pass: {page.PAGE.name}")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())

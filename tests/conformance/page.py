"""docs/conformance.md, from what the suite said."""

from __future__ import annotations

import json

from tests.conformance.suite import NEED_FIXTURES, REVISIONS, Scenario
from tests.processes import ROOT

PAGE = ROOT / "docs" / "conformance.md"
PACKAGE = ROOT / "tests" / "conformance" / "package.json"
_INTRO = """\
# Conformance

What the official suite of the Model Context Protocol, `@modelcontextprotocol/conformance` {version}, says of this
server over HTTP, for the requirements of both revisions. `make conformance` runs it and writes this page; it needs npm.

*As shipped* is `one-mcp serve` and nothing else. Many scenarios ask for tools, prompts and resources of the suite's
own, such as `test_simple_text`; no server has them of itself. *With fixtures* is the same application, around which a
test puts them (`tests/conformance/fixtures.py`). The program has no way to switch them on. See
[fixtures around the handlers](decisions/0025-conformance-and-hostile-requests.md).

"""
_UNSCORED = """\

What fails there, and what passes with a warning:

- `tasks-...`: tasks are an extension that is not offered; no call takes longer than 25 s.
- `tasks-status-notifications`: the suite itself skips it.
- `server-sse-polling` gives two warnings: answers are not kept for clients that come back for them. A retry with
  the same `idempotencyKey` happens once, and gets the same answer.
- `server-stateless`, which is scored, passes with a warning: no `notifications/tools/list_changed` comes, for over HTTP
  the tools of a server change with the program only.

## What the suite does not ask of this server

- Its scenarios for clients test clients; all about authorization that are scored are among them.
- Its two scenarios for authorization servers (`authorization-server-metadata-endpoint`, `authorization-code-grant`) are
  in neither set of requirements. The built-in sign-in passes both (`tests/conformance/test_authorization.py`).
- Requests without a token, with a wrong one, and hostile ones in general: `make fuzz` sends 100,000 of them, made from
  the schemas of the tools, and looks in every answer for what must not be there.

The command line of the inspector, `@modelcontextprotocol/inspector` {inspector}, lists and calls tools, lists and reads
resources and lists prompts in both eras, over stdio and over HTTP (`tests/conformance/test_inspector.py`).
"""
Results = dict[tuple[str, bool], dict[str, Scenario]]
"""By the revision, and whether there were fixtures."""


def page(results: Results) -> str:
    """The whole page."""
    versions = json.loads(PACKAGE.read_text())["dependencies"]
    lines = ["| requirements | | scored scenarios | their checks |", "|---|---|---|---|"]
    lines += [_sum(revision, fixtures, found) for (revision, fixtures), found in sorted(results.items())]
    lines += ["", "## Scored scenarios", "", *_table(results, scored=True)]
    lines += ["", "## Reported, but not scored", "", *_table(results, scored=False)]
    intro = _INTRO.format(version=versions["@modelcontextprotocol/conformance"])
    rest = _UNSCORED.format(inspector=versions["@modelcontextprotocol/inspector"])
    return intro + "\n".join(lines) + "\n" + rest


def _sum(revision: str, fixtures: bool, found: dict[str, Scenario]) -> str:
    scored = [one for one in found.values() if not one.unscored]
    asked = scored if fixtures else [one for one in scored if one.name not in NEED_FIXTURES]
    passed, checks = sum(one.passes for one in asked), sum(one.passed + one.failed for one in asked)
    words = "with fixtures" if fixtures else "as shipped, those that need no fixture"
    return f"| {revision} | {words} | {passed} of {len(asked)} pass | {sum(one.passed for one in asked)} of {checks} |"


def _table(results: Results, *, scored: bool) -> list[str]:
    columns = [(revision, fixtures) for revision in REVISIONS for fixtures in (False, True)]
    heads = [f"{revision}, {'with fixtures' if fixtures else 'as shipped'}" for revision, fixtures in columns]
    names = {
        name: None for column in columns for name, one in results[column].items() if bool(one.unscored) is not scored
    }
    lines = ["| scenario | " + " | ".join(heads) + " |", "|---|" + "---|" * len(columns)]
    for name in names:
        cells = [_cell(results[column].get(name), fixtures=column[1]) for column in columns]
        lines.append(f"| `{name}` | " + " | ".join(cells) + " |")
    return lines


def _cell(one: Scenario | None, *, fixtures: bool) -> str:
    if one is None:
        return "not asked"
    if not one.passed + one.failed:
        return "no check counts"
    if one.passes:
        return "passes"
    if not fixtures and one.name in NEED_FIXTURES:
        return "needs fixtures"
    return f"fails: {one.failed} of {one.passed + one.failed} checks"

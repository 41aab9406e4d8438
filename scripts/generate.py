"""Writes the generated files from the declarations; `--check` only says whether they are current."""

from __future__ import annotations

import json
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from scripts import reference  # noqa: E402
from scripts.permissions import permissions_page  # noqa: E402
from server.binding import BOUND  # noqa: E402


def tool_snapshot() -> str:
    """Every tool as a client gets it."""
    tools = [bound.tool.model_dump(by_alias=True, exclude_none=True, mode="json") for bound in BOUND.values()]
    return json.dumps(tools, indent=2) + "\n"


def main(check: bool) -> int:
    """Write or compare; the process's exit status."""
    files = {
        "docs/tools.md": reference.tools_page(),
        "docs/resources.md": reference.resources_page(),
        "docs/tables.md": reference.tables_page(),
        "docs/analytics.md": reference.analytics_page(),
        "docs/settings.md": reference.settings_page(),
        "docs/commands.md": reference.commands_page(),
        "docs/permissions.md": permissions_page(),
        "tests/snapshots/tools.json": tool_snapshot(),
    }
    stale = [name for name, text in files.items() if not (ROOT / name).exists() or (ROOT / name).read_text() != text]
    if check:
        for name in stale:
            print(f"{name} is not current: run scripts/generate.py")
        return 1 if stale else 0
    for name in stale:
        (ROOT / name).parent.mkdir(parents=True, exist_ok=True)
        (ROOT / name).write_text(files[name])
        print(f"wrote {name}")
    return 0


if __name__ == "__main__":
    sys.exit(main("--check" in sys.argv[1:]))

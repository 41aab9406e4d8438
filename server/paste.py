"""What `one-mcp serve` tells a person to paste into a client."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path

from server import __version__

DEFAULT_DIRECTORY = Path("~/.one-mcp")


def instructions(data_dir: Path, url: str, *, token: str | None, open_to_all: bool, sign_in: bool = False) -> str:
    """The ways in, ready to paste. `token` is the first one, to be shown now; `open_to_all` asks for none; `sign_in`
    says that people sign in with a browser.
    """
    headers = {} if open_to_all else {"headers": {"Authorization": f"Bearer {token or 'TOKEN'}"}}
    parts = [
        f"one-mcp {__version__} serves {data_dir} at {url}",
        "Desktop clients on this machine (stdio) take this:",
        _configuration({"command": command(), **_arguments(data_dir)}),
        "Clients that speak HTTP take this:",
        _configuration({"type": "http", "url": url, **headers}),
    ]
    if token is not None:
        parts.append("The token is shown only now; `one-mcp token create` makes others.")
    elif not open_to_all:
        parts.append("`one-mcp token create` makes a TOKEN.")
    if sign_in and not open_to_all:
        parts.append(
            f"Clients that sign in by OAuth need only {url}; `one-mcp user invite EMAIL` lets somebody sign in."
        )
    return "\n\n".join([*parts, "Ctrl-C ends it.\n"])


def command() -> str:
    """Where this program is: clients start with few environment variables, so a bare name may not be found."""
    for candidate in (Path(sys.argv[0]), Path(sys.executable).with_name("one-mcp")):
        if candidate.name.startswith("one-mcp") and candidate.exists():
            return str(candidate.absolute())
    return shutil.which("one-mcp") or "one-mcp"


def _arguments(data_dir: Path) -> dict[str, list[str]]:
    return {} if data_dir == DEFAULT_DIRECTORY.expanduser() else {"args": ["--data", str(data_dir)]}


def _configuration(entry: dict[str, object]) -> str:
    return json.dumps({"mcpServers": {"one": entry}}, indent=2)

"""What the documents say about the sign-in is there."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

from server.cli import command_line

ROOT = Path(__file__).parents[3]
THREATS = (ROOT / "docs" / "threats.md").read_text(encoding="utf-8")
HOWTO = (ROOT / "docs" / "howto-sign-in.md").read_text(encoding="utf-8")


def test_every_threat_names_tests_that_exist() -> None:
    files = (path.read_text(encoding="utf-8") for path in (ROOT / "tests").rglob("test_*.py"))
    existing = {name for text in files for name in re.findall(r"^(?:async )?def (test_\w+)", text, re.MULTILINE)}
    lines = [line for line in THREATS.splitlines() if line.startswith("| ") and not line.startswith("| threat")]
    assert len(lines) > 20
    for line in lines:
        named = re.findall(r"`(test_\w+)`", line)
        assert named, line
        assert set(named) <= existing, line


def test_every_command_in_the_how_to_is_one() -> None:
    commands = [line for block in re.findall(r"```sh\n(.*?)```", HOWTO, re.DOTALL) for line in block.splitlines()]
    assert len(commands) > 8
    for line in commands:
        program, *arguments = shlex.split(line)
        assert program == "one-mcp"
        command_line().parse_args(arguments)

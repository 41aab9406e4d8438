"""The programs in the how-to for analysts run as they are printed, beside a hub that is at work."""

import re
import subprocess
import sys
from pathlib import Path

import duckdb
import pytest

from tests.clients import Swarm
from tests.test_howtos import DOCS, steps

PAGE = (DOCS / "howto-analysts.md").read_text(encoding="utf-8")


def block(language: str) -> str:
    """The only block of a language."""
    (text,) = re.findall(rf"^```{language}\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
    return str(text)


@pytest.fixture
async def home(tmp_path: Path) -> Path:
    """A home directory with the swarm of the page."""
    async with Swarm(tmp_path / ".one-mcp", analytics={}) as swarm:
        for tool, arguments, _ in steps(PAGE):
            await swarm.owner(tool, **arguments)
    return tmp_path


async def test_python(home: Path) -> None:
    ended = subprocess.run(
        [sys.executable, "-c", block("python")], env={"HOME": str(home)}, capture_output=True, text=True, check=False
    )
    assert ended.stdout == "[('Launch plan', 2)]\n", ended.stderr


async def test_attached_to_another_database(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(home))
    attach, count = (statement for statement in block("sql").split(";") if statement.strip())
    with duckdb.connect() as connection:
        connection.execute(attach)
        assert connection.execute(count).fetchall() == [(2,)]

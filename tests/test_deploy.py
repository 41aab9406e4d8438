"""The examples of docs/deploy: they name what exists, and keep what they promise."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
from pathlib import Path

import pytest

from server.cli import command_line
from server.config import KEYS

DEPLOY = Path(__file__).parents[1] / "docs" / "deploy"
UNIT = (DEPLOY / "one-mcp.service").read_text(encoding="utf-8")
CONTAINER = (DEPLOY / "Containerfile").read_text(encoding="utf-8")
SINGLE = ("ONE_DATA", "ONE_CONFIG")


@pytest.mark.parametrize("text", [UNIT, CONTAINER], ids=["unit", "container"])
def test_the_settings_exist(text: str) -> None:
    named = set(re.findall(r"\bONE_[A-Z_]+", text)) - set(SINGLE) - {"ONE_SECTION__KEY"}
    assert named
    for variable in named:
        section, _, key = variable.removeprefix("ONE_").lower().partition("__")
        assert key in KEYS[section]


def test_the_commands_exist() -> None:
    (start,) = re.findall(r"^ExecStart=(.*)$", UNIT, re.MULTILINE)
    (given,) = re.findall(r"^CMD \[(.*)\]$", CONTAINER, re.MULTILINE)
    for words in (shlex.split(start)[1:], [word.strip(' "') for word in given.split(",")]):
        assert command_line().parse_args(words).port == 8000


def test_the_unit_is_one_for_systemd(tmp_path: Path) -> None:
    for line in ("NoNewPrivileges=true", "ProtectSystem=strict", "CapabilityBoundingSet=", "StandardOutput=null"):
        assert f"\n{line}\n" in UNIT
    program = shutil.which("systemd-analyze")
    if program is None:
        pytest.skip("systemd is not here")
    unit = tmp_path / "one-mcp.service"
    unit.write_text(re.sub(r"(?m)^ExecStart=\S+", "ExecStart=/bin/true", UNIT).replace("=one-mcp\n", "=daemon\n", 2))
    done = subprocess.run([program, "verify", str(unit)], capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_the_container_is_not_roots() -> None:
    joined = CONTAINER.replace("\\\n", " ")
    lines = [line for line in joined.splitlines() if line and not line.startswith("#")]
    instructions = [line.split()[0] for line in lines]
    known = {"FROM", "RUN", "COPY", "WORKDIR", "USER", "VOLUME", "ENV", "EXPOSE", "STOPSIGNAL", "HEALTHCHECK"}
    assert set(instructions) == known | {"ENTRYPOINT", "CMD"}
    assert "USER 10001" in lines
    assert instructions.index("USER") < instructions.index("ENTRYPOINT")
    assert "/readyz" in next(line for line in lines if line.startswith("HEALTHCHECK"))

"""Runs the official conformance suite, and reads what it says."""

from __future__ import annotations

import asyncio
import os
import re
from dataclasses import dataclass
from pathlib import Path

from tests.clients import Swarm
from tests.conformance import fixtures
from tests.processes import ROOT, served
from tests.remote import served as served_here

TOOLS = ROOT / "build" / "conformance"
"""Where `make conformance-tools` puts the suite and the inspector, at the versions of package.json."""
INSTALLED = TOOLS / ".installed"
REVISIONS = ("2025-11-25", "2026-07-28")
SECONDS = 240.0
NEED_FIXTURES = frozenset(
    {
        "server-stateless",
        "completion-complete",
        "tools-call-simple-text",
        "tools-call-image",
        "tools-call-audio",
        "tools-call-embedded-resource",
        "tools-call-mixed-content",
        "tools-call-with-logging",
        "tools-call-error",
        "tools-call-with-progress",
        "tools-call-sampling",
        "tools-call-elicitation",
        "elicitation-sep1034-defaults",
        "elicitation-sep1330-enums",
        "resources-read-text",
        "resources-read-binary",
        "resources-templates-read",
        "resources-subscribe",
        "resources-unsubscribe",
        "prompts-get-simple",
        "prompts-get-with-args",
        "prompts-get-embedded-resource",
        "prompts-get-with-image",
        "input-required-result-basic-elicitation",
        "input-required-result-basic-sampling",
        "input-required-result-basic-list-roots",
        "input-required-result-request-state",
        "input-required-result-multiple-input-requests",
        "input-required-result-multi-round",
        "input-required-result-non-tool-request",
        "input-required-result-result-type",
        "input-required-result-tampered-state",
        "input-required-result-capability-check",
        "json-schema-2020-12",
        "http-custom-header-server-validation",
    }
)
"""What asks for tools, prompts or resources named `test_...`, which no server has of itself."""
_SCENARIO = re.compile(r"^[✓✗] (\S+): (\d+) passed, (\d+) failed$", re.MULTILINE)
_UNSCORED = re.compile(r"^  [✓✗] (\S+) \(([\w-]+)\)$", re.MULTILINE)


@dataclass(frozen=True)
class Scenario:
    """What the suite says of a scenario. `unscored`: why it does not count, "" if it does."""

    name: str
    passed: int
    failed: int
    unscored: str

    @property
    def passes(self) -> bool:
        """Whether no check failed."""
        return self.failed == 0


def program(name: str) -> list[str]:
    """How a program of the tools is started: with their own Node.

    Raises:
        FileNotFoundError: the tools are not installed.
    """
    found = TOOLS / "node_modules" / ".bin"
    for one in (found / "node", found / name):
        if not one.exists():
            raise FileNotFoundError(f"{one.name} is not installed: make conformance-tools")
    return [str(found / "node"), str(found / name)]


async def run(url: str, revision: str, out: Path) -> dict[str, Scenario]:
    """What a server conforms to, by the names of the scenarios; the suite's own results go to `out`."""
    process = await asyncio.create_subprocess_exec(
        *(*program("conformance"), "server", "--url", url, "--requirements", revision, "--output-dir", str(out)),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        env=os.environ | {"NO_COLOR": "1"},
    )
    try:
        async with asyncio.timeout(SECONDS):
            said = (await process.communicate())[0].decode()
    except TimeoutError:
        process.kill()
        await process.wait()
        raise
    _, _, summary = said.partition("=== SUMMARY ===")
    unscored = dict(_UNSCORED.findall(summary))
    found = [
        Scenario(name, int(passed), int(failed), unscored.get(name, ""))
        for name, passed, failed in _SCENARIO.findall(summary)
    ]
    assert found, said
    return {one.name: one for one in found}


async def as_shipped(revision: str, place: Path) -> dict[str, Scenario]:
    """Of `one-mcp serve`, as a process of its own."""
    with served(place / "data", place / "serve.log", "--no-auth") as (_, url):
        return await run(url, revision, place / "results")


async def with_fixtures(revision: str, place: Path) -> dict[str, Scenario]:
    """Of our application with the fixtures around it."""
    async with Swarm(place / "data") as swarm:
        fixtures.register(swarm.service)
        async with served_here(swarm, no_auth=True) as (url, _):
            return await run(url, revision, place / "results")


def wrong(found: dict[str, Scenario], *, fixtures: bool) -> list[str]:
    """The scored scenarios that fail although they have what they need."""
    asked = [one for one in found.values() if fixtures or one.name not in NEED_FIXTURES]
    return [one.name for one in asked if not one.unscored and not one.passes]

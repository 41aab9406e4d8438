"""Whether what is installed is what this program was tested with."""

from __future__ import annotations

import re
import sys
import tomllib
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path
from typing import NamedTuple

from server.endpoint import version_key


class Requirement(NamedTuple):
    """A package, the versions that are right (as `>=1.2,<2`), and the one that is installed (None: none)."""

    name: str
    wanted: str
    installed: str | None

    @property
    def satisfied(self) -> bool:
        """Whether a right version is installed."""
        return self.installed is not None and all(_holds(self.installed, bound) for bound in self.wanted.split(","))


def requirements() -> list[Requirement]:
    """What this program needs. Empty when it does not know: a copy of the source that was never installed."""
    found = []
    for name, wanted in _declared():
        try:
            installed: str | None = metadata.version(name)
        except metadata.PackageNotFoundError:
            installed = None
        found.append(Requirement(name, wanted, installed))
    return found


def _declared() -> Iterator[tuple[str, str]]:
    try:
        texts = metadata.requires("one-mcp") or []
    except metadata.PackageNotFoundError:
        project = Path(__file__).parents[1] / "pyproject.toml"
        texts = tomllib.loads(project.read_text("utf-8"))["project"]["dependencies"] if project.is_file() else []
    for text in texts:
        requirement, _, marker = text.partition(";")
        match = re.fullmatch(r"([\w.-]+)(?:\[[^]]*\])?(.*)", requirement.replace(" ", ""))
        if match is None or "extra" in marker or (sys.platform == "win32" and "!= 'win32'" in marker.replace('"', "'")):
            continue
        yield match[1], match[2]


def _holds(version: str, bound: str) -> bool:
    match = re.fullmatch(r"(==|>=|<=|<|>|!=|~=)?(.*)", bound)
    assert match is not None
    have, want = version_key(version), version_key(match[2])
    return {
        "==": have == want,
        "!=": have != want,
        ">=": have >= want,
        "~=": have >= want,
        "<=": have <= want,
        "<": have < want,
        ">": have > want,
        None: True,
    }[match[1]]

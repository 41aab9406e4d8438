"""The machine and the programs, in words: results are kept in public."""

from __future__ import annotations

import platform
from importlib.metadata import version
from pathlib import Path

import psutil

PACKAGES = ("mcp", "duckdb", "pydantic", "uvicorn", "uvloop", "httptools")


def machine() -> str:
    """Cores, processor, memory, system."""
    memory = psutil.virtual_memory().total / (1 << 30)
    kind = "a virtual machine" if _flags() & {"hypervisor"} else "a machine"
    return (
        f"{kind} with {psutil.cpu_count()} cores ({_field('model name') or platform.machine()}), {memory:.0f} GB of "
        f"memory, {platform.system()} {platform.release().partition('-')[0]}"
    )


def programs() -> str:
    """Versions of what is measured."""
    packages = ", ".join(f"{package} {version(package)}" for package in PACKAGES)
    return f"Python {platform.python_version()}, {packages}"


def _flags() -> set[str]:
    return set(_field("flags").split())


def _field(name: str) -> str:
    """A field of the first processor, where the system tells it."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return ""
    return next((line.partition(":")[2].strip() for line in lines if line.startswith(name)), "")

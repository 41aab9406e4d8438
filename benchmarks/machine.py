"""The machine and the programs, in words: results are kept in public."""

from __future__ import annotations

import os
import platform
import time
from importlib.metadata import version
from pathlib import Path

import psutil

SYNCS = 200
PACKAGES = ("mcp", "duckdb", "pydantic", "uvicorn", "uvloop", "httptools")


def machine() -> str:
    """Cores, processor, memory, system."""
    memory = psutil.virtual_memory().total / (1 << 30)
    kind = "a virtual machine" if _flags() & {"hypervisor"} else "a machine"
    return (
        f"{kind} with {psutil.cpu_count()} cores ({_field('model name') or platform.machine()}), {memory:.0f} GB of "
        f"memory, {platform.system()} {platform.release().partition('-')[0]}"
    )


def others() -> float:
    """How many cores other programs use just now."""
    return psutil.cpu_percent(interval=2.0) / 100 * (psutil.cpu_count() or 1)


def programs() -> str:
    """Versions of what is measured."""
    packages = ", ".join(f"{package} {version(package)}" for package in PACKAGES)
    return f"Python {platform.python_version()}, {packages}"


def sync_ms(place: Path) -> tuple[float, float]:
    """Milliseconds (p50, p95) after which a small write to a file in `place` is durable, when nothing else is done."""
    times = []
    with (place / "sync.tmp").open("ab", buffering=0) as file:
        for _ in range(SYNCS):
            started = time.perf_counter()
            file.write(bytes(600))
            os.fsync(file.fileno())
            times.append(1000 * (time.perf_counter() - started))
    (place / "sync.tmp").unlink()
    times.sort()
    return times[SYNCS // 2], times[int(0.95 * SYNCS)]


def _flags() -> set[str]:
    return set(_field("flags").split())


def _field(name: str) -> str:
    """A field of the first processor, where the system tells it."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return ""
    return next((line.partition(":")[2].strip() for line in lines if line.startswith(name)), "")

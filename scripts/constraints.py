"""Writes constraints.txt; `make constraints` runs it.

It pins the whole closure of the package, of its dev tools and of its build at the newest versions that the
bounds in pyproject.toml allow, for Python 3.11 and later on every platform. Plain pins without hashes: pip
refuses to install a checkout when a constraint has a hash.
"""

from __future__ import annotations

import subprocess
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[1]
HEADER = """\
# The versions that `make` installs and the tests run on. Made by `make constraints`; not edited by hand.
# Without it, `pip install .` takes the newest versions within the bounds of pyproject.toml.
"""


def resolve() -> str:
    """The pins as `name==version ; marker` lines."""
    build = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["build-system"]["requires"]
    command = [sys.executable, "-m", "uv", "--no-config", "--no-python-downloads", "pip", "compile"]
    options = ["--universal", "--python-version", "3.11", "--upgrade", "--no-header", "--no-annotate"]
    inputs = ["--extra", "dev", "--no-emit-package", "one-mcp", "pyproject.toml", "-"]
    done = subprocess.run(
        [*command, *options, *inputs],
        input="\n".join(build),
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    return done.stdout


def main() -> None:
    """Replaces constraints.txt."""
    pins = resolve()
    if "://" in pins:
        raise SystemExit("constraints.txt would contain an address: resolve without direct references.")
    (ROOT / "constraints.txt").write_text(HEADER + pins, encoding="utf-8")


if __name__ == "__main__":
    main()

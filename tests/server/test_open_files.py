"""The limit of open files that a hub starts with is raised as far as the system allows."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.processes import ROOT

LIMITED = """
import resource
from server.open_files import OPEN_FILES, allow_open_files
hard = {hard}
resource.setrlimit(resource.RLIMIT_NOFILE, (100, hard))
allow_open_files()
soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
assert soft == min(hard, OPEN_FILES), soft
"""


@pytest.mark.skipif(sys.platform == "win32", reason="there is no such limit")
@pytest.mark.parametrize("hard", [100, 400])
def test_the_soft_limit_is_raised_to_the_hard_one(hard: int) -> None:
    subprocess.run([sys.executable, "-c", LIMITED.format(hard=hard)], check=True, cwd=ROOT)

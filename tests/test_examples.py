"""The examples run as they are printed in the README."""

import os
import subprocess
import sys
from pathlib import Path

from tests.processes import ROOT, SECONDS, run


def test_two_clients_share_a_swarm(tmp_path: Path) -> None:
    data = tmp_path / "data"
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    try:
        ended = subprocess.run(
            [sys.executable, str(ROOT / "examples" / "two_clients.py"), str(data)],
            env={**os.environ, "PATH": path},
            capture_output=True,
            text=True,
            timeout=SECONDS,
            check=False,
        )
        assert ended.returncode == 0, ended.stderr
        transcript = ended.stdout
        assert transcript.startswith("# Launch plan")
        assert transcript.index("> When do we launch?") < transcript.index("> On Tuesday, says the board.")
        assert "**Scout**" in transcript
    finally:
        assert run(data, "stop").returncode == 0

"""The examples run as they are printed in the README and the how-tos."""

import os
import subprocess
import sys
from pathlib import Path

import anyio
from anyio.streams.text import TextReceiveStream

from tests.processes import ROOT, SECONDS, call, client, data_directory, run

ENVIRONMENT = {**os.environ, "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])}


def test_two_clients_share_a_swarm(tmp_path: Path) -> None:
    data = tmp_path / "data"
    try:
        ended = subprocess.run(
            [sys.executable, str(ROOT / "examples" / "two_clients.py"), str(data)],
            env=ENVIRONMENT,
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


async def test_a_program_follows_a_conversation(tmp_path: Path) -> None:
    with data_directory(tmp_path) as data:
        async with client(data) as mcp:
            place = (await call(mcp, "create_conversation", title="Launch"))["_id"]
            program = [sys.executable, str(ROOT / "examples" / "follow.py"), str(data), place]
            async with await anyio.open_process(program, env=ENVIRONMENT) as process:
                assert process.stdout is not None
                shown = TextReceiveStream(process.stdout)
                text = await until(shown, f"Following one://conversations/{place}\n")
                await call(mcp, "send_message", conversationId=place, content="When do we launch?")
                text += await until(shown, "> When do we launch?\n")
                process.kill()
        assert f"\n# Launch ({place})\n" in text


async def until(stream: TextReceiveStream, end: str) -> str:
    """What a program prints up to a text and maybe beyond."""
    text = ""
    with anyio.fail_after(SECONDS):
        while end not in text:
            text += await stream.receive()
    return text

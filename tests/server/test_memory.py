"""Hubs run with the settings of the C library that they are faster with, however they were started."""

import os
from pathlib import Path

import pytest

from storage.memory import tuned
from tests import processes

NAME = "GLIBC_TUNABLES"

pytestmark = pytest.mark.skipif(NAME not in tuned({}), reason="the C library is another one")


def environment_of(pid: int) -> dict[str, str]:
    """With what a process was started, or began anew. glibc ends its settings there where it has read them."""
    text = Path(f"/proc/{pid}/environ").read_text().replace("\0glibc.", ":glibc.")
    pairs = (entry.partition("=") for entry in text.split("\0"))
    return {name: value for name, _, value in pairs}


@pytest.mark.anyio
async def test_a_hub_that_a_client_started_is_tuned(data: Path) -> None:
    async with processes.client(data) as mcp:
        await processes.call(mcp, "find", table="agents")
        assert environment_of(processes.hub(data).pid)[NAME] == tuned({})[NAME]


@pytest.mark.parametrize("arguments", [("hub",), ("serve", "--port", "0", "--no-auth")])
def test_a_hub_in_the_foreground_begins_anew_as_the_same_process(data: Path, arguments: tuple[str, ...]) -> None:
    with processes.foreground(data, *arguments) as process:
        found = environment_of(process.pid)
        assert found[NAME] == tuned({})[NAME]
        assert found["NOT_FOR_THE_HUB"] == "1"
        assert processes.hub(data).pid == process.pid


def test_what_the_user_set_stays() -> None:
    chosen = "glibc.malloc.tcache_max=256"
    assert tuned({NAME: chosen}) == {NAME: chosen}
    other = "glibc.malloc.perturb=1"
    assert tuned({NAME: other, "A": "b"}) == {NAME: f"{other}:{tuned({})[NAME]}", "A": "b"}


def test_a_process_is_tuned_once() -> None:
    once = tuned(os.environ)
    assert tuned(once) == once

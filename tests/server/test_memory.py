"""How hubs use the C library: with the settings that they are faster with, and what is free goes back to the system."""

import ctypes
import os
from pathlib import Path

import anyio
import psutil
import pytest

from storage import memory
from storage.memory import keep_giving_back, tuned
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


@pytest.mark.anyio
async def test_what_is_free_below_what_is_in_use_goes_back_to_the_system(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "GIVE_BACK_SECONDS", 0.01)
    monkeypatch.setattr(memory, "GIVE_BACK_WORK_SECONDS", 0.0)
    library = ctypes.CDLL(None)
    library.malloc.restype = ctypes.c_void_p
    library.free.argtypes = [ctypes.c_void_p]
    resident, each, count = psutil.Process().memory_info, 16 << 10, 8_000
    blocks = [library.malloc(each) for _ in range(count)]
    for block in blocks:
        ctypes.memset(block, 1, each)
    for block in blocks[:-1]:  # the last one is above all others: they stay
        library.free(block)
    held = resident().rss
    with anyio.fail_after(20):
        async with anyio.create_task_group() as group:
            group.start_soon(keep_giving_back)
            while resident().rss > held - each * count // 2:
                await anyio.lowlevel.checkpoint()
            group.cancel_scope.cancel()
    library.free(blocks[-1])

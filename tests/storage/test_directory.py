"""Directories and disks that cannot be used: one sentence each, and nothing changes."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace

import psutil
import pytest

from storage import directory as directories
from storage import writer
from storage.directory import prepare
from storage.engine import Engine, Options
from storage.errors import StorageFault
from tests.clients import Swarm

Mount = Callable[..., Path]


@pytest.fixture
def mount(tmp_path: Path) -> Iterator[Mount]:
    """Mounts a small file system in memory, or skips the test where that is not allowed."""
    mounted: list[Path] = []

    def mount_at(options: str, place: Path | None = None) -> Path:
        path = place if place is not None else tmp_path / "disk"
        path.mkdir(exist_ok=True)
        done = run("mount", "-t", "tmpfs", "-o", options, "tmpfs", str(path)) if sys.platform == "linux" else None
        if done is None or done.returncode != 0:
            pytest.skip("file systems cannot be mounted here (needs Linux and root)")
        mounted.append(path)
        return path

    yield mount_at
    for path in reversed(mounted):
        run("umount", str(path)).check_returncode()


def run(*command: str) -> subprocess.CompletedProcess[bytes]:
    try:
        return subprocess.run(command, capture_output=True, check=False)
    except FileNotFoundError:
        return subprocess.CompletedProcess(command, 127)


def refused(directory: Path) -> str:
    with pytest.raises(StorageFault) as caught:
        Engine.open(directory, Options(), on_failure=pytest.fail)
    return str(caught.value)


def test_a_directory_is_made_for_its_user_alone(tmp_path: Path) -> None:
    prepare(tmp_path / "a" / "b")
    assert (tmp_path / "a" / "b").stat().st_mode & 0o777 == 0o700


def test_below_a_file_no_directory_can_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    assert refused(tmp_path / "file" / "data") == (
        f"{tmp_path / 'file' / 'data'} cannot be made: Not a directory. Choose another with --data."
    )


def test_a_file_is_no_directory(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    assert refused(tmp_path / "file") == (
        f"{tmp_path / 'file'} cannot be made: File exists. Choose another with --data."
    )


def test_a_read_only_file_system_is_refused(mount: Mount) -> None:
    disk = mount("size=80m")
    (disk / "one.duckdb").write_bytes(b"")
    remounted = run("mount", "-o", "remount,ro", str(disk))
    if remounted.returncode != 0:
        pytest.skip("a file system cannot be mounted read-only here")
    assert refused(disk) == f"{disk} is read-only. Make it writable, or choose another with --data."


@pytest.mark.skipif(sys.platform == "win32" or os.geteuid() == 0, reason="root writes everywhere")
def test_a_directory_without_write_permission_is_refused(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    assert refused(tmp_path) == f"{tmp_path} is read-only. Make it writable, or choose another with --data."


def test_a_directory_of_another_user_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 4711)
    assert refused(tmp_path) == (f"{tmp_path} belongs to another user of this machine. Choose another with --data.")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("kind", ["nfs4", "cifs", "fuse.sshfs"])
def test_a_network_file_system_is_refused(tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    partitions = [
        SimpleNamespace(mountpoint="/", fstype="ext4"),
        SimpleNamespace(mountpoint=str(tmp_path.resolve()), fstype=kind),
        SimpleNamespace(mountpoint=f"{tmp_path.resolve()}-other", fstype="ext4"),
    ]
    monkeypatch.setattr(psutil, "disk_partitions", lambda **_: partitions)
    assert refused(tmp_path) == (
        f"{tmp_path} is on a network file system ({kind}), where locks do not hold. "
        "Choose a local directory with --data."
    )
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_is_refused_at_the_start(mount: Mount) -> None:
    disk = mount("size=32m")
    assert refused(disk) == f"The disk of {disk} is full (32 MiB free). Free some space and start again."
    assert list(disk.iterdir()) == []


async def test_a_disk_that_fills_up_takes_no_more_until_there_is_space(
    mount: Mount, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writer, "DISK_CHECK_SECONDS", 0)
    disk = mount("size=90m")
    async with Swarm(disk) as swarm:
        agent = await swarm.owner("create_agent", name="Director", description="Leads", kind="system_agent")
        (disk / "ballast").write_bytes(bytes(60 << 20))
        error = await swarm.owner.refused("create_agent", name="Sage", description="Knows", kind="system_agent")
        assert error.code == "unavailable"
        assert error.text.startswith(f"The disk of {disk} is full (")
        assert error.text.endswith("Nothing was stored; free some space and try again.")
        assert [row["name"] for row in await swarm.owner.find("agents")] == ["Director"]
        (disk / "ballast").unlink()
        await swarm.owner("update", id=agent["_id"], fields={"goal": "Go on"})
        assert swarm.failures == []


async def test_a_disk_without_any_space_loses_nothing_that_was_acknowledged(
    mount: Mount, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    # The reserve is there so that this does not happen; another program may fill the disk between two checks.
    monkeypatch.setattr(writer, "RESERVE_BYTES", 0)
    monkeypatch.setattr(directories, "RESERVE_BYTES", 0)
    disk = mount("size=16m")
    acknowledged = []
    async with Swarm(disk, storage={"checkpoint_idle_seconds": 1000.0}) as swarm:
        conversation = await swarm.owner("create_conversation", title="Long")
        for number in range(1_000):
            result = await swarm.owner.raw(
                "send_message", conversationId=conversation["_id"], content=f"{number} " + os.urandom(40_000).hex()
            )
            if result.is_error:
                break
            assert result.structured_content is not None
            acknowledged.append(result.structured_content["_id"])
        error = await swarm.owner.refused("create_agent", name="Sage", description="Knows", kind="system_agent")
        assert error.code == "unavailable"
        assert len(swarm.failures) == 1
    assert 0 < len(acknowledged) < 1_000
    # A new hub on the same files, with space again.
    shutil.copytree(disk, tmp_path / "moved")
    async with Swarm(tmp_path / "moved") as swarm:
        stored = {row["_id"] for row in await swarm.owner.find("conversationMessages", limit=200)}
        assert set(acknowledged) <= stored
        await swarm.owner("send_message", conversationId=conversation["_id"], content="and on")

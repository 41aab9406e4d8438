"""The command line: where options may stand, and what a newcomer reads."""

from pathlib import Path

import pytest

from server import __version__
from server.cli import main
from tests.processes import run

COMMANDS = ("serve", "status", "stop", "doctor", "import", "reindex", "inbox", "token")


@pytest.mark.parametrize("arguments", [["--data", "{}", "status"], ["status", "--data", "{}"]])
def test_the_directory_is_taken_before_and_behind_a_command(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: list[str]
) -> None:
    assert main([argument.format(tmp_path) for argument in arguments]) == 0
    assert str(tmp_path) in capsys.readouterr().out


def test_the_directory_comes_from_the_environment_and_then_from_home(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("ONE_DATA", raising=False)
    main(["status"])
    assert str(tmp_path / ".one-mcp") in capsys.readouterr().out
    monkeypatch.setenv("ONE_DATA", str(tmp_path / "swarm"))
    main(["status"])
    assert str(tmp_path / "swarm") in capsys.readouterr().out


def test_the_help_names_every_command_but_the_one_for_clients(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match=r"^0$"):
        main(["--help"])
    shown = capsys.readouterr().out
    assert [name for name in (*COMMANDS, "demo") if f"\n    {name} " not in shown] == []
    assert "\n    hub " not in shown


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_says_what_it_does(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match=r"^0$"):
        main([command, "--help"])
    assert "the data directory" in capsys.readouterr().out


def test_its_version_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match=r"^0$"):
        main(["--version"])
    assert capsys.readouterr().out == f"one-mcp {__version__}\n"


@pytest.mark.parametrize("arguments", [("stauts",), ("--toolsets", ","), ("serve", "--port", "high")])
def test_what_cannot_be_understood_is_named(tmp_path: Path, arguments: tuple[str, ...]) -> None:
    shown = run(tmp_path, *arguments)
    assert shown.returncode == 2
    assert arguments[-1] in shown.stderr or "at least one name" in shown.stderr

"""`one-mcp doctor`: what it sees, what it advises, and that it changes nothing."""

import json
import os
import shutil
from pathlib import Path
from typing import NamedTuple

import duckdb
import pytest

from server import __version__, checkup, requirements
from server.requirements import Requirement
from storage.migrations import MIGRATIONS
from tests.processes import configure, copy_tree, data_directory, hub, kill, run, runs

ROWS = (
    {"table": "users", "_id": "u-ann", "name": "Ann", "email": "ann@example.org"},
    {"table": "tools", "_id": "t-1", "name": "web", "description": "Reads pages"},
    {
        "table": "agents",
        "_id": "a-1",
        "name": "Scout",
        "description": "Looks around",
        "kind": "user_agent",
        "tags": ["red"],
        "tools": ["t-1"],
    },
    {"table": "conversations", "_id": "c-1", "title": "Launch", "createdBy": "u-ann"},
    {
        "table": "conversationParticipants",
        "_id": "p-1",
        "kind": "user",
        "conversationId": "c-1",
        "userId": "u-ann",
        "status": "active",
        "isRemoved": False,
        "addedAt": 1_700_000_000_000,
    },
    {
        "table": "conversationMessages",
        "conversationId": "c-1",
        "authorParticipantId": "p-1",
        "kind": "participant",
        "content": "Hello",
    },
)


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with something in it, and no hub."""
    place = tmp_path_factory.mktemp("template")
    file = place / "rows.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in ROWS))
    with data_directory(place) as directory:
        assert run(directory, "import", str(file)).returncode == 0
        assert run(directory, "stop").returncode == 0
    return directory


@pytest.fixture
def stopped(data: Path, template: Path) -> Path:
    """A copy of it."""
    shutil.copytree(template, data, dirs_exist_ok=True)
    return data


@pytest.fixture
def used(stopped: Path, tmp_path: Path) -> Path:
    """A copy of it, with a hub."""
    start(stopped, tmp_path)
    return stopped


def start(data: Path, tmp_path: Path) -> None:
    """Start a hub: an import of nothing needs one."""
    empty = tmp_path / "empty.jsonl"
    empty.write_text("")
    assert run(data, "import", str(empty)).returncode == 0


def examine(data: Path, *, tree: Path | None = None) -> tuple[bool, dict[str, list[dict[str, str]]]]:
    """Whether all is well, and the outcomes by name."""
    done = run(data, "doctor", "--json", **({"tree": tree} if tree else {}))
    assert done.stderr == ""
    (line,) = done.stdout.splitlines()
    report = json.loads(line)
    assert done.returncode == (0 if report["ok"] else 1)
    assert report["ok"] == all(check["status"] != "error" for check in report["checks"])
    by_name: dict[str, list[dict[str, str]]] = {}
    for check in report["checks"]:
        by_name.setdefault(check["name"], []).append(check)
        assert check["status"] == "ok" or check["advice"], check
    return report["ok"], by_name


def troubles(checks: dict[str, list[dict[str, str]]]) -> list[str]:
    """The names of what is not ok."""
    return [name for name, found in checks.items() for check in found if check["status"] != "ok"]


def change(data: Path, *statements: str) -> None:
    """Do to the file what no hub would."""
    with duckdb.connect(str(data / "one.duckdb")) as connection:
        for statement in statements:
            connection.execute(statement)


# -- all is well -----------------------------------------------------------------------------------------------------


def test_a_directory_that_does_not_exist_yet(tmp_path: Path) -> None:
    place = tmp_path / "none"
    ok, checks = examine(place)
    assert ok
    assert troubles(checks) == []
    assert "does not exist yet" in checks["data directory"][0]["message"]
    assert not place.exists()


def test_all_is_well_with_a_hub_and_without(used: Path) -> None:
    ok, checks = examine(used)
    assert (ok, troubles(checks)) == (True, [])
    assert f"version {__version__} (pid {hub(used).pid}) runs and answers" in checks["hub"][0]["message"]
    assert "rules hold" in checks["audit"][0]["message"]
    assert run(used, "stop").returncode == 0
    ok, checks = examine(used)
    assert (ok, troubles(checks)) == (True, [])
    assert checks["hub"][0]["message"] == "None runs; a client starts one."
    assert checks["one.duckdb"][0]["message"] == f"version {len(MIGRATIONS)}"
    assert "rules hold" in checks["audit"][0]["message"]
    assert not runs(used)


def test_it_changes_nothing(used: Path) -> None:
    kill(used)

    def state() -> dict[str, tuple[int, int]]:
        return {str(path): (path.lstat().st_size, path.lstat().st_mtime_ns) for path in used.rglob("*")}

    before = state()
    ok, checks = examine(used)
    assert ok
    assert troubles(checks) == ["hub"]
    assert "was killed and left hub.json behind" in checks["hub"][0]["message"]
    assert state() == before
    assert not runs(used)


def test_lines_for_people(used: Path) -> None:
    (used / "config.toml").write_text("[hub]\nidle = 5\n")
    done = run(used, "doctor")
    assert done.returncode == 1
    lines = done.stdout.splitlines()
    assert lines[0].startswith("ok       python          3.")
    assert any(line.startswith("error    config.toml     ") and "unknown setting hub.idle" in line for line in lines)
    assert lines[-1] == "1 error, 0 warnings."


# -- settings, directory, hub ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("[hub]\nidle_exit_second = 5\n", "unknown setting hub.idle_exit_second; did you mean hub.idle_exit_seconds?"),
        ("[http]\nport = 'x'\n", "http.port = 'x' is not allowed"),
        ("[http\n", "is not valid TOML"),
    ],
)
def test_a_wrong_setting_is_an_error(data: Path, text: str, part: str) -> None:
    (data / "config.toml").write_text(text)
    ok, checks = examine(data)
    assert not ok
    assert part in checks["config.toml"][0]["message"]


def test_what_others_can_read(used: Path) -> None:
    used.chmod(0o755)
    (used / "hub.json").chmod(0o644)
    ok, checks = examine(used)
    assert not ok
    opened, secret = checks["data directory"]
    assert (opened["status"], opened["advice"]) == ("warning", f"chmod 700 '{used}'")
    assert secret["status"] == "error"
    assert "secret in hub.json" in secret["message"]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")
def test_files_of_another_user(stopped: Path) -> None:
    os.chown(stopped / "one.duckdb", 12_345, 12_345)
    ok, checks = examine(stopped)
    assert not ok
    assert checks["data directory"][0]["message"] == "Of another user of this machine: one.duckdb."


class Usage(NamedTuple):
    total: int
    used: int
    free: int


@pytest.mark.parametrize(("free", "status"), [(10 << 20, "error"), (500 << 20, "warning")])
def test_little_space(data: Path, monkeypatch: pytest.MonkeyPatch, free: int, status: str) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _: Usage(1 << 40, 0, free))
    (found,) = [outcome for outcome in checkup.checkup(data) if outcome.status != "ok"]
    assert (found.status, found.name) == (status, "data directory")
    assert found.message == f"{free >> 20} MiB are free. Below 64 MiB nothing is stored."


def test_a_network_file_system(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checkup, "file_system", lambda _: "nfs4")
    (found,) = [outcome for outcome in checkup.checkup(data) if outcome.status != "ok"]
    assert "is on a network file system (nfs4)" in found.message


def test_a_file_in_place_of_the_directory(tmp_path: Path) -> None:
    place = tmp_path / "data"
    place.write_text("")
    ok, checks = examine(place)
    assert not ok
    assert "is no directory" in checks["data directory"][0]["message"]


def test_a_hub_of_another_version(used: Path, tmp_path: Path) -> None:
    newer = tmp_path / "newer"
    newer.mkdir()
    ok, checks = examine(used, tree=copy_tree(newer, "0.2.0"))
    assert ok
    assert checks["hub"][0]["status"] == "warning"
    assert f"version {__version__}" in checks["hub"][0]["message"]
    assert "this is 0.2.0" in checks["hub"][0]["message"]
    assert hub(used).version == __version__


def test_a_hub_that_does_not_answer(used: Path) -> None:
    endpoint = hub(used)
    endpoint._replace(secret="wrong").write(used)
    ok, checks = examine(used)
    assert not ok
    assert checks["hub"][0]["status"] == "error"
    assert "secret" in checks["hub"][0]["message"]
    endpoint.write(used)


def test_why_the_last_hub_could_not_start(data: Path) -> None:
    configure(data, transport="pigeon")
    assert run(data, "import", "-").returncode == 1
    ok, checks = examine(data)
    assert not ok
    assert checks["hub"][0]["message"].startswith("None runs. The last one said: ")
    assert "hub.transport = 'pigeon' is not allowed" in checks["hub"][0]["message"]


# -- the data --------------------------------------------------------------------------------------------------------


def test_a_foreign_file(stopped: Path) -> None:
    (stopped / "one.duckdb").write_text("SQLite format 3, or something else")
    ok, checks = examine(stopped)
    assert not ok
    assert "is not a DuckDB database" in checks["one.duckdb"][0]["message"]


def test_a_damaged_file(stopped: Path) -> None:
    with (stopped / "one.duckdb").open("r+b") as file:
        file.seek(4_000)
        file.write(b"\xff" * 100_000)
    ok, checks = examine(stopped)
    assert not ok
    assert checks["one.duckdb"][0]["status"] == "error"


def test_a_file_of_a_newer_version(stopped: Path) -> None:
    change(stopped, "UPDATE meta SET value = '99' WHERE name = 'version'")
    ok, checks = examine(stopped)
    assert not ok
    assert checks["one.duckdb"][0]["message"].startswith("version 99, of a newer one-mcp")
    assert "audit" not in checks


def test_a_database_of_somebody_else(stopped: Path) -> None:
    (stopped / "one.duckdb").unlink()
    change(stopped, "CREATE TABLE mine (a INTEGER)")
    ok, checks = examine(stopped)
    assert not ok
    assert "not of one-mcp" in checks["one.duckdb"][0]["message"]


BROKEN: tuple[tuple[str, str, str], ...] = (
    ("DELETE FROM tools", "references", "agents.tools names a row that exists"),
    ("DELETE FROM users", "references", "conversations.createdBy names a row that exists"),
    ('UPDATE "conversationMessages" SET "conversationId" = \'c-x\'', "references", "names a row that exists"),
    ("UPDATE \"conversationParticipants\" SET kind = 'agent'", "references", "one user or one agent"),
    ('DELETE FROM "agentTools"', "twins", "agents.tools says the same as agentTools"),
    ("UPDATE agents SET \"attachedPrompts\" = ['p']", "twins", "agents.attachedPrompts says the same as attachments"),
    ("DELETE FROM tags", "twins", "every tag in use is a row of tags"),
    ("INSERT INTO users SELECT 'u-2', seq + 90, rev, * EXCLUDE (_id, seq, rev) FROM users", "unique", "the same email"),
    ("INSERT INTO tags SELECT 'x', seq + 90, rev, * EXCLUDE (_id, seq, rev) FROM tags", "unique", "the same name"),
    ("UPDATE tags SET seq = 1", "numbers", "a commit number belongs to one row"),
    ("UPDATE tags SET _id = 'user_1'", "numbers", "an id belongs to one row"),
    ("UPDATE tools SET _id = 't-2'", "numbers", "an id in the map leads to its row"),
    ("DELETE FROM aliases", "numbers", "an id of another form is in the map"),
    ('UPDATE conversations SET "lastMessageTime" = NULL', "derived", "conversations.lastMessageTime"),
)


@pytest.mark.parametrize(("statement", "group", "rule"), BROKEN, ids=[rule for *_, rule in BROKEN])
def test_what_breaks_a_rule_is_found(stopped: Path, statement: str, group: str, rule: str) -> None:
    change(stopped, statement)
    ok, checks = examine(stopped)
    assert not ok
    assert any(rule in check["message"] for check in checks[group]), checks[group]
    assert checks["audit"][0]["status"] == "error"


def test_a_hub_finds_it_as_well(stopped: Path, tmp_path: Path) -> None:
    change(stopped, "DELETE FROM tags")
    start(stopped, tmp_path)
    ok, checks = examine(stopped)
    assert not ok
    assert "runs and answers" in checks["hub"][0]["message"]
    (found,) = checks["twins"]
    assert found["message"].startswith("Not so for 1: every tag in use is a row of tags. a-1 (red)")


# -- packages --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("installed", "wanted", "right"),
    [
        ("2.0.0", "==2.0.0", True),
        ("2.0.1", "==2.0.0", False),
        ("2.3", ">=2.3,<3", True),
        ("3.0.0", ">=2.3,<3", False),
        ("2.10.1", ">=2.9,<3", True),
        ("1.0", "", True),
        (None, ">=1", False),
    ],
)
def test_versions(installed: str | None, wanted: str, right: bool) -> None:
    assert Requirement("x", wanted, installed).satisfied is right


def test_what_is_needed_is_what_the_project_declares() -> None:
    needed = {requirement.name: requirement for requirement in requirements.requirements()}
    assert needed["duckdb"].wanted == "==2.0.0"
    assert {"mcp", "pydantic", "rich", "psutil"} <= set(needed)
    assert "pytest" not in needed
    assert all(requirement.installed for requirement in needed.values())


def test_a_missing_package_is_said_before_it_is_imported(
    data: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from argparse import Namespace

    from server import doctor

    absent = Requirement("duckdb", "==2.0.0", None)
    monkeypatch.setattr(doctor, "requirements", lambda: [absent])
    assert doctor.run(Namespace(data=data, json=False)) == 1
    said = capsys.readouterr().out
    assert "duckdb is not installed; wanted: ==2.0.0." in said
    assert "pip install 'duckdb==2.0.0'" in said
    assert "config.toml" not in said

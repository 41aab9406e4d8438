from __future__ import annotations

import os
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest

from server.config import KEYS, SettingsError, load_settings, shipped_config


@pytest.fixture(autouse=True)
def no_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("ONE_")]:
        monkeypatch.delenv(name)


def write(folder: Path, text: str, name: str = "config.toml") -> Path:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


def shipped() -> dict[str, dict[str, Any]]:
    return tomllib.loads(shipped_config().read_text(encoding="utf-8"))


# The shipped file is the declaration of every default.


def test_the_shipped_file_has_every_setting_and_no_other() -> None:
    assert {section: set(values) for section, values in shipped().items()} == {
        section: set(keys) for section, keys in KEYS.items()
    }


def test_every_setting_and_section_of_the_shipped_file_has_a_comment() -> None:
    lines = shipped_config().read_text(encoding="utf-8").splitlines()
    declared = [number for number, line in enumerate(lines) if line.startswith("[") or "=" in line.split("#")[0]]
    assert len(declared) == len(KEYS) + sum(len(keys) for keys in KEYS.values())
    assert [lines[number] for number in declared if not lines[number - 1].startswith("# ")] == []


def test_the_defaults_are_the_shipped_values_in_the_declared_types(tmp_path: Path) -> None:
    settings = load_settings(tmp_path).model_dump()
    assert settings == shipped()
    for section, values in shipped().items():
        for key, value in values.items():
            assert type(settings[section][key]) is type(value), f"{section}.{key}"


def test_defaults_give_no_warnings(tmp_path: Path) -> None:
    assert load_settings(tmp_path).warnings == []


# Precedence.


def test_each_source_goes_above_the_one_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert load_settings(tmp_path).http.port == 8000
    write(tmp_path, "[http]\nport = 8001\nhost = '::1'\n")
    assert load_settings(tmp_path).http.port == 8001
    monkeypatch.setenv("ONE_HTTP__PORT", "8002")
    assert load_settings(tmp_path).http.port == 8002
    settings = load_settings(tmp_path, overrides={"http": {"port": 8003, "host": None}})
    assert (settings.http.port, settings.http.host) == (8003, "::1")


def test_a_given_file_replaces_that_of_the_data_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path, "[hub]\nlog_level = 'error'\n[idempotency]\nkeep_days = 30\n")
    variable = write(tmp_path, "[hub]\nlog_level = 'debug'\n", "variable.toml")
    argument = write(tmp_path, "[hub]\nlog_level = 'warning'\n", "argument.toml")
    monkeypatch.setenv("ONE_CONFIG", str(variable))
    settings = load_settings(tmp_path)
    assert (settings.hub.log_level, settings.idempotency.keep_days) == ("debug", 7)
    assert load_settings(tmp_path, config=argument).hub.log_level == "warning"


def test_without_the_environment_only_the_data_directory_counts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path, "[storage]\nread_threads = 3\n")
    monkeypatch.setenv("ONE_CONFIG", str(tmp_path / "missing.toml"))
    monkeypatch.setenv("ONE_STORAGE__MAX_BATCH", "4")
    monkeypatch.setenv("ONE_NO__SUCH", "4")
    settings = load_settings(tmp_path, environment=False)
    assert settings.storage.read_threads == 3
    assert settings.warnings == []


@pytest.mark.parametrize(
    ("variable", "text", "section", "key", "value"),
    [
        ("ONE_HTTP__PORT", "0", "http", "port", 0),
        ("ONE_HUB__IDLE_EXIT_SECONDS", "2", "hub", "idle_exit_seconds", 2.0),
        ("ONE_CACHE__ROWS_BYTES", "1_000", "cache", "rows_bytes", 1000),
        ("ONE_HTTP__HOST", "0.0.0.0", "http", "host", "0.0.0.0"),
        ("ONE_HTTP__HOST", "7", "http", "host", "7"),
        ("ONE_TIME__ZONE", "Europe/Berlin", "time", "zone", "Europe/Berlin"),
        ("ONE_TIME__ZONE", "'Europe/Berlin'", "time", "zone", "Europe/Berlin"),
        ("ONE_TIME__ZONE", "", "time", "zone", ""),
        ("ONE_STORAGE__DUCKDB_MEMORY_LIMIT", "512MiB", "storage", "duckdb_memory_limit", "512MiB"),
        (
            "ONE_HTTP__ALLOWED_HOSTS",
            "a.example, b.example",
            "http",
            "allowed_hosts",
            ["a.example", "b.example"],
        ),
        ("ONE_HTTP__ALLOWED_HOSTS", '["a.example"]', "http", "allowed_hosts", ["a.example"]),
        ("ONE_HTTP__ALLOWED_HOSTS", "", "http", "allowed_hosts", []),
    ],
)
def test_variables_are_written_as_in_the_file_with_or_without_quotes(
    variable: str,
    text: str,
    section: str,
    key: str,
    value: Any,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv(variable, text)
    assert load_settings(tmp_path).model_dump()[section][key] == value


# Unknown keys are collected, with the most likely name.


@pytest.mark.parametrize(
    ("text", "warning"),
    [
        ("[http]\nprot = 1", "unknown setting http.prot; did you mean http.port?"),
        ("[htp]\nport = 1", "unknown setting htp; did you mean [http]?"),
        ("port = 1", "unknown setting port; did you mean http.port?"),
        ("[hub]\nread_threads = 1", "unknown setting hub.read_threads; did you mean storage.read_threads?"),
        ("[hub]\nxyzzy = 1", "unknown setting hub.xyzzy"),
        ("warnings = []", "unknown setting warnings"),
    ],
)
def test_an_unknown_key_is_a_warning_that_names_the_right_one(text: str, warning: str, tmp_path: Path) -> None:
    path = write(tmp_path, text)
    settings = load_settings(tmp_path)
    assert settings.warnings == [f"{path}: {warning}"]
    assert settings.model_dump() == shipped()


def test_an_unknown_variable_is_a_warning(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ONE_DATA", str(tmp_path))
    monkeypatch.setenv("ONE_HTPP__PORT", "1")
    warning = "environment variable ONE_HTPP__PORT: unknown setting htpp.port; did you mean http.port?"
    assert load_settings(tmp_path).warnings == [warning]


# A wrong value or file gets one clear sentence.


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("[http]\nport = 70000", "http.port = 70000 is not allowed: it must be less than or equal to 65535."),
        ("[http]\nport = '80'", "http.port = '80' is not allowed: it must be a whole number."),
        ("[http]\nport = 80.5", "http.port = 80.5 is not allowed: it must be a whole number."),
        ("[http]\nport = true", "http.port = True is not allowed: it must be a whole number."),
        ("[http]\nhost = ''", "http.host = '' is not allowed: it must be text of at least one character."),
        ("[http]\nhost = 1", "http.host = 1 is not allowed: it must be text."),
        ("[http]\nallowed_hosts = 'a'", "http.allowed_hosts = 'a' is not allowed: it must be a list."),
        (
            "[http]\nallowed_hosts = [1]",
            "http.allowed_hosts = [1] is not allowed: it must be a list of text.",
        ),
        (
            "[hub]\nidle_exit_seconds = 'x'",
            "hub.idle_exit_seconds = 'x' is not allowed: it must be a number.",
        ),
        (
            "[hub]\nidle_exit_seconds = inf",
            "hub.idle_exit_seconds = inf is not allowed: it must be a finite number.",
        ),
        (
            "[hub]\ntransport = 'udp'",
            "hub.transport = 'udp' is not allowed: it must be 'auto', 'unix' or 'tcp'.",
        ),
        ("hub = 3", "hub = 3 is not allowed: it is a section."),
        (
            "[storage]\nduckdb_memory_limit = 'lots'",
            "storage.duckdb_memory_limit = 'lots' is not allowed: "
            "it must be an amount of memory such as '512MB' or '4GB'.",
        ),
        *(
            (
                f"[time]\nzone = '{zone}'",
                f"time.zone = '{zone}' is not allowed: it must be empty or an IANA time zone such as 'Europe/Berlin'.",
            )
            for zone in ("Mars/Base", "../zone", "Europe", "/etc")
        ),
    ],
)
def test_a_wrong_value_says_where_which_and_what_is_allowed(text: str, sentence: str, tmp_path: Path) -> None:
    path = write(tmp_path, text)
    with pytest.raises(SettingsError) as raised:
        load_settings(tmp_path)
    assert str(raised.value) == f"{path}: {sentence}"


def test_a_wrong_value_names_the_source_that_set_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path, "[http]\nport = 8001\n")
    monkeypatch.setenv("ONE_HTTP__PORT", "eighty")
    with pytest.raises(SettingsError, match=r"^environment variable ONE_HTTP__PORT: http\.port = 'eighty' is not"):
        load_settings(tmp_path)
    with pytest.raises(SettingsError, match=r"^command line: http\.port = -1 is not allowed"):
        load_settings(tmp_path, overrides={"http": {"port": -1}})


def test_a_wrong_value_that_a_higher_source_replaces_does_no_harm(tmp_path: Path) -> None:
    write(tmp_path, "[http]\nport = 'no'\n")
    assert load_settings(tmp_path, overrides={"http": {"port": 1}}).http.port == 1


def test_a_long_value_is_cut(tmp_path: Path) -> None:
    write(tmp_path, f"[hub]\ntransport = '{'x' * 500}'\n")
    with pytest.raises(SettingsError) as raised:
        load_settings(tmp_path)
    assert len(str(raised.value)) < 200 + len(str(tmp_path))


def test_a_broken_file_is_named_with_the_place(tmp_path: Path) -> None:
    path = write(tmp_path, "[http]\nport 8000\n")
    with pytest.raises(SettingsError) as raised:
        load_settings(tmp_path)
    assert (
        str(raised.value)
        == f"{path} is not valid TOML: Expected '=' after a key in a key/value pair (at line 2, column 6)."
    )


def test_a_file_in_another_encoding_is_named(tmp_path: Path) -> None:
    path = tmp_path / "config.toml"
    path.write_bytes("[time]\nzone = 'Zürich'\n".encode("latin-1"))
    with pytest.raises(SettingsError) as raised:
        load_settings(tmp_path)
    assert str(raised.value) == f"{path} is not valid TOML: it is not encoded as UTF-8."


def test_a_byte_order_mark_is_accepted(tmp_path: Path) -> None:
    (tmp_path / "config.toml").write_bytes(b"\xef\xbb\xbf[http]\r\nport = 8001\r\n")
    assert load_settings(tmp_path).http.port == 8001


def test_a_given_file_must_exist(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "missing.toml"
    with pytest.raises(SettingsError) as raised:
        load_settings(tmp_path, config=path)
    assert str(raised.value) == f"{path} cannot be read: No such file or directory."
    monkeypatch.setenv("ONE_CONFIG", str(path))
    with pytest.raises(SettingsError, match="cannot be read"):
        load_settings(tmp_path)


def test_a_folder_in_place_of_the_file_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "config.toml").mkdir()
    with pytest.raises(SettingsError, match="cannot be read: Is a directory"):
        load_settings(tmp_path)


def test_settings_cannot_be_changed(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="frozen"):
        load_settings(tmp_path).http.port = 1


def test_importing_the_settings_brings_in_nothing_heavy() -> None:
    heavy = "{'asyncio', 'anyio', 'duckdb', 'mcp'}"
    code = f"import sys, server.config; print(*sorted({heavy} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""

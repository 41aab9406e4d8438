"""What `one-mcp doctor` looks at: settings, the data directory, the hub, the files and the rows in them."""

from __future__ import annotations

import os
import shutil
import stat
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Literal

import duckdb

from server import __version__
from server.config import SettingsError, load_settings
from server.doctor import Outcome, count
from server.endpoint import LOCK_FILE, Endpoint, Failure, Link, version_key
from server.launch import LOG_FILE
from server.lock import is_locked
from server.status import control
from storage import audit
from storage.database import open_to_read
from storage.directory import NETWORK_FILE_SYSTEMS, RESERVE_BYTES, file_system
from storage.errors import StorageFault
from storage.migrate import stored_version
from storage.migrations import AUTH_MIGRATIONS, EMBEDDING_MIGRATIONS, MIGRATIONS
from storage.publication import Publication

LITTLE_SPACE = 1 << 30
_FILES = {"one.duckdb": MIGRATIONS, "auth.duckdb": AUTH_MIGRATIONS, "embeddings.duckdb": EMBEDDING_MIGRATIONS}
_GROUPS: dict[audit.Group, tuple[str, str]] = {
    "references": ("Every reference leads to a row.", "Import the missing rows, or delete those that name them."),
    "twins": ("What is stored twice says the same.", "Update one of the two with the tools: both are written again."),
    "unique": ("What must be unique is.", "Change or delete one of the rows."),
    "derived": ("Derived fields are right.", "`one-mcp stop`; the next message in a conversation mends its own."),
    "numbers": (
        "Ids and commit numbers are in order.",
        "The file was changed from outside: restore a copy.",
    ),
}


def checkup(data_dir: Path) -> Iterator[Outcome]:
    """Every check, in the order in which one depends on another."""
    yield from _settings(data_dir)
    if not data_dir.exists():
        yield Outcome("ok", "data directory", f"{data_dir} does not exist yet; the first client makes it.")
        return
    if not data_dir.is_dir():
        yield Outcome("error", "data directory", f"{data_dir} is no directory.", "Choose another with --data.")
        return
    yield from _directory(data_dir)
    yield from _snapshot(data_dir)
    try:
        link = control(data_dir)
    except (Failure, OSError) as error:
        advice = f"See {data_dir / LOG_FILE}. If its process hangs, end it: a client starts another hub."
        yield Outcome("error", "hub", str(error), advice)
        return
    if link is not None:
        with closing(link):
            yield from _running(link)
    else:
        yield from _not_running(data_dir)
        yield from _stored(data_dir)


def _settings(data_dir: Path) -> Iterator[Outcome]:
    try:
        settings = load_settings(data_dir)
    except SettingsError as error:
        yield Outcome("error", "config.toml", str(error), "No hub starts until this is mended.")
        return
    for warning in settings.warnings:
        yield Outcome("error", "config.toml", f"{warning}.", "It has no effect: correct its name or take it out.")
    if not settings.warnings:
        own = data_dir / "config.toml"
        yield Outcome("ok", "config.toml", str(own) if own.exists() else "the defaults; there is none of your own")


# -- the directory ---------------------------------------------------------------------------------------------------


def _directory(data_dir: Path) -> Iterator[Outcome]:
    name = "data directory"
    problems = [*_permissions(data_dir)]
    kind = file_system(data_dir)
    if kind in NETWORK_FILE_SYSTEMS:
        message = f"{data_dir} is on a network file system ({kind}), where locks do not hold."
        problems.append(Outcome("error", name, message, "Move it to a local disk, or choose another with --data."))
    free = shutil.disk_usage(data_dir).free
    if free < LITTLE_SPACE:
        status: Literal["error", "warning"] = "error" if free < RESERVE_BYTES else "warning"
        message = f"{free >> 20} MiB are free. Below {RESERVE_BYTES >> 20} MiB nothing is stored."
        problems.append(Outcome(status, name, message, "Free some space."))
    yield from problems
    if not problems:
        yield Outcome("ok", name, f"{data_dir} ({kind or 'local'}, {free >> 30} GiB free)")


def _permissions(data_dir: Path) -> Iterator[Outcome]:
    """Who owns the files, and who can read them. Windows keeps a user's directories private itself."""
    if sys.platform == "win32":
        return
    user, name = os.geteuid(), "data directory"
    if not os.access(data_dir, os.W_OK):
        yield Outcome("error", name, f"{data_dir} is read-only.", "Make it writable, or choose another with --data.")
    foreign = [path.name for path in (data_dir, *data_dir.iterdir()) if path.lstat().st_uid != user]
    if foreign:
        message = f"Of another user of this machine: {', '.join(sorted(foreign))}."
        yield Outcome("error", name, message, f"chown -R {user} '{data_dir}', or run one-mcp as that user.")
    mode = stat.S_IMODE(data_dir.stat().st_mode)
    if mode & 0o077:
        message = f"Others can get at {data_dir} (mode {mode:04o})."
        yield Outcome("warning", name, message, f"chmod 700 '{data_dir}'")
        secret = data_dir / "hub.json"
        if secret.exists() and secret.stat().st_mode & 0o077:
            message = "Others can read the secret in hub.json, and so act as you."
            yield Outcome("error", name, message, "`one-mcp stop`: the next hub has another secret.")


def _snapshot(data_dir: Path) -> Iterator[Outcome]:
    """Whether the place of the published snapshot is free or taken by one."""
    name = "analytics.duckdb"
    if Publication(data_dir).is_ours():
        return
    message = f"{data_dir / name} is no snapshot of one-mcp; it is left as it is, and none is published."
    yield Outcome("error", name, message, "Move it away.")


# -- the hub ---------------------------------------------------------------------------------------------------------


def _running(link: Link) -> Iterator[Outcome]:
    facts = link.call("status")
    message = f"version {link.version} (pid {link.pid}) runs and answers, {count(facts['clients'], 'client')}"
    differs = f"{message}; this is {__version__}."
    if version_key(link.version) < version_key(__version__):
        yield Outcome("warning", "hub", differs, "`one-mcp stop`: the next one is of this version.")
    elif version_key(link.version) > version_key(__version__):
        yield Outcome("warning", "hub", differs, "Upgrade this installation as well.")
    else:
        yield Outcome("ok", "hub", message)
    if trouble := facts.get("analytics", {}).get("error"):  # a hub of an earlier version says nothing of it
        yield Outcome("warning", "analytics.duckdb", trouble, "Analysts read an older snapshot until this is mended.")
    try:
        answer = link.call("audit")
    except (Failure, OSError) as error:
        yield Outcome("error", "audit", f"The hub cannot check its data: {error}", "`one-mcp stop`, and check again.")
        return
    yield from _audited(answer["checked"], [audit.Finding(**finding) for finding in answer["findings"]])


def _not_running(data_dir: Path) -> Iterator[Outcome]:
    reason = _last_failure(data_dir / LOG_FILE)
    if reason:
        yield Outcome("warning", "hub", f"None runs. The last one said: {reason}", f"The log: {data_dir / LOG_FILE}")
    elif (endpoint := Endpoint.read(data_dir)) is not None:
        message = f"None runs. One (pid {endpoint.pid}) was killed and left hub.json behind."
        yield Outcome("warning", "hub", message, "Nothing to do: the next one, which a client starts, replaces it.")
    else:
        yield Outcome("ok", "hub", "None runs; a client starts one.")


def _last_failure(log: Path) -> str:
    """Why the last hub ended, if it was not meant to."""
    try:
        lines = log.read_bytes()[-10_000:].decode(errors="replace").splitlines()
    except FileNotFoundError:
        return ""
    last = lines[-1] if lines else ""
    return last.removeprefix("one-mcp: ") if last.startswith("one-mcp: ") else ""


# -- the data --------------------------------------------------------------------------------------------------------


def _stored(data_dir: Path) -> Iterator[Outcome]:
    """The files, read while no hub has them."""
    for name, migrations in _FILES.items():
        path = data_dir / name
        if not path.exists():
            if name == "one.duckdb":
                yield Outcome("ok", name, "not there yet; the first hub makes it")
            continue
        try:
            with closing(open_to_read(path)) as connection:
                version, newest = stored_version(connection, path), len(migrations)
                yield _version(name, version, newest)
                if name == "one.duckdb" and version == newest:
                    yield from _audit(connection)
        except StorageFault as error:
            started = is_locked(data_dir / LOCK_FILE)
            advice = "Run this again: a hub has just started." if started else "No hub starts until this is mended."
            yield Outcome("error", name, str(error), advice)
        except duckdb.Error as error:
            yield Outcome("error", name, f"It cannot be read: {str(error).splitlines()[0]}", "Restore a copy.")


def _version(name: str, version: int, newest: int) -> Outcome:
    if version > newest:
        message = f"version {version}, of a newer one-mcp; this one knows versions up to {newest}"
        return Outcome("error", name, message, "Upgrade this installation.")
    if version < newest:
        message = f"version {version}; the next hub makes it version {newest} and keeps a copy"
        return Outcome("ok", name, message)
    return Outcome("ok", name, f"version {version}")


def _audit(connection: duckdb.DuckDBPyConnection) -> Iterator[Outcome]:
    asked = list(audit.checks())
    found = [finding for check in asked if (finding := audit.run(connection, check)) is not None]
    yield from _audited(len(asked), found)


def _audited(checked: int, findings: list[audit.Finding]) -> Iterator[Outcome]:
    for finding in findings:
        examples = ", ".join(finding.examples) + (", ..." if finding.broken > len(finding.examples) else "")
        message = f"Not so for {finding.broken:,}: {finding.name}. {examples}"
        yield Outcome("error", finding.group, message, _GROUPS[finding.group][1])
    broken = {finding.group for finding in findings}
    for group, (holds, _) in _GROUPS.items():
        if group not in broken:
            yield Outcome("ok", group, holds)
    message = f"{checked - len(findings)} of {checked} rules hold"
    if findings:
        yield Outcome("error", "audit", message, "Each row that breaks one is named above, or some of them.")
    else:
        yield Outcome("ok", "audit", message)

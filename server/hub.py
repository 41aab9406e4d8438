"""The hub: the one process that owns a data directory, from its lock to its last answer."""

import asyncio
import gc
import importlib.util
import logging
import os
import secrets
import signal
import stat
import sys
import time
from functools import partial
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any, NamedTuple

from server import __version__
from server.endpoint import LOCK_FILE, Endpoint
from server.lock import FileLock
from server.open_files import allow_open_files
from storage.memory import keep_giving_back, keep_little

if TYPE_CHECKING:
    from server.config import Settings
    from server.connections import Command, Connections, Progress
    from server.service import Service

logger = logging.getLogger(__name__)

_GRACE_SECONDS = 2.0
"""How long calls in progress may take when the hub ends. Longer ones are sent again to the next hub."""
_CLOSE_SECONDS = 30.0
_LATE_SECONDS = 1.0
"""How long after its first client's start the hub imports what it will need later."""


class StartFailed(Exception):
    """The hub cannot run. The text is one sentence for people."""


class Http(NamedTuple):
    """What `serve` adds to a hub."""

    no_auth: bool
    settings: dict[str, Any]
    """What was given for `[http]`; None is what was not."""


def run(data_dir: Path, *, auto: bool = False, http: Http | None = None, config: Path | None = None) -> int:
    """Run a hub until it is told to end; the process's exit status. `auto`: it ends when nobody needs it."""
    os.umask(0o077)  # what a hub writes is nobody else's
    keep_little()
    gc.disable()  # what is imported and opened now stays; there is nothing to find in it
    lock = FileLock(data_dir / LOCK_FILE)
    try:
        _claim(data_dir, lock)
        return _serve(data_dir, lock, auto=auto, http=http, config=config)
    except StartFailed as error:
        line = f"one-mcp: {error}\n"
        if auto:
            _tell_starter(line)
        sys.stderr.write(line)
        return 1
    finally:
        lock.release()
        gc.unfreeze()  # or extension modules take what was frozen for leaks when the interpreter ends


def _tell_starter(line: str) -> None:
    """Tell the client that started this hub how that went. Once: afterwards stdout is the log."""
    if not stat.S_ISFIFO(os.fstat(1).st_mode):
        return
    try:
        os.write(1, line.encode())
    except OSError:
        logger.info("whoever started this hub has left")
    os.dup2(2, 1)


def _claim(data_dir: Path, lock: FileLock) -> None:
    from storage.directory import prepare
    from storage.errors import StorageFault

    try:
        prepare(data_dir)
        # A moment of patience: others look at the lock by taking it shared.
        if lock.acquire(timeout=0.5):
            Endpoint.remove(data_dir)  # of a hub that was killed
            return
    except (StorageFault, OSError) as error:
        raise StartFailed(str(error)) from error
    other = Endpoint.read(data_dir)
    who = f" (pid {other.pid}, version {other.version})" if other else ""
    raise StartFailed(
        f"A hub{who} already runs on {data_dir}. `one-mcp stop` ends it; --data chooses another directory."
    )


def _serve(data_dir: Path, lock: FileLock, *, auto: bool, http: Http | None, config: Path | None) -> int:
    from server.config import SettingsError, load_settings
    from server.logs import configure

    overrides = {"http": http.settings} if http else {}
    try:
        settings = load_settings(data_dir, config=config, environment=not auto, overrides=overrides)
    except SettingsError as error:
        raise StartFailed(str(error)) from error
    try:
        configure(settings.log, settings.hub.log_level, data_dir)
    except OSError as error:
        raise StartFailed(f"log.file cannot be written: {error}") from error
    for warning in settings.warnings:
        logger.warning("%s", warning)
    import anyio

    allow_open_files()
    hub = Hub(data_dir, lock, settings, auto=auto, http=http)
    return anyio.run(hub.run, backend_options={"use_uvloop": _has_uvloop()})


def _has_uvloop() -> bool:
    return sys.platform != "win32" and importlib.util.find_spec("uvloop") is not None


class Hub:
    """A running hub."""

    def __init__(self, data_dir: Path, lock: FileLock, settings: "Settings", *, auto: bool, http: Http | None) -> None:
        self._data_dir = data_dir
        self._lock = lock
        self._settings = settings
        self._auto = auto
        self._http = http
        self._stop = asyncio.Event()
        self._failure: str | None = None
        self._loop: asyncio.AbstractEventLoop
        self._service: Service
        self._connections: Connections
        self._endpoint = Endpoint(
            pid=os.getpid(),
            version=__version__,
            secret=secrets.token_urlsafe(24),
            started_at=time.time_ns() // 1_000_000,
            auto=auto,
        )

    async def run(self) -> int:
        """Open the store, serve until the end, close the store; the process's exit status. Raises StartFailed."""
        import anyio

        from server.service import open_service
        from storage.errors import StorageFault

        self._loop = asyncio.get_running_loop()
        self._end_on_signals()
        try:
            service = await open_service(self._settings, self._data_dir, on_failure=self.fail)
        except StorageFault as error:
            raise StartFailed(str(error)) from error
        try:
            await self._run(service)
        finally:
            with anyio.move_on_after(_CLOSE_SECONDS, shield=True) as closing:
                await service.close()
            if closing.cancelled_caught:
                logger.error("the store did not close within %s s", _CLOSE_SECONDS)
        if self._failure is not None:
            raise StartFailed(self._failure)
        return 0

    def stop(self, reason: str) -> None:
        """End in good order. From any thread."""
        logger.info("the hub ends: %s", reason)
        self._loop.call_soon_threadsafe(self._stop.set)

    def fail(self, reason: str) -> None:
        """End because the store or HTTP failed: clients ask the next hub at once. From any thread."""
        self._failure = reason
        self.stop(reason)

    async def _run(self, service: "Service") -> None:
        import anyio

        from server.connections import Connections
        from server.listener import listen

        connections = Connections(
            service,
            self._endpoint.secret,
            self._commands(service),
            pid=self._endpoint.pid,
            replaceable=self._auto,
            retire=self.stop,
        )
        self._service = service
        self._connections = connections
        words = "Clients connected on this machine."
        service.metrics.gauges["one_local_clients"] = (words, lambda: connections.clients)
        try:
            listener = await listen(connections.handle, self._data_dir, self._settings.hub.transport)
            self._endpoint = self._endpoint._replace(**listener.address)
            self._endpoint.write(self._data_dir)
        except OSError as error:
            raise StartFailed(f"{self._data_dir} cannot be served to local clients: {error}") from error
        gc.freeze()
        gc.enable()
        # Each request over HTTP leaves objects of the SDK in cycles. Collected a fifth as often and the old ones hardly
        # ever (50, 100), Python took 9 MB more after four minutes of 500 busy sessions; so it takes 2.
        gc.set_threshold(20_000, 10, 2)
        # The loop takes over from the threads that read, commit and embed ten times sooner than usual.
        sys.setswitchinterval(0.0005)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._watch)
            tasks.start_soon(self._import_late)
            tasks.start_soon(keep_giving_back)
            if self._http is not None:
                tasks.start_soon(self._serve_http, self._http)
            self._report_ready()
            await self._stop.wait()
            service.engine.store.arrivals.end()
            listener.close()
            Endpoint.remove(self._data_dir)
            tasks.cancel_scope.cancel()
        await connections.finish(_GRACE_SECONDS, bye=self._failure is None)

    def _commands(self, service: "Service") -> dict[str, "Command"]:
        """What `one-mcp` commands ask of the hub, by name."""
        from server.audit_command import audit
        from server.import_command import ImportCommand
        from server.inbox_command import inbox
        from server.reindex_command import reindex
        from server.signin_commands import SignInCommands
        from server.snapshot_command import snapshot
        from server.token_commands import TokenCommands

        tokens = TokenCommands(service)
        return {
            "status": self._status,
            "stop": self._stop_command,
            "token.create": tokens.create,
            "token.list": tokens.list,
            "token.revoke": tokens.revoke,
            "import": ImportCommand(service),
            "audit": partial(audit, service),
            "reindex": partial(reindex, service),
            "snapshot": partial(snapshot, service),
            "inbox": partial(inbox, service),
            **SignInCommands(service).commands(),
        }

    def _report_ready(self) -> None:
        place = self._endpoint.socket or f"{self._endpoint.host}:{self._endpoint.port}"
        logger.info("hub %s (pid %s) serves %s on %s", __version__, self._endpoint.pid, self._data_dir, place)
        if self._auto:
            _tell_starter("ready\n")

    def _end_on_signals(self) -> None:
        def end(number: int, _frame: FrameType | None) -> None:
            # No more than this: a handler runs amid whatever the loop is doing.
            self._loop.call_soon_threadsafe(self.stop, f"signal {signal.Signals(number).name}")

        signal.signal(signal.SIGTERM, end)
        signal.signal(signal.SIGINT, end)

    async def _watch(self) -> None:
        """End the hub when its directory is gone and, if a client started it, when nobody needs it."""
        import anyio

        limit = self._settings.hub.idle_exit_seconds
        while True:
            await anyio.sleep(min(2.0, limit / 4))
            if not self._lock.in_place():
                self.fail(f"{self._data_dir} is gone")
            elif self._auto and self._connections.idle_seconds() >= limit:
                self.stop(f"nobody was connected for {limit:g} s")

    async def _import_late(self) -> None:
        """Import what is needed later, so that a new version put in place meanwhile is not mixed with this one."""
        import anyio

        with anyio.move_on_after(10):
            await self._connections.first_served.wait()
        await anyio.sleep(_LATE_SECONDS)

        def imports() -> None:
            for name in self._service.late_imports:
                try:
                    importlib.import_module(name)
                except ImportError:
                    logger.exception("cannot import %s", name)
            gc.freeze()

        await asyncio.get_running_loop().run_in_executor(None, imports)
        await self._service.settle_in()

    async def _serve_http(self, http: Http) -> None:
        from server.http import serve_http
        from storage.errors import StorageFault

        try:
            await serve_http(self._service, self._settings, no_auth=http.no_auth, started=self._announce)
        except StorageFault as error:
            self.fail(str(error))
        except OSError as error:
            where = f"{self._settings.http.host}:{self._settings.http.port}"
            self.fail(f"HTTP cannot be served on {where}: {error.strerror or error}")

    def _announce(self, url: str, token: str | None) -> None:
        """Publish the URL, and tell whoever started `one-mcp serve` what to paste into a client.

        `token` is the first one of this directory, shown now and never again.
        """
        from server.paste import instructions

        self._endpoint = self._endpoint._replace(http=url)
        self._endpoint.write(self._data_dir)
        url = self._settings.http.public_url or url
        open_to_all = self._http is not None and self._http.no_auth
        sign_in = self._settings.sign_in.enabled
        sys.stdout.write(instructions(self._data_dir, url, token=token, open_to_all=open_to_all, sign_in=sign_in))
        sys.stdout.flush()

    async def _status(self, _arguments: dict[str, Any], _progress: "Progress") -> dict[str, Any]:
        endpoint = self._endpoint
        return {
            "running": True,
            "pid": endpoint.pid,
            "version": endpoint.version,
            "dataDir": str(self._data_dir),
            "startedAt": endpoint.started_at,
            "startedBy": "client" if endpoint.auto else "person",
            "socket": endpoint.socket,
            "tcp": f"{endpoint.host}:{endpoint.port}" if endpoint.port else None,
            "http": endpoint.http,
            "clients": self._connections.clients,
            **self._service.status(),
        }

    async def _stop_command(self, _arguments: dict[str, Any], _progress: "Progress") -> dict[str, Any]:
        self.stop("one-mcp stop")
        return {"pid": self._endpoint.pid}

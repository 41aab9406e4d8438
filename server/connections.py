"""The hub's side of the socket: who may connect, serving MCP and commands, and finishing in good order."""

import asyncio
import hmac
import json
import logging
import time
from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

import anyio
from mcp.server.runner import serve_dual_era_loop

from server import __version__
from server.channel import Channel
from server.discover import answer_discovers
from server.endpoint import HELLO_SECONDS, Hello, version_key

if TYPE_CHECKING:
    from server.service import Service

logger = logging.getLogger(__name__)

Progress = Callable[[dict[str, Any]], Awaitable[None]]
Command = Callable[[dict[str, Any], Progress], Awaitable[dict[str, Any]]]
"""What a "control" connection can ask for: arguments and a way to report progress in, the answer out."""


class UnknownCaller(Exception):
    """A client wants to act as someone who cannot be acted as. The text is one sentence for people."""


class CommandFailed(Exception):
    """A command could not be carried out. The text is one sentence for people."""


class Connections:
    """All clients of a hub's socket."""

    def __init__(
        self,
        service: "Service",
        secret: str,
        commands: Mapping[str, Command],
        *,
        pid: int,
        replaceable: bool,
        retire: Callable[[str], None],
    ) -> None:
        self._service = service
        self._secret = secret
        self._commands = commands
        self._pid = pid
        self._replaceable = replaceable
        self._retire = retire
        self._retiring = False
        self._channels: dict[Channel, asyncio.Task[Any]] = {}
        self._serving: set[Channel] = set()
        self._last_use = time.monotonic()
        self.first_served = anyio.Event()

    @property
    def clients(self) -> int:
        """How many MCP clients are connected."""
        return len(self._serving)

    def idle_seconds(self) -> float:
        """How long nobody has been connected. A look at the status is no use."""
        return 0.0 if self._channels else time.monotonic() - self._last_use

    async def handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one connection to its end."""
        channel = Channel(reader, writer)
        task = asyncio.current_task()
        assert task is not None
        self._channels[channel] = task
        try:
            hello = await self._greet(channel)
            if hello is None:
                return
            if hello.client == "control":
                await self._control(channel)
            else:
                await self._serve(channel, hello)
        except Exception:
            logger.exception("a connection failed")
        finally:
            self._channels.pop(channel, None)
            await channel.aclose()

    async def _greet(self, channel: Channel) -> Hello | None:
        """Read the hello. None when the connection was refused or is no client of ours."""
        try:
            with anyio.fail_after(HELLO_SECONDS):
                hello = Hello.parse(await channel.line())
        except (TimeoutError, ValueError):
            logger.debug("refused a connection without a hello")
            return None
        if not hmac.compare_digest(hello.secret.encode(), self._secret.encode()):
            logger.warning("refused a connection with a wrong secret")
            await channel.send_line(_refusal("forbidden", "The secret is not the one in hub.json of this hub."))
            return None
        if self._replaceable and hello.client == "proxy" and version_key(hello.version) > version_key(__version__):
            self._retire(f"a client of version {hello.version} asked for a newer hub")
            self._retiring = True
        if self._retiring:
            await channel.send_line(_refusal("retiring", "This hub is finishing."))
            return None
        return hello

    async def _accept(self, channel: Channel) -> None:
        await channel.send_line({"ok": True, "version": __version__, "pid": self._pid})

    async def _serve(self, channel: Channel, hello: Hello) -> None:
        """Serve MCP."""
        try:
            state = await self._service.connection(hello)
        except UnknownCaller as error:
            await channel.send_line(_refusal("unknown_caller", str(error)))
            return
        self._serving.add(channel)
        try:
            await self._accept(channel)
            server = self._service.server
            await answer_discovers(channel, server, state)
            self.first_served.set()
            options = self._service.initialization_options()
            await serve_dual_era_loop(server, channel, channel, lifespan_state=state, init_options=options)
        finally:
            self._serving.discard(channel)
            self._last_use = time.monotonic()

    async def _control(self, channel: Channel) -> None:
        """Carry out commands, one after the other."""
        await self._accept(channel)
        while line := await channel.line():
            channel.expect("command")
            await channel.send_line(await self._command(json.loads(line), channel))
            channel.settle("command")

    async def _command(self, arguments: dict[str, Any], channel: Channel) -> dict[str, Any]:
        name = arguments.pop("command", None)
        command = self._commands.get(name) if isinstance(name, str) else None
        if command is None:
            return _refusal("unknown_command", f"This hub has no command {name!r}.")
        try:
            return {"ok": True, **await command(arguments, channel.send_line)}
        except CommandFailed as error:
            return _refusal("failed", str(error))
        except Exception as error:
            logger.exception("the command %r failed", name)
            return _refusal("failed", f"{type(error).__name__}: {error} (see hub.log)")

    async def finish(self, grace: float, *, bye: bool) -> None:
        """Refuse new connections, let each finish what it took within `grace` seconds, and close them all.

        After a `bye` clients start a new hub only when they need one.
        """
        self._retiring = True
        async with anyio.create_task_group() as group:
            for channel in list(self._channels):
                group.start_soon(partial(channel.finish, grace, bye=bye))
        tasks = list(self._channels.values())
        if tasks:
            _, late = await asyncio.wait(tasks, timeout=1)
            for task in late:
                task.cancel()
            await asyncio.wait(tasks, timeout=1)


def _refusal(code: str, message: str) -> dict[str, Any]:
    return {"ok": False, "code": code, "message": message}

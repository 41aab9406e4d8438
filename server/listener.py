"""The hub's local socket: a Unix socket only its user can open, or TCP on this machine."""

import asyncio
import hashlib
import logging
import os
import socket
import sys
import tempfile
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, Literal

from server.endpoint import MAX_LINE

logger = logging.getLogger(__name__)

Handler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
_PATH_BYTES = 100  # a socket's address has room for 104 bytes on some systems


class Listener:
    """An open socket. `address` is how `hub.json` names it."""

    def __init__(self, server: asyncio.AbstractServer, **address: Any) -> None:
        self._server = server
        self.address = address

    def close(self) -> None:
        """Take no more connections; those there are stay."""
        self._server.close()
        if "socket" in self.address:
            Path(self.address["socket"]).unlink(missing_ok=True)


async def listen(handler: Handler, data_dir: Path, transport: Literal["auto", "unix", "tcp"]) -> Listener:
    """Start to take connections. Raises OSError.

    "auto" is a Unix socket, or TCP where there is none (Windows, some file systems).
    """
    if transport != "tcp" and (transport == "unix" or hasattr(socket, "AF_UNIX")):
        try:
            return await _listen_unix(handler, socket_path(data_dir))
        except OSError as error:
            if transport == "unix":
                raise
            logger.warning("no Unix socket can be made (%s): using TCP", error)
    server = await asyncio.start_server(handler, "127.0.0.1", 0, limit=MAX_LINE)
    host, port = server.sockets[0].getsockname()[:2]
    return Listener(server, host=host, port=port)


async def _listen_unix(handler: Handler, path: Path) -> Listener:
    server = await asyncio.start_unix_server(handler, sock=_bind(path), limit=MAX_LINE)
    return Listener(server, socket=str(path))


def _bind(path: Path) -> socket.socket:
    if sys.platform == "win32":
        raise OSError("there are no Unix sockets on this system")
    path.unlink(missing_ok=True)  # of a hub that was killed: who holds the lock may
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    mask = os.umask(0o177)  # mode 0600 from the first moment
    try:
        sock.bind(str(path))
    except OSError:
        sock.close()
        raise
    finally:
        os.umask(mask)
    return sock


def socket_path(data_dir: Path) -> Path:
    """Where the Unix socket of a data directory is. Raises OSError when the place is not ours alone."""
    path = data_dir / "hub.sock"
    if len(os.fsencode(path)) <= _PATH_BYTES:
        return path
    digest = hashlib.sha256(os.fsencode(data_dir)).hexdigest()[:16]
    return _private(Path(tempfile.gettempdir()) / f"one-mcp-{os.getuid()}") / f"{digest}.sock"


def _private(directory: Path) -> Path:
    """A directory in a place where others may make one of the same name first."""
    directory.mkdir(mode=0o700, exist_ok=True)
    found = directory.lstat()
    if not directory.is_dir() or directory.is_symlink() or found.st_uid != os.getuid() or found.st_mode & 0o077:
        raise PermissionError(f"{directory} is not a private directory of this user")
    return directory

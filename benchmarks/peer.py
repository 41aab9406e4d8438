"""The no-op to compare with: the SDK's `MCPServer`, uvloop and httptools, nothing else tuned.

`python -m benchmarks.peer get=900 ...` prints the port it serves on. Each named tool does nothing and returns a text
of so many characters, which the SDK puts into `content` and `structuredContent`.
"""

from __future__ import annotations

import socket
import sys

import uvicorn
from mcp.server.mcpserver import MCPServer


def build(sizes: dict[str, int]) -> MCPServer:
    """A server whose tools return texts of these sizes. Log level: requests are not logged, as ours are not."""
    server = MCPServer("peer", log_level="WARNING")
    for name, size in sizes.items():
        add_tool(server, name, "x" * size)
    return server


def add_tool(server: MCPServer, name: str, text: str) -> None:
    @server.tool(name=name)
    async def noop() -> str:
        return text


def main() -> None:
    sizes = {name: int(size) for name, _, size in (argument.partition("=") for argument in sys.argv[1:])}
    app = build(sizes).streamable_http_app()
    listening = socket.create_server(("127.0.0.1", 0), backlog=2048)
    print(listening.getsockname()[1], flush=True)
    config = uvicorn.Config(app, loop="uvloop", http="httptools", log_level="warning", access_log=False)
    uvicorn.Server(config).run(sockets=[listening])


if __name__ == "__main__":
    main()

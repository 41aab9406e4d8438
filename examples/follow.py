"""Prints each new state of a conversation: `follow.py DATA_DIRECTORY CONVERSATION`."""

import sys

import anyio
from mcp import Client, StdioServerParameters, stdio_client


async def main(data: str, conversation: str) -> None:
    server = StdioServerParameters(command="one-mcp", args=["--data", data])
    uri = f"one://conversations/{conversation}"
    async with Client(stdio_client(server)) as client, client.listen(resource_subscriptions=[uri]) as changes:
        print(f"Following {uri}", flush=True)
        async for _ in changes:
            page = await client.read_resource(uri)
            print(page.contents[0].model_dump()["text"], flush=True)


if __name__ == "__main__":
    anyio.run(main, sys.argv[1], sys.argv[2])

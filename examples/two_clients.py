"""Two MCP clients, each with a server process of its own, share one swarm."""

import sys

import anyio
from mcp import Client, StdioServerParameters, stdio_client


async def main(data: str) -> None:
    server = StdioServerParameters(command="one-mcp", args=["--data", data])
    async with Client(stdio_client(server)) as desk, Client(stdio_client(server)) as editor:
        scout = await desk.call_tool(
            "create_agent", {"name": "Scout", "description": "Finds things out", "kind": "user_agent"}
        )
        agent = scout.structured_content["_id"]
        plan = await desk.call_tool("create_conversation", {"title": "Launch plan", "participants": [agent]})
        conversation = plan.structured_content["_id"]
        await desk.call_tool("send_message", {"conversationId": conversation, "content": "When do we launch?"})
        await editor.call_tool(
            "send_message", {"conversationId": conversation, "content": "On Tuesday, says the board.", "as": agent}
        )
        transcript = await desk.read_resource(f"one://conversations/{conversation}")
        print(transcript.contents[0].model_dump()["text"])


if __name__ == "__main__":
    anyio.run(main, sys.argv[1])

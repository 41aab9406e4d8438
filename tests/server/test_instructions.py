"""What a model reads of the server before it reads of any tool."""

from __future__ import annotations

import re

from server.binding import BOUND
from server.service import INSTRUCTIONS
from tests.clients import Swarm
from tools_impl.builtin_prompts import BUILT_IN

BYTES_MOST = 1_500
WORKFLOW = {
    "inbox", "create_conversation", "send_message", "list_messages", "wait_for_messages", "create_agent",
    "render_prompt", "add_knowledge", "search", "hand_over", "create_event", "create_reminder", "follow", "feed",
    "get", "find", "update", "delete",
}  # fmt: skip


async def test_every_client_is_told(swarm: Swarm, era: str) -> None:
    tools = await swarm.connect(era=era)
    assert tools.client.instructions == INSTRUCTIONS
    assert len(INSTRUCTIONS.encode()) <= BYTES_MOST


def test_they_name_tools_and_arguments_that_exist() -> None:
    words = set(re.findall(r"[a-z][A-Za-z_]+", INSTRUCTIONS))
    assert words & set(BOUND) >= WORKFLOW
    for word in {word for word in words if "_" in word}:
        # conv_12 and agent_7 end in digits and are cut here: conv_, agent_
        assert word in BOUND or word in BUILT_IN or word in ("conv_", "agent_"), word
    arguments = {name for bound in BOUND.values() for name in bound.tool.input_schema["properties"]}
    for word in {word for word in words if re.search(r"[a-z][A-Z]", word)}:
        assert word in arguments or word == "nextCursor", word

"""Mentions: what is one, whom it brings in, and that no quoted text can make one."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from markdown_it import MarkdownIt
from markdown_it.token import Token

from storage.mentions import MOST, mentions
from tests.clients import Swarm, Tools
from tools_impl.transcripts import plain, quoted

A = ("agent", "agent_1")


@pytest.fixture
def swarm(shared: Swarm) -> Swarm:
    """The tests of this module share a swarm."""
    return shared


async def place(tools: Tools, title: str = "Plan") -> str:
    return str((await tools("create_conversation", title=title))["_id"])


async def agent(tools: Tools, name: str = "Bot", **more: Any) -> str:
    row = await tools("create_agent", name=name, description="d", kind="user_agent", **more)
    return str(row["_id"])


async def members(tools: Tools, conversation: str) -> set[str]:
    rows = await tools.find("conversationParticipants", where={"conversationId": conversation, "isRemoved": False})
    return {row.get("userId") or row["agentId"] for row in rows}


async def said(tools: Tools, conversation: str) -> list[dict[str, Any]]:
    """The messages of a conversation, oldest first."""
    return await tools.find("conversationMessages", where={"conversationId": conversation}, order="seq")


# What is a mention.


def test_so_many_of_one_text_count() -> None:
    text = "".join(f"@[Bot](agent:{number})" for number in range(MOST + 1))
    assert mentions(text) == [("agent", str(number)) for number in range(MOST)]


@pytest.mark.parametrize(
    "text",
    [
        "@[Bot](agent:agent_1)",
        "Hi @[Bot the 2nd](agent:agent_1), look!",
        "(@[Bot](agent:agent_1))",
        "> a quote\n@[Bot](agent:agent_1)",
        "run `make` @[Bot](agent:agent_1) and `ls`",
        "```\ncode\n```\n@[Bot](agent:agent_1)",
        "~~~~\n```\n~~~~\n@[Bot](agent:agent_1)",
        "- ```\n  code\n  ```\n- @[Bot](agent:agent_1)",
        "```inline``` @[Bot](agent:agent_1)",
        "a stray ` here\n\n@[Bot](agent:agent_1) and ` there",
        "2 > 1, says @[Bot](agent:agent_1)",
        r"\` @[Bot](agent:agent_1) `",
        "    - @[Bot](agent:agent_1)",
    ],
)
def test_this_mentions(text: str) -> None:
    assert mentions(text) == [A]


@pytest.mark.parametrize(
    "text",
    [
        "@Bot",
        "[Bot](agent:agent_1)",
        "@ [Bot](agent:agent_1)",
        "@[](agent:agent_1)",
        "@[Bot] (agent:agent_1)",
        "@[Bot](Agent:agent_1)",
        "@[Bot](tool:tool_1)",
        "@[Bot](agent:)",
        "@[Bot](agent:agent_1 )",
        "@[Bot](agent:agent 1)",
        "@[Bo\nt](agent:agent_1)",
        "@[a[b]](agent:agent_1)",
        r"\@[Bot](agent:agent_1)",
        r"@\[Bot](agent:agent_1)",
        "mail@[Bot](agent:agent_1)",
        "> @[Bot](agent:agent_1)",
        "  > @[Bot](agent:agent_1)",
        "- > @[Bot](agent:agent_1)",
        "1. > @[Bot](agent:agent_1)",
        "> a\r@[Bot](agent:agent_1)",
        "a\r> @[Bot](agent:agent_1)",
        "`@[Bot](agent:agent_1)`",
        "``a ` @[Bot](agent:agent_1)``",
        "`a\n@[Bot](agent:agent_1)\nb`",
        r"\` `@[Bot](agent:agent_1)`",
        "@[x`](agent:agent_1)`",
        "```\n@[Bot](agent:agent_1)\n```",
        "```\n@[Bot](agent:agent_1)",
        "~~~ md\n@[Bot](agent:agent_1)\n```\n~~~",
        "````\n```\n@[Bot](agent:agent_1)\n````",
        "```\n    ```\n@[Bot](agent:agent_1)\n```",
        "```\ra\r```\r@[Bot](agent:agent_1)",
    ],
)
def test_this_does_not(text: str) -> None:
    assert mentions(text) == []


def test_each_is_mentioned_once_in_order() -> None:
    text = "@[B](user:user_2) @[A](agent:agent_1) @[again](user:user_2)"
    assert mentions(text) == [("user", "user_2"), A]


ENDS = ("\n", "\n\n", "\r", "\r\n", "\x0b", "\x85", "\u2028")
PIECES = st.sampled_from(["@[A](agent:agent_1)", "@", "[", "`", "``", "```", "~~~", "> ", "- ", "\\", " ", "a", *ENDS])
TEXTS = st.lists(PIECES, max_size=14).map("".join)


@given(TEXTS)
def test_what_is_quoted_mentions_nobody(text: str) -> None:
    assert mentions(quoted(text)) == []
    assert mentions("\n".join(f"> {line}" for line in text.split("\n"))) == []


@given(TEXTS)
def test_what_is_in_a_fence_mentions_nobody(text: str) -> None:
    fence = "`" * (3 + text.count("`"))
    assert mentions(f"{fence}\n{text}\n{fence}") == []


@given(TEXTS.filter(lambda text: "\n" not in text))
def test_what_is_in_inline_code_mentions_nobody(text: str) -> None:
    ticks = "`" * (1 + text.count("`"))
    assert mentions(f"see {ticks} {text} {ticks}") == []


@given(st.text(alphabet="@[](agent:user_1)`\\>#\n x", max_size=60))
@example("@[x](agent:agent_1)")
def test_a_name_made_plain_mentions_nobody(name: str) -> None:
    assert mentions(f"{plain(name)} added {plain(name)} (agent_2).") == []


@given(st.lists(PIECES.filter(lambda piece: piece not in ("- ", "\\")), max_size=14))
def test_whoever_is_mentioned_is_so_by_the_rules_of_markdown(pieces: list[str]) -> None:
    """Everything we take for a mention is a link behind an @ for a real parser, outside of code."""
    text = "".join(piece.replace("agent_1", f"agent_{number}") for number, piece in enumerate(pieces))
    assert {f"{kind}:{row_id}" for kind, row_id in mentions(text)} <= _linked(MarkdownIt().parse(text))


def _linked(tokens: list[Token]) -> set[object]:
    found: set[object] = set()
    for token in tokens:
        children = token.children or []
        for before, link in pairwise(children):
            if link.type == "link_open" and before.type == "text" and before.content.endswith("@"):
                found.add(link.attrs["href"])
    return found


def test_long_texts_are_read_in_no_time() -> None:
    """Nothing here is quadratic: 100,000 of the nastiest characters are read at once. A hang is the failure."""
    for nasty in ("`", "`a``b", "> ```\r", "- ", "@[", "\\`", "1. ", " ", "```\n", "@[a](agent:"):
        text = "@[A](agent:agent_1)\n\n" + nasty * (100_000 // len(nasty))
        assert mentions(text)[:1] == [A]


# What a mention does.


async def test_who_is_mentioned_takes_part_from_then_on(owner: Tools) -> None:
    conversation, bot = await place(owner), await agent(owner, "Bot *2*")
    sent = await owner("send_message", conversationId=conversation, content=f"@[Bot](agent:{bot}) hello")
    note, message = await said(owner, conversation)
    assert (message["_id"], message["content"]) == (sent["_id"], f"@[Bot](agent:{bot}) hello")
    assert note["kind"] == "system"
    assert note["authorParticipantId"] == sent["authorParticipantId"]
    assert note["content"].endswith(rf" added Bot \*2\* ({bot}).")
    assert bot in await members(owner, conversation)
    await owner("send_message", conversationId=conversation, content=f"@[Bot](agent:{bot}) again")
    assert len(await said(owner, conversation)) == 3


async def test_several_are_told_of_at_once_and_removed_ones_come_back(swarm: Swarm, owner: Tools) -> None:
    conversation, bot = await place(owner), await agent(owner)
    ada, _ = await swarm.user("Ada1")
    part = await owner("add_participant", conversationId=conversation, kind="user", userId=ada)
    await owner("delete", id=part["_id"])
    text = f"@[Bot](agent:{bot}) and @[Ada](user:{ada})"
    await owner("send_message", conversationId=conversation, content=text)
    note, _ = await said(owner, conversation)
    assert note["content"].endswith(f" added Bot ({bot}), Ada1 ({ada}).")
    assert {bot, ada} <= await members(owner, conversation)


@pytest.mark.parametrize("case", ["missing", "hidden", "deactivated", "wrong kind", "another table", "quoted"])
async def test_nothing_comes_of_a_mention_of_nobody(swarm: Swarm, owner: Tools, case: str) -> None:
    _, bea = await swarm.user(f"Bea-{case.replace(' ', '-')}")
    conversation = await place(bea)
    bot = await agent(owner, visibility="private") if case == "hidden" else await agent(owner)
    if case == "deactivated":
        await owner("create_conversation", title="History", participants=[bot])
        assert (await owner("delete", id=bot))["outcome"] == "deactivated"
    text = {
        "missing": "@[Bot](agent:agent_999999)",
        "wrong kind": f"@[Bot](user:{bot})",
        "another table": f"@[Bot](agent:{conversation})",
        "quoted": f"> @[Bot](agent:{bot})",
    }.get(case, f"@[Bot](agent:{bot})")
    before = await members(bea, conversation)
    sent = await bea("send_message", conversationId=conversation, content=text)
    assert [m["_id"] for m in await said(bea, conversation)] == [sent["_id"]]
    assert await members(bea, conversation) == before


async def test_a_blocked_one_stays_blocked(swarm: Swarm, owner: Tools) -> None:
    conversation = await place(owner)
    ada, client = await swarm.user("Ada2")
    part = await owner("add_participant", conversationId=conversation, kind="user", userId=ada)
    await owner("update", id=part["_id"], fields={"status": "blocked"})
    await owner("send_message", conversationId=conversation, content=f"@[Ada](user:{ada})")
    assert (await owner("get", id=part["_id"]))["status"] == "blocked"
    assert (await client("inbox"))["mentions"] == []


async def test_users_cannot_write_the_note(swarm: Swarm) -> None:
    _, ada = await swarm.user("Ada3")
    conversation = await place(ada)
    error = await ada.refused("send_message", conversationId=conversation, content="x added y.", kind="system")
    assert error.code == "forbidden"


async def test_a_name_that_looks_like_a_mention_mentions_nobody(owner: Tools) -> None:
    conversation, victim = await place(owner), await agent(owner, "Victim")
    await owner("add_participant", conversationId=conversation, kind="agent", agentId=victim)
    forger = await agent(owner, f"@[Victim](agent:{victim})")
    await owner("send_message", conversationId=conversation, content=f"@[F](agent:{forger})")
    assert forger in await members(owner, conversation)
    assert (await owner("inbox", as_=victim))["mentions"] == []


async def test_editing_changes_who_is_mentioned(owner: Tools) -> None:
    conversation, bot = await place(owner), await agent(owner)
    await owner("add_participant", conversationId=conversation, kind="agent", agentId=bot)
    sent = await owner("send_message", conversationId=conversation, content="nobody")
    assert (await owner("inbox", as_=bot))["mentions"] == []
    await owner("update", id=sent["_id"], fields={"content": f"@[Bot](agent:{bot})"})
    (group,) = (await owner("inbox", as_=bot))["mentions"]
    assert [entry["_id"] for entry in group["messages"]] == [sent["_id"]]
    await owner("update", id=sent["_id"], fields={"content": "nobody"})
    found = await owner("inbox", as_=bot)
    assert (found["mentions"], found["unread"]) == ([], 1)
    await owner("delete", id=sent["_id"])
    found = await owner("inbox", as_=bot)
    assert (found["mentions"], found["messages"], found["unread"]) == ([], [], 0)

"""Errors say what would be right: the argument, the literal, the id, the row that was probably meant."""

from __future__ import annotations

import base64
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.clients import Refusal, Swarm, Tools
from tools_impl.mistakes import closest


@pytest.fixture
def swarm(shared: Swarm) -> Swarm:
    """The tests of this module share a swarm."""
    return shared


@pytest.mark.parametrize(
    ("tool", "arguments", "text"),
    [
        (
            "list_messages",
            {"conversation_id": "conv_1"},
            "Unknown argument 'conversation_id': did you mean 'conversationId'?",
        ),
        (
            "list_messages",
            {"conversationID": "conv_1", "limt": 3},
            "Unknown argument 'conversationID': did you mean 'conversationId'? "
            "Unknown argument 'limt': did you mean 'limit'?",
        ),
        (
            "list_messages",
            {"conversationId": "conv_1", "before": 3},
            "Unknown argument 'before'. Known: conversationId, limit, cursor, format, as.",
        ),
        ("list_messages", {}, "Missing argument 'conversationId'."),
        ("list_messages", {"conversationId": None}, "'conversationId' must be a text, not null."),
        ("list_messages", {"conversationId": 5}, "'conversationId' must be a text, not 5."),
        ("list_messages", {"conversationId": {"id": 1}}, "'conversationId' must be a text, not dict."),
        ("get", {"Id": "x"}, "Unknown argument 'Id': did you mean 'id'?"),
        ("get", {"_id": "x"}, "Unknown argument '_id': did you mean 'id'?"),
        ("find", {"table": "agents", "where": "x"}, "'where' must be an object, not 'x'."),
        ("find", {"table": "agents", "where": []}, "'where' must be an object, not list."),
        ("update", {"id": "x", "fields": {}, "ifSeq": "y"}, "'ifSeq' must be a whole number, not 'y'."),
        ("create_user", {"name": "n", "email": "e@x", "as": "a"}, "Unknown argument 'as'. Known: name, email, image, "
                                                                  "idempotencyKey."),
    ],
    ids=lambda value: str(value)[:50],
)  # fmt: skip
async def test_wrong_arguments(owner: Tools, tool: str, arguments: dict[str, Any], text: str) -> None:
    assert await owner.refused(tool, **arguments) == Refusal("invalid", text)


async def test_at_most_five_mistakes_are_listed(owner: Tools) -> None:
    error = await owner.refused("create_agent", **{f"wrong{n}": n for n in range(20)})
    assert error.text.count("argument '") <= 5


async def test_values_are_shown_short(owner: Tools) -> None:
    error = await owner.refused("create_agent", name="n", description="d", kind="k" * 10_000)
    assert error.text.startswith("'kind' must be 'system_agent' or 'user_agent', not 'kkk")
    assert len(error.text) < 150


async def test_the_row_that_was_probably_meant_is_named(swarm: Swarm, owner: Tools) -> None:
    place = (await owner("create_conversation", title="Launch plan"))["_id"]
    agent = (await owner("create_agent", name="Director", description="d", kind="user_agent"))["_id"]
    for wrong in ("Launch plan", "launch plan", "Launch pln"):
        error = await owner.refused("list_messages", conversationId=wrong)
        assert error.text == (
            f"No row '{wrong}' in conversations. Did you mean '{place}' (Launch plan)? "
            'find(table="conversations") lists them.'
        )
    error = await owner.refused("create_conversation", title="t", participants=["Directr"])
    assert f"Did you mean '{agent}' (Director)?" in error.text
    error = await owner.refused("get", id="conv_9999")
    assert error.code == "not_found"
    assert error.text.startswith("No row 'conv_9999'. Did you mean 'conv_")
    assert error.data == {"table": "conversations", "id": "conv_9999"}
    error = await owner.refused("get", id="nonsense")
    assert error == Refusal(
        "not_found",
        "No row 'nonsense'. Ids look like 'conv_12' or 'agent_7'; find(table=...) lists them.",
        {"table": None, "id": "nonsense"},
    )
    error = await owner.refused("get", id="comment_5")
    assert error.text == "No row 'comment_5'. find(table=\"comments\") lists them."


@pytest.mark.parametrize(
    "position",
    ["[]", "[1]", '["a", 1]', "[-5, 10]", "[1, -1]", f"[{10**40}, 1]", f"[1, {10**40}]", "[1, Infinity]", "[1.5, 2]",
     "[true, 1]", '{"1": 1, "2": 2}', "[" * 1_400],
    ids=lambda position: position[:20],
)  # fmt: skip
async def test_forged_positions_of_a_search_are_refused(owner: Tools, position: str) -> None:
    cursor = base64.urlsafe_b64encode(position.encode()).decode().rstrip("=")
    error = await owner.refused("search", query="hello", cursor=cursor)
    assert error == Refusal("invalid", "That cursor is not one of ours; pass nextCursor as it came.")


@given(st.text(max_size=20), st.lists(st.text(max_size=20), max_size=5))
def test_suggestions_are_among_what_there_is(word: str, among: list[str]) -> None:
    found = closest(word, among)
    assert found is None or found in among

"""The stdio front: what a client sees of it, and what it remembers."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from server.endpoint import MAX_LINE, encode
from server.replay import KEY_META, RETRY_META, Session
from tests.processes import (
    INITIALIZED,
    PROTOCOL,
    SECONDS,
    Raw,
    call,
    client,
    command,
    environment,
    hub,
    initialize,
    kill,
    messages,
    modern,
    request,
    runs,
    status,
    wait_until,
)

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


# What a client sees.


@pytest.mark.parametrize("mode", ["legacy", "auto", PROTOCOL])
async def test_a_client_of_either_era_is_served(data: Path, mode: str) -> None:
    async with client(data, mode=mode) as mcp:
        assert mcp.protocol_version == ("2025-11-25" if mode == "legacy" else PROTOCOL)
        assert "send_message" in [tool.name for tool in (await mcp.list_tools()).tools]
        conversation = await call(mcp, "create_conversation", title="Launch plan")
        sent = await call(mcp, "send_message", conversationId=conversation["_id"], content="Hello")
        assert [row["_id"] for row in await messages(mcp, conversation["_id"])] == [sent["_id"]]


async def test_clients_share_one_hub(data: Path) -> None:
    async with client(data) as first, client(data, mode="legacy") as second:
        conversation = await call(first, "create_conversation", title="Launch plan")
        sent = await call(second, "send_message", conversationId=conversation["_id"], content="Hello")
        assert [row["_id"] for row in await messages(first, conversation["_id"])] == [sent["_id"]]
        assert status(data)["clients"] == 2


def test_discover_and_then_the_handshake(data: Path) -> None:
    with Raw(data) as proxy:
        proxy.send(modern(1, "server/discover"))
        assert PROTOCOL in proxy.answer(1)["result"]["supportedVersions"]
        proxy.send(modern("again", "server/discover"))
        assert PROTOCOL in proxy.answer("again")["result"]["supportedVersions"]
        proxy.send(initialize(2))
        assert proxy.answer(2)["result"]["protocolVersion"] == "2025-11-25"
        proxy.send(INITIALIZED, request(3, "tools/list"))
        assert proxy.answer(3)["result"]["tools"]


def test_discover_with_a_wrong_envelope_is_refused_and_the_handshake_goes_on(data: Path) -> None:
    with Raw(data) as proxy:
        meta = {"io.modelcontextprotocol/protocolVersion": "1999-01-01"}
        proxy.send(request(1, "server/discover", _meta=meta))
        assert proxy.answer(1)["error"]["code"] == -32602
        proxy.send(initialize(2))
        assert "result" in proxy.answer(2)


def test_what_is_no_message_is_answered_with_what_is_wrong(data: Path) -> None:
    with Raw(data).open() as proxy:
        for line, code in (
            (b"{not json\n", -32700),
            (b"[" * 100_000 + b"\n", -32700),
            (b'[{"jsonrpc": "2.0", "id": 1, "method": "ping"}]\n', -32600),
            (b"7\n", -32600),
            (b'{"jsonrpc": "2.0", "id": 1}\n', -32600),
            (b'{"jsonrpc": "2.0", "id": null, "method": "ping"}\n', -32600),
            (b'{"jsonrpc": "2.0", "id": true, "method": "ping"}\n', -32600),
            (b'{"jsonrpc": "2.0", "id": 1.5, "method": "ping"}\n', -32600),
            (b'{"jsonrpc": "2.0", "id": 5, "method": "ping", "params": [1]}\n', -32600),
            (b'{"jsonrpc": "1.0", "id": 5, "method": "ping"}\n', -32600),
        ):
            proxy.send(line)
            assert proxy.receive()["error"]["code"] == code, line
        proxy.send(b"\n", request(1, "ping"))
        assert proxy.receive() == {"jsonrpc": "2.0", "id": 1, "result": {}}


def test_a_line_that_is_too_long_costs_only_itself(data: Path) -> None:
    with Raw(data).open() as proxy:
        proxy.tool(1, "send_message", conversationId="conv_1", content="x" * MAX_LINE)
        error = proxy.answer(1)["error"]
        assert error["code"] == -32600
        assert "16,777,216 are allowed" in error["message"]
        proxy.send(request(2, "ping"))
        assert proxy.receive()["id"] == 2


@pytest.mark.parametrize(
    "message",
    [
        request(1, "ping"),
        request(1, "tools/list"),
        request(1, "resources/list"),
        request(1, "prompts/list"),
        modern(1, "tools/list"),
        modern(1, "resources/list"),
        {"jsonrpc": "2.0", "id": 1, "method": "tools/list"},
        {"jsonrpc": "2.0", "id": 1, "method": "tools/list", "params": None},
    ],
    ids=lambda message: f"{message['method']} {list(message.get('params') or {})}",
)
def test_the_key_breaks_no_request(data: Path, message: dict[str, Any]) -> None:
    with Raw(data) as proxy:
        if PROTOCOL not in json.dumps(message):
            proxy.open()
        proxy.send(message)
        answer = proxy.answer(1)
        assert "result" in answer or answer["error"]["code"] == -32601


def test_all_that_was_asked_before_the_end_of_stdin_is_answered(data: Path) -> None:
    with Raw(data) as proxy:
        proxy.send(initialize(0), INITIALIZED)
        for number in range(1, 51):
            proxy.tool(number, "create_conversation", title=f"Plan {number}")
        exit_status, answers, errors = proxy.finish()
        assert exit_status == 0
        assert [answer["id"] for answer in answers] == list(range(51))
        assert all("result" in answer for answer in answers)
        assert errors == ""


def test_a_last_line_without_its_end_is_taken(data: Path) -> None:
    with Raw(data).open() as proxy:
        proxy.send(encode(request(1, "ping")).rstrip())
        assert proxy.finish()[1] == [{"jsonrpc": "2.0", "id": 1, "result": {}}]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_without_a_word(data: Path, number: signal.Signals) -> None:
    with Raw(data).open() as proxy:
        proxy.process.send_signal(number)
        exit_status, rest, errors = proxy.finish()
        assert exit_status == -number
        assert (rest, errors) == ([], "")


def test_a_client_that_reads_no_more_ends_it_without_a_word(data: Path) -> None:
    read, write = os.pipe()
    process = subprocess.Popen(
        command(data),
        env=environment(),
        stdin=subprocess.PIPE,
        stdout=write,
        stderr=subprocess.PIPE,
    )
    os.close(write)
    os.close(read)
    _, errors = process.communicate(encode(initialize(0)), timeout=SECONDS)
    assert (process.returncode, errors) == (0, b"")


def test_an_unknown_agent_is_said_to_the_client(data: Path) -> None:
    with Raw(data, "--as", "agent_99") as proxy:
        for number in (0, 1):
            proxy.send(initialize(number))
            assert "agent_99" in proxy.answer(number)["error"]["message"]
        assert "agent_99" in proxy.finish()[2]


def test_a_cancelled_request_is_not_sent_to_the_next_hub(data: Path) -> None:
    with Raw(data).open() as proxy:
        conversation = _created(proxy)
        os.kill(hub(data).pid, signal.SIGSTOP)  # it takes the call but will not carry it out
        proxy.tool(7, "send_message", conversationId=conversation, content="Hello")
        proxy.send({"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": 7}})
        kill(data)
        proxy.tool(8, "list_messages", conversationId=conversation)
        while "method" in (message := proxy.receive()):
            assert message["method"].endswith("/list_changed")  # what may have been missed, and nothing else
        assert message["id"] == 8
        exit_status, rest, _ = proxy.finish()
        assert (exit_status, rest) == (0, [])


def test_an_idle_client_does_not_undo_a_stop_but_joins_the_next_hub(data: Path) -> None:
    with Raw(data).open() as proxy, Raw(data).open() as other:
        first = hub(data).pid
        os.kill(first, signal.SIGTERM)
        wait_until(lambda: not runs(data), "the end of the hub")
        other.send(request(1, "ping"))
        assert other.answer(1)["result"] == {}
        assert hub(data).pid != first
        wait_until(lambda: status(data)["clients"] == 2, "the idle client on the next hub")
        assert proxy.process.poll() is None


def _created(proxy: Raw) -> str:
    proxy.tool(99, "create_conversation", title="Launch plan")
    identifier: str = proxy.answer(99)["result"]["structuredContent"]["_id"]
    return identifier


# What it remembers.


def _sent(session: Session, message: dict[str, Any], *, connected: bool = True) -> dict[str, Any]:
    turn = session.from_client(encode(message), connected=connected)
    assert turn.to_hub is not None
    line: dict[str, Any] = json.loads(turn.to_hub)
    return line


def _answered(session: Session, number: int | str, **answer: Any) -> tuple[bytes, ...]:
    return session.from_hub(encode({"jsonrpc": "2.0", "id": number, **(answer or {"result": {}})}))


def test_a_request_has_one_key_however_often_it_is_sent() -> None:
    session = Session()
    first = _sent(session, request(1, "tools/call", name="send_message", _meta={"progressToken": 5}))
    second = _sent(session, request(2, "tools/call", name="send_message"))
    assert first["params"]["_meta"]["progressToken"] == 5
    assert first["params"]["_meta"][KEY_META] != second["params"]["_meta"][KEY_META]
    for _ in range(2):
        again = [json.loads(line) for line in session.resume()]
        assert [line["params"]["_meta"].pop(RETRY_META) for line in again] == [True, True]
        assert again == [first, second]


def test_a_client_cannot_choose_the_key() -> None:
    message = request(1, "tools/call", name="send_message", _meta={KEY_META: "mine"})
    assert _sent(Session(), message)["params"]["_meta"][KEY_META] != "mine"


def test_a_request_that_no_hub_has_seen_is_no_retry() -> None:
    session = Session()
    _sent(session, request(1, "ping"), connected=False)
    assert RETRY_META not in json.loads(session.resume()[0])["params"]["_meta"]
    assert json.loads(session.resume()[0])["params"]["_meta"][RETRY_META] is True


def test_an_answered_or_cancelled_request_is_not_sent_again() -> None:
    session = Session()
    for number in (1, "1", 2, 'a "b"'):
        _sent(session, request(number, "ping"))
    assert len(_answered(session, 1)) == 1
    assert len(_answered(session, 'a "b"', error={"code": 1, "message": "no"})) == 1
    _sent(session, {"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": 2}})
    assert [json.loads(line)["id"] for line in session.resume()] == ["1"]
    assert session.waiting
    _answered(session, "1")
    assert not session.waiting


def _with_subscriptions() -> Session:
    """A session of the handshake era that has one subscription left."""
    session = Session()
    _sent(session, initialize(0))
    _answered(session, 0, result={"capabilities": {"tools": {"listChanged": True}, "prompts": {}, "logging": None}})
    _sent(session, INITIALIZED)
    for number, uri in enumerate(("one://a", "one://b", "one://c"), start=1):
        _sent(session, request(number, "resources/subscribe", uri=uri))
    _answered(session, 1)
    _answered(session, 2)
    _answered(session, 3, error={"code": -32002, "message": "not found"})
    _sent(session, request(4, "resources/unsubscribe", uri="one://a"))
    _answered(session, 4)
    _sent(session, request(5, "logging/setLevel", level="info"))
    _answered(session, 5)
    return session


def test_the_handshake_and_what_was_agreed_is_told_the_next_hub() -> None:
    session = _with_subscriptions()
    again = [json.loads(line) for line in session.resume()]
    methods = ["initialize", "notifications/initialized", "logging/setLevel", "resources/subscribe"]
    assert [line["method"] for line in again] == methods
    assert again[3]["params"]["uri"] == "one://b"


def test_of_that_the_client_hears_only_what_it_may_have_missed() -> None:
    session = _with_subscriptions()
    again = [json.loads(line) for line in session.resume()]
    shown = [_answered(session, line["id"]) for line in again if "id" in line]
    assert [[json.loads(line) for line in lines] for lines in shown] == [
        [{"jsonrpc": "2.0", "method": "notifications/tools/list_changed", "params": {}}],
        [],
        [{"jsonrpc": "2.0", "method": "notifications/resources/updated", "params": {"uri": "one://b"}}],
    ]
    refused = [json.loads(line) for line in session.resume()][-1]
    assert _answered(session, refused["id"], error={"code": -32002, "message": "gone"}) == ()


def test_an_open_subscription_is_acknowledged_once_and_told_what_it_may_have_missed() -> None:
    session = Session()
    wanted = {"toolsListChanged": True, "resourceSubscriptions": ["one://a"]}
    _sent(session, modern("l", "subscriptions/listen", notifications=wanted))
    meta = {"io.modelcontextprotocol/subscriptionId": "l"}
    params = {"notifications": wanted, "_meta": meta}
    line = encode({"jsonrpc": "2.0", "method": "notifications/subscriptions/acknowledged", "params": params})
    assert session.from_hub(line) == (line,)
    assert not session.waiting
    assert json.loads(session.resume()[0])["id"] == "l"
    assert [json.loads(line) for line in session.from_hub(line)] == [
        {"jsonrpc": "2.0", "method": "notifications/tools/list_changed", "params": {"_meta": meta}},
        {"jsonrpc": "2.0", "method": "notifications/resources/updated", "params": {"uri": "one://a", "_meta": meta}},
    ]
    _sent(session, {"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": "l"}})
    assert session.resume() == []


def test_a_request_that_ends_every_hub_is_given_up() -> None:
    session = Session()
    _sent(session, request(1, "tools/call", name="send_message"))
    sends = 1
    while not (given_up := session.exhausted()):
        assert len(session.resume()) == 1
        sends += 1
    assert sends == 10
    assert "10 times" in json.loads(given_up[0])["error"]["message"]
    assert session.resume() == []


def test_when_no_hub_can_be_had_everything_gets_the_reason() -> None:
    session = Session()
    _sent(session, request(1, "ping"))
    _sent(session, modern("l", "subscriptions/listen", notifications={}))
    errors = [json.loads(line) for line in session.give_up("the disk is full (log: /x/hub.log)")]
    assert [error["id"] for error in errors] == [1, "l"]
    assert {error["error"]["message"] for error in errors} == {"one-mcp: the disk is full (log: /x/hub.log)"}
    assert not session.waiting


def test_it_imports_nothing_heavy(data: Path) -> None:
    heavy = ["asyncio", "anyio", "pydantic", "mcp", "duckdb", "subprocess", "dataclasses"]
    code = f"import sys, server.cli, server.proxy; print([name for name in {heavy} if name in sys.modules])"
    shown = subprocess.run([sys.executable, "-P", "-c", code], env=environment(), capture_output=True, check=True)
    assert shown.stdout == b"[]\n"
    assert not runs(data)

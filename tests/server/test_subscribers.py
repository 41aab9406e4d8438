"""What subscribers cost, over HTTP and across the hub's restarts as well."""

from __future__ import annotations

import asyncio
import contextlib
from functools import partial
from pathlib import Path
from typing import Any

import anyio
import pytest
from mcp.server.runner import serve_dual_era_loop
from mcp.shared.exceptions import MCPError
from mcp.shared.memory import create_client_server_memory_streams
from mcp.shared.message import SessionMessage
from mcp_types import JSONRPCNotification, JSONRPCRequest

from server.session import Session
from server.subscriptions import MOST_URIS
from storage.tables import Agent
from storage.transaction import Transaction
from tests.clients import USER_SCOPES, Swarm
from tests.listening import listening, subscribe, unsubscribe
from tests.places import Place, ear
from tests.processes import INITIALIZED, Raw, call, initialize, kill, modern, request
from tests.processes import client as process
from tests.remote import bearer, remote_client, served


@pytest.fixture
async def place(swarm: Swarm) -> Place:
    return await Place(swarm).fill()


# What it costs.


async def test_nothing_is_left_of_clients_that_have_gone(swarm: Swarm, place: Place, era: str) -> None:
    before = swarm.service.subscriptions.statistics()
    async with ear(swarm, era, place.uri, "one://calendar.ics", member=place.bo) as bo:
        await place.say("hello")
        assert await bo.next() == place.uri
        assert swarm.service.subscriptions.statistics()["followed"] == before["followed"] + 2
    assert swarm.service.subscriptions.statistics() == before


async def test_one_client_follows_so_many_and_no_more(swarm: Swarm, place: Place) -> None:
    client = place.bo_tools.client

    async def fill(tx: Transaction) -> Agent:
        rows = [tx.insert(Agent, name=f"A{n}", description="d", kind="user_agent") for n in range(MOST_URIS)]
        agents.extend(row.id for row in rows)
        return rows[-1]

    agents: list[str] = []
    await swarm.service.engine.writer.run(fill)
    await subscribe(client, place.uri)
    for agent in agents[:-1]:
        await subscribe(client, f"one://agents/{agent}")
    with pytest.raises(MCPError, match=r"1,000 resources are followed already"):
        await subscribe(client, f"one://agents/{agents[-1]}")
    await unsubscribe(client, place.uri)
    await subscribe(client, f"one://agents/{agents[-1]}")
    late = (await swarm.connect(place.bo, era="auto")).client
    with pytest.raises(MCPError, match=r"At most 1,000 resources"):
        async with late.listen(resource_subscriptions=[f"one://agents/{n}" for n in range(MOST_URIS + 1)]):
            pass


@pytest.mark.parametrize("late", [False, True], ids=["subscribe", "listen"])
async def test_a_client_that_does_not_read_holds_nobody_up_and_hears_once(
    swarm: Swarm, place: Place, late: bool
) -> None:
    opening = (
        [modern(1, "subscriptions/listen", notifications={"resourceSubscriptions": [place.uri]})]
        if late
        else [initialize(0), INITIALIZED, request(1, "resources/subscribe", uri=place.uri)]
    )
    async with (
        create_client_server_memory_streams() as ((read, write), server),
        anyio.create_task_group() as tasks,
        ear(swarm, "auto", place.uri, member=place.ada) as quick,
    ):
        tasks.start_soon(
            partial(serve_dual_era_loop, lifespan_state=Session(place.bo, USER_SCOPES)), swarm.service.server, *server
        )
        for line in opening:
            kind = JSONRPCRequest if "id" in line else JSONRPCNotification
            await write.send(SessionMessage(kind.model_validate(line)))
            if "id" in line:
                with anyio.fail_after(10):
                    await read.receive()
        for number in range(100):
            await place.say(str(number))
            await quick.next()
        # Were they not one, there would be another one waiting at each turn.
        heard = 0
        for number in range(2, 12):
            question = modern(number, "server/discover") if late else request(number, "ping")
            await write.send(SessionMessage(JSONRPCRequest.model_validate(question)))
            with anyio.fail_after(10):
                while "method" in (message := await _message(read)):
                    assert message["method"] == "notifications/resources/updated"
                    heard += 1
            assert message["id"] == number
        assert 1 <= heard <= 3
        await write.aclose()
        tasks.cancel_scope.cancel()


async def _message(read: Any) -> dict[str, Any]:
    message: dict[str, Any] = (await read.receive()).message.model_dump(exclude_none=True)
    return message


async def test_a_thousand_streams_hear_of_one_message(swarm: Swarm, place: Place) -> None:
    heard: asyncio.Queue[int] = asyncio.Queue()
    client = (await swarm.connect(place.bo, era="auto")).client
    async with anyio.create_task_group() as tasks:
        ready = []

        async def one(number: int, open_: asyncio.Event) -> None:
            async with client.listen(resource_subscriptions=[place.uri]) as stream:
                open_.set()
                async for _ in stream:
                    heard.put_nowait(number)

        for number in range(1_000):
            ready.append(asyncio.Event())
            tasks.start_soon(one, number, ready[-1])
        with anyio.fail_after(60):
            for opened in ready:
                await opened.wait()
            await place.say("hello")
            numbers = {await heard.get() for _ in range(1_000)}
        assert numbers == set(range(1_000))
        tasks.cancel_scope.cancel()


# Over HTTP, and across the hub's restarts.


async def test_over_http(swarm: Swarm, place: Place, era: str) -> None:
    tokens = await swarm.service.tokens()
    text, token = await tokens.create(place.bo, ["read"])
    async with (
        served(swarm) as (url, _),
        listening(partial(remote_client, url, era, bearer(text)), era, place.uri) as bo,
    ):
        await place.say("hello")
        assert await bo.next() == place.uri
        await place.ada_tools("create_conversation", title="N", participants=[place.bo])
        assert await bo.next() == "resources"
        await tokens.revoke(token.id)
        await place.say("not for a token that has ended")
        # Everybody who is still to hear has heard once this one has.
        async with ear(swarm, "auto", place.uri, member=place.ada) as ada:
            await place.say("last")
            assert await ada.next() == place.uri
        assert bo.heard.empty()


async def test_streams_do_not_hold_up_the_end_of_the_server(
    swarm: Swarm, place: Place, era: str, caplog: pytest.LogCaptureFixture
) -> None:
    async with contextlib.AsyncExitStack() as server:
        url, _ = await server.enter_async_context(served(swarm, no_auth=True))
        async with listening(partial(remote_client, url, era), era, place.uri) as owner:
            await place.say("hello")
            assert await owner.next() == place.uri
            began = asyncio.get_running_loop().time()
            await server.aclose()
            assert asyncio.get_running_loop().time() - began < 1.5
    assert [record.message for record in caplog.records if record.levelname == "ERROR"] == []


@pytest.mark.parametrize("mode", ["legacy", "auto"])
async def test_a_subscriber_hears_across_the_death_of_the_hub(data: Path, mode: str) -> None:
    async with process(data) as writer:
        places = [(await call(writer, "create_conversation", title="Plan"))["_id"] for _ in range(2)]
        uris = [f"one://conversations/{place}" for place in places]
        with Raw(data) as reader:
            if mode == "legacy":
                reader.open().send(*[request(n, "resources/subscribe", uri=uri) for n, uri in enumerate(uris, 1)])
                assert "result" in reader.answer(1)
                assert "result" in reader.answer(2)
            else:
                reader.send(modern(1, "subscriptions/listen", notifications={"resourceSubscriptions": uris}))
                assert reader.receive()["method"] == "notifications/subscriptions/acknowledged"
            await call(writer, "send_message", conversationId=places[0], content="before")
            await _hears(reader, {uris[0]})
            kill(data)
            # The call starts the next hub. What may have been missed is told once that knows who follows what.
            await call(writer, "send_message", conversationId=places[0], content="after")
            await _hears(reader, set(uris))
            await call(writer, "send_message", conversationId=places[1], content="and on")
            await _hears(reader, {uris[1]})


async def _hears(reader: Raw, uris: set[str]) -> None:
    """Wait until it has heard of all of these."""
    while uris:
        message = await anyio.to_thread.run_sync(reader.receive)
        assert message, "the proxy ended"
        if message.get("method") == "notifications/resources/updated":
            uris = uris - {message["params"]["uri"]}

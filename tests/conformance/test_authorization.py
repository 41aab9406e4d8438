"""The suite's scenarios for authorization servers, against the built-in sign-in."""

from __future__ import annotations

import asyncio
import os
import re
import socket

import httpx2
import pytest

from tests.clients import Swarm
from tests.conformance import suite
from tests.remote import served
from tests.signing_in import LIGHT, Browser

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not suite.INSTALLED.exists(), reason="the suite is not installed: make conformance-tools"),
]


async def _where_to(output: asyncio.StreamReader, base: str) -> str:
    """The page that the suite wants a person to open."""
    async for line in output:
        text = line.decode().strip()
        if text.startswith(f"{base}/authorize?"):
            return text
    raise AssertionError("it asked for no page")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


async def test_the_sign_in_conforms_as_an_authorization_server(swarm: Swarm) -> None:
    port = _free_port()
    async with (
        served(swarm, sign_in={"enabled": True, **LIGHT}) as (url, _),
        httpx2.AsyncClient(base_url=url.removesuffix("/mcp")) as http,
    ):
        base, sign_in = url.removesuffix("/mcp"), swarm.service.sign_in
        assert sign_in is not None
        invitation = await sign_in.accounts.invite(sign_in.clock(), "ann@example.org", None, ["read", "write"], 2**43)
        ann = Browser(http)
        await ann.sign_up(invitation, "ann@example.org")
        wanted = {
            "client_name": "Suite",
            "redirect_uris": [f"http://127.0.0.1:{port}/callback"],
            "token_endpoint_auth_method": "none",
        }
        client_id = (await http.post("/register", json=wanted)).json()["client_id"]
        process = await asyncio.create_subprocess_exec(
            *(*suite.program("conformance"), "authorization", "--url", base, "--client-id", client_id),
            *("--port", str(port), "--resource", url),
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            env=os.environ | {"NO_COLOR": "1"},
        )
        assert process.stdout is not None
        async with asyncio.timeout(60):
            await ann.open(await _where_to(process.stdout, base))
            page = await ann.send(decision="allow")
            async with httpx2.AsyncClient() as suites_own:
                await suites_own.get(next(link for link in page.links if "iss=" in link))
            said = (await process.stdout.read()).decode()
            status = await process.wait()
    passed = re.findall(r"^. (\S+): (\d+) passed, (\d+) failed", said, re.MULTILINE)
    assert status == 0, said
    assert {name for name, _, _ in passed} == {"authorization-server-metadata-endpoint", "authorization-code-grant"}, (
        said
    )
    assert all(int(count) > 0 and failed == "0" for _, count, failed in passed), said

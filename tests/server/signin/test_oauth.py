"""The SDK's own OAuth client against the real application over HTTP."""

from __future__ import annotations

import httpx2

from tests.clients import Swarm
from tests.remote import served
from tests.signing_in import LIGHT, Browser, Stored, connected, oauth


async def test_the_sdks_client_signs_in_calls_a_tool_refreshes_and_is_refused_after_sign_out(
    swarm: Swarm, era: str
) -> None:
    async with served(swarm, sign_in={"enabled": True, **LIGHT}) as (place, _):
        sign_in = swarm.service.sign_in
        assert sign_in is not None
        # By another name of this machine it is the same server.
        url = place if era == "legacy" else place.replace("127.0.0.1", "localhost")
        base = url.removesuffix("/mcp")
        invitation = await sign_in.accounts.invite(sign_in.clock(), "ann@example.org", None, ["read", "write"], 2**43)
        async with httpx2.AsyncClient(base_url=base) as http:
            ann = Browser(http)
            await ann.sign_up(invitation, "ann@example.org")
            stored = Stored()
            provider = oauth(url, ann, stored)
            async with connected(url, provider, era) as tools:
                agent = await tools("create_agent", name="Scout", description="Finds", kind="user_agent")
                user = await tools("get", id=agent["createdBy"])
                assert user["email"] == "ann@example.org"
                assert stored.tokens is not None
                first = stored.tokens
                provider.context.token_expiry_time = 1.0  # as if an hour had passed
                assert (await tools("get", id=agent["_id"]))["name"] == "Scout"
                assert stored.tokens.access_token != first.access_token
                assert stored.tokens.refresh_token != first.refresh_token
                page = await ann.open("/account")
                await ann.send(form=next(n for n, (action, _) in enumerate(page.forms) if action == "/account/revoke"))
                headers = {"Authorization": f"Bearer {stored.tokens.access_token}"}
                assert (await http.post("/mcp", headers=headers, json={})).status_code == 401
                form = {
                    "grant_type": "refresh_token",
                    "refresh_token": stored.tokens.refresh_token,
                    "client_id": stored.client.client_id if stored.client else "",
                }
                refused = await http.post("/token", data=form)
                assert (refused.status_code, refused.json()["error"]) == (400, "invalid_grant")

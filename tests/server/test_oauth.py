"""Tokens of an identity provider outside: which are good, whose they are, and what a refusal tells."""

from __future__ import annotations

import base64
import json
import re
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx2
import pytest

from server.config import load_settings
from server.http.metadata import WELL_KNOWN
from server.oauth import ProviderTokens
from server.oauth.claims import address_of, scopes_of
from server.oauth.keys import PAUSE_SECONDS, Keys
from server.verification import Unavailable
from tests.clients import Swarm
from tests.issuer import AUDIENCE, Issuer, identity_provider
from tests.remote import bearer, client, raw_post, served


@pytest.fixture
async def issuer() -> AsyncIterator[Issuer]:
    async with identity_provider() as provider:
        yield provider


def settings_of(swarm: Swarm, issuer: Issuer, **oauth: Any) -> Any:
    overrides = {"oauth": {"issuer": issuer.url, "audience": AUDIENCE, **oauth}}
    return load_settings(swarm.directory, environment=False, overrides=overrides).oauth


def provider_tokens(swarm: Swarm, issuer: Issuer, **oauth: Any) -> ProviderTokens:
    return ProviderTokens(swarm.service, settings_of(swarm, issuer, **oauth), default_audience="")


def unsigned(claims: str) -> str:
    header = base64.urlsafe_b64encode(json.dumps({"alg": "none", "typ": "JWT", "kid": "r1"}).encode()).decode()
    return f"{header.rstrip('=')}.{claims.split('.')[1]}."


def with_public_key_as_secret(issuer: Issuer) -> str:
    """What a verifier takes that lets the token choose its algorithm: HMAC with the public key as the secret."""
    import hashlib
    import hmac

    parts = issuer.token("r1").split(".")
    header = base64.urlsafe_b64encode(json.dumps({"alg": "HS256", "kid": "r1"}).encode()).decode().rstrip("=")
    signed = f"{header}.{parts[1]}"
    mac = hmac.new(issuer.public_pem("r1"), signed.encode(), hashlib.sha256).digest()
    return f"{signed}.{base64.urlsafe_b64encode(mac).decode().rstrip('=')}"


async def test_a_person_of_the_provider_calls_in_both_eras(swarm: Swarm, issuer: Issuer, era: str) -> None:
    user, _ = await swarm.user("Ann")
    options = {"issuer": issuer.url, "audience": AUDIENCE}
    async with served(swarm, oauth=options) as (url, _):
        for kid, algorithm in (("r1", "RS256"), ("e1", "ES256")):
            async with client(url, era, bearer(issuer.token(kid, algorithm))) as ann:
                plan = await ann("create_conversation", title="Plan")
                assert plan["createdBy"] == user
        async with client(url, era, bearer(issuer.token("r1", scope="one:read"))) as reader:
            assert (await reader.refused("create_conversation", title="Mine")).code == "forbidden"
    assert issuer.asked == 1


async def test_what_is_not_good_is_refused(swarm: Swarm, issuer: Issuer) -> None:
    await swarm.user("Ann")
    tokens = provider_tokens(swarm, issuer)
    now = int(time.time())
    issuer.new_rsa_key("mine")
    issuer.withdraw("mine")
    good = issuer.token("r1")
    refused = {
        "expired": issuer.token("r1", exp=now - 60),
        "without an end": issuer.token("r1", exp=None),
        "not yet": issuer.token("r1", nbf=now + 120),
        "another audience": issuer.token("r1", aud="https://other.example.org/mcp"),
        "no audience": issuer.token("r1", aud=None),
        "another issuer": issuer.token("r1", iss="https://login.example.org"),
        "no algorithm": unsigned(good),
        "a public key as secret": with_public_key_as_secret(issuer),
        "an algorithm that is not taken": issuer.token("r1", "RS512"),
        "an algorithm of another kind of key": issuer.token("e1", "RS256", key=issuer._private["r1"]),
        "an unknown key": issuer.token("mine"),
        "another's signature": issuer.token("r1", key=issuer._private["mine"]),
        "changed claims": ".".join(
            [good.split(".")[0], issuer.token("r1", email="b@x.org").split(".")[1], good.split(".")[2]]
        ),
        "an address that nobody checked": issuer.token("r1", email_verified=False),
        "somebody unknown": issuer.token("r1", email="bob@example.org"),
        "the local owner": issuer.token("r1", email=swarm.service.owner.email),
        "no token": "a.b.c",
        "deep nesting": f"{'W' * 4000}.{'W' * 4000}.x",
    }
    assert {name for name, token in refused.items() if await tokens.verify(token) is not None} == set()
    grant = await tokens.verify(good)
    assert grant is not None
    assert grant.scopes == {"read", "write"}
    assert tokens.is_good(grant.id)
    assert await tokens.verify(issuer.token("r1", exp=now - 10)) is not None  # within the leeway
    await tokens.close()


async def test_a_rotated_key_is_found_and_a_withdrawn_one_forgotten(swarm: Swarm, issuer: Issuer) -> None:
    seconds = 1000.0
    keys = Keys(settings_of(swarm, issuer), clock=lambda: seconds)
    assert await keys.find("r1", "RS256") is not None
    issuer.new_rsa_key("r2")
    issuer.withdraw("r1")
    for _ in range(50):  # unknown ids do not hammer the provider
        assert await keys.find("r2", "RS256") is None
    assert issuer.asked == 1
    seconds += PAUSE_SECONDS
    assert await keys.find("r2", "RS256") is not None
    assert await keys.find("r1", "RS256") is None
    assert await keys.find(None, "RS256") is not None  # the only one of its kind
    assert issuer.asked == 2
    await keys.close()


async def test_without_its_provider_no_token_is_judged(swarm: Swarm, issuer: Issuer) -> None:
    issuer.names_itself = "https://evil.example.org"
    keys = Keys(settings_of(swarm, issuer))
    with pytest.raises(Unavailable, match="cannot be reached"):
        await keys.find("r1", "RS256")
    assert issuer.asked == 0
    await keys.close()


async def test_who_cannot_be_judged_is_told_to_come_again(swarm: Swarm, issuer: Issuer) -> None:
    issuer.names_itself = "https://evil.example.org"
    async with served(swarm, oauth={"issuer": issuer.url}) as (url, token), httpx2.AsyncClient() as http:
        assert token is not None
        answer = await raw_post(http, url, "tools/list", headers=bearer(issuer.token("r1")))
        assert answer.status_code == 503
        assert answer.headers["retry-after"] == "5"
        assert (await raw_post(http, url, "tools/list", headers=bearer(token))).status_code == 200


async def test_a_newcomer_becomes_a_user_only_when_that_is_wanted(swarm: Swarm, issuer: Issuer) -> None:
    token = issuer.token("r1", email="Zoe@example.org", name="Zoë")
    strict, open_to_all = provider_tokens(swarm, issuer), provider_tokens(swarm, issuer, create_users=True)
    assert await strict.verify(token) is None
    assert await open_to_all.verify(issuer.token("r1", email="zoe@example.org", scope="openid")) is None
    grant = await open_to_all.verify(token)
    assert grant is not None
    assert (await swarm.owner("get", id=grant.member_id))["name"] == "Zoë"
    assert (await strict.verify(token)) is not None
    assert (await open_to_all.verify(issuer.token("e1", "ES256", email="zoe@example.org"))).member_id == grant.member_id  # type: ignore[union-attr]
    await strict.close()
    await open_to_all.close()


async def test_who_was_deactivated_is_refused_at_once(swarm: Swarm, issuer: Issuer) -> None:
    user, ann = await swarm.user("Ann")
    await ann("create_conversation", title="Plan")  # history: deleting deactivates
    async with (
        served(swarm, oauth={"issuer": issuer.url, "audience": AUDIENCE}) as (url, _),
        httpx2.AsyncClient(headers=bearer(issuer.token("r1"))) as http,
    ):
        assert (await raw_post(http, url, "tools/list")).status_code == 200
        await swarm.owner("delete", id=user)
        assert (await raw_post(http, url, "tools/list")).status_code == 401


async def test_a_refusal_says_where_tokens_come_from(swarm: Swarm, issuer: Issuer) -> None:
    options = {"issuer": issuer.url, "audience": AUDIENCE}
    await swarm.user("Ann")
    async with (
        served(swarm, oauth=options, public_url=AUDIENCE, behind_proxy=True) as (url, _),
        httpx2.AsyncClient() as http,
    ):
        where = f'resource_metadata="https://swarm.example.org{WELL_KNOWN}/mcp"'
        asked = await raw_post(http, url, "tools/list")
        assert asked.status_code == 401
        assert where in asked.headers["www-authenticate"]
        assert "error=" not in asked.headers["www-authenticate"]
        wrong = await raw_post(http, url, "tools/list", headers=bearer("x.y.z"))
        assert 'error="invalid_token"' in wrong.headers["www-authenticate"]
        weak = await raw_post(http, url, "tools/list", headers=bearer(issuer.token("r1", scope="openid")))
        assert weak.status_code == 403
        assert 'error="insufficient_scope"' in weak.headers["www-authenticate"]
        assert 'scope="one:read one:write one:analyst one:admin"' in weak.headers["www-authenticate"]
        for path in (WELL_KNOWN, f"{WELL_KNOWN}/mcp"):
            document = (await http.get(url.replace("/mcp", path))).json()
            assert document["resource"] == AUDIENCE
            assert document["authorization_servers"] == [issuer.url]


@pytest.mark.parametrize(
    ("claims", "scopes"),
    [
        ({"scope": "one:read other"}, {"read"}),
        ({"scp": ["one:read", "one:write"]}, {"read", "write"}),
        ({"realm_access": {"roles": ["one:admin"]}}, {"admin"}),
        ({"roles": "one:analyst", "scope": 7}, {"analyst"}),
        ({"scope": "read write admin"}, set()),
        ({}, set()),
    ],
)
def test_scopes_of_claims(tmp_path: Path, claims: dict[str, Any], scopes: set[str]) -> None:
    oauth = load_settings(tmp_path, environment=False).oauth
    assert scopes_of(claims, oauth) == scopes


def test_a_chosen_name_is_never_the_address_of_somebody_else(tmp_path: Path) -> None:
    oauth = load_settings(
        tmp_path,
        environment=False,
        overrides={"oauth": {"issuer": "https://login.example.org/realm", "user_claim": "preferred_username"}},
    ).oauth
    assert address_of({"preferred_username": "ann@example.org"}, oauth) == "ann%40example.org@login.example.org"
    assert address_of({"preferred_username": "ann"}, oauth) == "ann@login.example.org"
    assert address_of({"preferred_username": ["ann"]}, oauth) is None
    # Providers that let nobody add claims without a namespace.
    own = {"https://swarm.example.org/email": "ann@example.org", "https://swarm.example.org/email_verified": True}
    named = oauth.model_copy(update={"user_claim": "https://swarm.example.org/email"})
    assert address_of(own, named) is None
    named = named.model_copy(update={"verified_claim": "https://swarm.example.org/email_verified"})
    assert address_of(own, named) == "ann@example.org"


def test_every_provider_in_the_howto_can_be_configured(tmp_path: Path) -> None:
    page = (Path(__file__).parents[2] / "docs" / "howto-remote.md").read_text(encoding="utf-8")
    examples = re.findall(r"^```toml\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)
    assert len(examples) >= 5
    for example in examples:
        (tmp_path / "config.toml").write_text(example, encoding="utf-8")
        assert load_settings(tmp_path, environment=False).warnings == []

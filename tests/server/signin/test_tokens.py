"""Codes and tokens: what each may do, how long, and what becomes of those that two hands hold."""

from __future__ import annotations

import base64
import re
from urllib.parse import urlsplit

import pytest

from server.signin import SessionTokens, SignIn
from server.signin.site import Site
from tests.signing_in import REDIRECT, Browser, Door, Program, answer_in

HOUR_MS = 3_600_000


async def test_a_code_brings_tokens_once_and_the_second_use_ends_the_session(
    hall: Door, ann: Browser, probe: Program
) -> None:
    answer = await ann.allow(probe.url())
    assert (answer["state"], answer["iss"]) == ("s1", "http://127.0.0.1:8000")
    tokens = (await probe.token(code=answer["code"])).json()
    assert tokens["token_type"] == "Bearer"
    assert tokens["expires_in"] == 3600
    assert tokens["scope"] == "read write"
    assert await probe.may(tokens["access_token"])
    again = await probe.token(code=answer["code"])
    assert (again.status_code, again.json()["error"]) == (400, "invalid_grant")
    assert not await probe.may(tokens["access_token"])
    assert (await probe.refresh(tokens["refresh_token"])).json()["error"] == "invalid_grant"


async def test_a_code_is_for_its_client_its_redirect_uri_and_its_verifier(
    hall: Door, ann: Browser, probe: Program
) -> None:
    code = (await ann.allow(probe.url()))["code"]
    other = hall.program()
    await other.register()
    for wrong in (
        await other.token(code=code),
        await probe.token(code=code, code_verifier="w" * 43),
        await probe.token(code=code, redirect_uri="http://127.0.0.1:7777/other"),
        await probe.token(code="x" * 43),
        await probe.token(code=code, resource="https://elsewhere.example.org/mcp"),
    ):
        assert wrong.status_code == 400, wrong.text
        assert "access_token" not in wrong.text
        assert wrong.headers["cache-control"] == "no-store"
    hall.clock.now += 61_000
    assert (await probe.token(code=code)).json()["error"] == "invalid_grant"


async def test_a_form_with_a_parameter_twice_is_refused(probe: Program) -> None:
    body = f"grant_type=authorization_code&code=a&code=b&client_id={probe.client_id}"
    headers = {"Content-Type": "application/x-www-form-urlencoded"}
    answer = await probe.http.post("/token", content=body, headers=headers)
    assert answer.json()["error"] == "invalid_request"


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"code_challenge": None}, "invalid_request"),
        ({"code_challenge_method": "plain"}, "invalid_request"),
        ({"code_challenge_method": None}, "invalid_request"),
        ({"response_type": "token"}, "unsupported_response_type"),
        ({"resource": "https://elsewhere.example.org/mcp"}, "invalid_target"),
        ({"scope": "everything"}, "invalid_scope"),
        ({"scope": "admin"}, "invalid_scope"),
    ],
)
async def test_a_client_is_told_what_is_wrong_with_its_question(
    hall: Door, ann: Browser, probe: Program, changes: dict[str, str | None], error: str
) -> None:
    page = await ann.open(probe.url(**changes))
    assert page.links[0].startswith(REDIRECT)
    answer = answer_in(page)
    assert (answer["error"], answer["state"], answer["iss"]) == (error, "s1", "http://127.0.0.1:8000")


@pytest.mark.parametrize(
    "changes",
    [
        {"client_id": "client_nobody"},
        {"redirect_uri": "https://evil.example.org/callback"},
        {"redirect_uri": REDIRECT + "/more"},
        {"redirect_uri": REDIRECT + "?more"},
        {"redirect_uri": "http://127.0.0.1:7777@evil.example.org/callback"},
        {"redirect_uri": "http://localhost:7777/callback"},
    ],
)
async def test_nobody_is_sent_where_the_client_is_not_known_to_be(
    hall: Door, ann: Browser, probe: Program, changes: dict[str, str]
) -> None:
    page = await ann.open(probe.url(**changes))
    assert page.status == 400
    assert page.url.startswith("http://127.0.0.1:8000/authorize")
    assert "does not work" in page.text


async def test_a_program_on_this_machine_may_listen_on_any_port(hall: Door, ann: Browser, probe: Program) -> None:
    elsewhere = REDIRECT.replace("7777", "50123")
    answer = await ann.allow(probe.url(redirect_uri=elsewhere))
    assert (await probe.token(code=answer["code"], redirect_uri=REDIRECT)).status_code == 400
    assert (await probe.token(code=answer["code"], redirect_uri=elsewhere)).status_code == 200


async def test_denied_brings_no_code(hall: Door, ann: Browser, probe: Program) -> None:
    answer = await ann.allow(probe.url(), decision="deny")
    assert answer == {"error": "access_denied", "error_description": "denied", "state": "s1", "iss": answer["iss"]}


async def test_an_access_token_lasts_an_hour_and_a_refresh_token_brings_the_next(
    hall: Door, ann: Browser, probe: Program
) -> None:
    tokens = await probe.connect(ann)
    hall.clock.now += HOUR_MS - 1
    assert await probe.may(tokens["access_token"])
    hall.clock.now += 1
    assert not await probe.may(tokens["access_token"])
    renewed = (await probe.refresh(tokens["refresh_token"])).json()
    assert await probe.may(renewed["access_token"])
    assert renewed["refresh_token"] != tokens["refresh_token"]
    assert len(hall.sign_in.sessions.of_user(hall.clock(), hall.account(ann).user_id)) == 2


async def test_a_replayed_refresh_token_ends_its_session_and_all_its_descendants(
    hall: Door, ann: Browser, probe: Program
) -> None:
    first = await probe.connect(ann)
    second = (await probe.refresh(first["refresh_token"])).json()
    third = (await probe.refresh(second["refresh_token"])).json()
    hall.clock.now += 10_001
    replayed = await probe.refresh(first["refresh_token"])
    assert (replayed.status_code, replayed.json()["error"]) == (400, "invalid_grant")
    for tokens in (first, second, third):
        assert not await probe.may(tokens["access_token"])
        assert (await probe.refresh(tokens["refresh_token"])).json()["error"] == "invalid_grant"
    left = hall.sign_in.sessions.of_user(hall.clock(), hall.account(ann).user_id)
    assert [one.kind for one in left] == ["browser"]


async def test_a_refresh_token_used_again_within_ten_seconds_brings_a_sibling(
    hall: Door, ann: Browser, probe: Program
) -> None:
    first = await probe.connect(ann)
    one = (await probe.refresh(first["refresh_token"])).json()
    hall.clock.now += 10_000
    other = (await probe.refresh(first["refresh_token"])).json()
    assert one["refresh_token"] != other["refresh_token"]
    for tokens in (one, other):
        assert await probe.may(tokens["access_token"])
        assert (await probe.refresh(tokens["refresh_token"])).status_code == 200


async def test_a_refresh_token_is_for_its_client_and_asks_for_no_more(hall: Door, ann: Browser, probe: Program) -> None:
    tokens = await probe.connect(ann)
    other = hall.program()
    await other.register()
    assert (await other.refresh(tokens["refresh_token"])).json()["error"] == "invalid_grant"
    assert (await probe.refresh(tokens["refresh_token"], scope="read admin")).json()["error"] == "invalid_scope"
    elsewhere = await probe.refresh(tokens["refresh_token"], resource="https://elsewhere.example.org/mcp")
    assert elsewhere.json()["error"] == "invalid_target"
    less = (await probe.refresh(tokens["refresh_token"], scope="read")).json()
    assert less["scope"] == "read"
    grant = await hall.swarm.service.verifiers.verify(less["access_token"])
    assert grant is not None
    assert grant.scopes == {"read"}


async def test_scopes_are_those_that_the_owner_allowed_and_shown_in_plain_words(hall: Door, probe: Program) -> None:
    ben = await hall.person("Ben", scopes=("read", "write", "analyst"))
    page = await ben.open(probe.url(scope="read analyst admin"))
    assert "Ask in SQL across everything" in page.text
    assert "as the owner of this server can" not in page.text
    assert "Write as you" not in page.text
    answer = answer_in(await ben.send(decision="allow"))
    tokens = (await probe.token(code=answer["code"])).json()
    assert tokens["scope"] == "read analyst"
    await hall.sign_in.accounts.set_scopes(hall.clock(), hall.account(ben).id, ["read"])
    grant = await hall.swarm.service.verifiers.verify(tokens["access_token"])
    assert grant is not None
    assert grant.scopes == {"read"}


async def test_revoking_a_token_ends_its_session(hall: Door, ann: Browser, probe: Program) -> None:
    for kind in ("access_token", "refresh_token"):
        tokens = await probe.connect(ann)
        grant = await hall.swarm.service.verifiers.verify(tokens["access_token"])
        assert grant is not None
        assert hall.swarm.service.verifiers.is_good(grant.id)
        for text in ("unknown", tokens[kind]):
            form = {"token": text, "client_id": probe.client_id}
            assert (await probe.http.post("/revoke", data=form)).status_code == 200
        assert not await probe.may(tokens["access_token"])
        assert not hall.swarm.service.verifiers.is_good(grant.id)
        assert (await probe.refresh(tokens["refresh_token"])).status_code == 400


async def test_a_disabled_account_and_a_deactivated_user_are_let_in_nowhere(
    hall: Door, ann: Browser, probe: Program
) -> None:
    tokens = await probe.connect(ann)
    await hall.sign_in.accounts.disable(hall.clock(), hall.account(ann).id)
    assert not await probe.may(tokens["access_token"])
    assert (await ann.open("/account")).url.split("?")[0].endswith("/sign-in")
    assert (await ann.sign_in()).error == "Email or password is wrong."
    ben = await hall.person("Ben")
    tokens = await probe.connect(ben)
    user = hall.account(ben).user_id
    plan = await hall.swarm.owner("create_conversation", title="Plan", participants=[user])
    assert plan
    assert (await hall.swarm.owner("delete", id=user))["outcome"] == "deactivated"
    assert (await probe.refresh(tokens["refresh_token"])).json()["error"] == "invalid_grant"
    assert (await hall.browser().sign_in(ben.email)).error == "Email or password is wrong."


async def test_tokens_are_for_the_address_for_which_they_were_made(hall: Door, ann: Browser, probe: Program) -> None:
    tokens = await probe.connect(ann, resource="http://localhost:8000/mcp")
    assert await probe.may(tokens["access_token"])
    elsewhere = SignIn(hall.swarm.service, hall.sign_in.settings, Site.at("https://swarm.example.org/mcp"))
    assert await SessionTokens(elsewhere).verify(tokens["access_token"]) is None
    await elsewhere.stop()


async def test_the_metadata_says_what_there_is(hall: Door) -> None:
    http = hall.browser().http
    path = "/.well-known/oauth-authorization-server"
    metadata = (await http.get(path)).json()
    assert metadata["issuer"] == "http://127.0.0.1:8000"
    assert metadata["code_challenge_methods_supported"] == ["S256"]
    assert metadata["token_endpoint_auth_methods_supported"] == ["none"]
    assert metadata["client_id_metadata_document_supported"]
    assert metadata["authorization_response_iss_parameter_supported"]
    for endpoint in ("authorization", "token", "registration", "revocation"):
        assert metadata[f"{endpoint}_endpoint"].startswith("http://127.0.0.1:8000/")
    for host in ("localhost:8000", "[::1]:8000", "127.0.0.1:8000"):
        assert (await http.get(path, headers={"Host": host})).json()["issuer"] == f"http://{host}"
    assert (await http.get(path, headers={"Host": "evil.example.org"})).status_code == 421


async def test_who_calls_without_a_token_is_told_where_to_sign_in(hall: Door) -> None:
    http = hall.browser().http
    for host in ("127.0.0.1:8000", "localhost:8000"):
        answer = await http.post("/mcp", headers={"Host": host})
        found = re.search('resource_metadata="([^"]*)"', answer.headers["www-authenticate"])
        assert found is not None
        assert found[1] == f"http://{host}/.well-known/oauth-protected-resource/mcp"
        metadata = (await http.get(urlsplit(found[1]).path, headers={"Host": host})).json()
        assert metadata["resource"] == f"http://{host}/mcp"
        assert metadata["authorization_servers"] == [f"http://{host}"]
        assert metadata["scopes_supported"] == ["read", "write", "analyst"]


async def test_what_is_no_token_of_ours_is_nobodys(hall: Door, probe: Program) -> None:
    for text in ("one_at_" + base64.urlsafe_b64encode(b"0" * 32).decode(), "one_at_", "x"):
        assert not await probe.may(text)

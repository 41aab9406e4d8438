"""People in browsers: signing in, up and out, and what others might try meanwhile."""

from __future__ import annotations

import re

import pytest

from tests.clients import Swarm
from tests.signing_in import PASSWORD, REDIRECT, Browser, Door, Program, door

WRONG = "Email or password is wrong."


async def test_signing_in_by_password(hall: Door, ann: Browser) -> None:
    browser = hall.browser()
    assert (await browser.open("/account")).url.endswith("/sign-in?next=/account")
    page = await browser.sign_in(ann.email.upper())
    assert page.url.endswith("/account")
    assert ann.email in page.text


async def test_the_cookie_is_the_servers_alone(hall: Door, ann: Browser) -> None:
    browser = hall.browser()
    answer = await browser.http.get("/sign-in")
    cookie = answer.headers["set-cookie"]
    assert re.fullmatch(r"one_sign_in=[\w-]{43}; HttpOnly; Path=/; SameSite=lax", cookie)
    for header, words in (
        ("content-security-policy", "frame-ancestors 'none'"),
        ("content-security-policy", "default-src 'none'"),
        ("referrer-policy", "no-referrer"),
        ("x-content-type-options", "nosniff"),
        ("cache-control", "no-store"),
    ):
        assert words in answer.headers[header]


async def test_over_tls_the_cookie_is_bound_to_the_host(swarm: Swarm) -> None:
    async with door(swarm, "https://swarm.example.org/mcp") as hall:
        cookie = (await hall.browser().http.get("/sign-in")).headers["set-cookie"]
        assert re.fullmatch(r"__Host-one=[\w-]{43}; HttpOnly; Path=/; SameSite=lax; Secure", cookie)
        ann = await hall.person("Ann")
        assert (await ann.open("/account")).status == 200


async def test_a_planted_cookie_is_worth_nothing_after_signing_in(hall: Door, ann: Browser) -> None:
    victim, attacker = hall.browser(), hall.browser()
    await attacker.open("/sign-in")
    planted = attacker.http.cookies["one_sign_in"]
    victim.http.cookies.set("one_sign_in", planted, domain="127.0.0.1")
    await victim.sign_in(ann.email)
    assert victim.http.cookies["one_sign_in"] != planted
    assert (await attacker.open("/account")).url.endswith("/sign-in?next=/account")


@pytest.mark.parametrize("path", ["/sign-in", "/sign-in/code", "/sign-up", "/reset", "/consent", "/account/revoke"])
async def test_a_form_without_its_token_does_nothing(hall: Door, ann: Browser, path: str) -> None:
    sessions = hall.sign_in.sessions.all()
    form = {"email": ann.email, "password": PASSWORD, "decision": "allow", "session": sessions[0].id}
    for csrf in ("", "x", "a.b", "é.é"):
        answer = await ann.http.post(path, data=form | {"csrf": csrf})
        assert answer.status_code == 403
    assert hall.sign_in.sessions.all() == sessions


async def test_a_token_of_another_browser_another_form_or_another_day_is_refused(hall: Door, ann: Browser) -> None:
    other = hall.browser()
    await other.open("/sign-in")
    csrf = other.page.forms[0][1]["csrf"]
    assert (await hall.browser().http.post("/sign-in", data={"csrf": csrf})).status_code == 403
    assert (await other.send("/reset")).status == 403
    await other.open("/sign-in")
    hall.clock.now += 3_600_001
    assert (await other.send(email=ann.email, password=PASSWORD)).status == 403


async def test_a_form_that_another_site_sends_is_refused_where_the_browser_says_so(hall: Door, ann: Browser) -> None:
    await ann.open("/account")
    action, values = ann.page.forms[0]
    for site, status in (("cross-site", 403), ("same-site", 403), ("same-origin", 200)):
        answer = await ann.http.post(action, data=values, headers={"Sec-Fetch-Site": site})
        assert answer.status_code == status


@pytest.mark.parametrize(
    "place",
    [
        "https://evil.example.org/",
        "//evil.example.org/account",
        "/\\evil.example.org",
        "/account/../../evil",
        "/accountant",
        "javascript:alert(1)",
        "/authorize\r\nLocation: https://evil.example.org",
    ],
)
async def test_signing_in_leads_nowhere_else(hall: Door, ann: Browser, place: str) -> None:
    browser = hall.browser()
    await browser.open(f"/sign-in?next={place}" if "\r" not in place else "/sign-in")
    answer = await browser.http.post(
        "/sign-in", data=browser.page.forms[0][1] | {"email": ann.email, "password": PASSWORD, "next": place}
    )
    assert (answer.status_code, answer.headers["location"]) == (303, "/account")


async def test_a_client_that_sends_somebody_to_sign_in_gets_its_answer(
    hall: Door, ann: Browser, probe: Program
) -> None:
    browser = hall.browser()
    page = await browser.open(probe.url())
    assert "/sign-in?" in page.url
    page = await browser.sign_in(ann.email)
    assert "Probe" in page.text
    page = await browser.send(decision="allow")
    assert any(link.startswith(REDIRECT) for link in page.links)


async def test_the_answer_says_the_same_whether_there_is_an_account(hall: Door, ann: Browser) -> None:
    ends = []
    for email in (ann.email, "nobody@example.org"):
        browser, checks = hall.browser(), hall.sign_in.passwords.checks
        wrong = await browser.sign_in(email, "not it at all")
        code = await browser.send("/sign-in/code", email=email)
        tried = await browser.send(email=email, code="000000")
        assert hall.sign_in.passwords.checks == checks + 2  # as much is computed
        pages = [re.sub(r'(name="csrf" )?value="[^"]*"', "", page.text) for page in (wrong, code, tried)]
        ends.append([page.replace(email, "EMAIL") for page in pages])
    assert ends[0] == ends[1]
    assert WRONG in ends[0][0]


async def test_a_code_signs_in_the_browser_that_asked_for_it_once(hall: Door, ann: Browser) -> None:
    asked, other = hall.browser(), hall.browser()
    await asked.open("/sign-in")
    await asked.send("/sign-in/code", email=ann.email)
    code = await hall.outbox.code(ann.email)
    assert re.fullmatch(r"\d{6}", code)
    await other.open("/sign-in")
    await other.send("/sign-in/code", email="nobody@example.org")
    assert "wrong or has expired" in (await other.send(email=ann.email, code=code)).error
    before = asked.page.forms[0]
    page = await asked.send(code=f" {code[:3]} {code[3:]} ")
    assert page.url.endswith("/account")
    asked.page.forms = [before]
    assert (await asked.send(code=code)).status == 403  # the page was another browser's, so to speak
    assert hall.account(ann).email_verified is not None


async def test_a_code_expires_and_can_be_tried_five_times(hall: Door, ann: Browser) -> None:
    late, guessing = hall.browser(), hall.browser()
    for browser in (late, guessing):
        await browser.open("/sign-in")
        await browser.send("/sign-in/code", email=ann.email)
        hall.outbox.sent.clear()
    code = await hall.outbox.code(ann.email)
    for number in range(5):
        assert "wrong" in (await guessing.send(code=f"00000{number}")).error
    page = await guessing.send(code=code)
    assert page.status == 429
    assert "Too many attempts" in page.error
    hall.clock.now += 600_000
    assert "wrong or has expired" in (await late.send(code=code)).error


async def test_an_invitation_is_good_once_for_its_address_and_a_week(hall: Door) -> None:
    token = await hall.invite("carl@example.org")
    browser = hall.browser()
    await browser.open(f"/sign-up?invitation={token}")
    wrong = await browser.send(email="other@example.org", name="Carl", password=PASSWORD)
    assert wrong.error == "This invitation is for another email address."
    short = await browser.send(email="carl@example.org", name="Carl", password="short")
    assert short.error == "A password has at least 10 characters, and 1024 at most."
    page = await browser.send(email="carl@example.org", name="Carl", password=PASSWORD)
    assert page.url.endswith("/account")
    again = await hall.browser().open(f"/sign-up?invitation={token}")
    assert "not good" in again.error
    users = await hall.swarm.owner("find", table="users", where={"email": "carl@example.org"})
    assert [user["name"] for user in users["users"]] == ["Carl"]
    late = await hall.invite("late@example.org")
    hall.clock.now += 86_400_000
    assert "not good" in (await hall.browser().open(f"/sign-up?invitation={late}")).error


async def test_an_invitation_of_a_known_user_is_for_that_user(hall: Door) -> None:
    known = await hall.swarm.owner("create_user", name="Dora", email="dora@example.org")
    browser = hall.browser()
    await browser.sign_up(await hall.invite("dora@example.org"), "dora@example.org", "Somebody")
    assert hall.account(browser).user_id == known["_id"]
    assert (await hall.swarm.owner("get", id=known["_id"]))["name"] == "Dora"


async def test_without_an_invitation_nobody_signs_up(hall: Door) -> None:
    browser = hall.browser()
    assert "invitation" in (await browser.open("/sign-up")).error
    invitation = await hall.invite("somebody@example.org")
    for token in ("", "open", "guessed"):
        await browser.open(f"/sign-up?invitation={invitation}")
        page = await browser.send(invitation=token, email="eve@example.org", name="Eve", password=PASSWORD)
        assert "invitation" in page.error
    assert hall.sign_in.accounts.by_email("eve@example.org") is None


async def test_where_it_is_open_who_signs_up_shows_that_the_address_is_theirs(swarm: Swarm) -> None:
    known = await swarm.owner("create_user", name="Dora", email="dora@example.org")
    async with door(swarm, allow_sign_up=True) as hall:
        for email in ("new@example.org", "dora@example.org"):
            browser = hall.browser()
            await browser.open("/sign-up")
            page = await browser.send(email=email, name="Somebody", password=PASSWORD)
            assert "Enter your code" in page.text
            assert hall.sign_in.accounts.by_email(email) is None
            assert (await browser.send(code="000000")).error
            page = await browser.send(code=await hall.outbox.code(email))
            assert page.url.endswith("/account"), page.error
            account = hall.sign_in.accounts.by_email(email)
            assert account is not None
            assert account.email_verified
            assert (account.user_id == known["_id"]) == (email == "dora@example.org")
        # Who has an account gets a code that signs in, with the password that they have.
        browser = hall.browser()
        await browser.open("/sign-up")
        page = await browser.send(email="new@example.org", name="Mallory", password="another one entirely")
        assert "Enter your code" in page.text
        assert (await hall.browser().sign_in("new@example.org", "another one entirely")).error == WRONG
        assert (await hall.browser().sign_in("new@example.org")).url.endswith("/account")


async def test_a_lost_password_is_changed_by_the_owners_link_once(hall: Door, ann: Browser) -> None:
    account = hall.account(ann)
    stale = await hall.sign_in.accounts.reset_link(hall.clock(), account.id, hall.clock() + 1000)
    token = await hall.sign_in.accounts.reset_link(hall.clock(), account.id, hall.clock() + 1000)
    browser = hall.browser()
    for old in (stale, "guessed", ""):
        assert "not good" in (await browser.open(f"/reset?token={old}")).error
        await browser.open(f"/reset?token={token}")
        assert "not good" in (await browser.send(token=old, password="a whole new password")).error
    await browser.open(f"/reset?token={token}")
    page = await browser.send(password="a whole new password")
    assert "signed out everywhere" in page.text
    assert (await ann.open("/account")).url.endswith("/sign-in?next=/account")
    assert (await hall.browser().sign_in(ann.email)).error == WRONG
    assert (await hall.browser().sign_in(ann.email, "a whole new password")).url.endswith("/account")
    assert "not good" in (await browser.open(f"/reset?token={token}")).error


async def test_ones_own_sessions_are_listed_and_ended_and_nobody_elses(
    hall: Door, ann: Browser, probe: Program
) -> None:
    ben = await hall.person("Ben")
    tokens = await probe.connect(ann)
    page = await ann.open("/account")
    assert "Probe" in page.text
    revokes = [values["session"] for action, values in page.forms if action == "/account/revoke"]
    assert len(revokes) == 1
    page = await ben.open("/account")
    csrf = page.forms[0][1]["csrf"]
    await ben.http.post("/account/revoke", data={"csrf": csrf, "session": revokes[0]})
    assert await probe.may(tokens["access_token"])
    await ann.open("/account")
    page = await ann.send(form=1)
    assert "None yet" in page.text
    assert not await probe.may(tokens["access_token"])
    page = await ann.send("/account/sign-out")
    assert "You are signed out" in page.text
    assert (await ann.open("/account")).url.endswith("/sign-in?next=/account")
    left = hall.sign_in.sessions.of_user(hall.clock(), hall.account(ann).user_id)
    assert left == []


async def test_consent_is_for_what_was_shown_to_who_was_asked(hall: Door, ann: Browser, probe: Program) -> None:
    ben = await hall.person("Ben")
    await ann.open(probe.url())
    action, values = ann.page.forms[0]
    answer = await ben.http.post(action, data=values | {"decision": "allow"})
    assert answer.status_code == 403
    await ann.send("/sign-in/code")  # another form
    codes = {one.user_id for one in hall.sign_in.sessions.all() if one.kind == "client"}
    assert hall.account(ben).user_id not in codes
    await ann.open("/account")
    await ann.send("/account/sign-out")
    assert (await ann.http.post(action, data=values | {"decision": "allow"})).status_code == 403


async def test_a_browser_is_signed_out_after_twelve_hours(hall: Door, ann: Browser) -> None:
    hall.clock.now += 12 * 3_600_000
    assert (await ann.open("/account")).url.endswith("/sign-in?next=/account")
    await hall.sign_in.sessions.forget_expired(hall.clock())
    assert hall.sign_in.sessions.of_user(0, hall.account(ann).user_id) == []


async def test_a_form_that_is_too_long_is_not_read(hall: Door) -> None:
    answer = await hall.browser().http.post("/sign-in", data={"password": "x" * 70_000})
    assert answer.status_code == 413

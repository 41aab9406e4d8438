"""Guessing is slowed down as documented, and nobody is locked out for good."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from statistics import median

import pytest

from server.signin.limits import ALL_FROM_ONE, ONE_FROM_ALL, ONE_FROM_ONE, Limit, Limits, Rule, TooMany
from storage.auth_tables import AuthRateLimit
from tests.clients import Swarm
from tests.signing_in import PASSWORD, Browser, Door, door

MINUTE_MS = 60_000


async def test_waits_double_and_end(swarm: Swarm) -> None:
    limits, limit, now = Limits(swarm.service.auth_file()), Limit(Rule(3, 20_000, 10 * MINUTE_MS), "x"), 10**12
    for _ in range(3):
        await limits.take(now, limit)
    waits = []
    for _ in range(6):
        with pytest.raises(TooMany) as refused:
            await limits.take(now, limit)
        waits.append(refused.value.seconds)
        now += waits[-1] * 1000 - 1
        with pytest.raises(TooMany):
            await limits.take(now, limit)
        now += 1
        await limits.take(now, limit)
    assert waits == [2, 4, 8, 16, 20, 20]
    now += 40 * 10 * MINUTE_MS
    for _ in range(3):
        await limits.take(now, limit)
    await limits.forget_old(now + 24 * 60 * MINUTE_MS)
    assert swarm.service.auth_file().all(AuthRateLimit) == []


async def test_who_waits_gets_in_however_many_knock_meanwhile(hall: Door, ann: Browser) -> None:
    browser = hall.browser("192.0.2.1")
    for _ in range(ONE_FROM_ONE.free):
        assert (await browser.sign_in(ann.email, "wrong, wrong")).status == 400
    for _ in range(20):
        page = await browser.sign_in(ann.email)
        assert page.status == 429
        assert page.error == "Too many attempts. Try again in 2 seconds."
        assert page.headers["retry-after"] == "2"
    hall.clock.now += 2_000
    assert (await browser.sign_in(ann.email)).url.endswith("/account")
    assert (await hall.browser("192.0.2.1").sign_in(ann.email, "wrong, wrong")).status == 400  # it starts anew


async def test_addresses_of_ipv6_count_by_their_network(hall: Door, ann: Browser) -> None:
    pages = [
        await hall.browser(f"2001:db8:0:1::{number:x}").sign_in(ann.email, "wrong, wrong")
        for number in range(ONE_FROM_ONE.free + 1)
    ]
    assert [page.status for page in pages] == [400] * ONE_FROM_ONE.free + [429]
    assert (await hall.browser("2001:db8:0:2::1").sign_in(ann.email)).status == 200


async def test_parallel_guesses_are_counted_before_they_are_checked(hall: Door, ann: Browser) -> None:
    browsers = [hall.browser("192.0.2.2") for _ in range(30)]
    pages = await asyncio.gather(*(browser.sign_in(ann.email, "wrong, wrong") for browser in browsers))
    assert Counter(page.status for page in pages) == {400: ONE_FROM_ONE.free, 429: 30 - ONE_FROM_ONE.free}


async def test_codes_are_sent_a_few_times(hall: Door, ann: Browser) -> None:
    browser = hall.browser("192.0.2.3")
    await browser.open("/sign-in")
    pages = [await browser.send("/sign-in/code", email=ann.email) for _ in range(6)]
    assert [page.status for page in pages] == [200] * 5 + [429]


@pytest.mark.slow
async def test_a_thousand_wrong_passwords_from_fifty_addresses_against_one_account(swarm: Swarm) -> None:
    """Within one moment of the clock: only as many are looked at as one account has free, and Ann gets in by three
    ways meanwhile. An hour of it lets through what is documented."""
    async with door(swarm) as hall:
        ann = await hall.person("Ann")
        home = hall.browser("198.51.100.1")
        await home.sign_in(ann.email)
        addresses = [f"203.0.113.{number}" for number in range(50)]
        checks = hall.sign_in.passwords.checks
        statuses = await _attack(hall, [(address, ann.email) for address in addresses for _ in range(20)])
        assert statuses == {400: ONE_FROM_ALL.free, 429: 1000 - ONE_FROM_ALL.free}
        assert hall.sign_in.passwords.checks - checks == ONE_FROM_ALL.free
        # From an address that is known as hers, with a code from anywhere, and by the owner's link.
        assert (await hall.browser("198.51.100.1").sign_in(ann.email)).url.endswith("/account")
        elsewhere = hall.browser("198.51.100.2")
        await elsewhere.open("/sign-in")
        await elsewhere.send("/sign-in/code", email=ann.email)
        page = await elsewhere.send(code=await hall.outbox.code(ann.email))
        assert page.url.endswith("/account")
        # From an address that is new she waits a minute at most, if she is quicker than who guesses.
        page = await hall.browser("198.51.100.3").sign_in(ann.email)
        assert page.status == 429
        assert int(page.headers["retry-after"]) <= ONE_FROM_ALL.longest_ms // 1000
        hall.clock.now += ONE_FROM_ALL.longest_ms
        assert (await hall.browser("198.51.100.4").sign_in(ann.email)).url.endswith("/account")
        # An hour of guessing, every 15 s from all of them.
        checks = hall.sign_in.passwords.checks
        for _ in range(240):
            hall.clock.now += 15_000
            await _attack(hall, [(addresses[number], ann.email) for number in range(0, 50, 5)])
        looked_at = hall.sign_in.passwords.checks - checks
        print(f"an hour of guessing at one account from fifty addresses: {looked_at} passwords looked at")
        assert looked_at <= 90


@pytest.mark.slow
async def test_a_thousand_accounts_against_one_address(swarm: Swarm) -> None:
    """The address waits; everybody else does not."""
    async with door(swarm) as hall:
        ann = await hall.person("Ann")
        tried = [("203.0.113.1", f"user{number}@example.org") for number in range(999)] + [("203.0.113.1", ann.email)]
        assert await _attack(hall, tried) == {400: ALL_FROM_ONE.free, 429: 1000 - ALL_FROM_ONE.free}
        assert (await hall.browser("203.0.113.2").sign_in(ann.email)).url.endswith("/account")
        waits = []
        for number in range(12):
            page = await hall.browser("203.0.113.1").sign_in(f"more{number}@example.org")
            assert page.status == 429
            waits.append(int(page.headers["retry-after"]))
            hall.clock.now += waits[-1] * 1000
            assert (await hall.browser("203.0.113.1").sign_in(f"more{number}@example.org")).status == 400
        print(f"one address waits {waits} s")
        assert waits[:7] == [2, 4, 8, 16, 32, 64, 128]
        assert max(waits) <= ALL_FROM_ONE.longest_ms // 1000
        hall.clock.now += ALL_FROM_ONE.longest_ms
        assert (await hall.browser("203.0.113.1").sign_in(ann.email)).url.endswith("/account")


async def _attack(hall: Door, tried: list[tuple[str, str]]) -> Counter[int]:
    """Wrong passwords, ten at once; how often each status came."""
    statuses: Counter[int] = Counter()
    for start in range(0, len(tried), 10):
        browsers = [(hall.browser(origin), email) for origin, email in tried[start : start + 10]]
        pages = await asyncio.gather(*(browser.sign_in(email, "wrong, wrong") for browser, email in browsers))
        statuses.update(page.status for page in pages)
        await asyncio.gather(*(browser.http.aclose() for browser, _ in browsers))
    return statuses


@pytest.mark.slow
async def test_the_time_of_an_answer_does_not_tell_whether_an_account_exists(swarm: Swarm) -> None:
    """In turns, with hashes as they are by default. Were one kind slower, it would come behind the other mostly."""
    async with door(swarm, password_memory_kib=65536, password_rounds=2) as hall:
        ann = await hall.person("Ann")
        times: dict[bool, list[float]] = {True: [], False: []}
        for number in range(60):
            for exists in (True, False) if number % 2 else (False, True):
                hall.clock.now += 24 * 60 * MINUTE_MS
                browser = hall.browser()
                await browser.open("/sign-in")
                began = time.perf_counter()
                page = await browser.sign_in(ann.email if exists else f"nobody{number}@example.org", "wrong, wrong")
                times[exists].append(time.perf_counter() - began)
                assert page.status == 400
        behind = sum(a > b for a in times[True] for b in times[False]) / 3600
        print(f"median {median(times[True]) * 1000:.1f} and {median(times[False]) * 1000:.1f} ms, behind: {behind:.2f}")
        assert 0.25 < behind < 0.75


async def test_hashes_are_made_one_after_another_and_only_so_many_wait(hall: Door) -> None:
    passwords = hall.sign_in.passwords
    tried = await asyncio.gather(*(passwords.fits(None, PASSWORD) for _ in range(100)), return_exceptions=True)
    refused = [one for one in tried if isinstance(one, Exception)]
    assert len(refused) == 67
    assert not any(one is True for one in tried)
    assert await passwords.fits(await passwords.hash(PASSWORD), PASSWORD)

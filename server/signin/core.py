"""What the built-in sign-in is put together from, and how people sign in, up and get a new password."""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any

from server.config import SignInSettings
from server.signin.clients import Clients
from server.signin.limits import Limit, Limits, TooMany, guesses, requests, tries
from server.signin.passwords import LONGEST, Busy, Passwords
from server.signin.people import People, email_of, name_of
from server.signin.senders import Sender, SendFailed, sender_of
from server.signin.site import Site
from storage.accounts import Accounts
from storage.auth_file import AuthFile, now_ms
from storage.auth_tables import AuthAccount, AuthInvitation
from storage.errors import Forbidden
from storage.sessions import Lifetimes, Sessions

if TYPE_CHECKING:
    from server.service import Service

logger = logging.getLogger(__name__)

MINUTE_MS = 60_000
DAY_MS = 24 * 60 * MINUTE_MS
ORDER_SECONDS = 3600.0
"""How often what has expired is dropped."""
WRONG = "Email or password is wrong."
STALE_LINK = "This link is not good, or not any more. Ask the owner of this server for another."
WRONG_CODE = "This code is wrong or has expired."


class Refused(Exception):
    """What a person asked for is not done. The text is for them; `wait` are the seconds until they may try again."""

    def __init__(self, text: str, *, status: int = 400, wait: int | None = None) -> None:
        super().__init__(text)
        self.text = text
        self.status = status
        self.wait = wait


class SignIn:
    """The built-in sign-in of a hub that serves HTTP."""

    def __init__(
        self,
        service: Service,
        settings: SignInSettings,
        site: Site,
        *,
        clock: Callable[[], int] = now_ms,
        sender: Sender | None = None,
    ) -> None:
        file: AuthFile = service.auth_file()
        self.settings = settings
        self.site = site
        self.clock = clock
        self.accounts = Accounts(file)
        self.sessions = Sessions(
            file,
            Lifetimes(
                access_ms=settings.access_token_seconds * 1000,
                refresh_ms=settings.refresh_token_days * DAY_MS,
                session_ms=settings.session_days * DAY_MS,
            ),
        )
        self.clients = Clients(file, settings, clock)
        self.limits = Limits(file)
        self.people = People(service.engine, file, service.owner.id, clock)
        self.passwords = Passwords(settings)
        self._sender = sender or sender_of(settings)
        self._tasks: set[asyncio.Task[None]] = set()

    async def start(self) -> None:
        """Mend what a crash left half done, and keep order from now on."""
        await self.people.repair()
        self._run(self._keep_order())

    async def stop(self) -> None:
        """End what runs behind the answers."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self.passwords.close()

    async def note(
        self,
        action: str,
        *,
        member_id: str | None = None,
        grant_id: str | None = None,
        origin: str,
        about: str | None = None,
    ) -> None:
        """Tell the log of what happened: never a secret, and never an address that has no account."""
        logger.info("%s: member %s, grant %s, from %s, about %s", action, member_id, grant_id, origin, about)

    def _run(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _keep_order(self) -> None:
        while True:
            now = self.clock()
            await self.accounts.forget_expired(now)
            await self.sessions.forget_expired(now)
            await self.limits.forget_old(now)
            await asyncio.sleep(ORDER_SECONDS)

    async def take(self, *limits: Limit) -> None:
        """Count an attempt.

        Raises:
            Refused: it must wait.
        """
        try:
            await self.limits.take(self.clock(), *limits)
        except TooMany as error:
            text = f"Too many attempts. Try again in {_in_words(error.seconds)}."
            raise Refused(text, status=429, wait=error.seconds) from None

    async def fits(self, stored: str | None, secret: str) -> bool:
        """Whether a secret is the one of a hash.

        Raises:
            Refused: too many ask at once.
        """
        try:
            return await self.passwords.fits(stored, secret)
        except Busy:
            raise Refused("Too many people sign in at once. Try again in a moment.", status=503, wait=2) from None

    async def hash(self, secret: str) -> str:
        """What is stored of a secret.

        Raises:
            Refused: too many ask at once.
        """
        try:
            return await self.passwords.hash(secret)
        except Busy:
            raise Refused("Too many people sign in at once. Try again in a moment.", status=503, wait=2) from None

    # -- signing in ----------------------------------------------------------------------------------------------

    async def by_password(self, email_text: str, password: str, origin: str) -> AuthAccount:
        """Who has that address and password.

        Raises:
            Refused: nobody, or there were too many attempts. It says the same whether there is such an account.
        """
        email = email_of(email_text) or ""
        limits = self._guesses(email, origin, "password")
        await self.take(*limits)
        account = self.accounts.by_email(email)
        fits = await self.fits(account.secret if account is not None else None, password[:LONGEST])
        if not fits or account is None or not await self.may_sign_in(account):
            await self.note(
                "sign_in_refused", member_id=account.user_id if account is not None else None, origin=origin
            )
            raise Refused(WRONG)
        await self.limits.passed(self.clock(), email, origin, *limits)
        if account.secret is not None and self.passwords.is_weak(account.secret):
            await self.accounts.set_secret(self.clock(), account.id, await self.hash(password))
        return account

    async def may_sign_in(self, account: AuthAccount) -> bool:
        """Whether neither the account nor its user is disabled."""
        return account.disabled_time is None and await self.people.active(account.user_id) is not None

    def _guesses(self, email: str, origin: str, kind: str) -> tuple[Limit, ...]:
        known = self.limits.knows(self.clock(), email, origin)
        return guesses(email, origin, known=known, kind=kind)

    async def send_code(self, email_text: str, origin: str) -> str:
        """Send a code to an address, if it has an account; the ticket that its browser must show with it.

        Raises:
            Refused: codes are off, or were asked for too often.
        """
        if not self.settings.one_time_codes:
            raise Refused("There are no one-time codes here. Sign in with your password.")
        email = email_of(email_text)
        if email is None:
            raise Refused("This is no email address.")
        await self.take(*self._guesses(email, origin, "code"))
        ticket, code = secrets.token_urlsafe(32), self._new_code()
        hashed = await self.hash(code)  # also for nobody: it takes as long
        self._run(self._deliver_code(email, ticket, code, hashed))
        return ticket

    def _new_code(self) -> str:
        digits = self.settings.code_digits
        return f"{secrets.randbelow(10**digits):0{digits}}"

    async def _deliver_code(self, email: str, ticket: str, code: str, hashed: str) -> None:
        account = self.accounts.by_email(email)
        if account is None or not await self.may_sign_in(account):
            return
        now = self.clock()
        until = now + self.settings.code_minutes * MINUTE_MS
        await self.accounts.keep_code(now, account.id, ticket=ticket, code=hashed, until=until)
        await self._send(email, code)

    async def _send(self, email: str, code: str) -> None:
        text = (
            f"{code} is your code for {self.site.base}. It is good for {self.settings.code_minutes} minutes, in the "
            "browser where you asked for it.\nIf you did not ask, leave it: nobody gets in without it.\n"
        )
        try:
            await self._sender.send(email, "Your one-time code", text)
        except SendFailed as error:
            logger.error("a one-time code was not sent: %s", error)

    async def by_code(self, email_text: str, code: str, ticket: str, origin: str) -> AuthAccount:
        """Who was sent that code, in the browser that asked for it; their account is made if they signed up.

        Raises:
            Refused: nobody, or it was tried too often.
        """
        await self.take(tries(ticket), requests("code-try", origin))
        now, email = self.clock(), email_of(email_text) or ""
        invitation = self.accounts.invitation(now, ticket)
        kept = self.accounts.code_of(now, ticket)
        hashed = invitation.code if invitation is not None else kept.code if kept is not None else None
        if not await self.fits(hashed, "".join(code.split())[:LONGEST]):
            await self.note("code_refused", origin=origin)
            raise Refused(WRONG_CODE)
        if invitation is not None:
            account = await self._accept(invitation, invitation.name or "", invitation.secret or "")
        else:
            used = await self.accounts.use_code(now, kept) if kept is not None else None
            if used is None or not await self.may_sign_in(used):
                raise Refused(WRONG_CODE)
            account = used
        await self.limits.passed(self.clock(), email, origin, *self._guesses(email, origin, "code"))
        return account

    # -- signing up ----------------------------------------------------------------------------------------------

    async def sign_up(self, token: str, email_text: str, name_text: str, password: str, origin: str) -> AuthAccount:
        """The account of who was invited.

        Raises:
            Refused: the invitation or what was typed is not good.
        """
        limit = requests("invitation", origin)
        await self.take(limit)
        invitation = self.accounts.invitation(self.clock(), token)
        if invitation is None or invitation.code is not None:
            raise Refused("This invitation is not good, or not any more. Ask the owner of this server for another.")
        if email_of(email_text) != invitation.email:
            raise Refused("This invitation is for another email address.")
        await self.limits.give_back(self.clock(), limit)
        name, secret = await self._checked(name_text or invitation.name or "", invitation.email, password)
        return await self._accept(invitation, name, secret)

    async def _checked(self, name_text: str, email: str, password: str) -> tuple[str, str]:
        name = name_of(name_text)
        if name is None:
            raise Refused("Say your name, in 200 characters at most.")
        return name, await self.new_secret(password, email)

    async def new_secret(self, password: str, email: str) -> str:
        """The hash of a password that somebody chose.

        Raises:
            Refused: it is too short, too long, or the address itself.
        """
        least = self.settings.password_chars
        if not least <= len(password) <= LONGEST:
            raise Refused(f"A password has at least {least} characters, and {LONGEST} at most.")
        if password.lower() in (email, email.partition("@")[0]):
            raise Refused("This password is your address. Choose another.")
        return await self.hash(password)

    async def _accept(self, invitation: AuthInvitation, name: str, secret: str) -> AuthAccount:
        started = await self.accounts.accept(self.clock(), invitation, name, secret)
        try:
            account = await self.people.finish(started) if started is not None else None
        except Forbidden:
            account = None
        if account is None or not await self.may_sign_in(account):
            raise Refused("This account cannot be made. Ask the owner of this server.")
        return account

    def check_sign_up(self) -> None:
        """Nothing, if whoever has an address may sign up.

        Raises:
            Refused: an invitation is needed.
        """
        if not self.settings.allow_sign_up:
            raise Refused("An account needs an invitation. Ask the owner of this server for one.", status=403)

    async def ask_to_sign_up(self, email_text: str, name_text: str, password: str, origin: str) -> str:
        """Send a code to who wants an account; the ticket that their browser must show with it.

        Who has an account already is sent a code that signs them in: nobody else learns the difference.

        Raises:
            Refused: that is not allowed, or what was typed is not good.
        """
        self.check_sign_up()
        email = email_of(email_text)
        if email is None:
            raise Refused("This is no email address.")
        await self.take(*self._guesses(email, origin, "code"))
        name, secret = await self._checked(name_text, email, password)
        ticket, code = secrets.token_urlsafe(32), self._new_code()
        hashed = await self.hash(code)
        if self.accounts.by_email(email) is not None:
            self._run(self._deliver_code(email, ticket, code, hashed))
        else:
            self._run(self._deliver_first_code(email, name, secret, ticket, code, hashed))
        return ticket

    async def _deliver_first_code(
        self, email: str, name: str, secret: str, ticket: str, code: str, hashed: str
    ) -> None:
        now = self.clock()
        until = now + self.settings.code_minutes * MINUTE_MS
        await self.accounts.ask_to_sign_up(now, email, name, secret, ticket=ticket, code=hashed, until=until)
        await self._send(email, code)

    # -- a lost password -----------------------------------------------------------------------------------------

    def resetting(self, token: str) -> AuthAccount:
        """The account that a link of the owner's is for.

        Raises:
            Refused: the link is not good.
        """
        account = self.accounts.resetting(self.clock(), token)
        if account is None:
            raise Refused(STALE_LINK)
        return account

    async def reset(self, token: str, password: str, origin: str) -> AuthAccount:
        """The account whose password was changed by a link of the owner's.

        Raises:
            Refused: the link or the password is not good.
        """
        await self.take(requests("reset", origin))
        account = self.resetting(token)
        secret = await self.new_secret(password, account.provider_account_id)
        changed = await self.accounts.reset(self.clock(), token, secret)
        if changed is None:
            raise Refused(STALE_LINK)
        await self.note("password_reset", member_id=changed.user_id, origin=origin)
        return changed


def _in_words(seconds: int) -> str:
    if seconds < 90:
        return f"{seconds} seconds"
    minutes = -(-seconds // 60)
    return f"{minutes} minutes" if minutes < 90 else f"{-(-minutes // 60)} hours"

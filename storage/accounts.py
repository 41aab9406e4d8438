"""Accounts, invitations and one-time codes, in `auth.duckdb`."""

from __future__ import annotations

import secrets

from storage.auth_file import AuthChange, AuthFile, digest
from storage.auth_tables import AuthAccount, AuthInvitation, AuthSession, AuthVerificationCode
from storage.errors import NotFound
from storage.fields import iso
from storage.sessions import end_sessions

PROVIDER = "password"
"""All accounts are of one kind: an email, and a password unless they only take codes."""
USUAL_SCOPES = ("read", "write")


def allowed_scopes(account: AuthAccount) -> frozenset[str]:
    """What sessions of the account may be given at most."""
    return frozenset(USUAL_SCOPES if account.scopes is None else account.scopes)


class Accounts:
    """Who may sign in, and what shows that it is they. Times are epoch ms."""

    def __init__(self, file: AuthFile) -> None:
        self._file = file

    def all(self) -> list[AuthAccount]:
        """Every account, in the order they were made."""
        return self._file.all(AuthAccount)

    def by_email(self, email: str) -> AuthAccount | None:
        """The account of that address."""
        found = self._file.where(AuthAccount, "provider_account_id", email)
        return found[0] if found else None

    def of_user(self, user_id: str) -> AuthAccount | None:
        """The account of a user."""
        found = self._file.where(AuthAccount, "user_id", user_id)
        return found[0] if found else None

    # -- invitations ---------------------------------------------------------------------------------------------

    def invitations(self) -> list[AuthInvitation]:
        """Every invitation without an account yet."""
        return self._file.all(AuthInvitation)

    async def invite(self, now: int, email: str, name: str | None, scopes: list[str], until: int) -> str:
        """Let somebody sign up; the text of their token, which is not stored. It replaces what they had before."""
        token = secrets.token_urlsafe(32)
        async with self._file.change(now) as change:
            for earlier in self._file.where(AuthInvitation, "email", email):
                if earlier.code is None and earlier.started_time is None:
                    change.delete(earlier)
            change.insert(
                AuthInvitation, email=email, name=name, scopes=scopes, hash=digest(token), expiration_time=until
            )
        return token

    async def ask_to_sign_up(
        self, now: int, email: str, name: str, secret: str, *, ticket: str, code: str, until: int
    ) -> None:
        """Keep what somebody wants to sign up with until they show the code, whose hash is given, and the ticket."""
        async with self._file.change(now) as change:
            change.insert(
                AuthInvitation,
                email=email,
                name=name,
                scopes=list(USUAL_SCOPES),
                hash=digest(ticket),
                code=code,
                secret=secret,
                expiration_time=until,
            )

    def invitation(self, now: int, token: str) -> AuthInvitation | None:
        """The invitation of that token or ticket, if it can still be accepted."""
        found = self._file.where(AuthInvitation, "hash", digest(token))
        return found[0] if found and found[0].expiration_time > now and found[0].started_time is None else None

    async def accept(self, now: int, invitation: AuthInvitation, name: str, secret: str) -> AuthInvitation | None:
        """Note that an invitation is accepted, with all that its account needs; None if somebody else was first."""
        async with self._file.change(now) as change:
            current = self._file.get(AuthInvitation, invitation.id)
            if current is None or current.started_time is not None:
                return None
            return change.update(current, name=name, secret=secret, started_time=now)

    async def finish(self, now: int, invitation: AuthInvitation, user_id: str) -> AuthAccount:
        """The account of an accepted invitation, whose user is there. An account of that address is kept as it is."""
        async with self._file.change(now) as change:
            for one in self._file.where(AuthInvitation, "email", invitation.email):
                change.delete(one)
            account = self.by_email(invitation.email)
            if account is None:
                account = change.insert(
                    AuthAccount,
                    user_id=user_id,
                    provider=PROVIDER,
                    provider_account_id=invitation.email,
                    secret=invitation.secret,
                    scopes=invitation.scopes,
                    email_verified=iso(now) if invitation.code is not None else None,
                )
        return account

    # -- changes of an account -----------------------------------------------------------------------------------

    async def set_secret(self, now: int, account_id: str, secret: str) -> None:
        """Keep the hash of another password. Nothing else changes."""
        async with self._file.change(now) as change:
            change.update(self._account(account_id), secret=secret)

    async def set_scopes(self, now: int, account_id: str, scopes: list[str]) -> AuthAccount:
        """Say what sessions of an account may be given at most."""
        async with self._file.change(now) as change:
            return change.update(self._account(account_id), scopes=scopes)

    async def disable(self, now: int, account_id: str) -> AuthAccount:
        """End the sessions of an account, and let nobody sign in to it."""
        async with self._file.change(now) as change:
            account = self._account(account_id)
            end_sessions(self._file, change, self._file.where(AuthSession, "user_id", account.user_id))
            for code in self._file.where(AuthVerificationCode, "account_id", account.id):
                change.delete(code)
            return change.update(account, disabled_time=account.disabled_time or now)

    async def enable(self, now: int, account_id: str) -> AuthAccount:
        """Let somebody sign in again."""
        async with self._file.change(now) as change:
            return change.update(self._account(account_id), disabled_time=None)

    # -- one-time codes and links --------------------------------------------------------------------------------

    async def keep_code(self, now: int, account_id: str, *, ticket: str, code: str, until: int) -> None:
        """Keep the hash of a code that goes to the account's address. Only who has the ticket may show it."""
        async with self._file.change(now) as change:
            change.insert(
                AuthVerificationCode,
                account_id=account_id,
                provider="code",
                code=code,
                verifier=digest(ticket),
                expiration_time=until,
            )

    def code_of(self, now: int, ticket: str) -> AuthVerificationCode | None:
        """The code that goes with a ticket, if it has not expired."""
        found = self._file.where(AuthVerificationCode, "verifier", digest(ticket))
        return found[0] if found and found[0].expiration_time > now else None

    async def use_code(self, now: int, code: AuthVerificationCode) -> AuthAccount | None:
        """The account of a code that was shown; None if it was used meanwhile. Its address is theirs."""
        async with self._file.change(now) as change:
            current = self._file.get(AuthVerificationCode, code.id)
            account = self._file.get(AuthAccount, code.account_id)
            if current is None or account is None:
                return None
            change.delete(current)
            return change.update(account, email_verified=iso(now))

    async def reset_link(self, now: int, account_id: str, until: int) -> str:
        """A token that lets its holder choose a new password, once. Earlier ones are worthless."""
        token = secrets.token_urlsafe(32)
        async with self._file.change(now) as change:
            account = self._account(account_id)
            self._drop_codes(change, account.id, "reset")
            change.insert(
                AuthVerificationCode,
                account_id=account.id,
                provider="reset",
                code=digest(token),
                expiration_time=until,
            )
        return token

    def resetting(self, now: int, token: str) -> AuthAccount | None:
        """The account whose password a link may change."""
        found = self._file.where(AuthVerificationCode, "code", digest(token))
        good = bool(found) and found[0].provider == "reset" and found[0].expiration_time > now
        return self._file.get(AuthAccount, found[0].account_id) if good else None

    async def reset(self, now: int, token: str, secret: str) -> AuthAccount | None:
        """Change a password by a link: all sessions of the account end. None if the link was used meanwhile."""
        async with self._file.change(now) as change:
            account = self.resetting(now, token)
            if account is None:
                return None
            self._drop_codes(change, account.id, "reset", "code")
            end_sessions(self._file, change, self._file.where(AuthSession, "user_id", account.user_id))
            return change.update(account, secret=secret)

    def _drop_codes(self, change: AuthChange, account_id: str, *providers: str) -> None:
        for code in self._file.where(AuthVerificationCode, "account_id", account_id):
            if code.provider in providers:
                change.delete(code)

    def _account(self, account_id: str) -> AuthAccount:
        account = self._file.get(AuthAccount, account_id)
        if account is None:
            raise NotFound(f"There is no account '{account_id}'.")
        return account

    # -- order ---------------------------------------------------------------------------------------------------

    async def drop(self, now: int, accounts: list[AuthAccount]) -> None:
        """End accounts with all that hangs on them."""
        async with self._file.change(now) as change:
            for account in accounts:
                end_sessions(self._file, change, self._file.where(AuthSession, "user_id", account.user_id))
                self._drop_codes(change, account.id, "reset", "code")
                change.delete(account)

    async def forget_expired(self, now: int) -> None:
        """Drop codes, links and invitations whose time is over."""
        async with self._file.change(now) as change:
            for code in self._file.all(AuthVerificationCode):
                if code.expiration_time <= now:
                    change.delete(code)
            for invitation in self._file.all(AuthInvitation):
                if invitation.expiration_time <= now and invitation.started_time is None:
                    change.delete(invitation)

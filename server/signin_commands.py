"""`one-mcp user` and `one-mcp session`: the hub's side."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from server.connections import Command, CommandFailed, Progress
from server.session import ALL_SCOPES
from storage.accounts import USUAL_SCOPES, Accounts, allowed_scopes
from storage.auth_file import now_ms
from storage.auth_tables import AuthAccount, AuthSession
from storage.sessions import Lifetimes, Sessions
from storage.tables import User

if TYPE_CHECKING:
    from server.service import Service
    from server.signin import SignIn

HOUR_MS = 3_600_000
_NO_LIFETIMES = Lifetimes(0, 0, 0)
"""Nothing is made here."""


class SignInCommands:
    """What the owner says about accounts and sessions."""

    def __init__(self, service: Service) -> None:
        self._service = service

    def commands(self) -> dict[str, Command]:
        """Each by its name."""
        return {
            "user.invite": self.invite,
            "user.list": self.users,
            "user.disable": self.disable,
            "user.enable": self.enable,
            "user.reset": self.reset,
            "session.list": self.sessions,
            "session.revoke": self.revoke,
        }

    @property
    def _accounts(self) -> Accounts:
        return Accounts(self._service.auth_file())

    @property
    def _sessions(self) -> Sessions:
        return Sessions(self._service.auth_file(), _NO_LIFETIMES)

    def _open(self) -> SignIn:
        if self._service.sign_in is None:
            raise CommandFailed(
                "The built-in sign-in is off: set enabled = true in the section [sign_in] of config.toml, and run "
                "`one-mcp serve`."
            )
        return self._service.sign_in

    async def invite(self, arguments: dict[str, Any], _progress: Progress) -> dict[str, Any]:
        """`email` may sign up, as `name`, with `scopes` at most. `link` is where, and is shown only now."""
        from server.signin.people import email_of, name_of

        sign_in, email = self._open(), email_of(str(arguments.get("email", "")))
        if email is None:
            raise CommandFailed(f"'{arguments.get('email')}' is no email address.")
        scopes = _scopes(arguments.get("scopes"))
        account = self._accounts.by_email(email)
        if account is not None:
            raise CommandFailed(
                f"{email} has an account already. `one-mcp user reset {email}` makes a link for a new password, "
                f"`one-mcp user enable {email} --scopes LIST` changes what its clients may be given."
            )
        name = name_of(arguments["name"]) if arguments.get("name") else None
        now = sign_in.clock()
        until = now + sign_in.settings.invitation_days * 24 * HOUR_MS
        token = await sign_in.accounts.invite(now, email, name, scopes, until)
        link = f"{sign_in.site.base}/sign-up?invitation={token}"
        return {"email": email, "scopes": scopes, "link": link, "expirationTime": until}

    async def users(self, _arguments: dict[str, Any], _progress: Progress) -> dict[str, Any]:
        """Every account, and every invitation without one yet."""
        now, accounts = now_ms(), self._accounts
        waiting = [
            {
                "email": one.email,
                "scopes": one.scopes,
                "createdAt": one.created_at,
                "expirationTime": one.expiration_time,
            }
            for one in accounts.invitations()
            if one.code is None and one.expiration_time > now
        ]
        return {"users": [await self._shown(account) for account in accounts.all()], "invitations": waiting}

    async def _shown(self, account: AuthAccount) -> dict[str, Any]:
        user = await self._service.engine.view().row_anywhere(account.user_id)
        shown = {
            "userId": account.user_id,
            "email": account.provider_account_id,
            "name": user.name if isinstance(user, User) else None,
            "scopes": sorted(allowed_scopes(account)),
            "createdAt": account.created_at,
            "disabledTime": account.disabled_time,
            "sessions": len(self._sessions.of_user(now_ms(), account.user_id)),
        }
        return {name: value for name, value in shown.items() if value is not None}

    async def disable(self, arguments: dict[str, Any], _progress: Progress) -> dict[str, Any]:
        """`email` cannot sign in any more, and its sessions end."""
        return await self._shown(await self._accounts.disable(now_ms(), self._account(arguments).id))

    async def enable(self, arguments: dict[str, Any], _progress: Progress) -> dict[str, Any]:
        """`email` can sign in again; with `scopes` its clients may be given those at most."""
        account = await self._accounts.enable(now_ms(), self._account(arguments).id)
        if arguments.get("scopes"):
            account = await self._accounts.set_scopes(now_ms(), account.id, _scopes(arguments["scopes"]))
        return await self._shown(account)

    async def reset(self, arguments: dict[str, Any], _progress: Progress) -> dict[str, Any]:
        """A `link` with which `email` chooses a new password, shown only now."""
        sign_in, account = self._open(), self._account(arguments)
        if account.disabled_time is not None:
            raise CommandFailed(
                f"{account.provider_account_id} is disabled; `one-mcp user enable {account.provider_account_id}` first."
            )
        now = sign_in.clock()
        until = now + sign_in.settings.reset_hours * HOUR_MS
        token = await sign_in.accounts.reset_link(now, account.id, until)
        link = f"{sign_in.site.base}/reset?token={token}"
        return {"email": account.provider_account_id, "link": link, "expirationTime": until}

    def _account(self, arguments: dict[str, Any]) -> AuthAccount:
        email = str(arguments.get("email", "")).strip().lower()
        account = self._accounts.by_email(email)
        if account is None:
            raise CommandFailed(f"{email or 'Nobody'} has no account. `one-mcp user list` shows who has one.")
        return account

    async def sessions(self, arguments: dict[str, Any], _progress: Progress) -> dict[str, Any]:
        """Every session that has not expired, or those of `email`."""
        now, accounts = now_ms(), self._accounts
        owners = {account.user_id: account.provider_account_id for account in accounts.all()}
        if arguments.get("email"):
            account = self._account(arguments)
            owners = {account.user_id: account.provider_account_id}
        return {
            "sessions": [
                _session(session, owners[session.user_id])
                for session in self._sessions.all()
                if session.expiration_time > now and session.user_id in owners
            ]
        }

    async def revoke(self, arguments: dict[str, Any], _progress: Progress) -> dict[str, Any]:
        """The session `id`, or all of `email`, end."""
        if arguments.get("email"):
            ended = [one.id for one in self._sessions.of_user(0, self._account(arguments).user_id)]
        else:
            session = self._sessions.get(str(arguments.get("id")))
            if session is None:
                raise CommandFailed(f"No session '{arguments.get('id')}'. `one-mcp session list` shows them.")
            ended = [session.id]
        await self._sessions.end(now_ms(), *ended)
        return {"ended": ended}


def _scopes(given: list[str] | None) -> list[str]:
    scopes = list(given or USUAL_SCOPES)
    unknown = sorted(set(scopes) - ALL_SCOPES)
    if unknown:
        raise CommandFailed(f"There is no scope '{unknown[0]}'. Scopes: {', '.join(sorted(ALL_SCOPES))}.")
    return scopes


def _session(session: AuthSession, email: str) -> dict[str, Any]:
    shown = {
        "_id": session.id,
        "email": email,
        "userId": session.user_id,
        "kind": session.kind,
        "clientName": session.client_name,
        "clientId": session.client_id,
        "scopes": session.scopes,
        "createdAt": session.created_at,
        "lastUsedTime": session.last_used_time,
        "expirationTime": session.expiration_time,
    }
    return {name: value for name, value in shown.items() if value is not None}

"""The user of an account: a row in another file, which is written first."""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

from pydantic import TypeAdapter, ValidationError

from storage.accounts import Accounts
from storage.auth_file import AuthFile
from storage.auth_tables import AuthAccount, AuthInvitation, AuthRefreshToken, AuthSession
from storage.errors import Conflict, Forbidden
from storage.tables import User
from storage.transaction import Transaction
from tools_impl.arguments import Email, Name
from tools_impl.caller import Caller
from tools_impl.users import create_user

if TYPE_CHECKING:
    from storage.engine import Engine

logger = logging.getLogger(__name__)
_EMAIL: TypeAdapter[str] = TypeAdapter(Email)
_NAME: TypeAdapter[str] = TypeAdapter(Name)


def email_of(text: str) -> str | None:
    """An address in the form in which it is stored, or None if it is none."""
    return _valid(_EMAIL, text)


def name_of(text: str) -> str | None:
    """A name in the form in which it is stored, or None if it is none."""
    return _valid(_NAME, text)


def _valid(kind: TypeAdapter[str], text: str) -> str | None:
    try:
        return kind.validate_python(text)
    except ValidationError:
        return None


class People:
    """Brings users and accounts together. A crash between the two files is mended at the next start."""

    def __init__(self, engine: Engine, file: AuthFile, owner_id: str, clock: Callable[[], int]) -> None:
        self._engine = engine
        self._file = file
        self._accounts = Accounts(file)
        self._admin = Caller("user", owner_id, owner_id, admin=True)
        self._clock = clock

    async def active(self, user_id: str) -> User | None:
        """The user of that id, if there is one and it is not deactivated."""
        row = await self._engine.view().row_anywhere(user_id)
        return row if isinstance(row, User) and row.deactivated_at is None else None

    async def finish(self, invitation: AuthInvitation) -> AuthAccount:
        """The account of an accepted invitation: its user first, then the account.

        Raises:
            Forbidden: the user of that address is deactivated.
        """
        user = await self._engine.writer.run(
            partial(self._user, email=invitation.email, name=invitation.name or invitation.email.partition("@")[0])
        )
        return await self._accounts.finish(self._clock(), invitation, user.id)

    async def _user(self, tx: Transaction, *, email: str, name: str) -> User:
        try:
            return await create_user(tx, self._admin, name, email)
        except Conflict as taken:
            user = await tx.find_row(taken.data["id"], User)
        if user is None or user.deactivated_at is not None:
            raise Forbidden(f"The user with the email {email} is deactivated.")
        return user

    async def repair(self) -> None:
        """Finish the sign-ups that a crash left half done, and end accounts and sessions without a user."""
        now = self._clock()
        for invitation in self._accounts.invitations():
            if invitation.started_time is not None:
                try:
                    await self.finish(invitation)
                    logger.warning("%s: its sign-up, which was left half done, is finished", invitation.id)
                except Forbidden:
                    logger.warning("%s: its user is deactivated", invitation.id)
        view = self._engine.view()
        orphans = [
            account
            for account in self._accounts.all()
            if not isinstance(await view.row_anywhere(account.user_id), User)
        ]
        if orphans:
            logger.warning("accounts without their user are removed: %s", ", ".join(one.id for one in orphans))
            await self._accounts.drop(now, orphans)
        await self._end_orphans(now)

    async def _end_orphans(self, now: int) -> None:
        owners = {account.user_id for account in self._accounts.all()}
        async with self._file.change(now) as change:
            kept = set()
            for session in self._file.all(AuthSession):
                if session.user_id in owners:
                    kept.add(session.id)
                else:
                    change.delete(session)
            for token in self._file.all(AuthRefreshToken):
                if token.session_id not in kept:
                    change.delete(token)

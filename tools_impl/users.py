"""People."""

from __future__ import annotations

from storage.errors import Conflict, Forbidden
from storage.tables import User
from storage.transaction import Transaction
from tools_impl.arguments import Email, Name, Url
from tools_impl.caller import Caller


async def create_user(tx: Transaction, me: Caller, name: Name, email: Email, image: Url | None = None) -> User:
    """Add a person. The email must be new. Owner or admin only.

    Raises:
        Forbidden: the caller is no admin (whether an email is taken is nobody else's business).
        Conflict: somebody has that email.
    """
    if not me.admin:
        raise Forbidden("Only the owner of this swarm or an admin adds people.")
    await email_is_free(tx, email)
    return tx.insert(User, name=name, email=email, image=image)


async def email_is_free(tx: Transaction, email: str) -> None:
    """Check that nobody has that email.

    Raises:
        Conflict: somebody has; `data` names the row.
    """
    for user in await tx.where(User, "email", email):
        raise Conflict(f"'{user.id}' ({user.name}) has the email {email} already.", id=user.id)

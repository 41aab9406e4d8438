"""`one-mcp token`: the hub's side."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from server.connections import CommandFailed, Progress
from server.session import ALL_SCOPES
from storage.auth_tables import AccessToken
from storage.errors import DomainError
from storage.tables import Agent, User

if TYPE_CHECKING:
    from server.service import Service


class TokenCommands:
    """Making, listing and revoking bearer tokens."""

    def __init__(self, service: Service) -> None:
        self._service = service

    async def create(self, arguments: dict[str, Any], _progress: Progress) -> dict[str, Any]:
        """`owner` is a user's or agent's id (the local owner by default), `expiresInMs` may be absent."""
        scopes = arguments.get("scopes") or ["read", "write"]
        unknown = sorted(set(scopes) - ALL_SCOPES)
        if unknown:
            raise CommandFailed(f"There is no scope '{unknown[0]}'. Scopes: {', '.join(sorted(ALL_SCOPES))}.")
        owner = arguments.get("owner") or self._service.owner.id
        row = await self._service.engine.view().row_anywhere(owner)
        if not isinstance(row, User | Agent) or row.deactivated_at is not None:
            raise CommandFailed(f"'{owner}' is no active user or agent.")
        lasts = arguments.get("expiresInMs")
        expires = int(datetime.now(UTC).timestamp() * 1000) + lasts if lasts is not None else None
        tokens = await self._service.tokens()
        text, token = await tokens.create(owner, scopes, name=arguments.get("name"), expiration_time=expires)
        await self._note("token_created", token)
        return {"token": text, **_shown(token)}

    async def _note(self, action: str, token: AccessToken) -> None:
        """Tell the audit log. Commands are of the owner of the machine; the token is of whom `about` names."""
        owner = self._service.owner.id
        await self._service.audit.note(
            action, member_id=owner, grant_id=token.id, origin="local", about=f"for {token.owner_id}"
        )

    async def list(self, _arguments: dict[str, Any], _progress: Progress) -> dict[str, Any]:
        """Every token, without its text."""
        return {"tokens": [_shown(token) for token in (await self._service.tokens()).all()]}

    async def revoke(self, arguments: dict[str, Any], _progress: Progress) -> dict[str, Any]:
        """`id` names the token."""
        try:
            token = await (await self._service.tokens()).revoke(str(arguments.get("id")))
        except DomainError as error:
            raise CommandFailed(error.message) from None
        await self._note("token_revoked", token)
        return _shown(token)


def _shown(token: AccessToken) -> dict[str, Any]:
    return {name: value for name, value in token.listed().items() if name != "hash"}

"""What tells clients where tokens come from: protected-resource metadata (RFC 9728) and the challenge of a 401."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import urlsplit

from pydantic_core import to_json
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from server.http.addresses import as_called

WELL_KNOWN = "/.well-known/oauth-protected-resource"


@dataclass(frozen=True)
class Resource:
    """The server as a protected resource: its URL, who makes tokens for it, and their scopes."""

    url: str
    authorization_servers: Sequence[str]
    scopes: Sequence[str] = ()

    @property
    def metadata_url(self) -> str:
        """Where the metadata is: the well-known path stands between the host and the path."""
        parts = urlsplit(self.url)
        return f"{parts.scheme}://{parts.netloc}{WELL_KNOWN}{parts.path.rstrip('/')}"


def metadata_routes(resource: Resource) -> list[Route]:
    """The metadata, where the RFC has it and at the root. Without an authorization server there is none to tell of."""
    if not resource.authorization_servers:
        return []

    async def metadata(request: Request) -> Response:
        host = request.headers.get("host", "")
        document = {
            "resource": as_called(resource.url, host),
            "authorization_servers": [as_called(one, host) for one in resource.authorization_servers],
            "scopes_supported": list(resource.scopes),
            "bearer_methods_supported": ["header"],
            "resource_name": "one-mcp",
        }
        # Without secrets, and read by pages that look for the way in.
        return Response(to_json(document), media_type="application/json", headers={"Cache-Control": "max-age=3600"})

    paths = {WELL_KNOWN, f"{WELL_KNOWN}/mcp", urlsplit(resource.metadata_url).path}
    return [Route(path, metadata) for path in sorted(paths)]


class Challenge:
    """The `WWW-Authenticate` header of a refusal."""

    def __init__(self, resource: Resource) -> None:
        signs_in = bool(resource.authorization_servers)
        self.help = "Sign in again." if signs_in else ""
        scopes = [f'scope="{" ".join(resource.scopes)}"'] if resource.scopes else []
        self._scopes = scopes if signs_in else []
        self._metadata_url = resource.metadata_url if signs_in else ""

    def header(self, error: str, text: str, host: str) -> bytes:
        """The value; `error` is a code of RFC 6750, or empty when no token was shown, `host` the name called by."""
        found = [f'resource_metadata="{as_called(self._metadata_url, host)}"'] if self._metadata_url else []
        said = [f'error="{error}"', f'error_description="{text}"'] if error else []
        return ("Bearer " + ", ".join([*said, *self._scopes, *found] or ['realm="one-mcp"'])).encode()

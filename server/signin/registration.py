"""/register and the server's metadata: how clients introduce themselves, and learn what there is."""

from __future__ import annotations

import json

from mcp.server.auth.json_response import PydanticJSONResponse
from mcp.shared.auth import OAuthMetadata
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from server.signin.authorize import SCOPES
from server.signin.clients import GRANTS, BadClient
from server.signin.core import Refused, SignIn
from server.signin.limits import requests


class Registration:
    """What clients ask before their first user is asked."""

    def __init__(self, sign_in: SignIn) -> None:
        self._sign_in = sign_in

    async def metadata(self, request: Request) -> Response:
        """What this server can do (RFC 8414), by the name under which it was called."""
        base, settings = self._sign_in.site.as_called(request).base, self._sign_in.settings
        urls = {
            "issuer": base,
            "authorization_endpoint": f"{base}/authorize",
            "token_endpoint": f"{base}/token",
            "revocation_endpoint": f"{base}/revoke",
            "registration_endpoint": f"{base}/register" if settings.register_clients else None,
        }
        metadata = OAuthMetadata.model_validate(  # from text: an issuer is compared letter by letter
            {
                **urls,
                "scopes_supported": list(SCOPES),
                "response_types_supported": ["code"],
                "response_modes_supported": ["query"],
                "grant_types_supported": list(GRANTS),
                "token_endpoint_auth_methods_supported": ["none"],
                "revocation_endpoint_auth_methods_supported": ["none"],
                "code_challenge_methods_supported": ["S256"],
                "client_id_metadata_document_supported": settings.client_documents,
                "authorization_response_iss_parameter_supported": True,
            }
        )
        return PydanticJSONResponse(metadata)

    async def register(self, request: Request) -> Response:
        """A new client (RFC 7591). It gets no secret, whatever it asked for: anybody may register."""
        origin = request.client.host if request.client is not None else "unknown"
        try:
            await self._sign_in.take(requests("register", origin))
            description = json.loads(await request.body())
            if not isinstance(description, dict):
                raise BadClient("invalid_client_metadata", "A description is a JSON object.")
            client = await self._sign_in.clients.register(description)
        except (ValueError, RecursionError):
            return _refusal("invalid_client_metadata", "A description is a JSON object.")
        except BadClient as error:
            return _refusal(error.code, error.text)
        except Refused as error:
            answer = _refusal("temporarily_unavailable", error.text, error.status)
            answer.headers["Retry-After"] = str(error.wait)
            return answer
        content = {
            "client_id": client.client_id,
            "client_id_issued_at": client.created_at // 1000,
            "client_name": client.name,
            "redirect_uris": client.redirect_uris,
            "grant_types": list(GRANTS),
            "response_types": ["code"],
            "token_endpoint_auth_method": "none",
            "scope": " ".join(SCOPES),
        }
        return JSONResponse(content, 201, headers={"Cache-Control": "no-store"})


def _refusal(code: str, text: str, status: int = 400) -> Response:
    return JSONResponse({"error": code, "error_description": text}, status, headers={"Cache-Control": "no-store"})

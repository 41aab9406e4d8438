"""A small identity provider on this machine: its metadata, its keys, and tokens good and forged."""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from collections.abc import AsyncIterator
from typing import Any

import jwt
import uvicorn
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from jwt.algorithms import ECAlgorithm, RSAAlgorithm
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from server.http.addresses import open_socket

AUDIENCE = "https://swarm.example.org/mcp"


class Issuer:
    """A provider whose keys can be changed. `asked` counts how often its keys were fetched."""

    def __init__(self, url: str = "") -> None:
        self.url = url
        self.asked = 0
        self.names_itself = ""
        self._private: dict[str, Any] = {}
        self._keys: list[dict[str, Any]] = []

    def new_rsa_key(self, kid: str) -> None:
        """A further key for RS256."""
        key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        self._add(kid, key, RSAAlgorithm.to_jwk(key.public_key()))

    def new_ec_key(self, kid: str) -> None:
        """A further key for ES256."""
        key = ec.generate_private_key(ec.SECP256R1())
        self._add(kid, key, ECAlgorithm.to_jwk(key.public_key()))

    def _add(self, kid: str, key: Any, public: str) -> None:
        self._private[kid] = key
        self._keys.append({**json.loads(public), "kid": kid, "use": "sig"})

    def withdraw(self, kid: str) -> None:
        """Publish a key no longer. Tokens can still be made with it."""
        self._keys = [key for key in self._keys if key["kid"] != kid]

    def token(self, kid: str, algorithm: str = "RS256", *, key: Any = None, **claims: Any) -> str:
        """A token; claims that are None are left out."""
        now = int(time.time())
        given = {
            "iss": self.url,
            "aud": AUDIENCE,
            "sub": "1f3a",
            "azp": "client",
            "iat": now,
            "exp": now + 300,
            "email": "ann@example.org",
            "email_verified": True,
            "scope": "openid one:read one:write",
            **claims,
        }
        kept = {name: value for name, value in given.items() if value is not None}
        return jwt.encode(kept, key or self._private[kid], algorithm=algorithm, headers={"kid": kid})

    def public_pem(self, kid: str) -> bytes:
        """The public key, which everybody can have."""
        from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

        pem: bytes = self._private[kid].public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
        return pem

    async def metadata(self, _: Request) -> Response:
        """As OpenID Connect Discovery has it."""
        return JSONResponse({"issuer": self.names_itself or self.url, "jwks_uri": f"{self.url}/keys"})

    async def keys(self, _: Request) -> Response:
        """The set of public keys."""
        self.asked += 1
        return JSONResponse({"keys": self._keys})


@contextlib.asynccontextmanager
async def identity_provider() -> AsyncIterator[Issuer]:
    """A provider with an RSA key "r1" and an EC key "e1", served on this machine."""
    issuer = Issuer()
    issuer.new_rsa_key("r1")
    issuer.new_ec_key("e1")
    routes = [Route("/realm/.well-known/openid-configuration", issuer.metadata), Route("/realm/keys", issuer.keys)]
    listening = open_socket("127.0.0.1", 0)
    issuer.url = f"http://127.0.0.1:{listening.getsockname()[1]}/realm"
    server = uvicorn.Server(uvicorn.Config(Starlette(routes=routes), log_config=None, lifespan="off"))
    # The tests have their own handlers for signals: serve() would put in others.
    serving = asyncio.create_task(server._serve([listening]))
    try:
        yield issuer
    finally:
        server.should_exit = True
        await serving

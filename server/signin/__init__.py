"""The built-in sign-in: an OAuth 2.1 authorization server with accounts of its own."""

from server.signin.core import SignIn
from server.signin.provider import SessionTokens
from server.signin.routing import opened, routes

__all__ = ["SessionTokens", "SignIn", "opened", "routes"]

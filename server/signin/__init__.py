"""The built-in sign-in: an OAuth 2.1 authorization server with accounts of its own."""

from server.signin.core import SignIn
from server.signin.provider import SessionTokens
from server.signin.routing import open_sign_in, routes

__all__ = ["SessionTokens", "SignIn", "open_sign_in", "routes"]

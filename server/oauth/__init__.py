"""Tokens of an identity provider outside: whose they are, and what they allow here."""

from server.oauth.tokens import ProviderTokens

__all__ = ["ProviderTokens"]

"""Kinds of values in settings: each says what it must be."""

from __future__ import annotations

from ipaddress import ip_network
from typing import Annotated
from urllib.parse import urlsplit

from pydantic import AfterValidator
from pydantic_core import PydanticCustomError


def _network(text: str) -> str:
    try:
        if text != "*":
            ip_network(text)
    except ValueError as error:
        message = "Input should be an address or a network such as '10.0.0.0/8', or '*' for all"
        raise PydanticCustomError("network", message) from error
    return text


def _url(text: str) -> str:
    if text and not _is_url(text):
        raise PydanticCustomError("url", "Input should be empty or a URL such as 'https://swarm.example.org/mcp'")
    return text


def _is_url(text: str) -> bool:
    try:
        parts = urlsplit(text)
        good = parts.scheme in ("http", "https") and parts.hostname is not None and parts.port != 0
    except ValueError:  # a port that is none
        return False
    plain = text.isascii() and text.isprintable() and " " not in text and '"' not in text
    return good and plain and parts.username is None and not parts.query and not parts.fragment


Network = Annotated[str, AfterValidator(_network)]
Url = Annotated[str, AfterValidator(_url)]

"""Streamable HTTP: `/mcp` for remote clients, `/healthz` for whoever watches the hub."""

from server.http.addresses import PATH, is_loopback
from server.http.app import build_app
from server.http.serve import serve_http

__all__ = ["PATH", "build_app", "is_loopback", "serve_http"]

"""/authorize and /consent: a client asks, its user answers."""

from __future__ import annotations

import re
from typing import Any
from urllib.parse import urlencode, urlsplit

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from server.signin.browser import Browser
from server.signin.clients import BadClient, Client
from server.signin.core import Refused, SignIn
from server.signin.limits import requests
from server.signin.pages import render
from server.signin.site import Site
from storage.accounts import USUAL_SCOPES, allowed_scopes
from storage.auth_tables import AuthAccount

SCOPES = {
    "read": "Read what you can see: conversations, knowledge, events, and search in them",
    "write": "Write as you: send messages, add and change what is yours",
    "analyst": "Ask in SQL across everything that is stored, also what you do not take part in",
    "admin": "See, change and delete everything, and add people, as the owner of this server can",
}
"""Every scope in plain words, from the least to the most."""
STATE_CHARS = 2_000
_CHALLENGE = re.compile(r"[A-Za-z0-9_-]{43}")
_ONCE = ("client_id", "redirect_uri", "response_type", "scope", "state", "code_challenge", "code_challenge_method")


class _ForClient(Exception):
    """An error that the client is told, by way of the browser."""

    def __init__(self, code: str, text: str) -> None:
        super().__init__(text)
        self.code = code
        self.text = text


class Authorization:
    """The pages on which a user lets a client act for them."""

    def __init__(self, sign_in: SignIn) -> None:
        self._sign_in = sign_in

    async def authorize(self, request: Request, browser: Browser, origin: str) -> Response:
        """The question to the user, or the way to sign in first. Nothing is looked up for who is not signed in."""
        account = self._account(browser)
        if account is None:
            return _redirect(f"/sign-in?{urlencode({'next': f'/authorize?{request.url.query}'})}")
        asked = request.query_params
        for name in _ONCE:
            if len(asked.getlist(name)) > 1:
                raise Refused(f"The client asks in a wrong way: '{name}' is given twice.")
        await self._sign_in.take(requests("authorize", account.id))
        try:
            client = await self._sign_in.clients.find(asked.get("client_id", ""))
            uri = self._redirect_uri(client, asked.get("redirect_uri"))
        except BadClient as error:
            raise Refused(error.text) from error
        site = self._sign_in.site.as_called(request)
        try:
            wanted = self._wanted(request, account)
        except _ForClient as error:
            answer = _answer(uri, site, asked.get("state"), error=error.code, error_description=error.text)
            return render("leaving", url=answer, client_name=client.name, redirect_host=_host(uri))
        csrf = browser.form_token(
            "consent",
            self._sign_in.clock(),
            client=client.id,
            name=client.name,
            uri=uri,
            given="redirect_uri" in asked,
            state=asked.get("state"),
            account=account.id,
            **wanted,
        )
        return render(
            "consent",
            csrf=csrf,
            client_name=client.name,
            client_host=client.host or "",
            redirect_host=_host(uri),
            scopes=[(name, SCOPES[name]) for name in wanted["scopes"]],
            user_email=account.provider_account_id,
        )

    async def consent(self, request: Request, browser: Browser, origin: str) -> Response:
        """The user's answer, on the way to the client."""
        form = await request.form()
        asked = browser.carried("consent", str(form.get("csrf", "")), self._sign_in.clock())
        account = self._account(browser)
        if account is None or account.id != asked["account"]:
            raise Refused("You are not signed in any more. Let the client connect anew.", status=403)
        site = self._sign_in.site.as_called(request)
        if form.get("decision") != "allow":
            answer = _answer(asked["uri"], site, asked["state"], error="access_denied", error_description="denied")
            await self._sign_in.note("access_deny", member_id=account.user_id, origin=origin, about=asked["client"])
        else:
            code = await self._sign_in.sessions.authorize(
                self._sign_in.clock(),
                signature=asked["challenge"],
                user_id=account.user_id,
                client_id=asked["client"],
                client_name=asked["name"],
                redirect_uri=asked["uri"],
                redirect_given=asked["given"],
                scopes=asked["scopes"],
                resource=self._sign_in.site.resource,
            )
            await self._sign_in.clients.used(asked["client"])
            answer = _answer(asked["uri"], site, asked["state"], code=code)
            await self._sign_in.note("access_allow", member_id=account.user_id, origin=origin, about=asked["client"])
        return render("leaving", url=answer, client_name=asked["name"], redirect_host=_host(asked["uri"]))

    def _account(self, browser: Browser) -> AuthAccount | None:
        if browser.session is None:
            return None
        return self._sign_in.accounts.of_user(browser.session.user_id)

    @staticmethod
    def _redirect_uri(client: Client, given: str | None) -> str:
        if given is None:
            if len(client.redirect_uris) == 1:
                return client.redirect_uris[0]
            raise BadClient("invalid_redirect_uri", "The client does not say where to go back to.")
        if not client.takes(given):
            raise BadClient("invalid_redirect_uri", "The client wants to go back to where it is not known to be.")
        return given

    def _wanted(self, request: Request, account: AuthAccount) -> dict[str, Any]:
        """What the client asks for, as far as it may be given.

        Raises:
            _ForClient: it cannot be.
        """
        asked = request.query_params
        if asked.get("response_type") != "code":
            raise _ForClient("unsupported_response_type", "response_type must be 'code'")
        if len(asked.get("state", "")) > STATE_CHARS:
            raise _ForClient("invalid_request", f"state has at most {STATE_CHARS} characters")
        challenge = asked.get("code_challenge", "")
        if asked.get("code_challenge_method") != "S256" or not _CHALLENGE.fullmatch(challenge):
            raise _ForClient("invalid_request", "PKCE is needed: code_challenge with code_challenge_method 'S256'")
        if any(not self._sign_in.site.is_own(one) for one in asked.getlist("resource")):
            raise _ForClient("invalid_target", f"the resource here is {self._sign_in.site.resource}")
        wanted = set((asked.get("scope") or " ".join(USUAL_SCOPES)).split())
        scopes = [name for name in SCOPES if name in wanted & allowed_scopes(account)]
        if not scopes:
            raise _ForClient("invalid_scope", "this user may allow none of these scopes")
        return {"challenge": challenge, "scopes": scopes}


def _answer(uri: str, site: Site, state: str | None, **values: str) -> str:
    """The redirect URI with an answer. It names who answers, so that a client does not mix up two servers."""
    values |= {"iss": site.base} | ({"state": state} if state is not None else {})
    return f"{uri}{'&' if '?' in uri else '?'}{urlencode(values)}"


def _host(uri: str) -> str:
    """Where a redirect URI leads, in short."""
    parts = urlsplit(uri)
    return parts.netloc if parts.scheme in ("http", "https") else f"{parts.scheme}:"


def _redirect(url: str) -> Response:
    headers = {"Cache-Control": "no-store", "Referrer-Policy": "no-referrer"}
    return RedirectResponse(url, status_code=302, headers=headers)

"""The pages for people: sign in, sign up, a new password, and what is signed in where."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from starlette.datastructures import FormData
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from server.signin.browser import Browser, Forged
from server.signin.core import Refused, SignIn
from server.signin.pages import render

if TYPE_CHECKING:
    from storage.auth_tables import AuthAccount, AuthSession

HOUR_MS = 3_600_000
_AFTER = ("/authorize", "/account")
"""Where signing in may lead."""
Page = Callable[[Request, Browser, str], Awaitable[Response]]
Handler = Callable[[Request], Awaitable[Response]]


class Views:
    """A handler for each page. Each gets the request, its browser, and the address from which it comes."""

    def __init__(self, sign_in: SignIn) -> None:
        self._sign_in = sign_in

    def handler(self, page: Page) -> Handler:
        """A page with what all of them have: the browser and its cookie, and errors as pages."""

        async def handle(request: Request) -> Response:
            secure = self._sign_in.site.secure
            browser = Browser.of(request, self._sign_in.sessions, self._sign_in.clock(), secure=secure)
            origin = request.client.host if request.client is not None else "unknown"
            try:
                if request.method == "POST":
                    _same_site(request)
                response = await page(request, browser, origin)
            except Forged:
                text = "This page was open for too long, or did not come from here. Go back, reload it, and try again."
                response = render("error", status=403, title="Try again", text=text)
            except Refused as error:
                response = render("error", status=error.status, title="This does not work", text=error.text)
                _say_when(response, error)
            browser.keep(response)
            return response

        return handle

    # -- signing in ----------------------------------------------------------------------------------------------

    async def sign_in(self, request: Request, browser: Browser, origin: str) -> Response:
        """Email and password."""
        if request.method != "POST":
            after = _after(request.query_params.get("next", ""))
            return _go(after) if browser.session is not None else self._door(browser, after)
        form = await self._form(request, browser, "door")
        after = _after(_text(form, "next"))
        try:
            account = await self._sign_in.by_password(_text(form, "email"), _text(form, "password"), origin)
        except Refused as error:
            return self._door(browser, after, email=_text(form, "email"), refused=error)
        return await self._welcome(browser, account, after, origin)

    def _door(self, browser: Browser, after: str, email: str = "", refused: Refused | None = None) -> Response:
        settings = self._sign_in.settings
        return self._with_error(
            "sign_in",
            refused,
            csrf=self._token(browser, "door"),
            next=after,
            email=email,
            allow_sign_up=settings.allow_sign_up,
            methods=["password", "code"] if settings.one_time_codes else ["password"],
        )

    async def code(self, request: Request, browser: Browser, origin: str) -> Response:
        """A one-time code: without one it is sent, with one it is checked."""
        if request.method != "POST":
            return _go("/sign-in")
        form = await self._form(request, browser, "door")
        ticket = browser.carried("door", _text(form, "csrf"), self._sign_in.clock()).get("ticket", "")
        email, code, after = _text(form, "email"), _text(form, "code"), _after(_text(form, "next"))
        if not code:
            try:
                ticket = await self._sign_in.send_code(email, origin)
            except Refused as error:
                return self._door(browser, after, email=email, refused=error)
            return self._ask_code(browser, email, after, ticket)
        try:
            account = await self._sign_in.by_code(email, code, ticket, origin)
        except Refused as error:
            return self._ask_code(browser, email, after, ticket, error)
        return await self._welcome(browser, account, after, origin)

    def _ask_code(
        self, browser: Browser, email: str, after: str, ticket: str, refused: Refused | None = None
    ) -> Response:
        csrf = self._token(browser, "door", ticket=ticket)
        return self._with_error("code", refused, csrf=csrf, email=email, next=after)

    async def _welcome(self, browser: Browser, account: AuthAccount, after: str, origin: str) -> Response:
        """Signed in, with a new cookie: what the browser had before is worth nothing."""
        now = self._sign_in.clock()
        if browser.session is not None:
            await self._sign_in.sessions.end(now, browser.session.id)
        until = now + self._sign_in.settings.browser_hours * HOUR_MS
        browser.become(await self._sign_in.sessions.sign_in(now, account.user_id, until))
        await self._sign_in.note("sign_in", member_id=account.user_id, origin=origin)
        return _go(after)

    # -- signing up, and a new password --------------------------------------------------------------------------

    async def sign_up(self, request: Request, browser: Browser, origin: str) -> Response:
        """An account for who was invited or, where that is allowed, for anybody with an address."""
        if request.method != "POST":
            token, after = request.query_params.get("invitation", ""), _after(request.query_params.get("next", ""))
            found = self._sign_in.accounts.invitation(self._sign_in.clock(), token)
            invited = found if found is not None and found.code is None else None
            if not token:
                self._sign_in.check_sign_up()
            elif invited is None:
                raise Refused("This invitation is not good, or not any more. Ask the owner of this server for another.")
            email, name = (invited.email, invited.name or "") if invited is not None else ("", "")
            return self._ask_to_sign_up(browser, token, after, email, name)
        form = await self._form(request, browser, "sign-up")
        token, after = _text(form, "invitation"), _after(_text(form, "next"))
        email, name, password = (_text(form, field) for field in ("email", "name", "password"))
        try:
            if not token:
                ticket = await self._sign_in.ask_to_sign_up(email, name, password, origin)
                return self._ask_code(browser, email, after, ticket)
            account = await self._sign_in.sign_up(token, email, name, password, origin)
        except Refused as error:
            return self._ask_to_sign_up(browser, token, after, email, name, error)
        return await self._welcome(browser, account, after, origin)

    def _ask_to_sign_up(
        self, browser: Browser, token: str, after: str, email: str, name: str, refused: Refused | None = None
    ) -> Response:
        return self._with_error(
            "sign_up",
            refused,
            csrf=self._token(browser, "sign-up"),
            invitation=token,
            email=email,
            name=name,
            next=after,
            least=self._sign_in.settings.password_chars,
        )

    async def reset(self, request: Request, browser: Browser, origin: str) -> Response:
        """A new password, by a link of the owner's."""
        if request.method != "POST":
            return self._ask_new_password(browser, request.query_params.get("token", ""))
        form = await self._form(request, browser, "reset")
        token = _text(form, "token")
        try:
            await self._sign_in.reset(token, _text(form, "password"), origin)
        except Refused as error:
            return self._ask_new_password(browser, token, error)
        browser.leave()
        text = "Your password is changed, and you are signed out everywhere."
        return render("message", title="Done", text=text, link="/sign-in", link_text="Sign in")

    def _ask_new_password(self, browser: Browser, token: str, refused: Refused | None = None) -> Response:
        return self._with_error(
            "reset",
            refused,
            csrf=self._token(browser, "reset"),
            token=token,
            email=self._sign_in.resetting(token).provider_account_id,
            least=self._sign_in.settings.password_chars,
        )

    # -- what is signed in where ---------------------------------------------------------------------------------

    async def account(self, request: Request, browser: Browser, origin: str) -> Response:
        """The sessions of who is signed in."""
        account = self._account(browser)
        if account is None:
            return _go("/sign-in?next=/account")
        now = self._sign_in.clock()
        sessions = [_shown(one, browser) for one in self._sign_in.sessions.of_user(now, account.user_id)]
        csrf = self._token(browser, "account")
        return render("sessions", csrf=csrf, user_email=account.provider_account_id, sessions=sessions)

    async def revoke(self, request: Request, browser: Browser, origin: str) -> Response:
        """The end of one of them."""
        form = await self._form(request, browser, "account")
        account, session = self._account(browser), self._sign_in.sessions.get(_text(form, "session"))
        if account is not None and session is not None and session.user_id == account.user_id:
            await self._sign_in.sessions.end(self._sign_in.clock(), session.id)
            await self._sign_in.note("session_revoked", member_id=account.user_id, grant_id=session.id, origin=origin)
        return _go("/account")

    async def sign_out(self, request: Request, browser: Browser, origin: str) -> Response:
        """The end of this browser's session."""
        await self._form(request, browser, "account")
        if browser.session is not None:
            await self._sign_in.sessions.end(self._sign_in.clock(), browser.session.id)
            await self._sign_in.note("sign_out", member_id=browser.session.user_id, origin=origin)
        browser.leave()
        text = "You are signed out in this browser. Clients that you connected stay connected."
        return render("message", title="Signed out", text=text, link="/sign-in", link_text="Sign in")

    def _account(self, browser: Browser) -> AuthAccount | None:
        return self._sign_in.accounts.of_user(browser.session.user_id) if browser.session is not None else None

    # -- forms ---------------------------------------------------------------------------------------------------

    async def _form(self, request: Request, browser: Browser, name: str) -> FormData:
        """A form that came from a page of ours.

        Raises:
            Forged: it did not.
        """
        form = await request.form()
        browser.carried(name, _text(form, "csrf"), self._sign_in.clock())
        return form

    def _token(self, browser: Browser, form: str, **carried: str) -> str:
        return browser.form_token(form, self._sign_in.clock(), **carried)

    def _with_error(self, page: str, refused: Refused | None, /, **values: Any) -> Response:
        """A page that is shown again with what is wrong."""
        status, error = (refused.status, refused.text) if refused is not None else (200, "")
        response = render(page, status=status, error=error, **values)
        _say_when(response, refused)
        return response


def _text(form: FormData, name: str) -> str:
    value = form.get(name, "")
    return value if isinstance(value, str) else ""


def _after(path: str) -> str:
    """Where signing in leads: a page of ours, whatever a link says."""
    parts = urlsplit(path)
    return path if path.startswith(_AFTER) and parts.path in _AFTER and not parts.netloc else "/account"


def _go(path: str) -> Response:
    headers = {"Cache-Control": "no-store", "Referrer-Policy": "no-referrer"}
    return RedirectResponse(path, status_code=303, headers=headers)


def _same_site(request: Request) -> None:
    """Refuse what a page of somebody else sends, where the browser says so.

    Raises:
        Forged: it does.
    """
    if request.headers.get("sec-fetch-site", "none") not in ("same-origin", "none"):
        raise Forged


def _say_when(response: Response, refused: Refused | None) -> None:
    if refused is not None and refused.wait is not None:
        response.headers["Retry-After"] = str(refused.wait)


def _shown(session: AuthSession, browser: Browser) -> dict[str, Any]:
    return {
        "id": session.id,
        "clientName": session.client_name or "",
        "scopes": session.scopes or [],
        "createdAt": session.created_at,
        "lastUsedAt": session.last_used_time,
        "current": browser.session is not None and session.id == browser.session.id,
        "kind": session.kind or "client",
    }

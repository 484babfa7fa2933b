"""Who may look, and what a browser may do with what it gets."""

from __future__ import annotations

import hmac
import ipaddress
from http.cookies import CookieError, SimpleCookie
from urllib.parse import parse_qs

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import PlainTextResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

__all__ = ["Guard", "is_loopback"]

COOKIE = "aerodet"
PAGE_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'; "
    "require-trusted-types-for 'script'; trusted-types 'none'"
)
HEADERS = {
    "cache-control": "no-store",
    "content-security-policy": PAGE_POLICY,
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(), geolocation=(), microphone=()",
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
}


class Guard:
    """Middleware around the page.

    On loopback there is no token, and a request must name this machine as its host: a page from elsewhere whose name
    was pointed at 127.0.0.1 is turned away. With a token, ``?token=`` is taken once and becomes a cookie; programs send
    it as a bearer.

    Args:
        app: what is guarded.
        token: what must be known to look; None asks for nothing.
    """

    def __init__(self, app: ASGIApp, token: str | None) -> None:
        self._app, self._token = app, token

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, or hand it on."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    headers.setdefault(name, value)
            await send(message)

        refusal = self._refusal(scope)
        await (refusal or self._app)(scope, receive, guarded)

    def _refusal(self, scope: Scope) -> Response | None:
        if scope["method"] not in ("GET", "HEAD"):
            return PlainTextResponse("This page only shows; it changes nothing.", 405, {"allow": "GET, HEAD"})
        headers = Headers(scope=scope)
        if self._token is None:
            host = headers.get("host", "")
            name = host.rpartition(":")[0] if host.rpartition(":")[2].isdigit() else host
            return None if is_loopback(name) else PlainTextResponse("This page is for this machine alone.", 421)
        offered = parse_qs(scope["query_string"].decode("latin-1")).get("token", [""])[0]
        if offered and self._right(offered):
            answer = RedirectResponse("/", 303)
            answer.set_cookie(COOKIE, self._token, httponly=True, samesite="strict")
            return answer
        if self._right(_cookie(headers)) or self._right(headers.get("authorization", "").removeprefix("Bearer ")):
            return None
        return PlainTextResponse("This page needs the token that `aerodet ui` printed: open its whole address.", 401)

    def _right(self, offered: str) -> bool:
        return hmac.compare_digest(offered.encode(), (self._token or "").encode())


def _cookie(headers: Headers) -> str:
    try:
        morsel = SimpleCookie(headers.get("cookie", "")).get(COOKIE)
    except CookieError:
        return ""
    return morsel.value if morsel is not None else ""


def is_loopback(host: str) -> bool:
    """Say whether a host is this machine's own, by its spelling; no name is looked up."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.removeprefix("[").removesuffix("]")).is_loopback
    except ValueError:
        return False

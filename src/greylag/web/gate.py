"""What every request passes first, whatever it asks for; and what every response carries.

Its size and time are bounded, its Host has to be ours, and each POST has to come from a form that
was made for the same browser. No page has to think of any of this.
"""

from __future__ import annotations

import asyncio
from time import time

from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from greylag.web.accounts import AccountsError, Role
from greylag.web.connection import HEAD
from greylag.web.cookies import read_word
from greylag.web.forms import Fields, WrongForm, read_fields
from greylag.web.messages import refusal
from greylag.web.places import host_allowed, source_of
from greylag.web.visit import Visit, Web

WHOLE = 30.0  # seconds for a request, until its response is written
BODY_WITHIN = 10.0  # seconds until a form has come
MOST_BODY = 1 << 20  # bytes of a form: an import has some
SMALL_BODY = 8192  # of whoever may send no such form: two passwords have 6 kB at most
_FORM = "application/x-www-form-urlencoded"
CSP = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
    "form-action 'self'; frame-ancestors 'none'; base-uri 'none'"
)
HEADERS = {
    b"content-security-policy": CSP.encode(),
    b"x-content-type-options": b"nosniff",
    b"x-frame-options": b"DENY",
    b"referrer-policy": b"no-referrer",
    b"cross-origin-opener-policy": b"same-origin",
    b"cross-origin-resource-policy": b"same-origin",
    b"permissions-policy": b"camera=(), geolocation=(), microphone=()",
}


class Gate:
    """The application around the application."""

    def __init__(self, app: ASGIApp, web: Web) -> None:
        self._app = app
        self._web = web

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            return

        async def send_safely(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = [h for h in message["headers"] if h[0].lower() not in HEADERS]
                if not any(name.lower() == b"cache-control" for name, _ in headers):
                    headers.append((b"cache-control", b"no-store"))
                message = {**message, "headers": [*headers, *HEADERS.items()]}
            await send(message)

        async with asyncio.timeout(WHOLE):
            request = Request(scope, receive)
            response = await self._admit(request)
            app: ASGIApp = self._app if response is None else response
            await app(scope, receive, send_safely)

    async def _admit(self, request: Request) -> Response | None:
        """Put the visit into the request's scope; or return why it goes no further."""
        web = self._web
        if _head_size(request) > HEAD:
            return PlainTextResponse("The head of this request is too large.", 431)
        visit = _visit(request, web)
        request.scope["visit"] = visit
        host = request.headers.get("host", "")
        if not host_allowed(host, web.hosts):
            told = "This name is not one of the dashboard's (setting web.hosts)."
            return refusal(visit, 421, told)
        if visit.method not in ("GET", "HEAD", "POST"):
            return refusal(visit, 405, "Pages are looked at, and forms are sent: nothing else.")
        try:
            visit.query = read_fields(request.scope["query_string"])
            if visit.method == "POST":
                refused = await self._form(request, visit, host)
                if refused is not None:
                    return refused
            visit.account = web.sessions.account(visit.word, web.accounts.all(), visit.now)
        except WrongForm as error:
            return refusal(visit, 400, f"{error}.")
        except AccountsError as error:
            web.journal.event({"event": "web-users-unusable", "error": str(error)}, "error")
            return refusal(visit, 503, "Nobody can sign in now: see the log of greylag web.")
        return None

    async def _form(self, request: Request, visit: Visit, host: str) -> Response | None:
        """Read the form that was sent; or return why it is refused."""
        kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
        if kind != _FORM:
            return refusal(visit, 415, "Expected a form.")
        if not _from_here(request, host):
            return refusal(visit, 403, "This form was sent by a page that is not the dashboard's.")
        account = visit.web.sessions.account(visit.word, visit.web.accounts.all(), visit.now)
        large = account is not None and account.role.may(Role.OPERATOR)
        body = await _body(request, MOST_BODY if large else SMALL_BODY)
        if body is None:
            return refusal(visit, 413, "This form is too large, or took too long.")
        visit.form = read_fields(body)
        if not visit.web.sessions.right(visit.word, visit.form.one("token")):
            told = "This form has expired: go back, load the page again, and send it again."
            return refusal(visit, 403, told)
        return None


def _head_size(request: Request) -> int:
    """Return the bytes of a head: h11 bounds those alone that do not come in one go."""
    scope = request.scope
    size = len(scope["raw_path"]) + len(scope["query_string"])
    return size + sum(len(name) + len(text) + 4 for name, text in scope["headers"])


def _visit(request: Request, web: Web) -> Visit:
    headers = request.headers
    peer = request.client.host if request.client else ""
    believed = peer in web.proxies
    proto = headers.get("x-forwarded-proto", "").rpartition(",")[2].strip().lower()
    secure = believed and proto == "https"
    return Visit(
        web=web,
        method=request.method,
        path=request.scope["path"],
        query=Fields(),
        form=Fields(),
        host=headers.get("host", ""),
        source=source_of(peer, headers.get("x-forwarded-for", ""), web.proxies),
        secure=secure,
        word=read_word(headers.get("cookie", ""), secure=secure),
        account=None,
        now=int(time()),
    )


def _from_here(request: Request, host: str) -> bool:
    """Tell whether a browser says that a page of ours sent a form. Old ones say nothing."""
    site = request.headers.get("sec-fetch-site")
    if site is not None:
        return site == "same-origin"
    origin = request.headers.get("origin", "null")  # what browsers say where there is no referrer
    return origin == "null" or origin.partition("://")[2] == host


async def _body(request: Request, most: int) -> bytes | None:
    """Return the body; None where it is too large or takes too long."""
    parts: list[bytes] = []
    size = 0
    try:
        async with asyncio.timeout(BODY_WITHIN):
            async for part in request.stream():
                size += len(part)
                if size > most:
                    return None
                parts.append(part)
    except TimeoutError:
        return None
    return b"".join(parts)

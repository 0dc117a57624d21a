"""Signing in and out, the first user, and one's own password.

Tries are throttled before a password is looked at, and two hashes are made at once at most: each
takes memory and a processor, and anybody may ask for one.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from time import monotonic
from typing import TypeVar

from starlette.responses import HTMLResponse, Response

from greylag.web.accounts import (
    LONGEST,
    Account,
    AccountsError,
    Overtaken,
    check_name,
    check_password,
)
from greylag.web.cookies import give_word, new_word
from greylag.web.forms import WrongForm
from greylag.web.messages import go_to, refusal
from greylag.web.throttle import same
from greylag.web.visit import Visit

AT_ONCE = 2  # hashes
_WAITING = 8  # that wait for one; of more, the next is told to come again
_SOON = 2  # seconds
_READ_ONLY = "This dashboard only reads: nothing was changed."
_USED = "This link has been used, or its time is over."

T = TypeVar("T")


class TooMany(Exception):
    """Enough hashes wait already."""


class Hashing:
    """Two threads in which passwords are hashed."""

    def __init__(self) -> None:
        self._pool = ThreadPoolExecutor(AT_ONCE, "hash")
        self._asked = 0

    async def run(self, work: Callable[[], T]) -> T:
        """Return what the work returns. Raises TooMany."""
        if self._asked >= AT_ONCE + _WAITING:
            raise TooMany
        self._asked += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(self._pool, work)
        finally:
            self._asked -= 1


class Signing:
    """The pages for whoever is not signed in, and for leaving."""

    def __init__(self, hashing: Hashing) -> None:
        self._hashing = hashing

    async def form(self, visit: Visit) -> Response:
        """Show the form."""
        if visit.account is not None:
            return go_to("/")
        return _with_word(visit, "signin", wrong="", back=_back(visit.query.one("back")))

    async def sign_in(self, visit: Visit) -> Response:
        """Look at a name and a password."""
        web, user = visit.web, visit.form.raw("user", LONGEST).strip()
        told: dict[str, str | int] = {"user": user, "source": visit.source}
        wait = web.throttle.admit(visit.source, user, monotonic())
        if wait:
            return self._later(visit, wait)
        try:
            password = visit.form.raw("password", LONGEST)
            account = web.accounts.all().get(user)
            secret = account.secret if account else None
            right = await self._hashing.run(lambda: web.hasher.fits(secret, password))
        except WrongForm:
            right, account = False, None
        except TooMany:
            return self._later(visit, _SOON)
        if not right or account is None:
            web.journal.event({"event": "web-sign-in-refused", **told}, "warn")
            wrong = "This name and this password do not go together."
            back = _back(visit.form.one("back"))
            return _with_word(visit, "signin", 403, wrong=wrong, back=back)
        web.throttle.succeeded(visit.source, user, monotonic())
        web.journal.event({"event": "web-signed-in", **told, "role": account.role.value})
        return self._signed_in(visit, account, _back(visit.form.one("back")))

    async def sign_out(self, visit: Visit) -> Response:
        """End the session."""
        visit.web.sessions.end(visit.word)
        if visit.account is not None:
            visit.web.journal.event({"event": "web-signed-out", "user": visit.user})
        response = go_to("/sign-in")
        give_word(response, new_word(), secure=visit.secure)
        return response

    async def set_up_form(self, visit: Visit) -> Response:
        """Show the form for the first user, to whoever has the link."""
        if not self._may_set_up(visit):
            return refusal(visit, 404, _USED)
        return _with_word(visit, "setup", wrong="", user="admin")

    async def set_up(self, visit: Visit) -> Response:
        """Make the first user, an admin; the link is of no use after that."""
        if not self._may_set_up(visit):
            return refusal(visit, 404, _USED)
        name = visit.form.one("user")
        try:
            name = check_name(name)
            first = visit.web.accounts.put_first
            account = await self._made(visit, name, lambda secret: first(name, secret))
        except Overtaken:
            return refusal(visit, 404, _USED)
        except (ValueError, AccountsError) as error:
            return _with_word(visit, "setup", 400, wrong=f"{error}.", user=name[:64])
        except TooMany:
            return self._later(visit, _SOON)
        visit.web.setup = None
        return self._signed_in(visit, account, "/")

    async def password_form(self, visit: Visit) -> Response:
        """Show the form for one's own password."""
        if visit.web.read_only:
            return refusal(visit, 403, _READ_ONLY)
        page = visit.web.drawing.page("password", visit, wrong="")
        return HTMLResponse(page)

    async def set_password(self, visit: Visit) -> Response:
        """Change one's own password; all sessions end, but the one that is begun for it."""
        web, account = visit.web, visit.account
        if account is None:
            return refusal(visit, 403, "Sign in first.")
        if web.read_only:
            return refusal(visit, 403, _READ_ONLY)
        wait = web.throttle.admit(visit.source, account.name, monotonic())
        if wait:
            return self._later(visit, wait)
        wrong = ""
        try:
            old = visit.form.raw("old", LONGEST)
            if await self._hashing.run(lambda: web.hasher.fits(account.secret, old)):
                renew = web.accounts.renew
                changed = await self._made(
                    visit, account.name, lambda secret: renew(account, secret)
                )
                return self._signed_in(visit, changed, "/")
            wrong = "This is not your password."
        except (ValueError, AccountsError) as error:
            wrong = f"{error}."
        except TooMany:
            return self._later(visit, _SOON)
        return HTMLResponse(web.drawing.page("password", visit, wrong=wrong), 400)

    async def _made(self, visit: Visit, name: str, put: Callable[[str], Account]) -> Account:
        """Store a user with the password of the form. Raises ValueError, TooMany, Overtaken.

        A hash takes its time, and the file may change in it: `put` has to look at it again, under
        its lock.
        """
        web, password = visit.web, check_password(visit.form.raw("password", LONGEST), name)
        if password != visit.form.raw("again", LONGEST):
            raise ValueError("Expected the same password twice")
        account = await self._hashing.run(lambda: put(web.hasher.make(password)))
        web.sessions.end_all_of(name)
        told = {"event": "web-password-set", "user": name, "source": visit.source}
        web.journal.event(told)
        return account

    def _may_set_up(self, visit: Visit) -> bool:
        setup = visit.web.setup
        given = visit.parts.get("word", "")
        return (
            setup is not None
            and visit.now < setup.until
            and same(setup.word, given)
            and not visit.web.accounts.all()
        )

    def _signed_in(self, visit: Visit, account: Account, back: str) -> Response:
        visit.web.sessions.end(visit.word)
        response = go_to(back)
        word = visit.web.sessions.begin(account, visit.now)
        give_word(response, word, secure=visit.secure)
        return response

    def _later(self, visit: Visit, wait: int) -> Response:
        told = f"Too many tries to sign in: wait {wait} seconds."
        return refusal(visit, 429, told, wait)


def _with_word(visit: Visit, page: str, status: int = 200, /, **facts: object) -> Response:
    """Return a page with a form for a browser that is not signed in."""
    given = not visit.word
    visit.word = visit.word or new_word()
    response = HTMLResponse(visit.web.drawing.page(page, visit, **facts), status)
    if given:
        give_word(response, visit.word, secure=visit.secure)
    return response


def _back(text: str) -> str:
    """Return where to go after the sign-in: a page of ours, whatever the form says."""
    inside = text.startswith("/") and not text.startswith("//") and "\\" not in text
    return text if inside and text.isascii() and text.isprintable() else "/"

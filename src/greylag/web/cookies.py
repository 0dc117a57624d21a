"""The one cookie: a random word, for this host alone, which no script and no other site may use."""

from __future__ import annotations

from secrets import token_urlsafe

from starlette.responses import Response

_NAME = "greylag"
_LONGEST = 100


def cookie_name(*, secure: bool) -> str:
    """Return the name. `__Host-` has the browser refuse one that came from a plain connection."""
    return f"__Host-{_NAME}" if secure else _NAME


def read_word(header: str, *, secure: bool) -> str:
    """Return the word of a Cookie header; "" where there is none."""
    name = cookie_name(secure=secure)
    for part in header.split(";"):
        key, _equals, text = part.strip().partition("=")
        if key == name and 0 < len(text) <= _LONGEST and text.isascii():
            return text
    return ""


def give_word(response: Response, word: str, *, secure: bool) -> None:
    """Have the browser show this word from now on, until it is closed."""
    response.set_cookie(
        cookie_name(secure=secure), word, path="/", secure=secure, httponly=True, samesite="strict"
    )


def new_word() -> str:
    """Return a word for a browser that is not signed in: its forms need one, too."""
    return token_urlsafe(24)

"""Who is signed in: sessions are kept here, and the browser has a random word alone.

A session ends after twelve hours, when its user signs out, and when his password is changed or he
is deleted: it holds for one hash of the file alone. Nothing of it lasts longer than the process.
"""

from __future__ import annotations

import hmac
from collections import OrderedDict
from hashlib import sha256
from secrets import token_bytes, token_urlsafe
from threading import Lock

from greylag.core.value import value
from greylag.web.accounts import Account

LIFETIME = 12 * 3600
PER_USER = 10  # of more, the oldest ends
MOST = 1000


@value
class Session:
    """One sign-in of a user."""

    user: str
    secret: str  # the hash that the password was checked against
    until: int


class Sessions:
    """All sessions, and the tokens of their forms."""

    def __init__(self) -> None:
        self._key = token_bytes(32)
        self._sessions: OrderedDict[bytes, Session] = OrderedDict()  # the oldest first
        self._lock = Lock()

    def begin(self, account: Account, now: int) -> str:
        """Return the word that the browser is to show from now on."""
        word = token_urlsafe(32)
        with self._lock:
            own = [key for key, one in self._sessions.items() if one.user == account.name]
            for key in own[: max(0, len(own) + 1 - PER_USER)]:
                del self._sessions[key]
            while len(self._sessions) >= MOST:
                self._sessions.popitem(last=False)
            self._sessions[_key(word)] = Session(account.name, account.secret, now + LIFETIME)
        return word

    def account(self, word: str, accounts: dict[str, Account], now: int) -> Account | None:
        """Return who shows this word, as the file has him now."""
        with self._lock:
            session = self._sessions.get(_key(word))
            if session is None:
                return None
            account = accounts.get(session.user)
            if account is None or now >= session.until or account.secret != session.secret:
                del self._sessions[_key(word)]
                return None
        return account

    def end(self, word: str) -> None:
        """End one session."""
        with self._lock:
            self._sessions.pop(_key(word), None)

    def end_all_of(self, user: str) -> int:
        """End all sessions of a user; return how many there were."""
        with self._lock:
            own = [key for key, one in self._sessions.items() if one.user == user]
            for key in own:
                del self._sessions[key]
        return len(own)

    def count(self, user: str, now: int) -> int:
        """Return how many sessions a user has."""
        with self._lock:
            return sum(one.user == user and now < one.until for one in self._sessions.values())

    def token(self, word: str) -> str:
        """Return what the forms carry that are shown to whoever has this word."""
        return hmac.new(self._key, word.encode(), sha256).hexdigest()

    def right(self, word: str, token: str) -> bool:
        """Tell whether a form was made for whoever shows this word."""
        expected = self.token(word).encode()
        return bool(word) and hmac.compare_digest(expected, token.encode("utf-8", "replace"))


def _key(word: str) -> bytes:
    return sha256(word.encode("utf-8", "replace")).digest()

"""Links for owners of mailboxes: each shows one mailbox's waiting mail, for a time.

An operator makes one. It is signed with the hash of his password, so it ends when he gets another
one, is deleted, or is an operator no longer; nothing of it is kept. Whoever has it may use it.
"""

from __future__ import annotations

import hmac
import re
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Mapping
from hashlib import sha256

from greylag.core.value import value
from greylag.web.accounts import Account, Role

_WORD = re.compile(r"[A-Za-z0-9_-]+")
_PURPOSE = b"greylag: the mail that waits for one mailbox"
_SIGNATURE = 32  # bytes
_LONGEST = 1000  # characters of a link's word


@value
class Owner:
    """Whom a link is for."""

    mailbox: str  # canonical
    until: int
    by: str  # the operator


def word_of(owner: Owner, account: Account) -> str:
    """Return the word of a link, signed for this operator."""
    told = f"{owner.until}\n{owner.by}\n{owner.mailbox}".encode()
    return urlsafe_b64encode(_signed(told, account) + told).decode().rstrip("=")


def owner_of(word: str, accounts: Mapping[str, Account], now: int) -> Owner | None:
    """Return whom a link is for; None: nobody made it, or it has ended."""
    if len(word) > _LONGEST or not _WORD.fullmatch(word):  # b64decode passes over other signs
        return None
    try:
        raw = urlsafe_b64decode(word + "=" * (-len(word) % 4))
        signature, told = raw[:_SIGNATURE], raw[_SIGNATURE:]
        until, by, mailbox = told.decode().split("\n", 2)
        owner = Owner(mailbox, int(until), by)
    except ValueError:
        return None
    account = accounts.get(owner.by)
    if account is None or not account.role.may(Role.OPERATOR):
        return None
    right = hmac.compare_digest(signature, _signed(told, account))
    return owner if right and now < owner.until else None


def _signed(told: bytes, account: Account) -> bytes:
    key = sha256(_PURPOSE + account.secret.encode()).digest()
    return hmac.new(key, told, sha256).digest()

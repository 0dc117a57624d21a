"""Tables of settings for some recipients, and which of them holds for one.

    user@example.org    this mailbox
    postmaster@         this mailbox of any domain, and without a domain
    example.net         all mailboxes of this domain
    .example.net        all mailboxes of this domain, and of those below it

The first table that names a recipient in any of these ways holds. A recipient whose spelling may
mean another domain (`core.address`) is in none.
"""

from __future__ import annotations

from greylag.core.address import Spelling, canonical_domain, recipient_of
from greylag.core.stable import mailbox_of
from greylag.core.value import value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

_HOST_NAME = frozenset("abcdefghijklmnopqrstuvwxyz0123456789-_")
_NOBODY = 1 << 60  # is after every table


@value
class Table:
    """What is set for the recipients that it names."""

    match: tuple[str, ...]  # as they are written above
    changes: tuple[tuple[str, object], ...]  # fields of a policy
    origin: str  # where it stands

    def sets(self, *names: str) -> bool:
        """Tell whether any of these fields is set."""
        return any(name in names for name, _value in self.changes)


def pattern_of(text: str) -> str:
    """Return what an admin wrote in canonical form. A ValueError says what is wrong."""
    local, at, domain = text.rpartition("@")
    if not at:
        local, domain = "", domain.removeprefix(".")
    whole = local + at
    plain = local.isascii() and local.isprintable() and not set(local) & set(" @*")
    if at and not domain:
        if not local or not plain:
            raise ValueError("names no mailbox")
        return whole.lower()
    name = canonical_domain(domain.encode("utf-8", "replace")).removesuffix(".")
    labels = name.split(".")
    if not all(label and set(label) <= _HOST_NAME for label in labels) or labels[-1].isdigit():
        raise ValueError("names no domain")
    if not at and len(labels) == 1 and not text.startswith(".") and name != "localhost":
        raise ValueError(f"names no domain ('{name}@' is a mailbox of any, '.{name}' a domain)")
    if at:
        mailbox, _domain, spelling = recipient_of(f"{local}@{name}".encode("utf-8", "replace"))
        if spelling is Spelling.AMBIGUOUS or not local or not plain:
            raise ValueError("names no mailbox")
        return mailbox
    return f".{name}" if text.startswith(".") else name


class Recipients:
    """Tables, by whom they name."""

    def __init__(self, tables: Sequence[Table], separator: str = "") -> None:
        """Index the tables. A separator begins tags that are no part of a mailbox."""
        self.tables = tuple(tables)
        self._separator = separator.encode()
        self._locals: dict[bytes, int] = {}
        self._mailboxes: dict[bytes, int] = {}
        self._domains: dict[bytes, int] = {}
        self._below: dict[bytes, int] = {}
        for number, table in enumerate(tables):
            for pattern in table.match:
                self._add(pattern.encode(), number)
        # Where tables name mailboxes of any domain alone, where the @ stands tells nearly all.
        places = {-1, *map(len, self._locals)}
        alone = not (self._mailboxes or self._domains or self._below or separator)
        self._places = frozenset(places) if alone else None

    def _add(self, pattern: bytes, number: int) -> None:
        if pattern.endswith(b"@"):
            self._locals.setdefault(pattern[:-1], number)
        elif b"@" in pattern:
            mailbox = mailbox_of(pattern, self._separator) if self._separator else pattern
            self._mailboxes.setdefault(mailbox, number)
        elif pattern.startswith(b"."):
            self._below.setdefault(pattern[1:], number)
        else:
            self._domains.setdefault(pattern, number)

    def find(self, recipient: bytes) -> int | None:
        """Return the number of the table that holds for a recipient, as it was told."""
        places = self._places
        if places is not None and recipient.rfind(b"@") not in places:
            return None
        local, at, domain = recipient.lower().rpartition(b"@")
        number = self._find(*((local, domain) if at else (domain, b"")))
        if number == _NOBODY or recipient_of(recipient)[2] is Spelling.AMBIGUOUS:
            return None
        return number

    def _find(self, local: bytes, domain: bytes) -> int:
        if self._separator:
            local = mailbox_of(local + b"@", self._separator)[:-1]
        if not domain.isascii():
            domain = canonical_domain(domain).encode("ascii")
        domain = domain.removesuffix(b".")
        number = self._locals.get(local, _NOBODY)
        if self._mailboxes:
            number = min(number, self._mailboxes.get(local + b"@" + domain, _NOBODY))
        number = min(number, self._domains.get(domain, _NOBODY))
        while self._below and domain:
            number = min(number, self._below.get(domain, _NOBODY))
            domain = domain.partition(b".")[2]
        return number


NO_TABLES = Recipients(())

r"""Lines of other programs' lists: postgrey's two files, and access tables of Postfix.

Nothing is guessed. A line that says something which no entry can say is an error, and names its
reason. These are taken for the nearest entry, which docs/reference/commands.md says:

- a client's name is meant with all names below it, also where a pattern (`/^mail\.example\.org$/`)
  means it alone, or (`/\.example\.org$/`) only what is below it;
- a dot without a backslash in a pattern is a dot.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from greylag.admin.lists import ALLOW, Which
from greylag.core.client import network
from greylag.core.kinds import parse_kind
from greylag.core.subject import (
    CLIENT_NAME,
    DOMAIN,
    RECIPIENT,
    SENDER,
    SENDER_DOMAIN,
    Network,
    Subject,
    numeric,
    parse_subject,
)

Read = tuple[Subject, str]  # a subject and a comment
LineReader = Callable[[str], Read | None]  # of a line without its end; None: it says nothing

_SHOWN = 80  # characters of a wrong value that an error quotes
_PARTIAL = re.compile(r"\d{1,3}(?:\.\d{1,3}){0,2}", re.ASCII)
# A pattern that means one name, or all names below one: anchored, and literal but for its dots.
_PATTERN = re.compile(
    r"/(?P<start>\^|\(\?:\^\|\\\.\)|\(\^\|\\\.\)|\^?\.[*+]\??\\\.|\\\.|)"
    r"(?P<name>[a-z0-9_-]+(?:\\?\.[a-z0-9_-]+)+)\$/",
    re.IGNORECASE | re.ASCII,
)
_AT = re.compile(
    r"/(?P<start>\^(?P<local>[a-z0-9_=-]+(?:\\?[.+][a-z0-9_=-]+)*)@|@|\[@\.\]|\[\.@\]|\((?:\?:)?@\|\\\.\))"
    r"(?P<name>[a-z0-9_-]+(?:\\?\.[a-z0-9_-]+)+)\$/",
    re.IGNORECASE | re.ASCII,
)
_LETS_IN = re.compile(r"ok|permit|\d+", re.IGNORECASE | re.ASCII)
_REFUSES = re.compile(r"reject|5\d\d", re.IGNORECASE | re.ASCII)
_SAYS_NOTHING = re.compile(r"dunno", re.IGNORECASE | re.ASCII)


def postgrey_clients(line: str) -> Read | None:
    """Read a line of postgrey's whitelist_clients."""
    text, comment = _without_comment(line)
    if not text:
        return None
    if text.startswith("/"):
        found = _PATTERN.fullmatch(text)
        if found is None:
            raise ValueError(
                _no_entry(text, "a pattern, and not of one name or all names below it")
            )
        return parse_kind(found["name"].replace("\\", ""), CLIENT_NAME), comment
    return _client(text, partial=(3,)), comment


def postgrey_recipients(line: str) -> Read | None:
    """Read a line of postgrey's whitelist_recipients."""
    text, comment = _without_comment(line)
    if not text:
        return None
    if not text.startswith("/"):
        return _recipient(text), comment
    found = _AT.fullmatch(text)
    if found is None:
        raise ValueError(_no_entry(text, "a pattern, and not of one mailbox or domain"))
    name, local = found["name"].replace("\\", ""), found["local"]
    if local is not None:
        return parse_kind(f"{local.replace(chr(92), '')}@{name}", RECIPIENT), comment
    return parse_kind(name, DOMAIN, below=found["start"] != "@"), comment


class PostfixTable:
    """Reads an access table of Postfix (cidr, or as for hash), as far as it is of one list."""

    def __init__(self, which: Which, kind: str | None) -> None:
        self._which = which
        self._kind = kind
        # By range of a cidr table, whether it lets in. None: it says nothing.
        self._ranges: dict[tuple[bytes, int], bool | None] = {}
        self._around_exceptions: set[Network] = set()  # ranges with a key in them that says nothing
        self._partial: set[Network] = set()  # `192.0.2` with an action
        self.others = 0  # lines for the other list

    def __call__(self, line: str) -> Read | None:
        """Read a line. One that begins with a blank goes on with the text of the one before."""
        if not line.strip() or line[0] in "# \t":
            return None
        key, *rest = line.split(None, 1)
        lets_in = self._action(rest[0].strip() if rest else "")
        if lets_in is None and not numeric(key):
            return None
        subject = self._subject(key)
        if isinstance(subject, Network):
            self._refuse_hidden(subject, lets_in, key)
            self._refuse_exceptions(subject, lets_in, key)
        if lets_in is None:
            return None
        if lets_in is not (self._which is ALLOW):
            self.others += 1
            return None
        return subject, ""

    def _action(self, text: str) -> bool | None:
        word = text.partition(" ")[0]
        if _SAYS_NOTHING.fullmatch(word):
            return None
        if _REFUSES.fullmatch(word) and (not word.isdigit() or word != text):
            return False  # a number alone lets in
        if _LETS_IN.fullmatch(word) and (not word.isdigit() or word == text):
            return True
        raise ValueError(f"expected OK or REJECT behind the key, got {text[:_SHOWN]!r}")

    def _subject(self, key: str) -> Subject:
        if self._kind in (None, CLIENT_NAME):
            return _client(key.removeprefix("."), partial=(1, 2, 3), name=self._kind is not None)
        if self._kind in (SENDER, SENDER_DOMAIN):
            if "@" in key:
                return parse_kind(key, SENDER)
            return parse_kind(key.removeprefix("."), SENDER_DOMAIN, below=True)
        return _recipient(key.removeprefix("."))

    def _refuse_exceptions(self, subject: Network, lets_in: bool | None, key: str) -> None:
        """Refuse a range of which a key inside is to be left alone: no entry can say that."""
        around = [
            Network(network(subject.packed, prefix), prefix) for prefix in range(subject.prefix + 1)
        ]
        ours = lets_in is (self._which is ALLOW)
        if ours and subject in self._around_exceptions:
            raise ValueError(_no_entry(key, "a range with an exception (DUNNO) in it"))
        if lets_in is None and not self._partial.isdisjoint(around):
            raise ValueError(_no_entry(key, "an exception from a range that stands before it"))
        if lets_in is None:
            self._around_exceptions.update(around[:-1])
        elif ours and "/" not in key and subject.prefix < 8 * len(subject.packed):
            self._partial.add(subject)

    def _refuse_hidden(self, subject: Network, lets_in: bool | None, key: str) -> None:
        """In a cidr table the first line decides; in our lists the narrowest range does.

        Ranges with a slash are of a cidr table, so an address behind them is, too. In other tables
        the narrowest decides as well: there `192.0.2` is a range.
        """
        ranged = "/" in key
        if not ranged and subject.prefix < 8 * len(subject.packed):
            return
        for prefix in range(subject.prefix + 1) if self._ranges else ():
            before = self._ranges.get((network(subject.packed, prefix), prefix), lets_in)
            if lets_in is not None and before is not lets_in:
                raise ValueError(_no_entry(key, "hidden by a range that stands before it"))
        if ranged:
            self._ranges.setdefault((subject.packed, subject.prefix), lets_in)


def _client(text: str, *, partial: tuple[int, ...], name: bool = True) -> Subject:
    """Read an address, a range, the first numbers of an address, or a name."""
    if numeric(text):
        numbers = text.split(".")
        if _PARTIAL.fullmatch(text) and len(numbers) in partial:
            filled = ".".join([*numbers, *["0"] * (4 - len(numbers))])
            return parse_subject(f"{filled}/{8 * len(numbers)}")
        return parse_subject(text, mask=True)
    if not name:
        raise ValueError(
            f"expected a client address or range; {text[:_SHOWN]!r} is a name: --client-name, "
            "--sender or --recipient says whose"
        )
    return parse_kind(text, CLIENT_NAME)


def _recipient(text: str) -> Subject:
    if text.endswith("@"):
        raise ValueError(_no_entry(text, "a mailbox of any domain: name each, as user@example.net"))
    return parse_kind(text, RECIPIENT) if "@" in text else parse_kind(text, DOMAIN, below=True)


def _without_comment(line: str) -> tuple[str, str]:
    text, _sign, comment = line.partition("#")
    return text.strip(), comment.strip() if text.strip() else ""


def _no_entry(text: str, why: str) -> str:
    return f"expected what an entry can say; {text[:_SHOWN]!r} is {why}"

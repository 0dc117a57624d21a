"""Postfix's log: the client, sender and recipients of each mail, put together by its queue id.

    smtpd  ID: client=NAME[ADDRESS]                       the client, once a recipient was accepted
    qmgr   ID: from=<SENDER>, ... (queue active)          the mail itself was accepted
    smtp, lmtp, local, virtual, pipe
           ID: to=<RECIPIENT>, ... status=sent (...)      and delivered
    qmgr   ID: removed

Clients choose what stands inside `<>`, names in HELO, headers. So a line counts only where all of
it has the form that Postfix gives it, from the program's name on, and an address only without
quotes, blanks and angle brackets: without these it ends where Postfix says. (Before 3.5 Postfix
wrote addresses without their quotes. What somebody could feign there is one more recipient of his
own mail, from his own network.)
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from greylag.admin.logs.lines import packed
from greylag.core.value import value

MOST_HELD = 20_000  # mails under way: queue ids that never end push out the oldest
_DATA_TAKES = 3600  # seconds between the first recipient and the end of the mail, at the most
_DISORDER = 2  # seconds that lines may be out of order

_FACILITY = r"(?:(?:mail|user|daemon|syslog|local[0-7])\.[a-z]{3,7} )?"  # as BusyBox writes it
_HEAD = re.compile(
    rf"(?P<host>[^\s\[\]:]{{1,255}} )?{_FACILITY}"
    r"(?P<instance>[\w.-]{1,64})/(?:[\w./-]{1,64}/)?(?P<program>[a-z]{1,16})\[\d{1,10}\]: "
    r"(?P<id>[0-9A-Za-z]{2,24}): "
)
_NO_ID = frozenset(("NOQUEUE", "warning", "error", "fatal", "panic", "statistics", "connect"))
_CLIENT = re.compile(
    r"client=[^\[\]\s,]{1,255}\[(?P<address>[0-9a-fA-F:.]{2,45})\](?::\d{1,5})?(?:, .*)?$"
)
_PLAIN = r"[^<>\s\"\\]"
_ACTIVE = re.compile(r"from=<.*>, size=\d+, nrcpt=\d+ \(queue active\)$")
_SENDER = re.compile(rf"from=<({_PLAIN}*)>, size=\d+, nrcpt=\d+ \(queue active\)$")
_SENT = re.compile(
    rf"to=<({_PLAIN}+)>, (?:orig_to=<({_PLAIN}+)>, )?relay=[^\s,]+, delay=[\d.]+, "
    r"(?:conn_use=\d+, )?delays=[\d./]+, dsn=2\.\d+\.\d+, status=sent \("
)
_DELIVERS = frozenset(("smtp", "lmtp", "local", "virtual", "pipe"))


@dataclass(slots=True)
class Mail:
    """A mail under way."""

    client: bytes
    at: int
    accepted: bool = False
    sender: str | None = None  # None: not known, or one that is not read


@value
class Seen:
    """What became known: this client's mail was accepted, and for whom if that is told."""

    client: bytes
    at: int
    sender: str | None = None
    recipient: str | None = None  # None: of the mail as a whole


class Queue:
    """Takes Postfix's lines in their order; holds what is under way, of bounded number."""

    def __init__(self) -> None:
        self.begun = 0
        self._held: dict[tuple[str, str, str], Mail] = {}

    def interesting(self, rest: str) -> re.Match[str] | None:
        """Return the head of a line that `take` may learn from."""
        found = _HEAD.match(rest)
        if found is None or found["id"] in _NO_ID:
            return None
        program = found["program"]
        return found if program in ("smtpd", "qmgr") or program in _DELIVERS else None

    def take(self, head: re.Match[str], text: str, at: int) -> Seen | None:
        """Look at what a line says behind its head; return what it completes."""
        key = head["host"] or "", head["instance"], head["id"]
        program = head["program"]
        if program == "smtpd":
            self._begin(key, text, at)
            return None
        mail = self._held.get(key)
        if mail is None:
            return None
        if program == "qmgr":
            return self._queued(key, mail, text, at)
        return _delivered(mail, text, at)

    def _begin(self, key: tuple[str, str, str], text: str, at: int) -> None:
        found = _CLIENT.match(text)
        if found is None:
            return
        self._held.pop(key, None)  # ids come again, and then mean another mail
        client = packed(found["address"])
        if client is None or " sasl_" in text or ", orig_" in text:
            return  # has logged in, or another program hands on what a client brought
        self.begun += 1
        if len(self._held) >= MOST_HELD:
            del self._held[next(iter(self._held))]
        self._held[key] = Mail(client, at)

    def _queued(self, key: tuple[str, str, str], mail: Mail, text: str, at: int) -> Seen | None:
        if text == "removed":
            del self._held[key]
            return None
        if not _ACTIVE.match(text):
            return None
        if mail.accepted:
            return None  # it is tried again
        if not -_DISORDER <= at - mail.at <= _DATA_TAKES:
            del self._held[key]  # another mail under the same id, whose beginning is not here
            return None
        found = _SENDER.match(text)
        mail.accepted, mail.sender = True, found[1] if found else None
        return Seen(mail.client, mail.at)


def _delivered(mail: Mail, text: str, at: int) -> Seen | None:
    if not mail.accepted or mail.sender is None or at < mail.at - _DISORDER:
        return None
    found = _SENT.match(text)
    if found is None or text.count(">, relay=") != 1:
        return None
    return Seen(mail.client, mail.at, mail.sender, found[2] or found[1])

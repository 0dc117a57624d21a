"""Whose mail a line says was accepted, where one line alone tells it: qmail-smtpd's and Exim's.

Anybody may have written parts of that line: a name of his own (HELO), a sender. So an address is
taken from a named place, or where it is the only one in the line; and Exim's only where each part
before it has the form that Exim gives it. See docs/reference/commands.md, "greylag import
smtp-log".
"""

from __future__ import annotations

import re

from greylag.core.client import parse_address

_ADDRESS = r"\[?(?P<address>[0-9a-fA-F:.]{2,45})"
ACCEPTED = re.compile(r"(?:^|\s)result=accepted\s+code=250(?:\s|$)")
NAMED = re.compile(
    r"(?:^|\s)(?:(?:tcp)?(?:remote|client|peer)(?:_?(?:ip|addr|address))?|ip|addr|address)"
    rf"=[\"']?{_ADDRESS}"
)
_RESULT = re.compile(r"(?:^|\s)result=")
# What a client chose itself begins here, and nobody knows where it ends.
_HIS_OWN = re.compile(
    r"[<>\"]|\b(?:helo|ehlo|mail\s?from|rcpt\s?to|sender|recipient|subject|auth|user|name|host)\b"
    r"|\b(?:from|to|mail|rcpt)[=:]",
    re.IGNORECASE,
)
# Bounded, or a line of colons would take quadratic time.
ANY = re.compile(
    r"(?<![\w.:@-])[0-9a-fA-F]{0,4}:[0-9a-fA-F:.]{1,40}(?![\w:-])"
    r"|(?<![\w.@-])\d{1,3}(?:\.\d{1,3}){3}(?![\w-]|\.\w)"
)
# A sender with a quote or a blank could hold all that follows: such a line tells nothing.
EXIM = re.compile(
    r"(?:\S{1,255} (?:mail\.[a-z]{1,7} )?exim4?\[\d+\]: (?:\d{4}-\d\d-\d\d \d\d:\d\d:\d\d )?)?"
    r"(?:\[\d+\] )?[0-9A-Za-z]{6}-[0-9A-Za-z]{6,11}-[0-9A-Za-z]{2,4} <= (?:<>|[^\s\"<>\\]{1,512})"
    r" H=(?:[\w.-]{1,255} )?(?:\([^()\s]{0,255}\) )?"
    r"\[(?P<address>[0-9a-fA-F:.]{2,45})\](?::\d+)?(?= |$)"
)
# What other programs wrote, through syslog or as Exim; parts of it a client may have chosen.
_OTHERS = re.compile(
    r"(?:\S{1,255} )?(?:[a-z0-9]{1,9}\.[a-z]{1,7} )?[^\s\[\]:]{1,128}\[\d{1,10}\]: "
    r"|(?:\S{1,255} )?(?:\[\d+\] )?[0-9A-Za-z]{6}-[0-9A-Za-z]{6,11}-[0-9A-Za-z]{2,4} "
)
# Ours, and the old programs': what they deferred. A HELO name in them may say anything.
_OURS = re.compile(r"(?:greylag|greylisting|jgreylist|greylist\[\d{1,10}\]): ")
_LOGGED_IN = re.compile(r" (?:A=|P=e?smtps?a\b)")


def client_of(rest: str, pattern: re.Pattern[str] | None, *, multilog: bool = True) -> bytes | None:
    """Return the packed address of the client whose mail a line says was accepted, or None.

    `pattern`, with a group named address, stands in the place of the known kinds of lines.
    `multilog`: the line has its stamp, so it is qmail-smtpd's.
    """
    if pattern is not None:
        found = pattern.search(rest)
        return packed(found["address"]) if found else None
    if _OURS.match(rest):
        return None
    if " <= " in rest:
        found = EXIM.match(rest)
        if found and not _LOGGED_IN.search(rest, found.end()):
            return packed(found["address"])
    if not multilog and _OTHERS.match(rest):
        return None
    return _of_qmail(rest) if ACCEPTED.search(rest) else None


def _of_qmail(rest: str) -> bytes | None:
    if len(_RESULT.findall(rest)) != 1:
        return None  # one of them the client may have written
    texts = [found["address"] for found in NAMED.finditer(rest)] or ANY.findall(rest)
    own, first = _HIS_OWN.search(rest), ANY.search(rest)
    if own and not (NAMED.search(rest, 0, own.start()) or (first and first.end() <= own.start())):
        return None
    if first and first[0].rstrip(".") not in [text.rstrip(".") for text in texts]:
        return None  # the named one comes after another: the client may have written it
    addresses = {packed(text.rstrip(".")) for text in texts} - {None}
    return addresses.pop() if len(addresses) == 1 else None


def packed(text: str | None) -> bytes | None:
    """Return an address as bytes, or None where the text is none."""
    return parse_address(text.encode()) if text else None

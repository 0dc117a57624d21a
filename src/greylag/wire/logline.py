"""Log lines: key=value, one event a line, printable ASCII whatever the values hold.

A value that is not plain is put in double quotes, with every odd byte as a backslash, `x` and two
digits. `parse_event` reads a line back to the same bytes: the log is an interface, and nobody
can forge a line of it.
"""

from __future__ import annotations

from collections.abc import Mapping

from greylag.core.accesslist import OF_PROVIDERS
from greylag.core.attempt import Attempt
from greylag.core.connection import Connection
from greylag.core.escape import PRINTABLE, escapes, unescaped
from greylag.core.identity import pool_of
from greylag.core.subject import DOMAIN, NETWORK, Subject
from greylag.core.verdict import INFO, LEVELS, Decision, Verdict

# How the lines of each level begin: all but `info` name it.
BEGINNINGS = tuple(["" if n == INFO else f"level={name} " for n, name in enumerate(LEVELS)])
MAX_VALUE = 512  # bytes of one value; an address of any length must not fill the log
_CUT = b"[...]"
_FORM = b"client_address=%b sender=%b recipient=%b"
_NAMED = _FORM + b" client_name=%b helo=%b"
_PLAIN = bytes(byte for byte in range(0x21, 0x7F) if byte not in b'"\\=')
_ESCAPES = escapes(byte for byte in PRINTABLE if byte not in b'"\\')  # between double quotes


def quote(value: bytes) -> str:
    """Return one value as it stands in a log line."""
    if len(value) > MAX_VALUE:
        value = value[:MAX_VALUE] + _CUT
    if value and not value.translate(None, _PLAIN):
        return value.decode("ascii")
    return f'"{"".join([_ESCAPES[byte] for byte in value])}"'


def format_event(fields: Mapping[str, bytes | str | int]) -> str:
    """Return the line of an event, without prefix and line end. Keys are our own words."""
    return " ".join([f"{key}={_text(item)}" for key, item in fields.items()])


def decision_line(attempt: Attempt, decision: Decision) -> str:
    """Return the line that says what was answered to an attempt.

    It is made for each attempt, so it takes no dict. Names are told of deferrals and refusals.
    """
    passes = decision.verdict is Verdict.PASS
    client_name = b"" if passes else _told(attempt, attempt.words.client_name)
    helo = b"" if passes else _told(attempt, attempt.words.helo)
    client = attempt.client_address or b""
    sender, recipient = attempt.sender or b"", attempt.recipient or b""
    start = f"verdict={decision.verdict.value} reason={decision.reason.value}"
    # Nearly all are plain. Looked at in one go they cost a third of what they do one by one.
    values: tuple[bytes, ...] = (client, sender, recipient)
    form = _FORM
    if client_name or helo:
        form, values = _NAMED, (client, sender, recipient, client_name, helo)
    together = b"".join(values)
    if all(values) and len(together) <= MAX_VALUE and not together.translate(None, _PLAIN):
        return f"{start} {(form % values).decode('ascii')}{_details(decision)}"
    return (
        f"{start} client_address={quote(client)} sender={quote(sender)}"
        f" recipient={quote(recipient)}{_names(client_name, helo)}{_details(decision)}"
    )


def connection_line(connection: Connection, decision: Decision) -> str:
    """Return the line that says what was answered about a connection."""
    name = b"" if decision.verdict is Verdict.PASS else connection.client_name
    client = quote(connection.client_address or b"")
    return (
        f"verdict={decision.verdict.value} reason={decision.reason.value} at=connect"
        f" client_address={client}{_names(name, b'')}{_details(decision)}"
    )


def _told(attempt: Attempt, word: bytes) -> bytes:
    """Return what the mail server told under a word; empty: it has no word for it."""
    return (word and attempt.told.get(word)) or b""


def _names(client_name: bytes, helo: bytes) -> str:
    names = f" client_name={quote(client_name)}" if client_name else ""
    return f"{names} helo={quote(helo)}" if helo else names


def _details(decision: Decision) -> str:
    details = f" retry_after={decision.retry_after}" if decision.retry_after else ""
    if decision.id:
        details += f" id={decision.id}"
    if decision.waited is not None:
        details += f" waited={decision.waited}"
    if decision.instead is not None:
        details += f" instead={decision.instead.value}"
    if decision.pool is not None and (pool := pool_of(decision.pool)) is not None:
        details += f" identity={_text(str(pool))}"
    if decision.entry is not None:
        details += f" entry={_text(_named(decision.entry.subject))}"
        if decision.entry.origin.startswith(OF_PROVIDERS):
            details += f" provider={_text(decision.entry.origin.removeprefix(OF_PROVIDERS))}"
    return details


def _named(subject: Subject) -> str:
    """Return what an entry names; with its kind, where the text alone would not tell it."""
    plain = subject.kind in (NETWORK, DOMAIN)
    return str(subject) if plain else f"{subject.kind}:{subject}"


def _text(item: bytes | str | int) -> str:
    if isinstance(item, bytes):
        return quote(item)
    if isinstance(item, int) or (item.isidentifier() and item.isascii() and len(item) < MAX_VALUE):
        return str(item)  # as `quote` would write it, but faster: most of our own words are such
    return quote(_bytes(item))


def _bytes(item: str) -> bytes:
    try:
        return item.encode("utf-8", "surrogateescape")  # a path's bytes, as they were
    except UnicodeEncodeError:
        return item.encode("utf-8", "backslashreplace")


def parse_event(line: str) -> dict[str, bytes]:
    """Return the fields of a line that `format_event` wrote. Raises ValueError on any other."""
    fields: dict[str, bytes] = {}
    rest = line
    while rest:
        key, _equals, rest = rest.partition("=")
        if rest.startswith('"'):
            text, _quote, rest = rest[1:].partition('"')
            rest = rest[1:]
        else:
            text, _space, rest = rest.partition(" ")
        fields[key] = unescaped(text.encode("ascii"))
    if not all(key.isidentifier() and key.isascii() for key in fields) or (
        format_event(fields) != line  # what reads back to the same is all that we write
    ):
        raise ValueError(f"expected a line of key=value, got {line[:80]!r}")
    return fields

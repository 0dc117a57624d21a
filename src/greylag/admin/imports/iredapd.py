"""iRedAPD: rows of greylisting_tracking, _whitelists and _whitelist_domains."""

from __future__ import annotations

from collections.abc import Iterator

from greylag.admin.imports import Item, Items, Left, Listed, Mail, NoNumber, client, count, seconds
from greylag.admin.imports.rows import Row
from greylag.core.accesslist import Purpose
from greylag.core.kinds import parse_kind
from greylag.core.subject import SENDER, SENDER_DOMAIN, Subject, numeric, parse_subject

_TRACKING = {"sender", "recipient", "client_address", "init_time"}
_WHITELISTS = {"account", "sender"}
COLUMNS = (_TRACKING, _WHITELISTS, {"domain"})
_ALL = b"@."  # any account
_SETTINGS = "it is about one account or domain of yours: [[recipient]] in greylag.toml says that"


def read(rows: Iterator[tuple[int, Row | Left]]) -> Items:
    """Yield what the rows say."""
    for number, row in rows:
        if isinstance(row, Left):
            yield row
            continue
        try:
            yield _item(number, row)
        except NoNumber as error:
            yield Left(number, str(error))


def _item(number: int, row: Row) -> Item:
    if set(row) >= _TRACKING:
        return _tracked(row)
    if "active" in row:
        return Left(number, "it is a setting, no list")
    if set(row) >= _WHITELISTS:
        if row["account"] != _ALL:
            return Left(number, _SETTINGS)
        return _listed(number, row["sender"], row.get("comment", b""))
    return _listed(number, b"@" + row["domain"], b"")


def _tracked(row: Row) -> Item:
    who = client(row["client_address"]), row["sender"], row["recipient"]
    first = seconds(row["init_time"])
    passed = count(row.get("passed", row.get("passed_count", b"0"))) > 0
    # Older versions have last_time, newer ones how long it is remembered.
    last = seconds(row["last_time"]) if passed and row.get("last_time", b"0") != b"0" else first
    expires = seconds(row["record_expired"]) if passed and "record_expired" in row else None
    return Mail(*who, first, max(first, last), passed, expires)


def _listed(number: int, text: bytes, comment: bytes) -> Item:
    """Return the entry for a sender as iRedAPD writes it: IP, CIDR, user@, @domain, @.domain."""
    sender = text.decode("utf-8", "replace").strip()
    try:
        return Listed(
            _subject(sender), Purpose.ACCESS, comment.decode("utf-8", "replace").strip()[:255]
        )
    except ValueError:
        return Left(number, "the sender is no address, range, mailbox or domain")


def _subject(sender: str) -> Subject:
    if "@" not in sender:
        if not numeric(sender.partition("/")[0]) and ":" not in sender:
            raise ValueError("no address")
        return parse_subject(sender, mask=True)
    if sender.startswith("@."):
        return parse_kind(sender[2:], SENDER_DOMAIN, below=True)
    if sender.startswith("@"):
        return parse_kind(sender[1:], SENDER_DOMAIN)
    return parse_kind(sender, SENDER)

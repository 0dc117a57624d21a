"""Senders that change from one try to the next, reduced to what stays the same.

BATV (draft-levine-smtp-batv, and the older form with the user first): `prvs=TAG=user@domain` and
`prvs=user/TAG@domain` are the mailbox `user@domain`, and the tag changes each day.
Every step is one pass over the bytes: a sender of 64 KiB costs no more for each byte
than a short one.
"""

from __future__ import annotations

PREFIX = b"prvs="


def normalise(sender: bytes) -> bytes:
    """Return the sender without its BATV tag, or as it was if it carries none."""
    if sender[: len(PREFIX)].lower() != PREFIX:
        return sender
    local, at, domain = sender.rpartition(b"@")
    if not at:
        return sender
    tagged = local[len(PREFIX) :]
    tag, equals, user = tagged.partition(b"=")
    if not (equals and tag.isalnum()):
        user, _slash, tag = tagged.rpartition(b"/")
    if not (user and tag.isalnum()):
        return sender
    return user + at + domain

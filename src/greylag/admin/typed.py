"""Reading what an admin types or copies: client addresses, envelope addresses, triplets."""

from __future__ import annotations

import os

from greylag.core.client import host_of, parse_address
from greylag.core.escape import unescaped
from greylag.core.policy import Policy
from greylag.core.triplet import Triplet, several_of, triplet_of

_LONGEST_NUMBER = 18  # digits


def is_number(text: str) -> bool:
    """Tell whether a text of a file means a number to us: `²` is a digit, and none to int()."""
    return text.isascii() and text.isdecimal() and len(text) <= _LONGEST_NUMBER


class WrongValue(ValueError):
    """A value is none of those that are expected, as the text says.

    `name` says which value it is, where several are given.
    """

    def __init__(self, text: str, name: str = "") -> None:
        super().__init__(text)
        self.name = name


def typed_address(text: str) -> bytes:
    r"""Return the bytes of an envelope address as an admin types or copies it.

    Angle brackets around it are dropped, and `\x0a` is the byte that our log and tables write so:
    what they show can be pasted.
    """
    raw = os.fsencode(text)
    if raw.startswith(b"<") and raw.endswith(b">"):
        raw = raw[1:-1]
    return unescaped(raw)


def typed_client(text: str) -> bytes:
    """Return the packed client address. Raises WrongValue."""
    packed = parse_address(os.fsencode(text))
    if packed is None:
        raise WrongValue(f"expected an IPv4 or IPv6 address, got {text!r}")
    return packed


def typed_triplet(texts: tuple[str, ...], policy: Policy) -> Triplet:
    """Return the triplet of a client address, a sender and a recipient. Raises WrongValue."""
    address, sender, recipient = texts
    packed = typed_client(address)
    return triplet_of(packed, typed_address(sender), typed_recipient(recipient), policy)


def typed_several(texts: tuple[str, ...], policy: Policy) -> Triplet:
    """Return the key of mail for several recipients of an address and a sender.

    Raises WrongValue.
    """
    address, sender = texts
    client, _carrier = host_of(typed_client(address))
    return several_of(client, policy.sender_name(typed_address(sender)), policy)


def typed_recipient(text: str) -> bytes:
    """Return the bytes of a recipient. Raises WrongValue."""
    recipient = typed_address(text)
    if not recipient:
        raise WrongValue("expected a recipient, got an empty text")
    return recipient

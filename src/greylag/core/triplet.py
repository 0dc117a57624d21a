"""The triplet: client network, sender, recipient."""

from __future__ import annotations

from collections import namedtuple

from greylag.core.client import host_of, network
from greylag.core.identity import USERS, of_address
from greylag.core.policy import Policy

# A backslash in a canonical address is followed by `x` or `#`, so no RCPT ever has one of these.
SEVERAL, CONNECTION = r"\several", r"\connection"
TRUSTED, TRAPPED = r"\trusted", r"\trapped"


# `typing.NamedTuple` would import typing: some milliseconds of a process that lives for one mail.
class Triplet(namedtuple("Triplet", ("network", "sender", "recipient"))):  # noqa: PYI024
    """The key of a record; both addresses are canonical.

    It is the key of every cache and look-up, so it is a tuple, which is hashed and compared in C.
    """

    __slots__ = ()
    network: bytes  # packed; or what stands in its place (`core.identity`)
    sender: str
    recipient: str

    @property
    def key(self) -> tuple[bytes, str, str]:
        """The order in which every store walks its records."""
        return self

    @property
    def size(self) -> int:
        """Bytes that a record takes in SQLite, about: pages are four fifths full."""
        return 40 + (len(self.network) + len(self.sender) + len(self.recipient)) * 5 // 4


def triplet_of(client: bytes, sender: bytes, recipient: bytes, policy: Policy) -> Triplet:
    """Return the triplet of a packed client address and two raw envelope addresses."""
    client, _carrier = host_of(client)
    return Triplet(
        network(client, policy.prefix_of(client)),
        policy.sender_name(sender, recipient),
        policy.recipient_name(recipient),
    )


# What a key may stand for.
OF_TRIPLET, OF_SEVERAL, OF_CONNECTIONS = "triplet", "several", "connection"
OF_TRUST, OF_TRAPPED, OF_SENT = "trust", "trapped", "sent"


def kind_of(key: Triplet) -> str:
    """Return what a key stands for: a triplet, mail for several recipients, connections..."""
    if key.network == USERS:
        return OF_SENT
    if key.recipient == TRUSTED:
        return OF_TRUST
    if key.recipient == TRAPPED:
        return OF_TRAPPED
    if key.recipient == CONNECTION and not key.sender:
        return OF_CONNECTIONS
    return OF_SEVERAL if key.recipient == SEVERAL else OF_TRIPLET


def several_of(client: bytes, sender: str, policy: Policy) -> Triplet:
    """Return the key of mail for several recipients that are not named, of a canonical sender."""
    return Triplet(network(client, policy.prefix_of(client)), sender, SEVERAL)


def trust_of(identity: bytes, domain: str) -> Triplet:
    """Return the key of first passes of an identity with a sender domain; "": with any."""
    return Triplet(identity, domain, TRUSTED)


def trapped_of(client: bytes) -> Triplet:
    """Return the key of a packed client address that mailed a trap."""
    return Triplet(of_address(client), "", TRAPPED)


def sent_of(sender: str, recipient: str) -> Triplet:
    """Return the key of mail that our users sent: from `recipient` to `sender`, who may answer."""
    return Triplet(USERS, sender, recipient)


def connection_of(client: bytes, prefix: int) -> Triplet:
    """Return the key of the connections from a client's network."""
    return Triplet(network(client, prefix), "", CONNECTION)

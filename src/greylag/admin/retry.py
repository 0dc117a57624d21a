"""The next retry of deferred mail, as the attempt that it will be."""

from __future__ import annotations

from greylag.admin.typed import typed_address
from greylag.core.attempt import Attempt, Stage
from greylag.core.client import format_address, is_packed
from greylag.core.history import Deferral
from greylag.core.policy import Policy
from greylag.core.triplet import OF_SEVERAL, kind_of

_NUMBER = "000000000"  # as long as a number has to be anywhere (`core.stable`)
_FORWARDED = ("srs0=", "srs1=")


def is_reduced(sender: str) -> bool:
    """Tell whether a sender in a key surely lacks a part that real senders have (`core.stable`).

    No list entry for it would ever speak: entries are compared with the sender as it comes.
    """
    local = sender.rpartition("@")[0]
    return "#" in local or local.startswith(_FORWARDED) or "+srs=" in local


def retry_of(deferral: Deferral, policy: Policy, typed: bytes = b"") -> Attempt:
    """Return the attempt; `typed`: the sender as somebody typed it, if it is of this mail."""
    key = deferral.triplet
    client = deferral.client if is_packed(deferral.client) else key.network
    address = format_address(client).encode() if is_packed(client) else b""
    if kind_of(key) == OF_SEVERAL:
        sender = _sender(deferral, b"", policy, typed)
        return Attempt(address, sender, None, stage=Stage.DATA)
    recipient = typed_address(key.recipient)
    sender = _sender(deferral, recipient, policy, typed)
    return Attempt(address, sender, recipient, stage=Stage.RCPT_ONLY)


def _sender(deferral: Deferral, recipient: bytes, policy: Policy, typed: bytes) -> bytes:
    """Return a sender as it may really come: with a number, or the recipient, for each `#`."""
    name = deferral.triplet.sender
    if typed and policy.sender_name(typed, recipient) == name:
        return typed
    if "#" in name and policy.normalise:
        verp = deferral.triplet.recipient.replace("@", "=")
        for part in (_NUMBER, verp):
            raw = typed_address(name.replace("#", part))
            if policy.sender_name(raw, recipient) == name:
                return raw
    return typed_address(name)

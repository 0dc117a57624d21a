"""The settings that a verdict depends on, each with its reason and the values of other programs."""

from __future__ import annotations

from enum import Enum

from greylag.core.address import canonical, escaped, sender_of
from greylag.core.client import IPV4_BYTES
from greylag.core.duration import format_duration
from greylag.core.evidence import Kind
from greylag.core.oldname import old_sender
from greylag.core.value import value

RECORD_SIZE = 130  # bytes that a record may take in SQLite, on average: with ordinary addresses 93


class NullSender(Enum):
    """When the null sender (bounces, call-outs) is deferred.

    At DATA by default: call-outs, which stop after RCPT, then succeed (RFC 6647 4.2,
    docs/qmail.md). `rcpt` is what the old plugin did.
    """

    DATA = "data"
    RCPT = "rcpt"
    NEVER = "never"


# Postfix probes with double-bounce@ unless told otherwise, Exim with postmaster@ on request.
PROBE_SENDERS = ("double-bounce@", "postmaster@")


@value
class Policy:
    """Settings of the engine. Times in seconds, prefixes in bits."""

    # postgrey 300, OpenBSD spamd 1500, Proxmox 180. Bots that do retry begin at about 300 s.
    delay: int = 300
    # From the first attempt: postgrey 2 days, spamd 4 hours. Slow queues retry within hours; a
    # day off the net should not start a mail anew.
    retry_window: int = 2 * 86400
    # From the last pass: postgrey 35 days, spamd 36. Longer than a month, so that monthly mail is
    # known (RFC 6647 5.3: at least a week).
    lifetime: int = 36 * 86400
    # Big senders retry from a neighbouring address. A /24 is the smallest block of one operator.
    ipv4_prefix: int = 24
    # One customer has a /64 (RFC 6177), so anything narrower can be rotated through.
    ipv6_prefix: int = 64
    null_sender: NullSender = NullSender.DATA
    # Deferred at DATA like the null sender. A server that asks with these whether an address exists
    # would defer our mail while we defer its question. `name@` is that mailbox of any domain.
    probe_senders: tuple[str, ...] = PROBE_SENDERS
    # Greylist only what the lists name (docs/configuration.md, policy.explicit).
    explicit: bool = False
    # Not a setting: the kinds of evidence that the rules go by.
    evidence: frozenset[Kind] = frozenset()
    # Not a setting: on the old plugin's tables, keys are written as it writes them (core.oldname).
    old_tables: bool = False

    def sender_name(self, raw: bytes) -> str:
        """Return the name of a sender in keys."""
        return old_sender(raw) if self.old_tables else sender_of(raw)

    def recipient_name(self, raw: bytes) -> str:
        """Return the name of a recipient in keys."""
        return escaped(raw) if self.old_tables else canonical(raw)

    def prefix_of(self, packed: bytes) -> int:
        """Return the bits of a packed client address that make its network."""
        return self.ipv4_prefix if len(packed) == IPV4_BYTES else self.ipv6_prefix

    def waits_for_data(self, sender: str) -> bool:
        """Tell whether a sender (canonical) is deferred at DATA: the null sender and probes."""
        # A sender that only begins like a probe is deferred all the same, at DATA.
        probes = not sender or sender.startswith(self.probe_senders)
        return probes and self.null_sender is NullSender.DATA

    def fault(self) -> str | None:
        """Tell why no mail could ever pass under these settings, or None if it can."""
        if self.retry_window > self.delay:
            return None
        return (
            f"the retry window ({format_duration(self.retry_window)}) must be longer than the "
            f"delay ({format_duration(self.delay)}), or nothing could ever pass"
        )


@value
class Room:
    """How many records there may be; see `service.quota`."""

    total: int = 5_000_000  # that wait for a retry: 650 MB in SQLite
    per_network: int = 10_000  # a large site sees some thousand of a big sender in two days
    # That have passed: a large site sees some ten thousand of a big sender in 36 days.
    passed_per_network: int = 100_000

    @property
    def total_size(self) -> int:
        """How many bytes those that wait may take in all."""
        return RECORD_SIZE * self.total

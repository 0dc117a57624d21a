"""The settings that a verdict depends on, each with its reason and the values of other programs."""

from __future__ import annotations

from enum import Enum

from greylag.core.address import canonical, escaped, sender_of
from greylag.core.client import IPV4_BYTES
from greylag.core.duration import format_duration
from greylag.core.evidence import Kind
from greylag.core.oldname import old_sender
from greylag.core.signs import Sign
from greylag.core.stable import mailbox_of, stable, stable_name
from greylag.core.value import replace, value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from greylag.core.suffixes import Suffixes

_AFTER_ALL = 1 << 62  # a time after all that are written
RECORD_SIZE = 130  # bytes that a record may take in SQLite, on average: with ordinary addresses 93


class NullSender(Enum):
    """When the null sender (bounces, call-outs) is deferred.

    At DATA by default: call-outs, which stop after RCPT, then succeed (RFC 6647 4.2,
    docs/start/qmail.md). `rcpt` is what the old plugin did.
    """

    DATA = "data"
    RCPT = "rcpt"
    NEVER = "never"


class Greylist(Enum):
    """What is greylisted."""

    ALL = "all"
    SUSPICIOUS = "suspicious"  # what shows signs of spam (`core.signs`)
    OBSERVE = "observe"  # nothing, but all is decided, remembered and counted
    OFF = "off"

    __hash__ = object.__hash__


class IdentityBy(Enum):
    """What makes one sender of many client networks (`core.identity`)."""

    NONE = "none"
    SPF = "spf"
    SPF_OR_NAME = "spf+name"  # the confirmed names of the client, where SPF says nothing

    __hash__ = object.__hash__


class Trap(Enum):
    """What who mails a trap is told."""

    DENY = "deny"
    DEFER = "defer"

    __hash__ = object.__hash__


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
    # Greylist only what the lists name (docs/reference/configuration.md, policy.explicit).
    explicit: bool = False
    # Take senders without what changes from mail to mail (`core.stable`): lists and bulk senders
    # would be new with each mail.
    normalise: bool = False
    # Between a mailbox and a tag in recipients, such as "+" or qmail's "-". Empty: each is its own.
    mailbox_separator: str = ""
    # Big senders retry from another network: what says that it is the same sender.
    identity: IdentityBy = IdentityBy.NONE
    # First passes, the first a day ago, after which new mail of a sender's domain from the same
    # identity or address is let in. postgrey 5, whatever the sender. 0: never.
    trust_after: int = 0
    trust_all_after: int = 0  # the same with any sender domain
    # For so long, those whom our users wrote to are let in when they answer. 0: never.
    correspondents: int = 0
    greylist: Greylist = Greylist.ALL
    signs: frozenset[Sign] = frozenset(Sign)  # those that count
    signs_needed: int = 1
    our_names: tuple[str, ...] = ()  # of our servers: who says in HELO that it is one of them lies
    trap: Trap = Trap.DENY  # who mails a trap and never passed
    trapped_for: int = 0  # seconds; OpenBSD spamd: a day. 0: there are no traps
    # Not settings: what can be asked for, and from that the kinds of evidence that rules go by.
    dns: bool = False
    dnsbl: bool = False  # a zone is named
    dnswl: bool = False
    suffixes: Suffixes | None = None  # the public suffix list, where names make identities
    evidence: frozenset[Kind] = frozenset()
    # Not a setting: on the old plugin's tables, keys are written as it writes them (core.oldname).
    old_tables: bool = False

    def sender_name(self, raw: bytes, recipient: bytes = b"") -> str:
        """Return the name in keys of a sender who writes to a recipient."""
        if self.old_tables:
            return old_sender(stable(raw, recipient) if self.normalise else raw)
        return stable_name(raw, recipient) if self.normalise else sender_of(raw)

    def recipient_name(self, raw: bytes) -> str:
        """Return the name of a recipient in keys."""
        if self.mailbox_separator:
            raw = mailbox_of(raw, self.mailbox_separator.encode())
        return escaped(raw) if self.old_tables else canonical(raw)

    def prefix_of(self, packed: bytes) -> int:
        """Return the bits of a packed client address that make its network."""
        return self.ipv4_prefix if len(packed) == IPV4_BYTES else self.ipv6_prefix

    def waits_for_data(self, sender: str) -> bool:
        """Tell whether a sender (canonical) is deferred at DATA: the null sender and probes."""
        # A sender that only begins like a probe is deferred all the same, at DATA.
        probes = not sender or sender.startswith(self.probe_senders)
        return probes and self.null_sender is NullSender.DATA

    @property
    def spares(self) -> bool:
        """Tell whether other records than the triplet's can decide a first contact."""
        return self.trusts or self.correspondents > 0 or bool(self.evidence) or self.traps

    @property
    def traps(self) -> bool:
        """Tell whether who mails a trap is refused."""
        return self.trapped_for > 0

    @property
    def trusts(self) -> bool:
        """Tell whether clients can earn trust."""
        return self.trust_after > 0 or self.trust_all_after > 0

    def fault(self) -> str | None:
        """Tell why no mail could ever pass under these settings, or None if it can."""
        if self.retry_window > self.delay:
            return None
        return (
            f"the retry window ({format_duration(self.retry_window)}) must be longer than the "
            f"delay ({format_duration(self.delay)}), or nothing could ever pass"
        )


# What a new installation has.
SPARING = Policy(
    normalise=True,
    identity=IdentityBy.SPF,
    trust_after=5,
    trust_all_after=20,
    correspondents=90 * 86400,
    trapped_for=86400,
)

_EVIDENCE_OF_SIGNS = {
    Sign.NO_NAME: Kind.NAMES,
    Sign.DYNAMIC_NAME: Kind.NAMES,
    Sign.SPF: Kind.SPF,
    Sign.DNSBL: Kind.DNSBL,
}


def with_evidence(policy: Policy) -> Policy:
    """Return the policy with the kinds of evidence that its rules go by."""
    kinds: set[Kind] = set()
    if policy.dns:
        if policy.identity is not IdentityBy.NONE:
            kinds.add(Kind.SPF)
        if policy.identity is not IdentityBy.NONE or policy.trusts:
            kinds.add(Kind.NAMES)  # bots have none (`core.sparing`)
        if policy.greylist is Greylist.SUSPICIOUS:
            signs = policy.signs & _EVIDENCE_OF_SIGNS.keys()
            kinds |= {_EVIDENCE_OF_SIGNS[sign] for sign in signs}
        if policy.dnswl:
            kinds.add(Kind.DNSWL)
        if not policy.dnsbl:
            kinds.discard(Kind.DNSBL)
    return replace(policy, evidence=frozenset(kinds))


@value
class Kept:
    """How much of the history of deferred mail is kept."""

    seconds: int = 30 * 86400  # 0: nothing is remembered
    most: int = 5_000_000  # deferrals

    def since(self, now: int) -> int:
        """Return the first contact from which on a deferral stays; off: none does."""
        return now - self.seconds if self.seconds else _AFTER_ALL

    def actions_since(self, now: int) -> int:
        """Return from when on it stays what admins did, which is no mail; off: as by default."""
        return now - (self.seconds or Kept().seconds)


@value
class Room:
    """How many records there may be (see `service.quota`), and what is kept beside them."""

    total: int = 5_000_000  # that wait for a retry: 650 MB in SQLite
    per_network: int = 10_000  # a large site sees some thousand of a big sender in two days
    # That have passed: a large site sees some ten thousand of a big sender in 36 days.
    passed_per_network: int = 100_000
    history: Kept = Kept()

    @property
    def total_size(self) -> int:
        """How many bytes those that wait may take in all."""
        return RECORD_SIZE * self.total

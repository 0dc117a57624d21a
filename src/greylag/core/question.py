"""What the lists and the records have to answer about an attempt."""

from __future__ import annotations

from greylag.core.address import Spelling, sender_of
from greylag.core.client import translated
from greylag.core.evidence import NO_EVIDENCE, Evidence, Kind
from greylag.core.names import host_name
from greylag.core.policy import Policy
from greylag.core.shortid import short_id, shown_id
from greylag.core.triplet import Triplet
from greylag.core.value import replace, value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from greylag.core.accesslist import Entry
    from greylag.core.attempt import Attempt


@value
class Question:
    """An attempt that the lists and the records have to answer, with all that this takes."""

    client: bytes  # packed; the IPv4 address where it is embedded in an IPv6 address
    triplet: Triplet
    domain: str  # of the recipient, canonical
    policy: Policy  # that holds for this attempt
    at_data: bool = False  # a deferral is given at DATA rather than at this RCPT
    lists_only: bool = False  # the record is for DATA: before that only the denylist counts
    connection: bool = False  # it is about a connection: see core.connection
    spelling: Spelling = Spelling.CLEAR  # how surely that is the recipient's domain
    carrier: bytes = b""  # the IPv6 address that the client's IPv4 address was embedded in
    # What memory said before the store is asked (`service.desk`).
    listed: bool = True  # the lists were asked; else the store's are to be asked
    counts: bool | None = None  # whether it is likely to only count; None: memory has no record
    evidence: Evidence = NO_EVIDENCE  # gathered because of `needs`
    pooled: Triplet | None = None  # with the client's pool in the network's place (`core.sparing`)
    attempt: Attempt | None = None  # None: it is about a connection
    # Entries of the lists that let in, or refuse, a first contact alone.
    expected: Entry | None = None
    provider: Entry | None = None
    trap: Entry | None = None
    wants: frozenset[Kind] = frozenset()  # evidence without which some entries do not speak

    @property
    def null_sender(self) -> bool:
        """Tell whether it is about mail from the null sender."""
        return not self.triplet.sender and not self.connection

    @property
    def earns_trust(self) -> bool:
        """Tell whether a first pass may earn trust: not that of a connection, without mail yet."""
        return self.policy.trusts and not self.connection and self.host_is_sure

    @property
    def host_is_sure(self) -> bool:
        """Tell whether the client is the host of its address.

        Anybody can run a relay of 6to4 or Teredo, and use IPv4 addresses of others. NAT64 is a
        translator of our own.
        """
        return not self.carrier or translated(self.carrier)

    @property
    def told_client(self) -> bytes:
        """Return the client's packed address as the mail server told it."""
        return self.carrier or self.client

    @property
    def id(self) -> str:
        """Return the short id as it is shown; a connection has none.

        It is always of the client's own network, though a pool's record may decide.
        """
        return "" if self.connection else shown_id(short_id(self.triplet))

    @property
    def names(self) -> tuple[str, ...] | None:
        """Return the confirmed names of the client: () for none, None where they are not known."""
        return self.names_by(self.evidence)

    def names_by(self, evidence: Evidence) -> tuple[str, ...] | None:
        """Return the same by this evidence. Where it has none, the mail server may tell a name."""
        if not self.host_is_sure:
            return ()
        found = evidence.get(Kind.NAMES)
        if isinstance(found, tuple):
            return found
        told = b"" if self.attempt is None else self.attempt.confirmed_name
        name = host_name(told) if told else None
        return None if name is None else (name,)

    @property
    def known(self) -> Iterable[Kind]:
        """Return the kinds of evidence that need not be gathered: the mail server tells names."""
        return self.evidence if self.names is None else (*self.evidence, Kind.NAMES)

    @property
    def spf_passed(self) -> bool | None:
        """Tell whether SPF passed for the sender, by a term that is not too wide.

        A domain that lets everybody use its name vouches for nobody. None: it is not known.
        """
        if not self.host_is_sure:
            return False
        found = self.evidence.get(Kind.SPF)
        return None if found is None else bool(getattr(found, "narrow", False))

    @property
    def sender(self) -> str:
        """Return the canonical sender as the lists name it: with all that a key leaves out."""
        if (self.policy.normalise or self.policy.old_tables) and self.attempt is not None:
            return sender_of(self.attempt.sender or b"")
        return self.triplet.sender

    @property
    def recipient(self) -> str:
        """Return the canonical recipient as the lists name it."""
        raw = None if self.attempt is None else self.attempt.recipient
        if raw is None or raw.isascii() or not self.policy.old_tables:
            return self.triplet.recipient
        return replace(self.policy, old_tables=False).recipient_name(raw)

    @property
    def sender_domain(self) -> str:
        """Return the domain of the sender, as it is in keys; of the null sender it is empty."""
        return self.triplet.sender.rpartition("@")[2]

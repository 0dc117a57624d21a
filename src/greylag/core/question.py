"""What the lists and the records have to answer about an attempt."""

from __future__ import annotations

from greylag.core.address import Spelling
from greylag.core.evidence import NO_EVIDENCE, Evidence, Kind
from greylag.core.identity import Pool, PoolKind, of_address
from greylag.core.names import host_name
from greylag.core.policy import IdentityBy, Policy
from greylag.core.triplet import Triplet, sent_of, trapped_of, trust_of
from greylag.core.value import replace, value

TYPE_CHECKING = False
if TYPE_CHECKING:
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
    def told_client(self) -> bytes:
        """Return the client's packed address as the mail server told it."""
        return self.carrier or self.client

    @property
    def names(self) -> tuple[str, ...] | None:
        """Return the confirmed names of the client: () for none, None where they are not known."""
        found = self.evidence.get(Kind.NAMES)
        if isinstance(found, tuple):
            return found
        told = b"" if self.attempt is None else self.attempt.confirmed_name
        name = host_name(told) if told else None
        return None if name is None else (name,)

    @property
    def sender_domain(self) -> str:
        """Return the domain of the sender, as it is in keys; of the null sender it is empty."""
        return self.triplet.sender.rpartition("@")[2]

    @property
    def pool(self) -> bytes | None:
        """Return the pool of servers that the client belongs to, as far as evidence tells."""
        policy = self.policy
        if policy.identity is IdentityBy.NONE:
            return None
        return _by_spf(self) or (
            _by_name(self) if policy.identity is IdentityBy.SPF_OR_NAME else None
        )

    @property
    def pooled(self) -> Triplet | None:
        """Return the key of the pool's record."""
        pool = self.pool
        return None if pool is None else replace(self.triplet, network=pool)

    @property
    def identity(self) -> bytes:
        """Return who earns trust by a first pass: the pool, or else the exact address."""
        return self.pool or of_address(self.client)

    def further(self) -> tuple[Triplet, ...]:
        """Return the keys of the other records that a first contact, or a first pass, rests on."""
        policy = self.policy
        if self.lists_only:
            return ()
        keys = []
        pooled = self.pooled
        if pooled is not None:
            keys.append(pooled)
        if policy.trusts:
            domain = self.sender_domain
            for identity in (of_address(self.client), *([pooled.network] if pooled else [])):
                keys += [trust_of(identity, ""), *([trust_of(identity, domain)] if domain else [])]
        if not self.connection:
            if policy.traps:
                keys.append(trapped_of(self.client))
            if policy.correspondents and self.triplet.sender:
                keys.append(sent_of(self.triplet.sender, self.triplet.recipient))
        return tuple(keys)


def _by_spf(question: Question) -> bytes | None:
    """Return the pool named after the sender's domain, or the HELO of the null sender.

    SPF has to pass by a term that is not too wide (`core.spf`): else a bot's own domain would
    make one sender of all bots.
    """
    outcome, attempt = question.evidence.get(Kind.SPF), question.attempt
    if attempt is None or outcome is None or not getattr(outcome, "narrow", False):
        return None
    sender = attempt.sender or b""
    name = host_name(sender.rpartition(b"@")[2] if sender else attempt.helo)
    return None if name is None else Pool(PoolKind.SPF, name).packed


def _by_name(question: Question) -> bytes | None:
    """Return the pool named after the organisation of a confirmed name that is not dynamic."""
    from greylag.core.dynamic import looks_dynamic  # switched on by a setting

    suffixes = question.policy.suffixes
    for name in question.names or ():
        organisation = None if suffixes is None else suffixes.organisation_of(name)
        if organisation and not looks_dynamic(name, question.client, organisation):
            return Pool(PoolKind.NAME, organisation).packed
    return None

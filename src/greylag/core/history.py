"""What became of deferred mail: a deferral from its first contact on, and what happens to it.

An event says what happened, not what the deferral becomes, as changes of records do. Events are
written after the answer, in bulk, and a flood is remembered in part (`service.history`): figures
of the hour count everything, the history shows single mails.
"""

from __future__ import annotations

from enum import Enum

from greylag.core.shortid import short_id
from greylag.core.triplet import Triplet
from greylag.core.value import value

_LAST_ID = (1 << 35) - 1


class Outcome(Enum):
    """What became of a deferral. All but the first four are of mail that never came back."""

    WAITING = "waiting"  # for its retry; or nothing was heard of it yet
    PASSED = "passed"
    EVICTED = "evicted"  # had to make room while it waited
    FORGOTTEN = "forgotten"  # an admin deleted its record
    LIKELY_SPAM = "likely-spam"
    OTHER_WAY = "other-way"  # the same mail, or its sender, passed from elsewhere, or was let in
    VARYING = "varying"  # a list, or a sender that has another address in each mail
    UNKNOWN = "unknown"

    __hash__ = object.__hash__


NEVER_CAME_BACK = (Outcome.LIKELY_SPAM, Outcome.OTHER_WAY, Outcome.VARYING, Outcome.UNKNOWN)


@value
class Deferral:
    """One deferred triplet, from its first contact on. Times are whole Unix seconds, 0 for none."""

    triplet: Triplet  # with the client network
    first_seen: int
    defer_until: int  # from here on a retry passes
    client: bytes = b""  # packed address of the first contact
    name: str = ""  # confirmed name of the client, canonical; "" where it is not known
    signs: tuple[str, ...] = ()  # words of `core.signs.Sign` that it showed
    pool: bytes = b""  # that its retry may come from (`core.identity`)
    tries: int = 0  # retries that came too early
    first_try: int = 0  # the first and the last of them
    last_try: int = 0
    outcome: Outcome = Outcome.WAITING
    ended: int = 0  # when the outcome came
    released: int = 0  # when an admin released it
    number: int = 0  # its place in the history: the newest has the highest; the store gives it

    @property
    def id(self) -> int:
        """Return the short id."""
        return short_id(self.triplet)

    @property
    def sender_recipient(self) -> tuple[str, str]:
        """Return between whom it is."""
        return self.triplet.sender, self.triplet.recipient

    @property
    def waited(self) -> int | None:
        """Return the seconds from first contact to first pass, where it passed."""
        return self.ended - self.first_seen if self.outcome is Outcome.PASSED else None


@value
class Begun:
    """A first contact was deferred."""

    deferral: Deferral


@value
class Tried:
    """Retries came too early.

    Where a pool's record decided, its name is in the network's place: then the newest deferral of
    this sender and recipient that waits is meant, and has that pool.
    """

    triplet: Triplet
    at: int
    count: int = 1


@value
class Released:
    """An admin let the next retry in."""

    triplet: Triplet
    at: int


@value
class LetIn:
    """Mail was let in for another reason while the record of this key waited.

    So the deferral came another way. The figures have it when the record ends, as the next mail
    may still pass by that. Of a pool, see `Tried`.
    """

    triplet: Triplet
    at: int


@value
class Ended:
    """A deferral came to its end. Of a pool, see `Tried`.

    One that has ended is not ended again, but mail that passes after all has passed.
    """

    triplet: Triplet
    at: int
    outcome: Outcome


Event = Begun | Tried | Released | LetIn | Ended


class By(Enum):
    """What deferrals are told apart by, in figures of the day."""

    NETWORK = "network"
    SENDER_DOMAIN = "sender-domain"
    RECIPIENT_DOMAIN = "recipient-domain"
    RECIPIENT = "recipient"

    __hash__ = object.__hash__


@value
class Tally:
    """How many deferrals of one day began, passed, and so on: by the day on which that happened."""

    deferred: int = 0
    passed: int = 0
    waited: int = 0  # seconds, of those that passed
    likely_spam: int = 0
    never: int = 0  # never came back: with those that are likely spam

    @property
    def mail(self) -> int:
        """Return by what names are told to be important: of them all, those with most are kept."""
        return self.deferred + self.passed + self.never


@value
class Action:
    """What an admin did, for the audit: at which Unix time, who, what, and to what."""

    at: int
    who: str  # as the system or the dashboard names him
    action: str  # a word: release, allow, off...
    subject: str


@value
class Sought:
    """Which deferrals are looked for; all that is given must hold. Texts match anywhere."""

    since: int = 0  # of first contact
    until: int = 1 << 62  # before
    first_id: int = 0
    last_id: int = _LAST_ID
    networks: tuple[bytes, bytes] | None = None  # first and last, of one family
    sender: str = ""
    recipient: str = ""
    null_sender: bool = False
    outcomes: frozenset[Outcome] | None = None  # None: any
    without: tuple[str, ...] = ()  # texts that neither sender nor recipient has
    exact: bool = False  # sender and recipient are these, and not only a part
    sign: str = ""  # word of a sign that it showed

    @property
    def any_id(self) -> bool:
        """Tell whether all ids fit: then none has to be made."""
        return self.first_id <= 0 and self.last_id >= _LAST_ID

    def fits(self, deferral: Deferral) -> bool:
        """Tell whether a deferral is one that is looked for."""
        key = deferral.triplet
        low, high = self.networks or (key.network, key.network)
        return (
            self.since <= deferral.first_seen < self.until
            and (self.any_id or self.first_id <= deferral.id <= self.last_id)
            and len(low) == len(key.network)
            and low <= key.network <= high
            and self.sender in key.sender
            and self.recipient in key.recipient
            and not (self.null_sender and key.sender)
            and not (self.exact and (key.sender, key.recipient) != (self.sender, self.recipient))
            and (self.outcomes is None or deferral.outcome in self.outcomes)
            and (not self.sign or self.sign in deferral.signs)
            and not any(text in key.sender or text in key.recipient for text in self.without)
        )

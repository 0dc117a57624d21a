"""Finding deferred mail: in the history, and how it stands in the records now."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import suppress
from heapq import nlargest

from greylag.admin.entries import read_expires
from greylag.admin.records import is_mail, of_network, range_of
from greylag.admin.typed import WrongValue, typed_address
from greylag.core.duration import parse_duration
from greylag.core.ends import deferral_of
from greylag.core.history import NEVER_CAME_BACK, Deferral, Outcome, Sought
from greylag.core.policy import Policy
from greylag.core.record import Record
from greylag.core.shortid import PAIR, last_of_pair, pair_id, read_id, short_id
from greylag.core.signs import Sign
from greylag.core.triplet import Triplet
from greylag.core.value import replace, value
from greylag.store.base import Filter, Store

NULL_SENDER = "<>"
NEVER = "never"  # a word for all outcomes of mail that never came back
SIGNS = tuple(sign.value for sign in Sign)
OUTCOMES = (*(outcome.value for outcome in Outcome), NEVER)
# How many a search looks at before it tells how far it came; and at how many in one step, so that
# nobody waits for it.
LOOK, STEP = 50_000, 5000
MOST_OF_ID = 100  # mails that share one id
# Records know no ids, so each that waits is looked at.
LOOK_FOR_ID = 10_000
_END = 1 << 62


def sought(  # noqa: PLR0913 - one for each that may be asked for
    policy: Policy,
    *,
    sender: str = "",
    recipient: str = "",
    address: str = "",
    shown_id: str = "",
    outcomes: Iterable[str] = (),
    since: int = 0,
    until: int = _END,
    without: Iterable[str] = (),
    sign: str = "",
) -> Sought:
    """Return what to look for; all that is given must hold. Raises WrongValue.

    Of `sender` (`<>` is the null sender) and `recipient` a part is enough, `address` is an address
    or a range, `outcomes` are words of OUTCOMES, `without` are parts of a sender or a recipient
    that must not be there, and `sign` is the word of a sign that it showed (`core.signs`).
    """
    null_sender = sender == NULL_SENDER
    found = Sought(
        since=since,
        until=until,
        networks=range_of(address, policy) if address else None,
        sender="" if null_sender or not sender else policy.sender_name(typed_address(sender)),
        recipient=policy.recipient_name(typed_address(recipient)) if recipient else "",
        null_sender=null_sender,
        outcomes=_outcomes(outcomes),
        without=tuple(policy.sender_name(typed_address(text)) for text in without if text),
        sign=_sign(sign),
    )
    if not shown_id:
        return found
    number = read_id(shown_id)
    if number is None:
        raise WrongValue(f"expected an id such as 7KQ3-M2F, got {shown_id!r}", "id")
    return replace(found, first_id=number, last_id=number)


def _outcomes(words: Iterable[str]) -> frozenset[Outcome] | None:
    found: set[Outcome] = set()
    for word in words:
        if word not in OUTCOMES:
            raise WrongValue(f"expected one of {', '.join(OUTCOMES)}; got {word!r}", "outcome")
        found.update(NEVER_CAME_BACK if word == NEVER else (Outcome(word),))
    return frozenset(found) or None


def _sign(word: str) -> str:
    if word and word not in SIGNS:
        raise WrongValue(f"expected one of {', '.join(SIGNS)}; got {word!r}", "sign")
    return word


def read_since(text: str, now: int) -> int:
    """Return from when on to look: a time before now, or a day; "" is any. Raises WrongValue."""
    if not text:
        return 0
    with suppress(ValueError):
        return now - parse_duration(text)
    with suppress(ValueError):
        return read_expires(text, -1)
    expected = "expected a time such as 24h, or a day as 2026-12-31"
    raise WrongValue(f"{expected}, got {text[:80]!r}", "since")


@value
class Found:
    """One page of a search, the newest first."""

    deferrals: list[Deferral]
    before: int | None  # where the next page goes on; None: all was looked at
    reached: int  # first contact of the oldest that was looked at; 0: of none


def search(
    store: Store, what: Sought, most: int = 50, before: int | None = None, look: int = LOOK
) -> Found:
    """Return up to `most` deferrals that fit, and how far back was looked for them.

    At `look` deferrals at most is looked, so it takes as long whatever is looked for. Where nearly
    all fit, a few are enough: so the first step is small.
    """
    found: list[Deferral] = []
    reached, step = 0, 2 * most
    while look > 0:
        step = min(step, STEP, look)
        page = store.deferrals(what, step, before)
        found += page.deferrals
        reached, before, look = page.reached or reached, page.before, look - step
        step *= 8
        if reached < what.since:  # all that comes is older
            before = None
        if len(found) >= most or before is None:
            break
    if len(found) > most:
        last = found[most - 1]
        return Found(found[:most], last.number, last.first_seen)
    return Found(found, before, reached)


# How a deferral stands now, beside what became of it.
DUE, GONE, EXPIRED = "due", "gone", "expired"


@value
class Standing:
    """A deferral, and how it stands in the records."""

    deferral: Deferral
    record: Record | None  # that decides about its retry
    state: str  # `waiting`, DUE, GONE, EXPIRED, or what became of it (`core.history.Outcome`)
    may_pass: int | None  # from when on; None: nothing waits

    @property
    def waits(self) -> bool:
        """Tell whether it can be released."""
        return self.state == Outcome.WAITING.value


def standings(store: Store, deferrals: Sequence[Deferral], now: int) -> list[Standing]:
    """Return how deferrals stand now: the history is a moment behind, and records may be gone."""
    open_ones = [one for one in deferrals if one.outcome is Outcome.WAITING]
    records = store.load(list(dict.fromkeys(k for one in open_ones for k in keys_of(one))))
    return [_standing(one, records, now) for one in deferrals]


@value
class Meant:
    """What an id, or a sender and a recipient mean: of each triplet the newest."""

    standings: list[Standing]
    more: bool  # there are others that were not read


def of_id(number: int) -> Sought:
    """Return what an id looks for. Several may share one: by chance, or made so on purpose."""
    return Sought(first_id=number, last_id=number)


def of_pair(sender: str, recipient: str) -> Sought:
    """Return what looks for mail of exactly these two, from any network; "": the null sender."""
    first = pair_id(sender, recipient)
    return Sought(
        first_id=first,
        last_id=last_of_pair(first),
        sender=sender,
        recipient=recipient,
        null_sender=not sender,
        exact=True,
    )


def meant(store: Store, what: Sought, policy: Policy, now: int) -> Meant:
    """Return what is meant, the newest first.

    What the records alone have is added: what the history has of others must not hide it.
    """
    page = search(store, what, MOST_OF_ID)
    others = unremembered(store, what, policy, now, MOST_OF_ID)
    found = sorted([*page.deferrals, *others.deferrals], key=lambda one: -one.first_seen)
    newest: dict[Triplet, Deferral] = {}
    for deferral in found:
        newest.setdefault(deferral.triplet, deferral)
    # That a flood is not looked through to its end is no reason to think that there are others.
    full = page.before is not None and len(page.deferrals) >= MOST_OF_ID
    more = full or len(newest) > MOST_OF_ID
    return Meant(standings(store, list(newest.values())[:MOST_OF_ID], now), more)


def search_all(store: Store, what: Sought, policy: Policy, now: int, most: int = 50) -> Found:
    """Return what the history has; where nothing of it waits, what waits by the records alone."""
    page = search(store, what, most)
    if any(one.outcome is Outcome.WAITING for one in page.deferrals):
        return page
    others = unremembered(store, what, policy, now, most)
    known = {(one.triplet, one.first_seen) for one in page.deferrals}
    found = [one for one in others.deferrals if (one.triplet, one.first_seen) not in known]
    before = others.before if page.before is None else page.before
    return Found([*found, *page.deferrals][:most], before, page.reached)


def unremembered(
    store: Store, what: Sought, policy: Policy, now: int, most: int = 50, look: int = LOOK
) -> Found:
    """Return what waits, by the records alone: the history may be off, or miss some of a flood.

    At `look` records at most is looked. `before` is None where these are all that wait.
    """
    low, high = what.networks or (None, None)
    wanted = Filter(low, high, what.sender, what.recipient, what.null_sender, passed=False)
    is_narrow = what.last_id - what.first_id < PAIR
    some = store.waiting(wanted, min(look, LOOK_FOR_ID) if is_narrow else look)
    found: dict[Triplet, Deferral] = {}
    for triplet, record in some.records:
        if is_mail(triplet) and record.live(now):
            key = of_network(triplet, policy)
            # Before more is made of it: where an id is looked for, this is all that tells.
            if what.first_id <= short_id(key) <= what.last_id:
                # Rows of the old tables have the whole address.
                client = triplet.network if triplet.network != key.network else b""
                one = deferral_of(key, record, client)
                if what.fits(one):
                    found[key] = one
    deferrals = nlargest(most, found.values(), key=lambda one: one.first_seen)
    return Found(deferrals, None if some.whole else 0, 0)


def keys_of(deferral: Deferral) -> list[Triplet]:
    """Return the keys of the records that a retry may meet: its own, and that of its pool."""
    key = deferral.triplet
    return [key, *([replace(key, network=deferral.pool)] if deferral.pool else [])]


def _standing(deferral: Deferral, records: dict[Triplet, Record], now: int) -> Standing:
    if deferral.outcome is not Outcome.WAITING:
        return Standing(deferral, None, deferral.outcome.value, None)
    found = [records[key] for key in keys_of(deferral) if key in records]
    live = [record for record in found if record.live(now)]
    record = next(iter(live or found), None)
    if record is None:
        return Standing(deferral, None, GONE, None)
    if not live:
        return Standing(deferral, record, EXPIRED, None)
    if any(one.passed for one in live):
        return Standing(deferral, record, Outcome.PASSED.value, None)
    may_pass = min(one.defer_until for one in live)
    state = DUE if may_pass <= now else Outcome.WAITING.value
    return Standing(deferral, record, state, may_pass)

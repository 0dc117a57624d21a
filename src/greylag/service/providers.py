"""Big senders in the store: what is known of each, and their ranges, old and new.

What is kept is entries of the purpose PROVIDER. Each range is one. Each provider has one more, for
the domain whose record is resolved: when that worked last (`created`), and in its comment, when it
was tried last and with what outcome. Only ranges speak about clients.

A provider is used from the first time that its record could be resolved. Two hosts that resolve
at once write the same. A provider that an admin removed, or that somebody else refreshed, after it
was read here is left as it is.
"""

from __future__ import annotations

from functools import cache

from greylag.core.accesslist import Entry, Purpose, Seen
from greylag.core.providers import names_in, origin_of, too_much
from greylag.core.subject import Domain, Network, Subject
from greylag.core.value import replace, value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Collection, Generator, Iterable, Iterator, Sequence

    from greylag.core.spf.ranges import Ranges
    from greylag.store.base import Store

PAGE = 300  # rows that are read at once: some 4 ms
ROWS = 500  # rows that are written in one transaction: some 20 ms, unless one provider has more
SHIPPED, OWN, OFF = "shipped", "own", "off"  # by the package; by an admin; of the package, not used
REFRESHED, REFUSED = "ok", "refused: "  # outcomes; others say why there are no new ranges
MEANWHILE = "somebody else changed it meanwhile"
_LONGEST = 200  # characters of an outcome


@value
class Provider:
    """A big sender, and what is known of it."""

    name: str
    domain: str  # whose SPF record is resolved
    why: str = ""
    status: str = SHIPPED
    refreshed: int = 0  # when its record was resolved last; 0: never
    tried: int = 0
    outcome: str = ""  # of the last try
    kept: Entry | None = None  # what the store has of it, beside its ranges

    @property
    def used(self) -> bool:
        """Tell whether its ranges let mail in."""
        return self.refreshed > 0 and self.status != OFF

    @property
    def entry(self) -> Entry:
        """What is kept of it, beside its ranges."""
        return Entry(
            Domain(self.domain),
            0,
            comment=f"{self.status} {self.tried} {self.outcome}".rstrip(),
            created=self.refreshed,
            purpose=Purpose.PROVIDER,
            origin=origin_of([self.name]),
        )


Changes = dict[Network, frozenset[str]]


@value
class Known:
    """All providers by name, and all ranges with the names of those that publish them."""

    providers: dict[str, Provider]
    ranges: Changes

    def ranges_of(self, name: str) -> list[Network]:
        """Return the ranges that are kept of a provider."""
        return [network for network, names in self.ranges.items() if name in names]


@cache
def shipped() -> tuple[Provider, ...]:
    """Return the providers that the package names."""
    from importlib.resources import files  # the daemon alone, and few commands, need it

    text = files("greylag").joinpath("data", "providers.tsv").read_text("ascii")
    lines = [line.split("\t") for line in text.splitlines() if line and line[0] != "#"]
    return tuple(Provider(name, domain, why) for name, domain, why in lines)


def read_known(store: Store) -> Generator[None, None, Known]:
    """Read what is known, in steps; whoever steps may do other work between them."""
    ranges: Changes = {}
    kept: dict[str, Provider] = {}
    after: int | None = 0
    while after is not None:
        page = store.entries_after(after, PAGE)
        after = page.after
        for entry in page.entries:
            names = names_in(entry.origin) if entry.purpose is Purpose.PROVIDER else ()
            if not names:
                continue
            if isinstance(entry.subject, Network):
                ranges[entry.subject] = frozenset(names)
            elif isinstance(entry.subject, Domain):
                found = _provider_of(entry.subject.name, min(names), entry)
                kept[found.name] = found
        yield
    there = {network: names & kept.keys() for network, names in ranges.items()}
    return Known(_with_shipped(kept), there)


def known(store: Store) -> Known:
    """Read what is known, at once."""
    steps = read_known(store)
    while True:
        try:
            next(steps)
        except StopIteration as end:
            found: Known = end.value
            return found


def _provider_of(domain: str, name: str, entry: Entry) -> Provider:
    status, _blank, rest = entry.comment.partition(" ")
    tried, _blank, outcome = rest.partition(" ")
    when = int(tried) if tried.isascii() and tried.isdigit() and len(tried) < 12 else 0
    status = status if status in (SHIPPED, OFF) else OWN
    return Provider(
        name, domain, "", status, entry.created, when, outcome, replace(entry, number=0)
    )


def _with_shipped(kept: dict[str, Provider]) -> dict[str, Provider]:
    """Add what the package names."""
    found = {}
    for provider in shipped():
        there = kept.pop(provider.name, None)
        if there is None:
            found[provider.name] = provider
        else:  # its ranges are used until the record of its domain, maybe a new one, was resolved
            domain = there.domain if there.status == OWN else provider.domain
            found[provider.name] = replace(there, domain=domain, why=provider.why)
    # What the package named once is an admin's to remove.
    return {**found, **kept}


@value
class Step:
    """What is to be written of one provider."""

    before: Provider
    after: Provider | None  # None: it is removed
    changes: Changes
    why: str = ""  # its ranges stay as they are

    @property
    def rows(self) -> int:
        """Return how many entries are written or removed."""
        return 1 + len(self.changes)


def judge(found: Known, name: str, ranges: Ranges, now: int, *, force: bool) -> Step:
    """Return what becomes of a provider whose record has these ranges now, and note it.

    An empty answer is refused, and so is a change that is too much, unless it is to be forced
    (T28): then the old ranges stay.
    """
    provider = found.providers[name]
    old, new = found.ranges_of(name), ranges.networks
    why = ranges.error
    if not why and old and not force:
        why = too_much(old, new)
        why = f"{REFUSED}{why}" if why else ""
    after = replace(
        provider,
        tried=now,
        outcome=why[:_LONGEST] or REFRESHED,
        refreshed=provider.refreshed if why else now,
    )
    step = Step(provider, after, {} if why else _changes(found, name, new), why)
    _note(found, step)
    return step


def take(store: Store, found: Known, name: str, ranges: Ranges, now: int, *, force: bool) -> str:
    """Store what the record of a provider has now; return why not, or ""."""
    step = judge(found, name, ranges, now, force=force)
    return MEANWHILE if write(store, [step], now) else step.why


def put(store: Store, found: Known, provider: Provider, now: int) -> bool:
    """Keep a provider without resolving its record; tell whether nobody changed it meanwhile."""
    before = found.providers.get(provider.name, provider)
    changes = _changes(found, provider.name, ()) if provider.status == OFF else {}
    step = Step(before, provider, changes)
    _note(found, step)
    return not write(store, [step], now)


def drop(store: Store, found: Known, name: str, now: int) -> bool:
    """Remove a provider and its ranges; tell whether nobody changed it meanwhile."""
    step = Step(found.providers[name], None, _changes(found, name, ()))
    _note(found, step)
    return not write(store, [step], now)


def in_groups(steps: Iterable[Step], most: int) -> Iterator[list[Step]]:
    """Yield steps that are written together: of up to so many rows, or a single one of more."""
    group: list[Step] = []
    for step in steps:
        if group and sum(one.rows for one in group) + step.rows > most:
            yield group
            group = []
        group.append(step)
    if group:
        yield group


def write(store: Store, steps: Sequence[Step], now: int) -> frozenset[str]:
    """Write steps in one transaction, which is one change of the lists.

    Left out is a provider that is not what it was when it was read. Return the names of these.
    """
    changes: Changes = {}
    kept: list[Entry] = []
    gone: list[Subject] = []
    meanwhile = set()
    with store.transaction():
        for step in steps:
            before = step.before
            if _kept(store, before) != before.kept:
                meanwhile.add(before.name)
                continue
            changes.update(step.changes)
            subject = None if step.after is None else step.after.entry.subject
            if step.after is not None:
                kept.append(step.after.entry)
            if before.kept is not None and before.kept.subject != subject:
                gone.append(before.kept.subject)
        kept += [
            Entry(network, 0, created=now, purpose=Purpose.PROVIDER, origin=origin_of(names))
            for network, names in changes.items()
            if names
        ]
        gone += [network for network, names in changes.items() if not names]
        if kept:
            store.put_entries(kept)
        if gone:
            store.remove_entries(gone, Purpose.PROVIDER)
    return frozenset(meanwhile)


def _changes(found: Known, name: str, new: Collection[Network]) -> Changes:
    """Return for each range whose providers change, who they are then: nobody, if it goes.

    So do ranges of providers that are not there, as where somebody removed one by hand.
    """
    wanted = set(new)
    changes = {n: found.ranges.get(n, frozenset()) | {name} for n in new}
    changes |= {n: found.ranges[n] - {name} for n in found.ranges_of(name) if n not in wanted}
    lost = {n: names for n, names in found.ranges.items() if not names and n not in wanted}
    return lost | {n: names for n, names in changes.items() if names != found.ranges.get(n)}


def _kept(store: Store, provider: Provider) -> Entry | None:
    """Return what is kept of a provider now."""
    subject = provider.entry.subject if provider.kept is None else provider.kept.subject
    for entry in store.matching(Seen(bytes(4), domain=str(subject), names=())):
        if entry.purpose is Purpose.PROVIDER and entry.subject == subject:
            return replace(entry, number=0)
    return None


def _note(found: Known, step: Step) -> None:
    """Note a step as done: what follows builds on it."""
    if step.after is not None:
        found.providers[step.after.name] = replace(step.after, kept=step.after.entry)
    else:
        del found.providers[step.before.name]
    for network, names in step.changes.items():
        if names:
            found.ranges[network] = names
        else:
            found.ranges.pop(network, None)

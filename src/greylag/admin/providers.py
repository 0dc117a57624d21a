"""Big senders whose published addresses are let in: which there are, and resolving their records.

The package names some, and an admin may add his own. None is used before it was resolved once.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from greylag.admin import Progress, in_parts, unseen
from greylag.admin.typed import WrongValue
from greylag.core.accesslist import Entry, Purpose
from greylag.core.names import host_name
from greylag.core.providers import names_in
from greylag.core.spf.ranges import Ranges, joined
from greylag.core.subject import Network
from greylag.core.value import replace, value
from greylag.service.providers import (
    MEANWHILE,
    OFF,
    OWN,
    REFUSED,
    ROWS,
    SHIPPED,
    Provider,
    drop,
    in_groups,
    judge,
    known,
    put,
    write,
)
from greylag.store.base import Store, StoreConflict

AT_ONCE = 16  # records that are resolved side by side
PATIENCE = 5.0  # seconds for a query: nobody waits for the answer but an admin
_LONGEST_NAME = 32
_IN_NAMES = frozenset("abcdefghijklmnopqrstuvwxyz0123456789-")


@value
class Shown:
    """A provider, and how many ranges are kept of it."""

    provider: Provider
    ranges: int


@value
class Refreshed:
    """What came of resolving a provider's record."""

    name: str
    why: str  # it was refused, or failed; "" if it was taken over
    ranges: int  # that are kept now
    left_out: tuple[str, ...]  # terms of the record that cannot be listed
    come: list[str]  # ranges of the record that were not there
    go: list[str]  # and those that were there and are not in the record

    @property
    def is_refused(self) -> bool:
        """Tell whether it may be forced after a look."""
        return self.why.startswith(REFUSED)


def listing(store: Store) -> list[Shown]:
    """Return all providers, those that are not used, too."""
    found = known(store)
    counts = dict.fromkeys(found.providers, 0)
    for names in found.ranges.values():
        for name in names:
            counts[name] = counts.get(name, 0) + 1
    return [Shown(found.providers[name], counts[name]) for name in sorted(found.providers)]


def behind(store: Store, entry: Entry) -> list[Provider]:
    """Return the providers whose range an entry is."""
    if entry.purpose is not Purpose.PROVIDER:
        return []
    found = known(store).providers
    return [found[name] for name in sorted(names_in(entry.origin)) if name in found]


def add(store: Store, name: str, domain: str | None, now: int) -> Provider:
    """Add a provider of the admin's own, or use one of the package again. Raises WrongValue."""
    found = known(store)
    there = found.providers.get(name)
    if there is not None and there.status == OFF and domain in (None, there.domain):
        provider = replace(there, status=SHIPPED)
    elif there is not None:
        raise WrongValue(f"{name} is there already, for {there.domain}")
    else:
        provider = Provider(_name(name), _domain(domain), status=OWN)
        for other in found.providers.values():
            if other.domain == provider.domain:
                raise WrongValue(f"{provider.domain} is that of {other.name} already")
    if not put(store, found, provider, now):
        raise StoreConflict(f"{name}: somebody else changed it meanwhile")
    return provider


def _name(text: str) -> str:
    if not (text and _IN_NAMES.issuperset(text)) or len(text) > _LONGEST_NAME:
        most = f"at most {_LONGEST_NAME} small letters, digits and hyphens"
        raise WrongValue(f"expected a name of {most}, got {text[:80]!r}")
    return text


def _domain(text: str | None) -> str:
    if text is None:
        raise WrongValue("expected a domain whose SPF record lists the provider's servers")
    name = host_name(text.encode("utf-8", "replace"))
    if name is None:
        raise WrongValue(f"expected a domain, got {text[:80]!r}")
    return name


def remove(store: Store, names: Iterable[str], now: int) -> list[str]:
    """Remove providers and their ranges; return the names that are none.

    One of the package is used no more until it is added again.
    """
    found, missing = known(store), []
    for name in dict.fromkeys(names):
        provider = found.providers.get(name)
        if provider is None or provider.status == OFF:
            missing.append(name)
            continue
        shipped = provider.status == SHIPPED and provider.why
        off = replace(provider, status=OFF, refreshed=0, outcome="")
        done = put(store, found, off, now) if shipped else drop(store, found, name, now)
        if not done:
            raise StoreConflict(f"{name}: somebody else changed it meanwhile")
    return missing


def refresh(
    store: Store,
    servers: Sequence[tuple[str, int]],
    names: Sequence[str],
    now: int,
    *,
    force: bool = False,
    progress: Progress = unseen,
) -> list[Refreshed]:
    """Resolve the records of these providers, or of all, and store their ranges.

    Each is replaced all at once, or not at all.
    """
    found = known(store)
    wanted = list(dict.fromkeys(names)) or [
        n for n, p in found.providers.items() if p.status != OFF
    ]
    for name in wanted:
        provider = found.providers.get(name)
        if provider is None:
            raise WrongValue(f"{name[:80]!r} is no provider (greylag providers list shows all)")
        if provider.status == OFF:
            raise WrongValue(f"{name} was removed (greylag providers add {name} takes it back)")
    resolved = _resolved([found.providers[name] for name in wanted], servers)
    done, steps = [], []
    for name in wanted:
        ranges, old = resolved[name], set(found.ranges_of(name))
        new = set(ranges.networks)
        step = judge(found, name, ranges, now, force=force)
        kept, come, go = len(found.ranges_of(name)), _texts(new - old), _texts(old - new)
        done.append(Refreshed(name, step.why, kept, ranges.left_out, come, go))
        steps.append(step)
    meanwhile: set[str] = set()
    groups = list(in_groups(steps, ROWS))
    for (group,) in progress(in_parts(groups, 1), len(groups), "storing"):
        meanwhile |= write(store, group, now)
    return [replace(one, why=MEANWHILE) if one.name in meanwhile else one for one in done]


def _texts(networks: Iterable[Network]) -> list[str]:
    return [str(network) for network in joined(networks)]


def _resolved(
    providers: Sequence[Provider], servers: Sequence[tuple[str, int]]
) -> dict[str, Ranges]:
    import asyncio  # it takes other commands as long to start as all else

    from greylag.service.dns.published import published
    from greylag.service.dns.resolver import Resolver

    async def all_of_them() -> list[Ranges]:
        resolver, places = Resolver(servers, patience=PATIENCE), asyncio.Semaphore(AT_ONCE)

        async def one(provider: Provider) -> Ranges:
            async with places:
                return await published(provider.domain, resolver, tries=1)

        found = await asyncio.gather(*map(one, providers))
        await resolver.close()
        return found

    found = asyncio.run(all_of_them())
    return {p.name: ranges for p, ranges in zip(providers, found, strict=True)}

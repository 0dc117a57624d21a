"""What is asked for each kind of evidence: generators of queries."""

from __future__ import annotations

from greylag.core.evidence import Kind
from greylag.core.lookups import confirmed_names, listing
from greylag.core.spf import check
from greylag.core.zones import Listing

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from greylag.core.question import Question
    from greylag.core.spf import Outcome
    from greylag.core.spf.questions import Steps
    from greylag.core.zones import Zone
    from greylag.service.dns.gatherer import Recipes


def recipes_of(dnsbl: Sequence[Zone] = (), dnswl: Sequence[Zone] = ()) -> Recipes:
    """Return what is asked about an attempt, by kind of evidence."""
    return {
        Kind.NAMES: lambda question: confirmed_names(question.client),
        Kind.SPF: _spf,
        Kind.DNSBL: lambda question: _zones(question.client, dnsbl),
        Kind.DNSWL: lambda question: _zones(question.client, dnswl),
    }


def _spf(question: Question) -> Steps[Outcome | None]:
    attempt = question.attempt
    if attempt is None:
        return None
    return (yield from check(question.client, attempt.sender or b"", attempt.helo))


def _zones(client: bytes, zones: Sequence[Zone]) -> Steps[tuple[str, ...] | None]:
    """Return the zones that list a client; None if none does, and one could not be asked."""
    listed, unknown = [], False
    for zone in zones:
        found = yield from listing(client, zone.name, zone.codes)
        if found is Listing.LISTED:
            listed.append(zone.name)
        unknown |= found is Listing.UNKNOWN
    return tuple(listed) if listed or not unknown else None

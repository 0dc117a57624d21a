"""Who is spared the delay: big senders' published addresses, and what clients have earned."""

from __future__ import annotations

from itertools import islice

from starlette.responses import Response

from greylag.admin.health import STALE
from greylag.admin.providers import listing
from greylag.admin.trust import (
    ANY,
    Trust,
    distrust,
    end,
    identity_text,
    trust_in,
    typed_domain,
    typed_identity,
    typed_trapped,
)
from greylag.admin.typed import WrongValue
from greylag.core.triplet import OF_TRUST, TRUSTED, kind_of
from greylag.service.providers import OFF, REFRESHED
from greylag.store.base import LISTS, Filter, Store
from greylag.web.audit import changed
from greylag.web.messages import go_to
from greylag.web.pages.hurt import looked_at
from greylag.web.visit import Visit

_MOST = 100


def page(visit: Visit, store: Store) -> str:
    """Show the providers, the trust of whoever is asked about, and who is trusted soon.

    Those are whole addresses of clients, and a viewer sees networks.
    """
    asked = visit.query.one("who")
    identity = typed_identity(asked) if asked else b""
    trust = [] if not asked else _trust_of(visit, store, identity)
    trapped = None
    if asked and ":" not in asked.partition(".")[0]:
        key = typed_trapped(asked)
        record = store.load([key]).get(key)
        trapped = record if record is not None and record.live(visit.now) else None
    return visit.web.drawing.page(
        "trust",
        visit,
        providers=listing(store),
        off=OFF,
        refreshed=REFRESHED,
        stale=STALE,
        asked=asked,
        shown=identity_text(identity) if asked else "",
        trust=trust,
        trapped=trapped,
        any=ANY,
        policy=visit.web.settings.policy,
        standing_out=looked_at(visit, "7d") if visit.sight.whole else None,
        identity_text=identity_text,
        lacks=store.lacks(LISTS),
    )


def _trust_of(visit: Visit, store: Store, identity: bytes) -> list[Trust]:
    """Return what an identity has earned: with any sender domain, and with some."""
    of_it = Filter(first_network=identity, last_network=identity, recipient=TRUSTED)
    policy = visit.web.settings.policy
    return [
        trust_in(key, record, policy)
        for key, record in islice(store.search(of_it, _MOST), _MOST)
        if kind_of(key) == OF_TRUST and record.live(visit.now)
    ]


def end_trust(visit: Visit, store: Store) -> Response:
    """End the trust in a client, with one sender domain or with all."""
    who, domain = visit.form.one("who"), visit.form.one("domain")
    ended = distrust(
        store, typed_identity(who), typed_domain(domain) if domain else None, visit.now
    )
    if not ended:
        raise WrongValue(f"{who[:80]!r} is not trusted so")
    changed(visit, store, "distrust", f"{who} {domain}".strip())
    return go_to("/trust")


def let_go(visit: Visit, store: Store) -> Response:
    """Refuse a client no longer for having mailed a trap."""
    who = visit.form.one("who")
    if not end(store, typed_trapped(who), visit.now):
        raise WrongValue(f"{who[:80]!r} has mailed no trap")
    changed(visit, store, "trap-release", who)
    return go_to("/trust")

"""The history of deferred mail: a search whose filter is the URL."""

from __future__ import annotations

import json

from starlette.responses import HTMLResponse, Response

from greylag.admin.deferrals import (
    NULL_SENDER,
    SIGNS,
    Found,
    Standing,
    read_since,
    search,
    sought,
    standings,
    unremembered,
)
from greylag.admin.typed import WrongValue
from greylag.core.history import Outcome, Sought
from greylag.core.shortid import read_id, shown_id
from greylag.core.value import replace
from greylag.show.spreadsheet import as_csv
from greylag.store.base import HISTORY, Store
from greylag.web import words
from greylag.web.forms import Fields
from greylag.web.messages import go_to
from greylag.web.pages.box import LASTS
from greylag.web.pages.story import NO_IDS
from greylag.web.visit import Visit

SHOWN = 50  # on a page
LOOK = 15_000  # deferrals that are looked at for a page, so that nobody waits for it
MOST_IN_FILE = 2000
_MOST_WORDS = 5
_LONGEST_NUMBER = 18  # digits
_TEXTS = ("sender", "recipient", "client", "id", "since", "not")


def page(visit: Visit, store: Store) -> Response:
    """Show what fits, the newest first. An id leads to its mail at once."""
    query = visit.query
    typed = query.one("id")
    if typed:
        if not visit.sight.whole:
            raise WrongValue(NO_IDS)
        if read_id(typed) is None:
            raise WrongValue(f"expected an id such as 7KQ3-M2F, got {typed[:80]!r}")
        return go_to(f"/mail/{typed.strip().upper()}")
    found = _found(visit, store)
    return HTMLResponse(
        visit.web.drawing.page(
            "mail",
            visit,
            standings=standings(store, found.deferrals, visit.now),
            following=found.before,
            reached=found.reached,
            rest=query.without("before"),
            most_in_file=MOST_IN_FILE,
            texts={name: query.one(name) for name in _TEXTS},
            chosen=set(query.many("outcome")),
            outcomes=words.OUTCOMES,
            sign=query.one("sign"),
            signs=SIGNS,
            words=words,
            owners=visit.web.settings.values["web.owners"],
            lasts=LASTS,
            lacks=store.lacks(HISTORY),
            filtered=any(query.one(name) for name in (*_TEXTS, "outcome", "sign")),
        )
    )


def as_csv_file(visit: Visit, store: Store) -> Response:
    """Return what fits as a file for spreadsheets."""
    rows, _complete = _in_file(visit, store)
    return _file(as_csv(rows), "text/csv", "mail.csv")


def as_json_file(visit: Visit, store: Store) -> Response:
    """Return what fits as one JSON document."""
    rows, complete = _in_file(visit, store)
    text = json.dumps({"mail": rows, "complete": complete}, indent=1)
    return _file(text, "application/json", "mail.json")


def _file(text: str, kind: str, name: str) -> Response:
    headers = {"content-disposition": f'attachment; filename="{name}"'}
    return Response(text, media_type=kind, headers=headers)


def _in_file(visit: Visit, store: Store) -> tuple[list[dict[str, object]], bool]:
    """Return the newest that fit, as whoever asks may see them, and whether these are all."""
    found = search(store, sought_of(visit), MOST_IN_FILE, look=LOOK)
    rows = [_row(visit, one) for one in standings(store, found.deferrals, visit.now)]
    return rows, found.before is None


def _row(visit: Visit, standing: Standing) -> dict[str, object]:
    one, sight = standing.deferral, visit.sight
    known = {"id": shown_id(one.id), "client_name": one.name} if sight.whole else {}
    return {
        "first_seen": one.first_seen,
        "sender": sight.address(one.triplet.sender),
        "recipient": sight.address(one.triplet.recipient),
        "client": sight.client(one),
        **known,
        "signs": list(one.signs),
        "state": standing.state,
        "early_tries": one.tries,
        "ended": one.ended or None,
        "released": one.released or None,
    }


def _found(visit: Visit, store: Store) -> Found:
    """Return what fits; of what is searched for by name, also what the history does not have."""
    wanted, before = sought_of(visit), _before(visit.query)
    found = search(store, wanted, SHOWN, before, LOOK)
    named = wanted.sender or wanted.recipient or wanted.networks
    waiting = wanted.outcomes is None or Outcome.WAITING in wanted.outcomes
    there = any(one.outcome is Outcome.WAITING for one in found.deferrals)
    if before is not None or there or not (named and waiting):
        return found
    policy = visit.web.settings.policy
    others = unremembered(store, wanted, policy, visit.now, SHOWN, LOOK).deferrals
    return replace(found, deferrals=[*others, *found.deferrals])


def _before(query: Fields) -> int | None:
    text = query.one("before")
    number = text.isascii() and text.isdigit() and len(text) <= _LONGEST_NUMBER
    return int(text) if number else None


def sought_of(visit: Visit) -> Sought:
    """Return what the filter of a URL means. Raises WrongValue."""
    query = visit.query
    sender, recipient = query.one("sender"), query.one("recipient")
    without = query.one("not").split()[:_MOST_WORDS]
    if not visit.sight.whole:
        for text in (sender, recipient, *without):
            _of_domain(text)
    return sought(
        visit.web.settings.policy,
        sender=sender,
        recipient=recipient,
        address=query.one("client"),
        outcomes=query.many("outcome"),
        since=read_since(query.one("since"), visit.now),
        without=without,
        sign=query.one("sign"),
    )


def _of_domain(text: str) -> None:
    """Let a viewer look for domains alone: a part of a mailbox that fits would tell who it is."""
    if text and text != NULL_SENDER and not text.startswith("@"):
        raise WrongValue(f"a viewer looks for domains, such as @example.org; got {text[:80]!r}")

"""Words of the history for people, the same on every page."""

from __future__ import annotations

from hashlib import sha256

from greylag.admin.deferrals import DUE, EXPIRED, GONE, Standing
from greylag.core.history import Deferral, Outcome
from greylag.core.shortid import shown_id
from greylag.show.summaries import CLASSES

OUTCOMES = {
    Outcome.WAITING: "waits",
    Outcome.PASSED: "passed",
    Outcome.OTHER_WAY: CLASSES[Outcome.OTHER_WAY.value],
    Outcome.VARYING: f"never came back ({CLASSES[Outcome.VARYING.value]})",
    Outcome.UNKNOWN: f"never came back ({CLASSES[Outcome.UNKNOWN.value]})",
    Outcome.LIKELY_SPAM: f"never came back ({CLASSES[Outcome.LIKELY_SPAM.value]})",
    Outcome.EVICTED: "had to make room",
    Outcome.FORGOTTEN: "forgotten",
}
SIGNS = {
    "no-name": "no confirmed name",
    "dynamic-name": "a name as access providers make them",
    "helo": "a HELO that cannot be right",
    "spf": "SPF says that it may not send for this domain",
    "dnsbl": "a DNS list names it",
    "sender-is-recipient": "the sender is the recipient",
}


_STATES = {
    DUE: "passes at its next try",
    GONE: "its record is gone",
    EXPIRED: "its time is over",
}


_MARK = 32  # hex digits


def state_of(standing: Standing) -> str:
    """Return what became of a deferral, or may become of it now."""
    if standing.state == DUE and standing.deferral.released:
        return "released: its next try passes"
    return _STATES.get(standing.state) or OUTCOMES[Outcome(standing.state)]


def look_of(standing: Standing) -> str:
    """Return the class by which a page colours a deferral."""
    looks = {Outcome.WAITING.value: "wait", DUE: "wait", Outcome.PASSED.value: "ok"}
    return looks.get(standing.state, "over")


def key_of(deferral: Deferral, *, whole: bool) -> str:
    """Return by what the page of exactly this deferral is named, for a link to it.

    Others may have the same id, by chance or on purpose, so it is the number in the history. Of
    what only a record knows it is the id and a mark of its key; both tell who wrote to whom to
    anybody who guesses right, so a viewer gets none (and no link).
    """
    if deferral.number or not whole:
        return f"n{deferral.number}"
    return f"{shown_id(deferral.id)}.{mark_of(deferral)}"


def mark_of(deferral: Deferral) -> str:
    """Return what tells the triplets of one id apart, though somebody made their ids alike."""
    network, *names = deferral.triplet.key
    parts = (network, *(name.encode(errors="surrogateescape") for name in names))
    return sha256(b"\0".join(parts)).hexdigest()[:_MARK]

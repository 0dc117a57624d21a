"""The story of one mail, and what can be done about it."""

from __future__ import annotations

from starlette.responses import HTMLResponse, Response

from greylag.admin.deferrals import MOST_OF_ID, Meant, keys_of, meant, of_id, standings
from greylag.admin.entries import read_comment
from greylag.admin.lists import ALLOW, How, put
from greylag.admin.recipients import mark
from greylag.admin.records import forget as forget_records
from greylag.admin.release import release as release_mail
from greylag.admin.release import subject_of
from greylag.admin.retry import is_reduced
from greylag.admin.typed import WrongValue
from greylag.admin.why import Rules, story
from greylag.core.accesslist import Purpose
from greylag.core.client import is_packed
from greylag.core.duration import parse_duration
from greylag.core.history import Deferral, Sought
from greylag.core.shortid import last_of_pair, pair_id, read_id, shown_id
from greylag.core.subject import (
    ClientName,
    Network,
    RecipientMailbox,
    SenderDomain,
    SenderMailbox,
    Subject,
)
from greylag.core.value import value
from greylag.show.texts import subject_text
from greylag.store.base import KINDS, Store
from greylag.web import words
from greylag.web.audit import changed
from greylag.web.messages import go_to
from greylag.web.visit import Visit

ENDS = {"1d": "a day", "7d": "a week", "30d": "a month", "365d": "a year"}
EXPECTED_FOR = 1800  # seconds
# It is made of sender and recipient: who may ask for ids finds out by guessing who they are.
NO_IDS = "this takes the role operator: an id would tell a viewer who guesses it who wrote to whom"
_NONE = "0"  # the number of what the history does not have
_LONGEST_NUMBER = 18  # digits
_MOST = 50  # deferrals of one id, or between the same two


@value
class Choice:
    """What may be allowed of a mail: a word for the form, the subject, what it means."""

    word: str
    subject: Subject
    told: str
    by_spf: bool = False  # it speaks only where SPF passes


def page(visit: Visit, store: Store) -> Response:
    """Show it, and what else there was between the two; of several with this id, a choice."""
    if visit.parts["key"].startswith("n"):
        return _page(visit, store, _numbered(store, visit.parts["key"][1:]))
    this = _meant(visit, store)
    if this.more or len(this.standings) > 1:
        return _several(visit, this)
    deferral = this.standings[0].deferral
    if not deferral.number and visit.sight.whole and "." not in visit.parts["key"]:
        return go_to(f"/mail/{words.key_of(deferral, whole=True)}")  # for its forms
    return _page(visit, store, deferral)


def _several(visit: Visit, this: Meant) -> Response:
    """Let people choose: which of them is meant, nobody can tell."""
    facts = {"standings": this.standings, "more": this.more, "most": MOST_OF_ID, "words": words}
    shown = visit.parts["key"].partition(".")[0]
    return HTMLResponse(visit.web.drawing.page("several", visit, shown_id=shown, **facts))


def _page(visit: Visit, store: Store, deferral: Deferral) -> Response:
    key = deferral.triplet
    first = pair_id(key.sender, key.recipient)
    pair = Sought(first_id=first, last_id=last_of_pair(first))
    others = [
        one
        for one in store.deferrals(pair, _MOST).deferrals
        if one.number != deferral.number and one.sender_recipient == deferral.sender_recipient
    ]
    settings = visit.web.settings
    rules = Rules(settings.policy, settings.recipients, settings.origins)
    (standing,) = standings(store, [deferral], visit.now)
    facts = {
        "standing": standing,
        "deferral": deferral,
        "story": story(store, standing, rules, visit.now),
        "others": standings(store, others, visit.now),
        "choices": choices(deferral, kinds=store.lacks(KINDS) is None),
        "ends": ENDS,
        "words": words,
        "shown_id": shown_id(deferral.id) if visit.sight.whole else "",
        "subject_text": subject_text,
        "dns": settings.policy.dns,
    }
    return HTMLResponse(visit.web.drawing.page("story", visit, **facts))


def _meant(visit: Visit, store: Store) -> Meant:
    """Return what an id means, with the mark of its key or without. Raises LookupError, WrongValue.

    Of what waits and the history does not have, the record tells.
    """
    if not visit.sight.whole:
        raise WrongValue(NO_IDS)
    shown, dot, mark = visit.parts["key"].partition(".")
    wanted = read_id(shown)
    if wanted is None:
        raise LookupError(shown)
    this = meant(store, of_id(wanted), visit.web.settings.policy, visit.now)
    if dot:
        exactly = [one for one in this.standings if words.mark_of(one.deferral) == mark]
        this = Meant(exactly, more=False)
    if not this.standings:
        raise LookupError(shown)
    return this


def _numbered(store: Store, text: str) -> Deferral:
    if not (text.isascii() and text.isdigit() and len(text) <= _LONGEST_NUMBER):
        raise LookupError(text)
    for one in store.deferrals(Sought(), 1, int(text) + 1).deferrals:
        if one.number == int(text):
            return one
    raise LookupError(text)


def choices(deferral: Deferral, *, kinds: bool = True) -> list[Choice]:
    """Return what may be allowed, in the order of `admin.ways`: the narrowest first.

    `kinds`: the store keeps entries for senders and names.
    """
    key, found = deferral.triplet, list[Choice]()
    domain = key.sender.rpartition("@")[2]
    if kinds and "@" in key.sender and not is_reduced(key.sender):
        told = "mail from this sender, where SPF passes"
        found.append(Choice("sender", SenderMailbox(key.sender), told, by_spf=True))
    if kinds and deferral.name:
        told = "all mail from clients with this confirmed name, or one below it"
        found.append(Choice("name", ClientName(deferral.name), told))
    if is_packed(deferral.client):
        only = Network(deferral.client, 8 * len(deferral.client))
        found.append(Choice("client", only, "all mail from this client address"))
    if kinds and domain and key.sender != domain:
        told = "mail from all senders of this domain, where SPF passes"
        found.append(Choice("domain", SenderDomain(domain), told, by_spf=True))
    return found


def release(visit: Visit, store: Store) -> Response:
    """Let its next retry in."""
    deferral = _one(visit, store)
    done = release_mail(store, [deferral], visit.now, who=f"web:{visit.user}")
    if not done.released:
        raise WrongValue("it does not wait any more: nothing was changed")
    changed(visit, store, "release", subject_of(deferral), noted=done.not_noted is None)
    return _back(visit)


def allow(visit: Visit, store: Store) -> Response:
    """Put the client, the sender or its domain on the allowlist, for a time."""
    deferral = _one(visit, store)
    chosen = [one for one in choices(deferral) if one.word == visit.form.one("what")]
    ends = visit.form.one("for")
    if not chosen or ends not in ENDS:
        raise WrongValue("expected what is to be allowed, and for how long")
    try:
        comment = read_comment(visit.form.one("comment") or f"mail {shown_id(deferral.id)}")
    except ValueError as error:
        raise WrongValue(str(error)) from None
    subject = chosen[0].subject
    until = visit.now + parse_duration(ends)
    put(store, ALLOW, {subject: comment}, How(until), visit.now)
    changed(visit, store, "allow", f"{subject_text(subject)} for {ends}")
    return _back(visit)


def forget(visit: Visit, store: Store) -> Response:
    """Delete the record: the next try is a first contact again."""
    deferral = _one(visit, store)
    forget_records(store, keys_of(deferral), visit.now)
    changed(visit, store, "forget", subject_of(deferral))
    return _back(visit)


def expect(visit: Visit, store: Store) -> Response:
    """Let new mail to the recipient pass for half an hour."""
    deferral = _one(visit, store)
    box = RecipientMailbox(deferral.triplet.recipient)
    until = visit.now + EXPECTED_FOR
    mark(store, Purpose.EXPECTED, [box], visit.now, until=until)
    changed(visit, store, "expect", f"{subject_text(box)} until {until}")
    return _back(visit)


def _one(visit: Visit, store: Store) -> Deferral:
    """Return the deferral that a form is about: of several with an id, exactly the one shown."""
    number = visit.form.one("number")
    if number != _NONE:
        return _numbered(store, number)
    found = _meant(visit, store).standings
    if len(found) != 1:
        raise WrongValue("several mails have this id: choose one of them; nothing was changed")
    return found[0].deferral


def _back(visit: Visit) -> Response:
    return go_to(f"/mail/{visit.parts['key']}")

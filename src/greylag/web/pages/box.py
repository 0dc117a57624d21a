"""One mailbox's waiting mail, for whoever has the link of its owner."""

from __future__ import annotations

from itertools import islice

from markupsafe import escape
from starlette.responses import HTMLResponse, Response

from greylag.admin.deferrals import Standing, sought, standings
from greylag.admin.looking import Looking
from greylag.admin.recipients import mark, read_mailboxes, whole_mailboxes
from greylag.admin.release import release as release_mail
from greylag.admin.release import subject_of
from greylag.admin.typed import WrongValue
from greylag.core.accesslist import Purpose
from greylag.core.duration import parse_duration
from greylag.core.history import Outcome
from greylag.core.subject import RecipientMailbox
from greylag.core.value import replace
from greylag.show.texts import clean
from greylag.store.base import Store
from greylag.web import words
from greylag.web.audit import changed
from greylag.web.messages import go_to
from greylag.web.owners import Owner, owner_of, word_of
from greylag.web.pages.story import EXPECTED_FOR
from greylag.web.visit import Visit

LASTS = {"1d": "a day", "7d": "a week", "30d": "a month"}
_SHOWN = 50
_LOOK = 20_000  # deferrals: beside a flood, older mail of a mailbox may not be seen


def page(visit: Visit, store: Store) -> str:
    """Show what waits for the mailbox."""
    owner = _owner(visit)
    return visit.web.drawing.page(
        "box",
        visit,
        owner=owner,
        standings=_waiting(visit, store, owner),
        words=words,
        done=visit.query.one("done"),
    )


def release(visit: Visit, store: Store) -> Response:
    """Let one of these mails in."""
    owner = _owner(visit)
    number = visit.form.one("number")
    chosen = [
        one.deferral for one in _waiting(visit, store, owner) if str(one.deferral.number) == number
    ]
    if not chosen:
        raise WrongValue("it does not wait any more: nothing was changed")
    done = release_mail(store, chosen, visit.now, who=_who(owner))
    if done.released:
        changed(visit, store, "release", subject_of(chosen[0]), noted=done.not_noted is None)
    return go_to(f"{_path(visit)}?done=released")


def expect(visit: Visit, store: Store) -> Response:
    """Let new mail to the mailbox pass for half an hour."""
    owner = _owner(visit)
    until = visit.now + EXPECTED_FOR
    box = RecipientMailbox(owner.mailbox)
    mark(store, Purpose.EXPECTED, [box], visit.now, until=until, comment=_who(owner)[:255])
    changed(visit, store, "expect", f"{owner.mailbox} until {until}")
    return go_to(f"{_path(visit)}?done=expected")


def make(visit: Visit, store: Store) -> Response:
    """Show an operator a link for one mailbox."""
    web, account = visit.web, visit.account
    if not web.settings.values["web.owners"] or account is None:
        raise WrongValue("links for owners of mailboxes are off (web.owners)")
    boxes, errors = read_mailboxes([visit.form.one("mailbox")])
    lasts = visit.form.one("for")
    if errors or lasts not in LASTS:
        raise WrongValue("; ".join(errors) or "expected how long the link is to last")
    (box,) = whole_mailboxes(boxes, web.settings.policy)
    owner = Owner(str(box), visit.now + parse_duration(lasts), account.name)
    web.journal.event(
        {"event": "web-link-made", "user": account.name, "mailbox": owner.mailbox, "lasts": lasts}
    )
    changed(visit, store, "link", f"{owner.mailbox} until {owner.until}")
    path = f"/box/{word_of(owner, account)}"
    # Markup, as a long link is not cut: it would lead nowhere.
    facts = {"owner": owner, "path": escape(path), "url": escape(clean(visit.whole(path)))}
    return HTMLResponse(web.drawing.page("boxlink", visit, **facts))


def is_known(visit: Visit) -> bool:
    """Tell whether a link holds: nobody else may ask the store for anything."""
    return _of_link(visit) is not None


def _of_link(visit: Visit) -> Owner | None:
    if not visit.web.settings.values["web.owners"]:
        return None
    return owner_of(visit.parts["word"], visit.web.accounts.all(), visit.now)


def _owner(visit: Visit) -> Owner:
    """Return whom the link is for. Raises LookupError."""
    owner = _of_link(visit)
    if owner is None:
        raise LookupError(visit.parts["word"])
    visit.owner = _who(owner)
    return owner


def _waiting(visit: Visit, store: Store, owner: Owner) -> list[Standing]:
    policy = visit.web.settings.policy
    wanted = replace(
        sought(policy, since=visit.now - policy.retry_window, outcomes=(Outcome.WAITING.value,)),
        recipient=owner.mailbox,
    )
    looked = Looking(store, wanted, _LOOK)  # others' names may contain this one
    own = islice((one for one in looked if one.triplet.recipient == owner.mailbox), _SHOWN)
    return [one for one in standings(store, list(own), visit.now) if one.may_pass is not None]


def _path(visit: Visit) -> str:
    return f"/box/{visit.parts['word']}"


def _who(owner: Owner) -> str:
    return f"owner of {owner.mailbox}, by a link of {owner.by}"

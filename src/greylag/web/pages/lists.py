"""The lists: what is on them, putting entries there, changing them and taking them away."""

from __future__ import annotations

from time import monotonic

from starlette.responses import HTMLResponse, Response

from greylag.admin import lists
from greylag.admin.audit import of_import
from greylag.admin.entries import (
    Reading,
    origin_of,
    read_comment,
    read_expires,
    read_lines,
    read_subjects,
    unmatched,
)
from greylag.admin.lists import ALLOW, DENY, How, Which, far_reaching, kind_of
from greylag.admin.recipients import mark, read_mailboxes, take, whole_mailboxes
from greylag.admin.typed import WrongValue
from greylag.core.accesslist import NEVER, Entry, Purpose
from greylag.core.duration import parse_duration
from greylag.core.subject import (
    CLIENT_NAME,
    DOMAIN,
    DOMAINS,
    RECIPIENT,
    SENDER,
    SENDER_DOMAIN,
    SENDER_DOMAINS,
    Subject,
    named,
    parse_subject,
)
from greylag.show.texts import subject_text, subjects_text
from greylag.store.base import LISTS, Store
from greylag.web.audit import changed
from greylag.web.forms import Fields
from greylag.web.messages import go_to
from greylag.web.visit import Visit

STEP = 2000  # rows that are read at a time
SHOWN = 100  # entries on a page
WITHIN = 0.2  # seconds that are spent on looking for them
IMPORT_LONGEST = 1 << 20  # characters
WHICH = {"allow": ALLOW, "deny": DENY}
KINDS = {
    "": "client address, range, or recipient domain",
    CLIENT_NAME: "client name",
    SENDER: "sender",
    SENDER_DOMAIN: "sender domain",
    RECIPIENT: "recipient",
    DOMAIN: "recipient domain",
}
_MOST_TOLD = 20  # errors of an import
_NEVER = "never"  # what is typed for no end


def page(visit: Visit, store: Store) -> str:
    """Show some entries of one list, or those of a subject or with a text."""
    return _page(visit, store)


def _page(visit: Visit, store: Store, **facts: object) -> str:
    query = visit.query
    name = query.one("list") or visit.form.one("list") or "allow"
    if name not in (*WHICH, "expected", "traps"):
        raise WrongValue("expected the list allow, deny, expected or traps")
    wanted, after = query.one("find").lower(), _number(query.one("after"))
    entries, following = _found(visit, store, name, wanted, after)
    common: dict[str, object] = {
        "name": name,
        "which": WHICH.get(name),
        "find": wanted,
        "entries": entries,
        "following": following,
        "lacks": store.lacks(LISTS),
        "kinds": KINDS,
        "never": NEVER,
        "kind_of": kind_of,
        "subject_text": subject_text,
        "errors": [],
        "confirm": None,
        "form": visit.form,
    }
    return visit.web.drawing.page("lists", visit, **{**common, **facts})


def _found(
    visit: Visit, store: Store, name: str, wanted: str, after: int
) -> tuple[list[Entry], int | None]:
    """Return entries from a place on, and where to go on; a long list is looked at in part."""
    found: list[Entry] = []
    end = monotonic() + WITHIN
    place: int | None = after
    while place is not None and len(found) < SHOWN:
        step = store.entries_after(place, STEP)
        for entry in step.entries:
            if _is_on(entry, name, visit.now) and _has(visit, entry, wanted):
                found.append(entry)
                if len(found) == SHOWN:
                    return found, entry.number
        place = step.after
        if monotonic() > end:
            break
    return found, place


def _is_on(entry: Entry, name: str, now: int) -> bool:
    if name == "expected":
        return entry.purpose is Purpose.EXPECTED and entry.live(now)
    if name == "traps":
        return entry.purpose is Purpose.TRAP and entry.live(now)
    return WHICH[name].holds(entry, now)


def _has(visit: Visit, entry: Entry, wanted: str) -> bool:
    """Tell whether a text stands in what whoever asks may see of an entry."""
    if not wanted:
        return True
    sight = visit.sight
    texts = (subject_text(entry.subject), entry.comment, entry.origin)
    return any(wanted in sight.text(text).lower() for text in texts)


def put(visit: Visit, store: Store) -> Response:
    """Put subjects on a list, or change an entry; far-reaching refusals are asked about first."""
    form = visit.form
    which = _which(form)
    kind = form.one("kind")
    if kind in (DOMAINS, SENDER_DOMAINS):
        texts: tuple[str, ...] = (form.one("subjects"),)
        subjects, errors = read_subjects(texts, DOMAIN if kind == DOMAINS else SENDER_DOMAIN, True)
    else:
        texts = tuple(form.raw("subjects", IMPORT_LONGEST).split())
        subjects, errors = read_subjects(
            texts, kind or None, bool(form.one("below")) and below(kind)
        )
    if not form.one("changing"):  # what is there may be changed, too
        errors += unmatched(subjects, visit.web.settings.policy)
    try:
        comment = read_comment(form.one("comment")) if form.one("comment") else None
        comment = "" if comment is None and form.one("changing") else comment
        how = How(
            _end(form, visit.now),
            origin=form.one("origin"),
            spoofable=bool(form.one("spoofable")),
        )
    except ValueError as error:
        errors.append(str(error))
    if not texts:
        errors.append("expected what is to be on the list")
    if errors:
        return HTMLResponse(_page(visit, store, errors=errors[:_MOST_TOLD]), 400)
    found = whole_mailboxes(subjects, visit.web.settings.policy)
    grave = far_reaching(which, found)
    if grave and not form.one("confirmed"):
        again = " ".join(texts)
        return HTMLResponse(_page(visit, store, confirm=grave, again=again), 409)
    lists.put(store, which, dict.fromkeys(found, comment), how, visit.now)
    changed(visit, store, which.command, subjects_text(found))
    return go_to(f"/lists?list={which.command}")


def below(kind: str) -> bool:
    """Tell whether domains below one may be meant, too."""
    return kind in (DOMAIN, SENDER_DOMAIN)


def remove(visit: Visit, store: Store) -> Response:
    """Take an entry from a list."""
    which, subject = _which(visit.form), _subject(visit.form)
    removed = lists.remove(store, which, [subject], visit.now)
    if not removed.gone:
        raise WrongValue(f"{subject_text(subject)}: not on the {which.name}")
    changed(visit, store, f"{which.command}-remove", subjects_text(removed.gone))
    return go_to(f"/lists?list={which.command}")


def take_over(visit: Visit, store: Store) -> Response:
    """Put the subjects of lines on a list, as `allow import` does with a file."""
    form = visit.form
    which = _which(form)
    lines = form.raw("lines", IMPORT_LONGEST).encode().splitlines()
    try:
        origin = origin_of("-", form.one("origin") or None)
    except ValueError as error:
        raise WrongValue(str(error)) from None
    how = Reading("line", form.one("kind") or None, mask=bool(form.one("mask")), origin=origin)
    comments, errors = read_lines(lines, how)
    replacing = bool(form.one("replace"))
    if replacing and not origin:
        errors.append("to replace what it brought before, the import needs a name")
    if not comments and not errors:
        errors.append("expected a subject in each line")
    if errors:
        return HTMLResponse(_page(visit, store, errors=errors[:_MOST_TOLD]), 400)
    grave = far_reaching(which, comments)
    if grave:
        told = f"{subject_text(grave[0])} refuses mail of many: put it on the list by itself"
        return HTMLResponse(_page(visit, store, errors=[told]), 400)
    kept = {subject: comment or None for subject, comment in comments.items()}
    stored = lists.put(store, which, kept, How(origin=origin, replace=replacing), visit.now)
    brought = of_import(len(kept), len(stored.removed or ()), origin)
    changed(visit, store, f"{which.command}-import", brought)
    return go_to(f"/lists?list={which.command}")


def expect(visit: Visit, store: Store) -> Response:
    """Say that a mailbox waits for mail."""
    boxes, errors = read_mailboxes(visit.form.one("mailbox").split())
    try:
        until = visit.now + parse_duration(visit.form.one("for") or "30m")
        comment = read_comment(visit.form.one("comment"))
    except ValueError as error:
        errors.append(str(error))
    if errors or not boxes:
        raise WrongValue("; ".join(errors) or "expected a mailbox such as user@example.net")
    if until - visit.now > _LONGEST_EXPECTED:
        raise WrongValue("expected a time of at most a week")
    found = whole_mailboxes(boxes, visit.web.settings.policy)
    mark(store, Purpose.EXPECTED, found, visit.now, until=until, comment=comment)
    changed(visit, store, "expect", f"{subjects_text(found)} until {until}")
    return go_to("/lists?list=expected")


_LONGEST_EXPECTED = 7 * 86400


def expect_end(visit: Visit, store: Store) -> Response:
    """Let a mailbox wait for mail no longer."""
    taken = take(store, Purpose.EXPECTED, [_subject(visit.form)], visit.now)
    if taken.gone:
        changed(visit, store, "expect-end", subjects_text(taken.gone))
    return go_to("/lists?list=expected")


def _which(form: Fields) -> Which:
    which = WHICH.get(form.one("list"))
    if which is None:
        raise WrongValue("expected the list allow or deny")
    return which


def _subject(form: Fields) -> Subject:
    """Return the subject of an entry that the page showed."""
    kind, text = form.one("kind"), form.one("subject")
    try:
        return parse_subject(text) if kind == "network" else named(kind, text)
    except (ValueError, KeyError):
        raise WrongValue(f"{text[:80]!r} is not on the lists") from None


def _end(form: Fields, now: int) -> int:
    """Return when an entry ends; one that is changed keeps its end where none is typed."""
    typed = form.one("expires")
    if not typed and form.one("changing"):
        return _number(form.one("until"))
    return NEVER if typed == _NEVER else read_expires(typed or None, now)


def _number(text: str) -> int:
    if text and not (text.isascii() and text.isdigit() and len(text) < 19):
        raise WrongValue("expected a number")
    return int(text or 0)

"""Postfix's lists of restrictions: where the question to greylag belongs in them."""

from __future__ import annotations

import re

from greylag.admin.setup.place import SetupError

OWN = ("permit_mynetworks", "permit_sasl_authenticated")
BEFORE_RCPT = (*OWN, "reject_unauth_destination", "reject_unlisted_recipient")
_UNAUTHS = ("reject_unauth_destination", "defer_unauth_destination")
ASK = "unix:greylag/greylag.sock"  # relative to the queue: right in a chroot and without one
# Postfix's smtpd ends, and takes no mail, where neither list about relaying has one of these.
_GUARDS = {*_UNAUTHS, "reject", "defer", "defer_if_permit", "check_relay_domains"}
_ENDS = {"permit", "reject", "defer", "defer_if_permit", "defer_if_reject"}
_BETWEEN = re.compile(r"[\s,]+")
# What is in braces belongs to the word that it touches, as in ${name?text}.
_WORD = re.compile(r"(?:\{(?:[^{}]|\{[^{}]*\})*\}|[^\s,{}])+")


def question(ask: str) -> str:
    """Return the restriction that asks, and lets mail in where nobody answers."""
    return f"check_policy_service {{ {ask}, timeout=5s, default_action=DUNNO, try_limit=1 }}"


def before_rcpt(relay: str) -> tuple[str, ...]:
    """Return what has to stand before the question about a recipient.

    `relay` is smtpd_relay_restrictions. Where it lets others relay than own clients, and refuses
    the rest, it decides about relaying: reject_unauth_destination would refuse those others.
    """
    try:
        items = items_of(relay)
    except SetupError:
        return BEFORE_RCPT
    ends = [n for n, item in enumerate(items) if item in (*_UNAUTHS, "reject", "defer")]
    others = [item for item in items[: ends[0] if ends else 0] if item not in OWN]
    return tuple(word for word in BEFORE_RCPT if not (others and word in _UNAUTHS))


def with_question(
    there: str, ask: str, before: tuple[str, ...], known: tuple[str, ...] = (), name: str = "a list"
) -> str:
    """Return a list with the question behind all that refuses for good and lets own clients in.

    What is missing of `before` is put right in front of the question, so none of the list's own
    checks is passed over. A list that asks already, here or at one of the
    `known` places, stays as it is.
    """
    items = items_of(there)
    if any(_asks(item, (ask, *known)) for item in items):
        return there
    end = items.pop() if items and items[-1] in _ENDS else ""
    if end in ("reject", "defer"):
        raise SetupError(
            f"{name} in main.cf ends with {end}, so nothing can stand behind the rest",
            "put the question into both lists yourself, where mail from outside is let in, and run"
            " this again:",
            f"  smtpd_recipient_restrictions = ..., {question(ask)}, ...",
            f"  smtpd_data_restrictions = {', '.join(OWN)}, {question(ask)}",
        )
    missing = [word for word in before if word not in items]
    return ", ".join([*items, *missing, question(ask), *([end] if end else [])])


def end_of(text: str) -> str:
    """Return the restriction that ends a list for all, if one does."""
    items = items_of(text)
    return items[-1] if items and items[-1] in _ENDS else ""


def undone(old: str | None, now: str | None, before: tuple[str, ...]) -> str | None:
    """Return a list as it was before setup; None where main.cf had none.

    Of a list that was edited since only the question goes.
    """
    if now is None or any(_asks(item, (ASK,)) for item in items_of(old or "")):
        return now
    items = items_of(now)
    asks = [item for item in items if _asks(item, (ASK,))]
    if not asks:
        return now
    ways = (before, tuple(word for word in before if word not in _UNAUTHS))
    if any(items == items_of(with_question(old or "", ASK, way)) for way in ways):
        return old
    return without_question(now)


def without_question(now: str) -> str:
    """Return a list with all that stands there but the question."""
    return ", ".join(item for item in items_of(now) if not _asks(item, (ASK,)))


def guarded(*lists: str) -> bool:
    """Tell whether Postfix takes mail with smtpd_relay_ and smtpd_recipient_restrictions as these.

    No for lists that are not understood, and those whose guard is in a restriction class.
    """
    try:
        return any(item in _GUARDS for text in lists for item in items_of(text))
    except SetupError:
        return False


def items_of(text: str) -> list[str]:
    """Return the restrictions, each with its argument. Raises SetupError for what is not read."""
    items: list[str] = []
    takes_one = False
    for word in _WORD.findall(text):
        if takes_one:
            items[-1] += f" {word}"
            takes_one = False
        else:
            items.append(word)
            takes_one = _takes_argument(word)
    if _BETWEEN.sub("", "".join(items)) != _BETWEEN.sub("", text):
        raise SetupError("a restriction list of main.cf has braces that are not understood", text)
    return items


def _takes_argument(word: str) -> bool:
    with_access = word.startswith("check_") and word != "check_relay_domains"
    return (
        with_access
        or word in ("sleep", "reject_rbl_client", "reject_rhsbl_client")
        or (word.startswith(("reject_rbl", "reject_rhsbl", "permit_dnswl", "permit_rhswl")))
    )


def _asks(item: str, places: tuple[str, ...]) -> bool:
    """Tell whether an item asks at one of these places."""
    words = re.split(r"[\s,{}]+", item)
    return words[0] == "check_policy_service" and any(place in words for place in places)

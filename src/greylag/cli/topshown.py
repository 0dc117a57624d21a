"""What `greylag top` and `greylag report` show alike: titles, columns and rows."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from greylag.admin.moments import moment
from greylag.admin.top import Early, Hurt, Top
from greylag.admin.trust import ANY, Trust, identity_text
from greylag.core.history import By
from greylag.core.shortid import shown_id
from greylag.show.durations import in_words
from greylag.show.tables import Cell

Row = tuple[Cell, ...]
TITLES = {
    By.SENDER_DOMAIN: "Most deferred sender domains",
    By.RECIPIENT: "Most deferred recipients",
    By.RECIPIENT_DOMAIN: "Most deferred recipient domains",
    By.NETWORK: "Most deferred client networks",
}


def _hurt_row(one: Hurt) -> Row:
    longest = in_words(one.longest) if one.longest else ""
    return one.domain, one.mails, one.never, longest, shown_id(one.worst.id)


def _early_row(one: Early) -> Row:
    return one.domain, one.retries, one.mails, one.passed


def _soon_row(one: Trust) -> Row:
    passes = f"{one.passes} of {one.needed}"
    if one.complete:
        passes += f", trusted from {moment(one.earliest)}"
    return identity_text(one.identity), one.domain or ANY, passes


# Name, title, columns and rows; the first is about who was hurt.
SECTIONS: tuple[tuple[str, str, tuple[str, ...], Callable[[Top], Iterable[Row]]], ...] = (
    (
        "hurt",
        "Hurt: likely good mail that waited for half an hour or more, or never came back",
        ("sender domain", "mails", "never came back", "longest wait", "such as"),
        lambda found: map(_hurt_row, found.hurt),
    ),
    (
        "early",
        "Retries that came too early",
        ("sender domain", "retries", "mails", "passed"),
        lambda found: map(_early_row, found.early),
    ),
    (
        "trusted-soon",
        "Trusted soon",
        ("identity", "sender domain", "first passes"),
        lambda found: map(_soon_row, found.soon),
    ),
)


def not_all(found: Top) -> str | None:
    """Return what to say where only part of the history was looked at."""
    if found.complete:
        return None
    return (
        "there is more history than is looked at: who was hurt, tried too early or is trusted soon "
        f"is told since {moment(found.reached)}"
    )

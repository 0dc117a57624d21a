"""The options that say what a SUBJECT is, and the sentence that says what was understood."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import click

from greylag.admin.lists import ALLOW, DENY, Which, kind_of
from greylag.core.subject import (
    CLIENT_NAME,
    DOMAIN,
    DOMAINS,
    RECIPIENT,
    SENDER,
    SENDER_DOMAIN,
    SENDER_DOMAINS,
    Subject,
    of_recipient,
    of_sender,
)
from greylag.show.texts import subject_text

F = TypeVar("F", bound=Callable[..., Any])

_KINDS = {
    CLIENT_NAME: "a client's name, with all names below it",
    SENDER: "who mail is from: a mailbox",
    SENDER_DOMAIN: "the domain of senders",
    RECIPIENT: "who mail is to: a mailbox",
    DOMAIN: "a recipient domain",
}


def kind_options(command: F) -> F:
    """Give a command a flag for each kind; its function gets them as **kinds."""
    option = click.option(
        "--with-subdomains", is_flag=True, help="Take domains below each SUBJECT, too."
    )
    command = option(command)
    for kind, what in reversed(_KINDS.items()):
        command = click.option(f"--{kind}", is_flag=True, help=f"Each SUBJECT is {what}.")(command)
    return command


def chosen(kinds: Mapping[str, bool]) -> tuple[str | None, bool]:
    """Return the kind that the flags name, and whether domains below are meant."""
    named = [kind for kind in _KINDS if kinds[kind.replace("-", "_")]]
    below = kinds["with_subdomains"]
    if len(named) > 1:
        told = " and ".join(f"--{kind}" for kind in named)
        raise click.UsageError(f"{told} are two kinds: give one of them")
    if below and named not in ([DOMAIN], [SENDER_DOMAIN]):
        raise click.UsageError("--with-subdomains goes with --domain or --sender-domain")
    return (named[0] if named else None), below


def option_of(subject: Subject) -> str:
    """Return what is written before a subject so that it is read as what it is."""
    below = " --with-subdomains" if subject.kind in (DOMAINS, SENDER_DOMAINS) else ""
    kind = {DOMAINS: DOMAIN, SENDER_DOMAINS: SENDER_DOMAIN}.get(subject.kind, subject.kind)
    plain = kind not in _KINDS or (kind == DOMAIN and not below and "." in str(subject))
    return "" if plain else f"--{kind}{below} "


def described(subject: Subject) -> str:
    """Return the kind of a subject and its text."""
    text = subject_text(subject)
    if subject.kind == CLIENT_NAME:
        return f"{kind_of(subject)} {text} and names below it"
    if subject.kind in (DOMAINS, SENDER_DOMAINS):
        return f"{kind_of(subject).partition(' and ')[0]} {text} and domains below it"
    return f"{kind_of(subject)} {text}"


def effect_of(
    which: Which, subject: Subject, *, explicit: bool, spoofable: bool = False, asked: bool = False
) -> str:
    """Return a sentence: which kind a subject is, and what happens to its mail."""
    to = of_recipient(subject)
    effect = "is refused" if which is DENY else "is let in"
    if asked:  # before it is done
        effect = effect.replace("is", "would be", 1)
    if which is ALLOW and to and explicit:
        effect = "is greylisted (policy.explicit is on)"
    side = "TO" if to else "FROM"
    if subject.kind == CLIENT_NAME:
        effect += " where DNS confirms the name"
    elif which is ALLOW and of_sender(subject):
        effect += ", also if it is forged" if spoofable else " where SPF passes"
    return f"{described(subject)}: mail {side} it {effect}"

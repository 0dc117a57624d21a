"""Reading what an admin typed, where he said which kind of thing it names."""

from __future__ import annotations

from greylag.core.address import canonical, canonical_domain, sender_of
from greylag.core.client import parse_address
from greylag.core.names import host_name
from greylag.core.subject import (
    CLIENT_NAME,
    DOMAIN,
    DOMAINS,
    RECIPIENT,
    SENDER,
    SENDER_DOMAIN,
    SENDER_DOMAINS,
    Domain,
    Subject,
    named,
    parse_subject,
)

_SHOWN = 80  # characters of a wrong value that an error quotes
_HOST_NAME = frozenset("abcdefghijklmnopqrstuvwxyz0123456789-_")
_BELOW = {DOMAIN: DOMAINS, SENDER_DOMAIN: SENDER_DOMAINS}


def parse_kind(text: str, kind: str, *, below: bool = False, options: bool = True) -> Subject:
    """Read a subject of a kind (of `core.subject`): a text of the command line, or of a file.

    `below` takes the domains below it, too. `options`: what was typed may be meant as another kind,
    which an option names. Raises ValueError with what was expected.
    """
    text = text.strip()
    kind = _BELOW[kind] if below else kind
    if kind in (DOMAIN, DOMAINS):
        found = parse_subject(text, domain=True)
        return named(kind, found.name) if isinstance(found, Domain) else found
    if kind == CLIENT_NAME:
        return named(kind, _client_name(text))
    if kind in (SENDER, RECIPIENT):
        return named(kind, _mailbox(text, kind, options))
    return named(kind, _sender_domain(text, below=below))


def _client_name(text: str) -> str:
    name = host_name(_bytes(text))
    bare = text.removeprefix("*").removeprefix(".")
    if name is None and parse_address(_bytes(text)) is not None:
        raise ValueError(f"expected the name of a client; {_shown(text)} is an address")
    if name is None or bare != text:
        other = host_name(_bytes(bare)) if bare != text else None
        instead = f" (names below a name are meant by it: write {other})" if other else ""
        example = "expected the name of a client such as mail.example.org"
        raise ValueError(f"{example}, got {_shown(text)}{instead}")
    return name


def _sender_domain(text: str, *, below: bool) -> str:
    what = "expected the domain of senders such as example.org"
    if "@" in text:
        meant = text.rpartition("@")[2]
        instead = f" (write {meant})" if text.startswith("@") else " (--sender names one sender)"
        raise ValueError(f"{what}, got {_shown(text)}{instead}")
    name = _domain_name(text)
    if name is None or not ("." in name or below):
        raise ValueError(f"{what}, got {_shown(text)}")
    return name


def _domain_name(text: str) -> str | None:
    """Return the canonical name of a domain, or None for what is none."""
    name = canonical_domain(_bytes(text)).removesuffix(".")
    labels = name.split(".")
    sound = all(label and set(label) <= _HOST_NAME for label in labels)
    return name if sound and not labels[-1].isdigit() else None


def _mailbox(text: str, kind: str, options: bool) -> str:
    whole = "expected a mailbox such as user@example.org"
    if text.startswith("<") and text.endswith(">"):
        text = text[1:-1]
    local, at, domain = text.rpartition("@")
    if not text and kind == SENDER:
        raise ValueError(f"{whole}; for the null sender there is the setting policy.null_sender")
    if not at:
        option = "--sender-domain names a domain" if kind == SENDER else "--domain names a domain"
        raise ValueError(f"{whole}, got {_shown(text)}" + (f" ({option})" if options else ""))
    name = _domain_name(domain)
    raw = _bytes(f"{local}@{name}")
    mailbox = sender_of(raw) if kind == SENDER else canonical(raw)
    if not local or name is None or not _fits(local):
        raise ValueError(f"{whole}, got {_shown(text)}")
    return mailbox


def _fits(local: str) -> bool:
    """Tell whether a local part is one that can be meant: with nothing that is not seen."""
    return local.isprintable() and not any(letter.isspace() for letter in local)


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "replace")


def _shown(text: str) -> str:
    return repr(text[:_SHOWN])

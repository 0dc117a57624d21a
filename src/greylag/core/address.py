r"""Canonical addresses: one printable form for envelope addresses of any bytes and any length.

A triplet is found again only if both attempts spell its addresses alike, in every store, whatever
the store's charset or collation does. So the canonical form is visible ASCII, at most 255
characters (the old tables' width), and two different addresses never share one:

- ASCII letters are lower-cased, and only those: `A@x` is `a@x`, but an accented letter is not
  the plain one (the old program left both to the database's collation);
- a domain in another script is in its `xn--` form (IDNA 2008: lower case, NFC, punycode), so that
  both spellings are one; if a label of it cannot be a name, the domain stays as it came;
- a byte outside visible ASCII, and the backslash itself, becomes a backslash, `x` and two digits;
- what is then over-long is cut to a prefix and `\#` plus a digest of the whole. No escape
  begins with `\#`, so an address cannot be made to look like another's digest.

A sender loses its BATV tag before (draft-levine-smtp-batv, and the older form with the user first),
as the tag changes each day: `prvs=TAG=user@domain` and `prvs=user/TAG@domain` are the mailbox
`user@domain`.
"""

from __future__ import annotations

from enum import Enum
from functools import lru_cache

from greylag.core.escape import escapes

MAX_LENGTH = 255  # characters: varchar(255) in the old plugin's tables (store/mysql/schema.py)
PREFIX = b"prvs="  # of a sender with a BATV tag
# Recipients of at most so many bytes are kept, so many of them: some 2 MB at most.
_LONGEST_KEPT, _KEPT = 256, 4096
_DIGEST_BYTES = 20  # 160 bits: no two long addresses collide, even if chosen to
_PLAIN = bytes(byte for byte in range(0x21, 0x7F) if byte != 0x5C)
ESCAPES = escapes(_PLAIN)  # of each byte

_HOST_NAME = b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_."
# A host may read the mailbox as a route to another host: `b%example.net@here`, `there!b@here`,
# `b@there@here`. Whether it does can depend on quotes that the mail server has removed.
_ROUTING = b'%!@"\\'
_ORDINARY = _HOST_NAME + b"@"  # what nearly every recipient is made of
_LONGEST_DOMAIN = 253  # bytes as a name; in UTF-8 each may take four
_LONGEST_LABEL = 63
_DOTS = str.maketrans(dict.fromkeys("\u3002\uff0e\uff61", "."))  # RFC 5895, 2
_LETTERS = frozenset(("Ll", "Lo", "Lm", "Mn", "Mc", "Nd"))  # RFC 5892, 2.1, without capitals
# RFC 5892, 2.6: letters and marks that cannot be seen. Programs that map domains drop them.
_SHOWS_NOTHING = frozenset(
    map(chr, (0x34F, 0x115F, 0x1160, 0x17B4, 0x17B5, 0x180B, 0x180C, 0x180D, 0x180F, 0x3164))
) | frozenset(map(chr, (*range(0xFE00, 0xFE10), *range(0xE0100, 0xE01F0))))
# Hosts differ about these (UTS 46, "deviations"): some read ss, a common sigma, or nothing.
_DEVIATIONS = [c.encode() for c in "\u00df\u1e9e\u03c2\u03a3\u200c\u200d"]
_ALSO_IN_LABELS = frozenset("-_\u00b7\u0375\u05f3\u05f4\u200c\u200d\u30fb")  # RFC 5892, appendix A


class Spelling(Enum):
    """How surely the spelling of a recipient tells its domain."""

    CLEAR = "clear"
    LOCAL = "local"  # a name that only the host can complete; an entry for that name matches
    AMBIGUOUS = "ambiguous"  # a host may take it for a recipient of another domain

    __hash__ = object.__hash__


_CLEAR, _LOCAL, _AMBIGUOUS = Spelling.CLEAR, Spelling.LOCAL, Spelling.AMBIGUOUS


def canonical_domain(raw: bytes) -> str:
    """Return the canonical form of a domain."""
    return canonical(raw if raw.isascii() else _ascii_form(raw) or raw)


def canonical(raw: bytes) -> str:
    """Return the canonical form of an envelope address."""
    lowered = raw.lower()
    if len(lowered) <= MAX_LENGTH and not lowered.translate(None, _PLAIN):
        return lowered.decode("ascii")  # nearly every address there is
    local, at, domain = lowered.rpartition(b"@")
    if at and not domain.isascii():
        lowered = local + at + (_ascii_form(domain) or domain)
    return _with_escapes(lowered)


def escaped(raw: bytes) -> str:
    """Return the canonical form of an address whose domain stays in the script it is in."""
    lowered = raw.lower()
    if len(lowered) <= MAX_LENGTH and not lowered.translate(None, _PLAIN):
        return lowered.decode("ascii")
    return _with_escapes(lowered)


def _with_escapes(lowered: bytes) -> str:
    # Each byte becomes one character or more, so this much of a long address is enough.
    text = "".join([ESCAPES[byte] for byte in lowered[: MAX_LENGTH + 1]])
    return text if len(text) <= MAX_LENGTH else _cut(text, lowered)


def _cut(text: str, lowered: bytes) -> str:
    from hashlib import blake2b  # loads libcrypto: not for ordinary addresses

    digest = blake2b(lowered, digest_size=_DIGEST_BYTES).hexdigest()
    return f"{text[: MAX_LENGTH - len(digest) - 2]}\\#{digest}"


def _ascii_form(domain: bytes) -> bytes | None:
    """Return a domain in UTF-8 in its `xn--` form, or None if it cannot be one."""
    if len(domain) > 4 * _LONGEST_DOMAIN:
        return None
    from unicodedata import category, normalize  # only for domains in another script

    try:
        text = normalize("NFC", domain.decode("utf-8").lower()).translate(_DOTS)
    except UnicodeDecodeError:
        return None
    labels = []
    size = -1  # no dot before the first
    for label in text.split("."):
        coded = label.encode("utf-8")
        if not label.isascii():
            # Punycode takes quadratic time, so long labels are refused before. A label that NFKC
            # changes (as it does wide letters) is another label to many hosts.
            if len(label) > _LONGEST_LABEL or normalize("NFKC", label) != label:
                return None
            if not all(category(c) in _LETTERS or c in _ALSO_IN_LABELS for c in label):
                return None
            if not _SHOWS_NOTHING.isdisjoint(label):
                return None
            coded = b"xn--" + label.encode("punycode")
            if len(coded) > _LONGEST_LABEL or coded.translate(None, _HOST_NAME):
                return None
        labels.append(coded)
        size += 1 + len(coded)
        if size > _LONGEST_DOMAIN:
            return None
    return b".".join(labels)


def sender_of(raw: bytes) -> str:
    """Return the canonical form of a sender."""
    return canonical(normalise(raw))


def normalise(sender: bytes) -> bytes:
    """Return the sender without its BATV tag, or as it was if it carries none.

    Every step is one pass over the bytes: each byte of a long sender costs no more than one of a
    short one.
    """
    if sender[: len(PREFIX)].lower() != PREFIX:
        return sender
    local, at, domain = sender.rpartition(b"@")
    if not at:
        return sender
    tagged = local[len(PREFIX) :]
    tag, equals, user = tagged.partition(b"=")
    if not (equals and tag.isalnum()):
        user, _slash, tag = tagged.rpartition(b"/")
    if not (user and tag.isalnum()):
        return sender
    return user + at + domain


def recipient_of(raw: bytes) -> tuple[str, str, Spelling]:
    """Return the canonical form of a recipient, its domain, and how sure that is."""
    return _kept_recipient(raw) if len(raw) <= _LONGEST_KEPT else _recipient_of(raw)


def _recipient_of(raw: bytes) -> tuple[str, str, Spelling]:
    lowered = raw.lower()
    if len(lowered) <= MAX_LENGTH and not lowered.translate(None, _ORDINARY):
        text = lowered.decode("ascii")
        local, _at, domain = text.partition("@")
        if local and "@" not in domain and "." in domain and ".." not in f".{domain}.":
            return text, domain, _CLEAR  # nearly every recipient: what follows takes twice as long
    return canonical(raw), *domain_of(raw)


# A server's own mailboxes get nearly all of its mail.
_kept_recipient = lru_cache(_KEPT)(_recipient_of)


def domain_of(recipient: bytes) -> tuple[str, Spelling]:
    """Return the domain of a recipient (canonical), and how sure that is.

    It is what follows the last `@`, without the dot that ends an absolute name. A recipient without
    `@` is a mailbox of the host. A list may name it as it stands, unless it looks like a domain.
    """
    local, at, domain = recipient.rpartition(b"@")
    if not at:
        return ("" if b"." in recipient else canonical(recipient)), _LOCAL
    odd = False
    if domain.translate(None, _HOST_NAME) or len(domain) > MAX_LENGTH:
        name = canonical_domain(domain)
        odd = bool(name.encode("ascii").translate(None, _HOST_NAME))
        odd = odd or any(letter in domain for letter in _DEVIATIONS)
    else:
        name = domain.lower().decode("ascii")  # nearly every domain there is
    name = name.removesuffix(".")
    empty_label = ".." in f".{name}."
    if odd or empty_label or not local or local.translate(None, _ROUTING) != local:
        return name, _AMBIGUOUS
    return name, (_CLEAR if "." in name else _LOCAL)

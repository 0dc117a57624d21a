r"""Canonical addresses: one printable form for envelope addresses of any bytes and any length.

A triplet is found again only if both attempts spell its addresses alike, in every store, whatever
the store's charset or collation does. So the canonical form is visible ASCII, at most 255
characters (the old tables' width), and two different addresses never share one:

- ASCII letters are lower-cased, and only those: `A@x` is `a@x`, but an accented letter is not
  the plain one (the old program left both to the database's collation);
- a byte outside visible ASCII, and the backslash itself, becomes a backslash, `x` and two digits;
- what is then over-long is cut to a prefix and `\#` plus a digest of the whole. No escape
  reads `\#`, so an address cannot be made to look like another's digest.
"""

from __future__ import annotations

MAX_LENGTH = 255  # characters: varchar(255) in the tables of spec/greylisting-plugin.md
_DIGEST_BYTES = 20  # 160 bits: no two long addresses collide, even if chosen to
_VISIBLE = frozenset(range(0x21, 0x7F)) - {0x5C}
_PLAIN = bytes(_VISIBLE)
_ESCAPES = [chr(byte) if byte in _VISIBLE else f"\\x{byte:02x}" for byte in range(256)]


def canonical(raw: bytes) -> str:
    """Return the canonical form of an envelope address or a domain."""
    lowered = raw.lower()
    if len(lowered) <= MAX_LENGTH and not lowered.translate(None, _PLAIN):
        return lowered.decode("ascii")  # nearly every address there is
    return _cut("".join([_ESCAPES[byte] for byte in lowered]), lowered)


def _cut(text: str, lowered: bytes) -> str:
    if len(text) <= MAX_LENGTH:
        return text
    from hashlib import blake2b  # loads libcrypto: not for ordinary addresses

    digest = blake2b(lowered, digest_size=_DIGEST_BYTES).hexdigest()
    return f"{text[: MAX_LENGTH - len(digest) - 2]}\\#{digest}"


def domain_of(recipient: bytes) -> bytes:
    """Return what follows the last `@`; all of the recipient if it has none."""
    return recipient.rpartition(b"@")[2]

r"""Bytes as printable ASCII: what does not stand as it is becomes a backslash, `x` and two digits.

Canonical addresses, values in the log and lines of a conversation are written so. They differ only
in the bytes that stand as they are, so each has a table of its own. Its text is then
`"".join([table[byte] for byte in raw])`: a function for that would cost a call in the hot path. The
backslash never stands as it is, so that escapes can be read back.
"""

from __future__ import annotations

from collections.abc import Iterable

PRINTABLE = bytes(range(0x20, 0x7F))  # with the blank
# For `bytes.translate`: replies have a question mark for what is not printable.
QUESTION_MARKS = b"?" * 0x20 + PRINTABLE + b"?" * 0x81
_ESCAPES = [f"\\x{byte:02x}" for byte in range(256)]
_HEX_DIGITS = b"0123456789abcdef"


def escapes(plain: Iterable[int]) -> list[str]:
    """Return the text for each byte: itself where it is one of `plain`, else its escape."""
    table = _ESCAPES.copy()
    for byte in plain:
        table[byte] = chr(byte)
    return table


def unescaped(raw: bytes) -> bytes:
    r"""Return the bytes that a text with escapes stands for. What is no escape stays as it is."""
    first, *others = raw.split(b"\\x")
    found = [first]
    for part in others:
        digits = part[:2]
        if len(digits) == 2 and not digits.translate(None, _HEX_DIGITS):
            found.append(bytes((int(digits, 16),)) + part[2:])
        else:
            found.append(b"\\x" + part)
    return b"".join(found)

"""Texts of records and entries as people see them: everything shows itself, and nothing acts.

A database may hold what no greylag wrote, so nothing here trusts that a packed address is one.
"""

from __future__ import annotations

from collections.abc import Iterable

from greylag.core.client import is_packed, network
from greylag.core.identity import pool_of
from greylag.core.policy import Policy
from greylag.core.subject import Network, Subject
from greylag.core.triplet import OF_CONNECTIONS, OF_SEVERAL, Triplet, kind_of

_TWO_DIGITS, _FOUR_DIGITS = 0x100, 0x10000

# Drawn as nothing or as a blank, though Unicode does not class them as format characters.
_INVISIBLE = frozenset((0x034F, 0x115F, 0x1160, 0x17B4, 0x17B5, 0x2800, 0x3164, 0xFFA0)).union(
    range(0x180B, 0x1810), range(0xFE00, 0xFE10), range(0xE0100, 0xE01F0)
)

MOST_NAMED = 20  # subjects of one action


def clean(text: str) -> str:
    r"""Return the text with all that does not simply show itself as `\x1b`, `\u202e` and so on.

    That is control, format (bidirectional and zero-width), surrogate, private, unassigned and
    separator characters other than the blank: what `str.isprintable` denies, and a few more.
    """
    if text.isascii() and text.isprintable():
        return text
    return "".join([char if _shows(char) else _escape(ord(char)) for char in text])


def _shows(char: str) -> bool:
    return char.isprintable() and ord(char) not in _INVISIBLE


def _escape(code: int) -> str:
    if code < _TWO_DIGITS:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code < _FOUR_DIGITS else f"\\U{code:08x}"


def subject_text(subject: Subject) -> str:
    """Return a list entry's subject; of a range that is none (a foreign hand's), its bytes."""
    try:
        return clean(str(subject))
    except ValueError:
        packed = subject.packed.hex() if isinstance(subject, Network) else ""
        return f"unreadable range {packed}"


def network_text(packed: bytes, policy: Policy) -> str:
    """Return a record's pool, or its client network, as far as it is one under this policy."""
    pool = pool_of(packed)
    if pool is not None:
        return clean(str(pool))
    prefix = policy.prefix_of(packed)
    if not is_packed(packed) or network(packed, prefix) != packed:
        prefix = 8 * len(packed)  # written under another policy, or by a foreign hand
    return subject_text(Network(packed, prefix))


def addresses_text(key: Triplet) -> tuple[str, str]:
    """Return what a record has in the columns of sender and recipient."""
    kind = kind_of(key)
    if kind == OF_CONNECTIONS:
        return "(connections, for jgreylist)", ""
    recipient = "(several recipients)" if kind == OF_SEVERAL else key.recipient
    return key.sender or "<>", recipient


def subjects_text(subjects: Iterable[Subject]) -> str:
    """Return the first of many subjects, and how many more there are."""
    texts = [subject_text(subject) for subject in subjects]
    more = f" and {len(texts) - MOST_NAMED} more" if len(texts) > MOST_NAMED else ""
    return " ".join(texts[:MOST_NAMED]) + more

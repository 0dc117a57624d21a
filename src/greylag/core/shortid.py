"""The short id of a deferral, such as 7KQ3-M2F: what a helpdesk types.

It is derived from the triplet, so every server and every program shows the same id for the same
mail, without a look-up. The first four characters come from the sender's domain and the recipient,
the last three from the whole triplet: so mail between the same two is found by one range of ids,
from whichever network it came. It is no secret, and two triplets may share one by chance (1 in
34 thousand millions): whoever looks one up has to expect several.
"""

from __future__ import annotations

from binascii import crc32

TYPE_CHECKING = False
if TYPE_CHECKING:
    from greylag.core.triplet import Triplet

# Crockford's base 32: no letter that is taken for a digit or for another letter.
_ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
_PAIRS = [one + other for one in _ALPHABET for other in _ALPHABET]  # of 10 bits
_MEANT = str.maketrans("ILO", "110")  # what is typed for them nevertheless
_VALUES = {letter: value for value, letter in enumerate(_ALPHABET)}
_BITS = 5  # of a character
_LETTERS, _FIRST = 7, 4
_OF_TRIPLET = _BITS * (_LETTERS - _FIRST)
PAIR = 1 << _OF_TRIPLET  # ids of mail between the same two
_PAIR_MASK, _TRIPLET_MASK = (1 << _BITS * _FIRST) - 1, PAIR - 1


def short_id(triplet: Triplet) -> int:
    """Return the id of a triplet as a number of 35 bits."""
    sender, recipient = triplet.sender, triplet.recipient
    whole = crc32(triplet.network, crc32(f"{sender} {recipient}".encode()))
    return pair_id(sender, recipient) | whole & _TRIPLET_MASK


def pair_id(sender: str, recipient: str) -> int:
    """Return the lowest id of mail from this sender's domain to this recipient."""
    named = f"{sender.rpartition('@')[2]} {recipient}"
    return (crc32(named.encode()) & _PAIR_MASK) << _OF_TRIPLET


def pair_of(number: int) -> int:
    """Return the lowest id of those that begin as this one does."""
    return number & ~_TRIPLET_MASK


def last_of_pair(first: int) -> int:
    """Return the highest id of those that begin as this one does."""
    return first | _TRIPLET_MASK


def shown_id(number: int) -> str:
    """Return an id as it is shown: 7KQ3-M2F."""
    # Made for each deferral: two characters at once cost a fifth of what one by one does.
    first = _PAIRS[number >> 25] + _PAIRS[number >> 15 & 1023]
    return f"{first}-{_PAIRS[number >> 5 & 1023]}{_ALPHABET[number & 31]}"


def read_id(text: str) -> int | None:
    """Return the number of an id as it is typed: small letters and no hyphen will do; or None."""
    letters = text.strip().upper().replace("-", "").translate(_MEANT)
    if len(letters) != _LETTERS or not all(letter in _VALUES for letter in letters):
        return None
    number = 0
    for letter in letters:
        number = number << _BITS | _VALUES[letter]
    return number

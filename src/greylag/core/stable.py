"""Senders that a program makes anew for each mail, reduced to what stays the same.

Mailing lists, bulk senders and forwarders write numbers, time stamps and the recipient's address
into the sender, so the sender of each mail is new, and each mail would be deferred. `stable`
returns such a sender without these. What changes becomes `#`.

- BATV and its kin: `prvs=TAG=user`, `btv1==TAG==user`, `msprvs1=TAG=user` are `user`.
- SRS: hash and time stamp go; the forwarder and the original sender stay (`srs0=domain=user`).
- The recipient's own address becomes `#`. It is in the triplet anyway.
- `user+anything` is `user`: what follows the plus is for the owner of the mailbox to choose, so
  this merges what belongs to one owner. An address behind the plus is another sender's and stays.
- Numbers and words of random letters and digits become `#` only where nobody has a mailbox:
  after a word such as `bounces` or `return`, in a domain of bounces, or beside the recipient's
  address. How long they must be depends on how sure that place is.

Everywhere else numbers stay: `john.smith1980`, `sales-2`, `4711` and even a UUID that stands
alone (services that hide addresses give people such mailboxes) are mailboxes of somebody, and
one who has passed must not let in the other. Long local parts stay as they are, so the work is
bounded.
"""

from __future__ import annotations

from functools import lru_cache

from greylag.core.address import normalise, sender_of

# Who is known writes again: for so many the answer is kept, if they are no longer than this.
_KEPT, _LONGEST_KEPT = 4096, 256  # pairs; bytes of one
LONGEST = 512  # bytes of a local part; RFC 5321 allows 64, real ones have up to 200

_DIGITS = b"0123456789"
_LETTERS = b"abcdefghijklmnopqrstuvwxyz"
_HEX = b"0123456789abcdef"
_WORDS = bytes(c if c in _LETTERS + _DIGITS or c > 0x7F else 0x20 for c in range(256))
_SHAPE = bytes(0x30 if c in _DIGITS else 0x61 for c in range(256))  # digits to 0, others to a

# After these words in a local part all that looks like a number of a mail is one.
_BOUNCE_WORDS = frozenset((b"bounce", b"bounces", b"bnc", b"return", b"sentto", b"verp"))
# Labels, or words of labels, of domains that take bounces: nobody has a mailbox there. The second
# line names bulk senders that use a domain of their own for this.
_BOUNCE_DOMAINS = frozenset((b"bounce", b"bounces", b"bnc", b"return", b"returns", b"verp"))
_BOUNCE_DOMAINS |= {b"amazonses", b"exacttarget", b"hubspotemail", b"mcsv", b"mktomail", b"rsgsv"}
# How long must a number, a hexadecimal word and a random word be?
_AFTER_BOUNCE_WORD, _AMONG_BOUNCES, _ELSEWHERE_IN_BOUNCES = (1, 4, 8), (3, 6, 8), (9, 12, 12)
_UUID = [8, 4, 4, 4, 12]
_OF_A_QUEUE = [16, *_UUID, 6]  # `TIME-UUID-000000`, as a big sender numbers its mails

# Between mailbox and domain where an address is part of another.
_JOINERS = b"= == === ==a== ** * -at- .at. _at_ - _ . + % # ! ~ --".split()
_REVERSED_JOINERS = b"= ! - _ / . +".split()
_BASE64 = _LETTERS + _DIGITS + b"+/-_."
_BASE32 = _LETTERS + b"234567"


def stable_name(sender: bytes, recipient: bytes) -> str:
    """Return the canonical form of what stays the same of a sender."""
    short = len(sender) + len(recipient) <= _LONGEST_KEPT
    return _kept_name(sender, recipient) if short else _name(sender, recipient)


def stable(sender: bytes, recipient: bytes) -> bytes:
    """Return what stays the same of a sender, or the sender as it is if all of it does."""
    short = len(sender) + len(recipient) <= _LONGEST_KEPT
    return _kept(sender, recipient) if short else _stable(sender, recipient)


def _stable(sender: bytes, recipient: bytes) -> bytes:
    sender = normalise(sender)
    local, at, domain = sender.rpartition(b"@")
    if local.translate(None, b"-._").isalpha() or not local:
        return sender  # nearly every person
    if len(local) > LONGEST or b'"' in local:
        return sender
    lowered = local.lower()
    if _is_plain(lowered, domain, recipient):
        return sender
    found = _forwarded(lowered, recipient) or _reduced(lowered, domain, recipient)
    return sender if found == lowered else found + at + domain


def _name(sender: bytes, recipient: bytes) -> str:
    return sender_of(_stable(sender, recipient))


_kept, _kept_name = lru_cache(_KEPT)(_stable), lru_cache(_KEPT)(_name)


def _is_plain(local: bytes, domain: bytes, recipient: bytes) -> bool:
    """Tell it of most mailboxes with a digit, for a third of what the rules below cost."""
    if b"=" in local or b"+" in local or recipient.rpartition(b"@")[0].lower() in local:
        return False
    words = local.translate(_WORDS).split()
    if not _BOUNCE_WORDS.isdisjoint(words) or len(words) >= len(_OF_A_QUEUE):
        return False
    return not _takes_bounces(domain)


def _takes_bounces(domain: bytes) -> bool:
    labels = domain.lower().translate(_WORDS).split()
    return any(label.rstrip(_DIGITS) in _BOUNCE_DOMAINS for label in labels)


def mailbox_of(recipient: bytes, separator: bytes = b"+") -> bytes:
    """Return `user@domain` for a recipient `user+tag@domain`."""
    local, at, domain = recipient.rpartition(b"@")
    if not at:
        local, domain = domain, b""
    user, found, _tag = local.partition(separator)
    return user + at + domain if found and user else recipient


def _forwarded(local: bytes, recipient: bytes) -> bytes | None:
    """Return an address of SRS without hashes and time stamps, or None if it is not one."""
    kind, rest = local[:4], local[5:]
    if kind in (b"srs0", b"srs1") and local[4:5] in (b"=", b"+", b"-"):
        if kind == b"srs0":
            original = _original(rest, recipient)
            return b"srs0=" + original if original else None
        mark, _, rest = rest.partition(b"=")
        first, _, rest = rest.partition(b"=")
        if not _is_hash(mark) or b"." not in first or rest[:1] not in (b"=", b"+", b"-"):
            return None
        return b"srs1=" + first + b"=" + (_original(rest[1:], recipient) or rest[1:])
    # `user+SRS=HASH=TT=domain=user`. Without an address it is like any other tag.
    user, _, rest = local.partition(b"+srs=")
    original = _original(rest, recipient) if user else None
    return user + b"+srs=" + original if original else None


def _original(text: bytes, recipient: bytes) -> bytes | None:
    """Return `domain=user` of `HASH=TT=domain=user`."""
    mark, _, rest = text.partition(b"=")
    stamp, _, rest = rest.partition(b"=")
    domain, _, user = rest.partition(b"=")
    stamped = _is_hash(mark) and len(stamp) == 2 and not stamp.translate(None, _BASE32)
    if not stamped or b"." not in domain or not user:
        return None
    return domain + b"=" + _reduced(user, domain, recipient)


def _is_hash(text: bytes) -> bool:
    return 0 < len(text) <= 40 and not text.translate(None, _BASE64)


def _reduced(local: bytes, domain: bytes, recipient: bytes) -> bytes:
    """Reduce a local part in lower case."""
    local = _unsigned(local)
    local, verp = _without_recipient(local, recipient.lower())
    user, plus, tag = local.partition(b"+")
    if user and tag and tag[:1] != b"+" and not _has_address(tag):
        local = user
    elif plus:
        verp = verp or _has_address(tag)
    if local.translate(None, _DIGITS) == local:
        return local  # no word without a digit is a number
    return _without_numbers(local, surely=verp or _takes_bounces(domain))


def _unsigned(local: bytes) -> bytes:
    for prefix, joiner in ((b"prvs=", b"="), (b"btv1==", b"=="), (b"msprvs1=", b"=")):
        if local.startswith(prefix):
            tag, _, user = local[len(prefix) :].partition(joiner)
            return user if user and tag.isalnum() else local
    return local


def _has_address(tag: bytes) -> bool:
    _mailbox, equals, domain = tag.partition(b"=")
    return bool(equals) and b"." in domain.strip(b".")


def _without_recipient(local: bytes, recipient: bytes) -> tuple[bytes, bool]:
    """Put `#` in the place of the recipient's address; tell whether it was there."""
    user, _, domain = recipient.rpartition(b"@")
    if not user or not domain or user not in local or domain.partition(b".")[0] not in local:
        return local, False
    for name in (domain, domain.replace(b".", b"-"), domain.replace(b".", b"_")):
        if name not in local:
            continue
        for address in (
            *[user + joiner + name for joiner in _JOINERS],
            *[name + joiner + user for joiner in _REVERSED_JOINERS],
        ):
            at = local.find(address)
            end = at + len(address)
            if at >= 0 and not (local[:at][-1:].isalnum() or local[end : end + 1].isalnum()):
                return local[:at] + b"#" + local[end:], True
    return local, False


def _without_numbers(local: bytes, *, surely: bool) -> bytes:
    """Put `#` in the place of the words that are numbers of a mail."""
    words = local.translate(_WORDS).split(b" ")
    if [len(word) for word in words] == _OF_A_QUEUE and _is_hex(b"".join(words)):
        return b"#"
    among = _AMONG_BOUNCES if surely else _ELSEWHERE_IN_BOUNCES
    after = next((i for i, word in enumerate(words) if word in _BOUNCE_WORDS), len(words))
    if not surely and after == len(words):
        return local
    numbers = [
        _is_number(word, _AFTER_BOUNCE_WORD if place > after else among)
        for place, word in enumerate(words)
    ]
    for start in range(len(words) - 4):
        five = words[start : start + 5]
        if [len(word) for word in five] == _UUID and _is_hex(b"".join(five)):
            numbers[start : start + 5] = [True] * 5
    parts = []
    at = 0
    before = False
    for word, number in zip(words, numbers, strict=True):
        if not (number and before):  # several in a row are one: some are cut by their own signs
            parts.append(local[at - 1 : at] if at else b"")
            parts.append(b"#" if number else word)
        before = number
        at += len(word) + 1
    return b"".join(parts)


def _is_hex(word: bytes) -> bool:
    return not word.translate(None, _HEX)


def _is_number(word: bytes, shortest: tuple[int, int, int]) -> bool:
    """Tell whether a word is a number, hexadecimal, or a random mixture of letters and digits."""
    number, hexadecimal, mixture = shortest
    if word.isdigit():
        return len(word) >= number
    digits = word.lstrip(_LETTERS)
    if digits.isdigit() and len(word) - len(digits) <= 2 and len(digits) >= max(number, 6):
        return True  # `n12345678`
    shape = word.translate(_SHAPE)
    switches = shape.count(b"0a") + shape.count(b"a0")
    if _is_hex(word) and switches:
        return len(word) >= hexadecimal
    return switches > 1 and len(word) >= mixture

r"""Addresses as the old plugin has them: in its keys, and in the text of its rows.

On its tables our keys have to be those of the old plugin, as both programs may work side by side. A
domain stays in the script that it came in, and a BATV tag is removed only where the old program
removes it. A row has the bytes of an address as they came. Our names have escapes for some.
"""

from __future__ import annotations

from greylag.core.address import ESCAPES, MAX_LENGTH, PREFIX, escaped, normalise

_SHORT = 11  # bytes: the old program looks for no tag in a sender of this length or less
_PUNYCODE = "xn--"
_ESCAPED = {text[2:]: bytes([n]) for n, text in enumerate(ESCAPES) if len(text) > 1}
_SPECIAL = (r"\several", r"\connection", r"\trusted", r"\trapped")  # see core.triplet
_DIGITS = 40  # of the digest in a name that was cut


def old_sender(raw: bytes) -> str:
    """Return the name of a sender under the old program's rules."""
    return escaped(normalise(raw) if _stripped(raw) else raw)


def _stripped(sender: bytes) -> bool:
    """Tell whether the old program would remove a BATV tag here, if there is one."""
    if len(sender) <= _SHORT or not sender.startswith(PREFIX):
        return False
    local = sender.rpartition(b"@")[0]
    tag, equals, _user = local[len(PREFIX) :].partition(b"=")
    return bool(equals and tag.isalnum()) or local.count(b"/") == 1


def bytes_of(name: str) -> bytes | None:
    """Return the address that a name stands for, or None if that cannot be told."""
    if not _plain(name):
        return None
    first, *others = name.split("\\x")
    found = [first.encode()]
    for part in others:
        byte = _ESCAPED.get(part[:2])
        if byte is None:
            return None
        found += [byte, part[2:].encode()]
    return None if any(b"\\" in part for part in found[::2]) else b"".join(found)


def _plain(text: str) -> bool:
    """Tell whether a text is made of what names are made of."""
    return all("!" <= letter <= "~" for letter in text) and text == text.lower()


def _is_ours(text: str) -> bool:
    """Tell whether a text with a backslash can only be a name of ours."""
    if text in _SPECIAL or bytes_of(text) is not None:
        return True
    start, sign, digest = text.rpartition("\\#")
    cut = len(text) == MAX_LENGTH and sign and len(digest) == _DIGITS and _plain(start)
    return bool(cut) and not digest.strip("0123456789abcdef")


def name_of(text: str) -> str:
    """Return the name that the text of a row means, whoever wrote it."""
    if "\\" in text and _is_ours(text):
        return text
    return escaped(text.encode())


def text_of(name: str) -> str:
    """Return the text of the old program's row for a name.

    That is the name itself where no other text would be read as this name.
    """
    raw = bytes_of(name) if "\\" in name else None
    try:
        text = name if raw is None else raw.decode("utf-8")
    except UnicodeDecodeError:
        return name
    return text if name_of(text) == name else name


def in_its_script(domain: str) -> str:
    """Return a domain as the old program's lists may have it: without `xn--` and escapes."""
    labels = []
    for label in text_of(domain).split("."):
        try:
            coded = label.startswith(_PUNYCODE)
            labels.append(label[4:].encode("ascii").decode("punycode") if coded else label)
        except UnicodeError:
            return domain
    return ".".join(labels)

"""What a role may see of addresses (T9): a viewer sees domains and networks, and no mailbox."""

from __future__ import annotations

import re

from greylag.core.history import Deferral
from greylag.core.policy import Policy
from greylag.show.texts import network_text
from greylag.web.accounts import Role

HIDDEN = "\u2026"
_LEADING = "[(\"'"  # what may stand before an address and is not a part of it
_ID = re.compile(r"\b[0-9A-Z]{4}-[0-9A-Z]{3}\b")  # tells who wrote to whom to who guesses right


class Sight:
    """Shows addresses as a role may see them."""

    def __init__(self, role: Role | None, policy: Policy) -> None:
        self.whole = role is not None and role.may(Role.OPERATOR)
        self._policy = policy

    def address(self, text: str) -> str:
        """Return a sender or a recipient; `<>` is the null sender."""
        if self.whole or not text:
            return text or "<>"
        return f"{HIDDEN}@{text.rpartition('@')[2]}" if "@" in text else HIDDEN

    def text(self, text: str) -> str:
        """Return a text in which addresses may stand, such as a comment."""
        if self.whole:
            return text
        if _ID.match(text):  # what the audit says of a mail: its id, the sender, the recipient
            return " ".join(self._word(one) for one in text.split())
        return _ID.sub(HIDDEN, _without_mailboxes(text))

    def _word(self, word: str) -> str:
        return word if word == "<>" else self.address(word)

    def network(self, packed: bytes) -> str:
        """Return a client network, or a pool of servers. Everybody may see it."""
        return network_text(packed, self._policy)

    def client(self, deferral: Deferral) -> str:
        """Return the address of a client; to a viewer, its network."""
        if self.whole and deferral.client:
            return network_text(deferral.client, self._policy).partition("/")[0]
        return self.network(deferral.triplet.network)


def _without_mailboxes(text: str) -> str:
    """Hide what stands before each @; rather too much than a part of a mailbox.

    A quoted local part may contain anything, so of a text with one all is hidden from its first
    quote to the last one before an @.
    """
    first, last = text.find('"'), text.rfind('"@')
    if first < last:
        text = f"{text[:first]}{HIDDEN}{text[last + 1 :]}"
    *boxes, rest = text.split("@")
    return "".join(f"{_without_local_part(one)}@" for one in boxes) + rest


def _without_local_part(text: str) -> str:
    """Hide the local part at the end of a text, after which an @ stands."""
    start = len(text)
    while start and (not _ends_before(text[start - 1]) or text[start - 2 : start - 1] == "\\"):
        start -= 1
    local = text[start:]
    bare = local.lstrip(_LEADING)
    leading = local[: len(local) - len(bare)]
    return f"{text[:start]}{leading}{HIDDEN if bare else ''}"


def _ends_before(character: str) -> bool:
    return character.isspace() or character in "<>"

"""How one database spells names: with the old program's text, as far as its columns can hold it.

Only names with escapes, and domains in another script, have two spellings: others cost nothing.
"""

from __future__ import annotations

from greylag.core.oldname import in_its_script, text_of
from greylag.core.triplet import Triplet
from greylag.store.mysql import sql
from greylag.store.mysql.session import MysqlSession

# What MySQL calls latin1 is cp1252. A column of another character set is taken for ASCII.
_CODECS = {"utf8mb4": "utf-8", "utf8mb3": "utf-8", "utf8": "utf-8", "latin1": "cp1252"}
_THREE_BYTES = ("utf8mb3", "utf8")
_BIGGEST = "\uffff"  # that they hold


class Names:
    """The spellings in a store's session."""

    def __init__(self, session: MysqlSession) -> None:
        self._session = session
        self._charsets: dict[tuple[str, str], str] | None = None

    def stored(self, triplet: Triplet) -> Triplet:
        """Return a triplet as a row of the old program spells it; most are spelt so already."""
        sender, recipient = triplet.sender, triplet.recipient
        if "\\" not in sender and "\\" not in recipient:
            return triplet
        sender = self._fitting("greylisting_data", "mail_from", text_of(sender), sender)
        recipient = self._fitting("greylisting_data", "rcpt_to", text_of(recipient), recipient)
        return Triplet(triplet.network, sender, recipient)

    def of_domain(self, domain: str) -> str:
        """Return a domain as a row of the lists may spell it, beside the canonical form."""
        if "\\" not in domain and "xn--" not in domain:
            return domain
        return self._fitting("greylisting_lists", "rcpt_to", in_its_script(domain), domain)

    def _fitting(self, table: str, column: str, text: str, otherwise: str) -> str:
        """Return the text if the column can hold it.

        A text that it cannot hold makes the server convert all of the column, and read it through.
        """
        if text.isascii():
            return text
        if self._charsets is None:
            rows = self._session.read(sql.CHARSETS)
            self._charsets = {(str(t).lower(), str(c).lower()): str(name) for t, c, name in rows}
        charset = self._charsets.get((table, column), "")
        if charset in _THREE_BYTES and max(text) > _BIGGEST:
            return otherwise
        try:
            text.encode(_CODECS.get(charset, "ascii"))
        except UnicodeEncodeError:
            return otherwise
        return text

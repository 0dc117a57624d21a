"""The organisational domain of a name: the part that somebody has registered.

It takes the public suffix list, whose text the caller reads: Debian's package `publicsuffix`
has it as a file, and so have packages for Python. Without a list there is no
organisational domain, for no rule of thumb tells `co.uk` from `example.uk`, and a public suffix
as identity would make one sender of all who registered below it. For the same reason a name below
a top-level domain that the list does not know has none, and the list's private part
counts: below `dyndns.example` or a hosting company's domain everybody can have a name.
"""

from __future__ import annotations

from greylag.core.address import canonical_domain

# The list says so itself. A part of it is refused: the suffixes it lacks would be organisations.
_PARTS = [
    f"// ==={edge} {part} DOMAINS===" for part in ("ICANN", "PRIVATE") for edge in ("BEGIN", "END")
]


class Suffixes:
    """A public suffix list."""

    def __init__(self, text: str) -> None:
        """Read the text of a list. A ValueError says that it is not a whole list."""
        self._rules: set[str] = set()
        self._wildcards: set[str] = set()
        self._exceptions: set[str] = set()
        parts = []
        for line in text.splitlines():
            rule = line.strip()
            if rule.startswith("//"):
                parts += [rule] if rule in _PARTS else []
            elif rule:
                self._add(rule.split()[0])
        if parts != _PARTS:
            raise ValueError("not a whole public suffix list")

    def _add(self, rule: str) -> None:
        if rule.startswith("!"):
            self._exceptions.add(_ascii(rule[1:]))
        elif rule.startswith("*."):
            self._wildcards.add(_ascii(rule[2:]))
        else:
            self._rules.add(_ascii(rule))

    def organisation_of(self, name: str) -> str | None:
        """Return the organisational domain of a canonical name, or None if it has none."""
        below, suffix = "", name  # below: the name with one label more than the suffix
        while True:
            _label, dot, parent = suffix.partition(".")
            if suffix in self._exceptions:
                return suffix
            if suffix in self._rules or (dot and parent in self._wildcards):
                return below or None
            if not dot:
                return None
            below, suffix = suffix, parent


def _ascii(rule: str) -> str:
    return canonical_domain(rule.encode())

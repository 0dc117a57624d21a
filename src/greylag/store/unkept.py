"""Figures that a store refuses: for a while, all is written without them.

What is counted must not cost a record: without its record, a first contact is let in. So the first
refusal ends the transaction as if another writer had been faster; whoever asked does it again, and
then no figure is written.
"""

from __future__ import annotations

from math import inf
from time import monotonic

from greylag.store.base import StoreConflict

_WITHOUT = 60.0  # seconds until they are tried again
_AGAIN = 10.0  # seconds within which a second wait for them is no chance any more


class Unkept:
    """Whether a store's figures were refused a moment ago."""

    def __init__(self) -> None:
        self._until = -inf
        self._waited = -inf
        self._cause = ""

    @property
    def now(self) -> bool:
        """Tell whether to go without figures."""
        return self._until != -inf and monotonic() < self._until

    def refused(self, error: str) -> StoreConflict:
        """Note a refusal; return what makes the caller begin again, without figures."""
        self._until = monotonic() + _WITHOUT
        self._cause = f"no figures are counted, as the store refuses them: {error}"
        return StoreConflict(self._cause)

    def waited(self, error: str) -> StoreConflict:
        """Note that another program keeps them locked: twice in a row, and they are refused."""
        before, self._waited = self._waited, monotonic()
        if self._waited < before + _AGAIN:
            return self.refused(error)
        return StoreConflict(error)

    def warning(self) -> str | None:
        """Return what is to be told of it, or None."""
        return self._cause if self.now else None

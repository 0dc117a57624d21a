"""What an admin does with a database, once or to look it over: `greylag db`."""

from __future__ import annotations

from greylag.core.value import value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Protocol
else:
    Protocol = object


@value
class Finding:
    """Something that differs from what is needed, and what mends it."""

    what: str
    mend: str
    index: str = ""  # the statement that adds an index, where that is it


class Admin(Protocol):
    """A session for these jobs. All methods raise StoreError."""

    def init(self) -> list[str]:
        """Make what is missing; return its names. What is there stays as it is."""

    def check(self) -> list[Finding]:
        """Return what differs from what is needed, or would help."""

    def structure(self) -> list[Finding]:
        """Return what differs in the tables themselves; the cost does not grow with their rows."""

    def schema(self) -> tuple[int, int] | None:
        """Return the schema that is there (0: none) and the newest, where schemas have numbers."""

    def clock(self) -> int | None:
        """Return the time that the database's own clock shows; None where it has none."""

    def add_indexes(self, found: list[Finding]) -> int:
        """Add the indexes that are missing; return how many."""

    def close(self) -> None:
        """Let go of files and connections."""

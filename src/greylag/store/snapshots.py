"""The part of a backend that `greylag db backup` and `restore` go by: whole stores as files."""

from __future__ import annotations

from collections.abc import Callable

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Protocol
else:
    Protocol = object

Step = Callable[[int, int], None]  # is told how much is done, and of how much


class Snapshots(Protocol):
    """What one store was at one moment, in a file of its own. All methods raise StoreError."""

    name: str  # the path of the store's own file; in its folder a file can be put in its place

    def look(self) -> None:
        """Raise StoreError where the store cannot be read, or is none."""

    def write(self, file: str, step: Step) -> None:
        """Write what the store holds now into an empty file; nobody who uses it waits for that."""

    def check(self, file: str) -> int:
        """Return the number of the schema of a file. Raises StoreError for one that is damaged."""

    def in_use(self) -> bool:
        """Tell whether another process has the store open."""

    def owns(self, file: str) -> bool:
        """Tell whether a path is the store's own, or of what lies beside it."""

    def put(self, file: str, aside: str, *, sure: bool) -> str | None:
        """Put a file that was checked in the store's place, in one step.

        The store that was there is kept: its path, or None where there was none. `aside` is what
        is added to its name. Raises StoreUnavailable where another process has it open, if not
        `sure`.
        """

"""Where in a tree a record is found, and put: by address or by /24, and from one to the other.

Records are kept by /24, or by address, as jgreylist is told; and a tree that was kept in the one
way goes on in the other. A way is the names from the root to a record's file.
"""

from __future__ import annotations

import errno
import os

from greylag.store.base import StoreUnavailable
from greylag.store.contacts import Times
from greylag.store.tree.files import DEPTH, SIXTH, Root, Strange, walk

_WHOLE = "000"  # beside the records of its addresses, the name of the /24's


class Places:
    """The records of a tree by their ways. All methods raise OSError."""

    def __init__(self, root: Root) -> None:
        self._root = root

    def find(self, way: tuple[str, ...]) -> Times | None:
        """Return what is known of a network, also where its record was kept by the other setting.

        A client of a /24 that was known is known, when records are kept by address from then on;
        and a /24 is known as long as its best known address, when they no longer are.
        """
        try:
            with self._root.folder(way[:-1]) as parent:
                found = self._root.times(parent, way[-1])
        except FileNotFoundError:
            return None
        except NotADirectoryError:
            if not _by_address(way):
                raise
            return self.find(way[:-1])  # the /24's: by address there was nothing yet
        if found is not None:
            return found
        known = [times for _, times in walk(self._root, way)]
        if not known:
            return None
        return Times(min(t.first for t in known), max(t.last for t in known))

    def own(self, way: tuple[str, ...]) -> Times | None:
        """Return what the record of just this way says, or None if it has none."""
        try:
            with self._root.folder(way[:-1]) as parent:
                found = self._root.times(parent, way[-1])
        except (FileNotFoundError, NotADirectoryError) as error:
            if isinstance(error, NotADirectoryError) and not _by_address(way):
                raise
            return None
        return self.own((*way, _WHOLE)) if found is None and len(way) < DEPTH else found

    def put(self, way: tuple[str, ...], times: Times) -> bool:
        """Set the times of a record; return whether a file was made for it."""
        try:
            return self._write(way, times)
        except NotADirectoryError:  # the record of the /24 makes room for those of its addresses
            if not _by_address(way):
                raise
            with self._root.folder(way[:-2]) as parent:
                if self._root.times(parent, way[-2]) is not None:
                    os.unlink(way[-2], dir_fd=parent)
            return self._write(way, times)

    def _write(self, way: tuple[str, ...], times: Times) -> bool:
        try:
            with self._root.folder(way[:-1]) as parent:
                if self._root.times(parent, way[-1]) is not None:
                    self._root.set_times(parent, way[-1], times)
                    return False
        except FileNotFoundError:
            pass
        else:
            if len(way) == DEPTH:
                raise Strange(errno.EISDIR, "is a folder: expected a record", way[-1])
            return self._write((*way, _WHOLE), times)
        if not self._root.has_room():
            where = self._root.path
            raise StoreUnavailable(f"{where}: the file system is nearly full: no new record")
        with self._root.folder(way[:-1], create=True) as parent:
            self._root.create(parent, way[-1], times)
        return True

    def put_beside(self, way: tuple[str, ...], times: Times) -> None:
        """Set a record; where that of its /24 is in the way, that one stays, beside it."""
        whole = self.own(way[:-1]) if _by_address(way) else None
        self.put(way, times)
        if whole is not None:
            self._write((*way[:-1], _WHOLE), whole)


def _by_address(way: tuple[str, ...]) -> bool:
    return len(way) == DEPTH and way[0] != SIXTH

"""The store in jgreylist's files: for connections alone."""

from __future__ import annotations

from greylag.store import Backend
from greylag.store.base import (
    COUNTS,
    FIGURES,
    HISTORY,
    LISTS,
    NAMES,
    RECIPIENTS,
    SWITCH,
    TABLES,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import ClassVar

    from greylag.store.tree.store import TreeStore

_SCHEME = "tree://"


class Tree(Backend):
    """`tree:///absolute/folder`, as `JGREYLIST_DIR` names it."""

    example = "tree:///absolute/folder"
    only_a_path = True
    lacks: ClassVar = {
        LISTS: "a tree of jgreylist keeps no lists (tcprules are jgreylist's)",
        FIGURES: "a tree of jgreylist keeps no figures",
        HISTORY: "a tree of jgreylist keeps connections, and no history of mail",
        RECIPIENTS: "a tree of jgreylist keeps connections, not recipients",
        NAMES: "a tree of jgreylist keeps networks alone, and nothing of pools and trust",
        COUNTS: "a tree of jgreylist keeps when a client came first and last, and no more",
        SWITCH: "a tree of jgreylist has no place for the switch (tcprules can let all in)",
        TABLES: "a tree is a folder of jgreylist's files, no database with tables",
    }

    def check(self) -> None:
        path = self.url.removeprefix(_SCHEME)
        if not self.url.startswith(_SCHEME) or path[:1] != "/" or "\0" in path:
            raise ValueError(
                "expected an absolute path after tree://, as in tree:///var/lib/jgreylist"
            )

    @property
    def backed_up_by(self) -> str:
        folder = self.url.removeprefix(_SCHEME)
        return (
            "a tree is a folder of plain files, which any program copies: "
            f"tar -C {folder} -czf jgreylist.tar.gz ."
        )

    def rooted(self, root: str) -> str:
        path = self.url.removeprefix(_SCHEME)
        return self.url if path.startswith(f"{root}/") else f"{_SCHEME}{root}{path}"

    def doubt(self) -> str | None:
        from greylag.store.tree.files import doubt_of

        return doubt_of(self.url.removeprefix(_SCHEME))

    def open(self, *, timeout: float, create: bool) -> TreeStore:
        return open_tree(self.url.removeprefix(_SCHEME))

    @staticmethod
    def load() -> None:
        import greylag.store.tree.store  # noqa: F401


def open_tree(path: str, *, hold: int | None = None, cleaned: bool = False) -> TreeStore:
    """Return the tree in a folder that jgreylist's own settings name. Raises StoreError.

    `hold` is how many seconds after its first contact a client may pass. A tree that is `cleaned`
    by `jgreylist-clean` expires there alone, which counts the clients that never came back.
    """
    from greylag.core.connection import HOLD
    from greylag.store.tree.store import TreeStore

    return TreeStore(path, hold=HOLD if hold is None else hold, cleaned=cleaned)


def open_named_tree(path: str) -> TreeStore:
    """Return the tree in a folder that an admin named. Raises StoreError, also if it is no tree."""
    from greylag.store.base import StoreError
    from greylag.store.tree.files import doubt_of

    doubt = doubt_of(path)
    if doubt is not None:
        raise StoreError(doubt)
    return open_tree(path)


BACKEND = Tree

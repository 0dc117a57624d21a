"""Stores: where records, lists and figures are kept. `base` is the contract.

`BACKENDS` is the registry: a URL's scheme, and the module that has what there is to say of such a
store. Nobody outside this package asks what kind a store is: only what it can.
"""

from __future__ import annotations

import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from typing import ClassVar

    from greylag.store.admin import Admin
    from greylag.store.base import Store
    from greylag.store.snapshots import Snapshots

# The scheme of a URL, and the module whose BACKEND is the class for it. Imported when it is used.
BACKENDS = {
    "sqlite": "greylag.store.sqlite",
    "mysql": "greylag.store.mysql",
    "tree": "greylag.store.tree",
    "memory": "greylag.store.memory",
}
_HIDDEN = "a value that is not shown, as it may hold a password"


class Backend:
    """One kind of store, and a URL that names one. Nothing is opened by making it.

    What is said here is right for a store that can do everything and needs nothing.
    """

    example = ""  # of a URL
    only_a_path = False  # is behind the scheme, so nothing there is secret
    lasts = True  # longer than the process
    old_tables = False  # of the old plugin: keys say what its keys say (`Policy.old_tables`)
    lacks: ClassVar[
        Mapping[str, str]
    ] = {}  # what it cannot keep or do (`base.LISTS`...): in one sentence

    def __init__(self, url: str) -> None:
        self.url = url
        self.check()

    def check(self) -> None:
        """Raise ValueError, which says what was expected, where the URL names nothing."""

    def open(self, *, timeout: float, create: bool) -> Store:
        """Return the store. Raises StoreError. See `open_store`."""
        raise NotImplementedError

    def open_reading(self, *, timeout: float) -> Store:
        """Return the store for whoever only reads, and makes nothing. Raises StoreError.

        Where the store can be opened without the right to write, it is.
        """
        return self.open(timeout=timeout, create=not self.lasts)

    @staticmethod
    def load() -> None:
        """Import all that `open` and `admin` import when they are called; ImportError if it lacks.

        For a process that is about to lose its rights to read the program.
        """

    @property
    def shown(self) -> str:
        """The URL as it may be shown and logged: without a password (T43)."""
        return self.url

    @property
    def file(self) -> str | None:
        """The path of the one file that the store is, if it is one that `open` can make."""
        return None

    def below(self, _folder: str) -> str:
        """Return the URL; a relative path in it is taken from this folder."""
        return self.url

    @property
    def option_file(self) -> str | None:
        """The path of the file that has the account, where the URL names one."""
        return None

    def rooted(self, _root: str) -> str:
        """Return the URL; what it names on this machine is taken from below a folder."""
        return self.url

    def look(self) -> None:
        """Raise StoreError where what the URL names cannot be read; the store is not opened."""

    def doubt(self) -> str | None:
        """Say why what the URL names seems to be mistyped, although it could be opened."""
        return None

    def statements(self) -> list[str]:
        """Return the SQL that makes the tables, where an admin can run it by hand."""
        return []

    @property
    def backed_up_by(self) -> str:
        """What an admin does where there are no `snapshots`, in one sentence."""
        return ""

    def snapshots(self, *, timeout: float) -> Snapshots:
        """Return what makes and restores backups. Raises StoreError, which says what does it."""
        from greylag.store.base import StoreError

        raise StoreError(f"{self.shown}: {self.backed_up_by}")

    def admin(self, *, timeout: float) -> Admin:
        """Return what makes and checks the database. Raises StoreError, also if it lacks TABLES."""
        from greylag.store.base import TABLES, StoreError

        raise StoreError(f"{self.shown}: {self.lacks[TABLES]}")


def kind_of_scheme(scheme: str) -> type[Backend]:
    """Return the class of a backend that is registered."""
    name = BACKENDS[scheme]
    __import__(name)
    kind: type[Backend] = sys.modules[name].BACKEND
    return kind


def kinds() -> Iterator[type[Backend]]:
    """Yield the class of each backend there is."""
    yield from map(kind_of_scheme, BACKENDS)


def expected() -> str:
    """Say what a URL could be."""
    *others, last = (kind.example for kind in kinds())
    return f"expected {', '.join(others)} or {last}"


def backend_of(url: str) -> Backend:
    """Return the backend of a URL. Raises ValueError, which says what was expected."""
    scheme, colon, _rest = url.partition(":")
    if not colon or scheme not in BACKENDS:
        raise ValueError(expected())
    return kind_of_scheme(scheme)(url)


def check_url(url: str) -> str:
    """Return the URL if it names a store. Raises ValueError, which says what was expected."""
    return backend_of(url).url


def open_store(url: str, *, timeout: float, create: bool = True) -> Store:
    """Return the store that a URL names; `timeout` in seconds is the longest wait for a lock.

    Raises StoreError. With `create` unset, a store that is not there is an error.
    """
    return backend_of(url).open(timeout=timeout, create=create)


def empty_store() -> Store:
    """Return a store for a database that was never made."""
    from greylag.store.memory import MemoryStore

    return MemoryStore()


def without_password(url: str) -> str:
    """Return a store URL that `check_url` let pass as it may be shown and logged (T43)."""
    return backend_of(url).shown


def shown_wrong(raw: object) -> str:
    """Return a wrong value of a store URL as it may be shown.

    Nobody can tell where in a mistyped URL the password is, so only a path is shown (T43).
    """
    if isinstance(raw, int | float):
        return repr(raw)
    if isinstance(raw, str) and "@" not in raw:
        scheme, colon, rest = raw.partition(":")
        path = raw.startswith("/") or (scheme in BACKENDS and kind_of_scheme(scheme).only_a_path)
        if path or (colon and not rest.strip("/")):
            return repr(raw)
    return _HIDDEN

"""The store in a file of SQLite."""

from __future__ import annotations

from greylag.store import Backend

TYPE_CHECKING = False
if TYPE_CHECKING:
    from greylag.store.admin import Admin
    from greylag.store.base import Store
    from greylag.store.snapshots import Snapshots

_SCHEME = "sqlite://"


class Sqlite(Backend):
    """`sqlite:///absolute/path.db`."""

    example = "sqlite:///absolute/path.db"
    only_a_path = True

    def check(self) -> None:
        path = self.file
        if not self.url.startswith(_SCHEME) or path[:1] != "/" or path.endswith("/"):
            raise ValueError(
                "expected an absolute path after sqlite://, as in sqlite:///var/lib/x.db"
            )
        if "\0" in path:
            raise ValueError("expected a path without NUL")

    @property
    def file(self) -> str:
        return self.url.removeprefix(_SCHEME)

    def rooted(self, root: str) -> str:
        return self.url if self.file.startswith(f"{root}/") else f"{_SCHEME}{root}{self.file}"

    def open(self, *, timeout: float, create: bool) -> Store:
        from greylag.store.sqlite.store import SqliteStore

        return SqliteStore(self.file, timeout=timeout, create=create)

    def open_reading(self, *, timeout: float) -> Store:
        from greylag.store.sqlite.store import SqliteStore

        return SqliteStore(self.file, timeout=timeout, create=False, read_only=True)

    def admin(self, *, timeout: float) -> Admin:
        from greylag.store.sqlite.admin import SqliteAdmin

        return SqliteAdmin(self.file, timeout=timeout)

    def snapshots(self, *, timeout: float) -> Snapshots:
        from greylag.store.sqlite.snapshots import SqliteSnapshots

        return SqliteSnapshots(self.file, timeout=timeout)

    @staticmethod
    def load() -> None:
        import greylag.store.sqlite.admin
        import greylag.store.sqlite.migrating
        import greylag.store.sqlite.store  # noqa: F401


BACKEND = Sqlite

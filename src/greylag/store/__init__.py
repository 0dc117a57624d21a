"""Stores: where records, lists and figures are kept. `base` is the contract.

`open_store` is the one way from a URL to a store.
"""

from __future__ import annotations

from greylag.store.base import Store, StoreError

_SQLITE = "sqlite://"
_TREE = "tree://"
MYSQL_BY_FILE = "mysql:?default_file="
_HIDDEN = "a value that is not shown, as it may hold a password"
EXPECTED = (
    "sqlite:///absolute/path.db, mysql:?default_file=/path/my.cnf, "
    "tree:///absolute/folder or memory:"
)


def check_url(url: str) -> str:
    """Return the URL if `open_store` understands it. Raises ValueError with what was expected."""
    if url == "memory:":
        return url
    if url.startswith(_TREE):
        return _check_tree(url)
    if url.startswith("mysql:"):
        return _check_mysql(url)
    if not url.startswith("sqlite:"):
        raise ValueError(f"expected {EXPECTED}")
    path = url.removeprefix(_SQLITE)
    if not url.startswith(_SQLITE) or not path.startswith("/") or path.endswith("/"):
        raise ValueError("expected an absolute path after sqlite://, as in sqlite:///var/lib/x.db")
    if "\0" in path:
        raise ValueError("expected a path without NUL")
    return url


def _check_tree(url: str) -> str:
    path = url.removeprefix(_TREE)
    if not path.startswith("/") or "\0" in path:
        raise ValueError("expected an absolute path after tree://, as in tree:///var/lib/jgreylist")
    return url


def _check_mysql(url: str) -> str:
    from greylag.store.mysql.options import EXPECTED as MYSQL
    from greylag.store.mysql.options import read_url

    if url.startswith("mysql:?"):
        if url == MYSQL_BY_FILE or not url.startswith(MYSQL_BY_FILE) or "&" in url:
            raise ValueError(f"expected {MYSQL}")
    else:
        read_url(url)
    return url


def _mysql(url: str, timeout: float) -> Store:
    from importlib.util import find_spec

    if find_spec("pymysql") is None:
        raise StoreError(f"{without_password(url)}: needs PyMySQL (pip install 'greylag[mysql]')")
    from greylag.store.mysql.options import read_url
    from greylag.store.mysql.store import MysqlStore

    return MysqlStore(read_url(url), timeout=timeout)


def without_password(url: str) -> str:
    """Return a store URL that `check_url` let pass as it may be shown and logged (T43)."""
    account, at, place = url.removeprefix("mysql://").rpartition("@")
    if not (url.startswith("mysql://") and at and ":" in account):
        return url
    return f"mysql://{account.partition(':')[0]}:***@{place}"


def holds_password(url: str) -> bool:
    """Tell whether a store URL that `check_url` let pass has a password in it."""
    return without_password(url) != url


def shown_wrong(raw: object) -> str:
    """Return a wrong value of a store URL as it may be shown.

    Nobody can tell where in a mistyped URL the password is, so only what is a path is shown (T43).
    """
    if isinstance(raw, int | float):
        return repr(raw)
    if isinstance(raw, str) and "@" not in raw:
        scheme, colon, rest = raw.partition(":")
        path = scheme in ("sqlite", "tree") or raw.startswith("/")
        if path or (colon and not rest.strip("/")):
            return repr(raw)
    return _HIDDEN


def open_store(url: str, *, timeout: float, create: bool = True) -> Store:
    """Return the store that a URL names; `timeout` in seconds is the longest wait for a lock.

    Raises StoreError. With `create` unset, a store that is not there is an error.
    """
    check_url(url)
    if url == "memory:":
        from greylag.store.memory import MemoryStore

        return MemoryStore()
    if url.startswith("mysql"):
        return _mysql(url, timeout)
    if url.startswith(_TREE):
        from greylag.store.tree.store import TreeStore

        return TreeStore(url.removeprefix(_TREE))  # the folder is the admin's to make
    from greylag.store.sqlite.store import SqliteStore

    return SqliteStore(url.removeprefix(_SQLITE), timeout=timeout, create=create)

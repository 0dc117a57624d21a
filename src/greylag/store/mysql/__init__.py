"""The store in a database of MySQL or MariaDB."""

from __future__ import annotations

from greylag.store import Backend

TYPE_CHECKING = False
if TYPE_CHECKING:
    from greylag.store.admin import Admin
    from greylag.store.base import Store

_BY_FILE = "mysql:?default_file="
_SCHEME = "mysql://"


class Mysql(Backend):
    """`mysql://user:password@host/database`, or an option file that says the same."""

    example = f"{_BY_FILE}/path/my.cnf"
    old_tables = True

    def check(self) -> None:
        from greylag.store.mysql.options import EXPECTED, read_url

        if self.url.startswith("mysql:?"):
            if self.url == _BY_FILE or not self.url.startswith(_BY_FILE) or "&" in self.url:
                raise ValueError(f"expected {EXPECTED}")
        else:
            read_url(self.url)

    @property
    def shown(self) -> str:
        account, at, place = self.url.removeprefix(_SCHEME).rpartition("@")
        if not (self.url.startswith(_SCHEME) and at and ":" in account):
            return self.url
        return f"{_SCHEME}{account.partition(':')[0]}:***@{place}"

    def below(self, folder: str) -> str:
        if not self.url.startswith(_BY_FILE):
            return self.url
        from os.path import join

        path = join(folder, self.url.removeprefix(_BY_FILE))
        return f"{_BY_FILE}{path.removeprefix('./')}"

    @property
    def option_file(self) -> str | None:
        return self.url.removeprefix(_BY_FILE) if self.url.startswith(_BY_FILE) else None

    def rooted(self, root: str) -> str:
        path = self.option_file
        if path is None or path[:1] != "/" or path.startswith(f"{root}/"):
            return self.url
        return f"{_BY_FILE}{root}{path}"

    def look(self) -> None:
        from greylag.store.mysql.options import read_url

        read_url(self.url)

    def open(self, *, timeout: float, create: bool) -> Store:
        self._need_driver()
        from greylag.store.mysql.options import read_url
        from greylag.store.mysql.store import MysqlStore

        return MysqlStore(read_url(self.url), timeout=timeout)

    def _need_driver(self) -> None:
        from importlib.util import find_spec

        if find_spec("pymysql") is None:
            from greylag.store.base import StoreError

            raise StoreError(
                f"{self.shown}: needs PyMySQL (pip install 'greylag[mysql]'; with Debian's package"
                " of greylag, apt-get install python3-pymysql)"
            )

    def statements(self) -> list[str]:
        from greylag.store.mysql.admin import statements

        return statements()

    @property
    def backed_up_by(self) -> str:
        from greylag.store.mysql.options import read_url
        from greylag.store.mysql.schema import TABLES

        account, name = "-u USER -p", read_url(self.url).database
        if self.url.startswith(_BY_FILE):
            account = f"--defaults-file={self.url.removeprefix(_BY_FILE)}"
        tables = " ".join(TABLES)
        options = "--single-transaction --no-tablespaces"
        return (
            "a database of a server is backed up by the server's own program: "
            f"mysqldump {account} {options} {name} {tables} > greylag.sql; and "
            f"mysql {account} {name} < greylag.sql restores it"
        )

    def admin(self, *, timeout: float) -> Admin:
        self._need_driver()
        from greylag.store.mysql.admin import MysqlAdmin
        from greylag.store.mysql.options import read_url

        return MysqlAdmin(read_url(self.url), timeout=timeout)

    @staticmethod
    def load() -> None:
        import greylag.store.mysql.admin
        import greylag.store.mysql.store  # noqa: F401


BACKEND = Mysql

"""A private MariaDB for tests: its own folder and socket, made once, fast and forgetful.

Nothing is synced to the disk, so a test may kill the server's process but not the machine.
"""

from __future__ import annotations

import contextlib
import os
import pwd
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterable, Iterator, Sequence
from itertools import count
from pathlib import Path

import pymysql

from tests.e2e.plugin import needed

START = 90.0
USER, PASSWORD = "greylisting", "p%?&=:@ 'quoted\""
_NUMBERS = count()


class MariaDb:
    """A server that can be stopped, frozen and started again on the same data."""

    def __init__(self, folder: Path, options: Sequence[str] = ()) -> None:
        self.folder = folder
        self.socket = folder / "s"
        self.options = tuple(options)
        self._process: subprocess.Popen[bytes] | None = None

    def install(self) -> None:
        """Make the system tables. Takes some seconds; copies of the folder take none."""
        shutil.rmtree(self.folder / "data", ignore_errors=True)  # of a try that failed
        command = [needed("mariadb-install-db", "mariadb-server"), "--no-defaults"]
        command += [f"--datadir={self.folder}/data", "--auth-root-authentication-method=normal"]
        command += ["--skip-test-db", "--skip-name-resolve", "--user=mysql"]
        subprocess.run(command, check=True, capture_output=True, timeout=120)
        shutil.chown(self.folder, "mysql")

    def start(self) -> None:
        """Start, and wait until it answers."""
        command = [needed("mariadbd", "mariadb-server"), "--no-defaults", "--user=mysql"]
        command += [f"--datadir={self.folder}/data", f"--socket={self.socket}"]
        command += [f"--pid-file={self.folder}/pid", f"--log-error={self.folder}/log.err"]
        command += ["--skip-networking", "--skip-name-resolve", "--skip-log-bin"]
        command += ["--innodb-flush-log-at-trx-commit=0", "--innodb-flush-method=nosync"]
        command += ["--skip-innodb-doublewrite", "--innodb-buffer-pool-size=32M"]
        command += ["--innodb-log-file-size=8M", "--performance-schema=off", *self.options]
        self._process = subprocess.Popen(command, stdin=subprocess.DEVNULL, start_new_session=True)
        end = time.monotonic() + START
        while time.monotonic() < end and self._process.poll() is None:
            with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX) as probe:
                probe.connect(str(self.socket))
                if probe.recv(1):
                    return
            time.sleep(0.03)
        self.stop(signal.SIGKILL)
        raise RuntimeError((self.folder / "log.err").read_text(errors="replace")[-2000:])

    def send(self, number: signal.Signals) -> None:
        """Send a signal: SIGSTOP freezes it, SIGCONT lets it go on."""
        assert self._process is not None
        self._process.send_signal(number)

    def stop(self, number: signal.Signals = signal.SIGTERM) -> None:
        """Stop it, and wait until it has gone."""
        if self._process is not None:
            self._process.send_signal(signal.SIGCONT)  # no error where it has ended
            self._process.send_signal(number)
            self._process.wait(START)
            self._process = None

    @contextlib.contextmanager
    def connect(self, database: str = "") -> Iterator[pymysql.cursors.Cursor]:
        """Speak to it as root."""
        session = pymysql.connect(
            unix_socket=str(self.socket),
            user="root",
            database=database or None,
            autocommit=True,
            charset="utf8mb4",
            connect_timeout=5,
        )
        try:
            with session.cursor() as cursor:
                yield cursor
        finally:
            session.close()

    def database(self, *statements: str, options: str = "") -> Database:
        """Make a database of its own for a test, with its user, and run statements in it."""
        name = f"g{next(_NUMBERS)}_{os.getpid()}"
        with self.connect() as cursor:
            cursor.execute(f"CREATE DATABASE {name} {options}")
            cursor.execute(f"CREATE USER IF NOT EXISTS {USER}@localhost")
            cursor.execute(f"ALTER USER {USER}@localhost IDENTIFIED BY %s", (PASSWORD,))
            cursor.execute(f"GRANT ALL PRIVILEGES ON {name}.* TO {USER}@localhost")
        made = Database(self, name)
        with self.connect(name) as cursor:
            for statement in statements:
                cursor.execute(statement)
        return made


class Database:
    """One database of a server, as an admin has it."""

    def __init__(self, server: MariaDb, name: str) -> None:
        self.server = server
        self.name = name

    @property
    def option_file(self) -> Path:
        """The file that `mysql_default_file` names, written if it is not there."""
        path = self.server.folder / f"{self.name}.cnf"
        if not path.exists():
            quoted = PASSWORD if not PASSWORD.startswith("'") else f'"{PASSWORD}"'
            path.write_text(
                f"[client]\nsocket={self.server.socket}\nuser={USER}\npassword={quoted}\n"
                f"database={self.name}\n\n[mysqld]\nuser=other\n"
            )
            path.chmod(0o644)
        return path

    @property
    def url(self) -> str:
        return f"mysql:?default_file={self.option_file}"

    def rows(self, statement: str) -> tuple[tuple[object, ...], ...]:
        """Return what root sees."""
        with self.server.connect(self.name) as cursor:
            cursor.execute(statement)
            return tuple(cursor.fetchall())

    def grant_only(self, rights: str, tables: Iterable[str]) -> None:
        """Take all rights from our user, and give these on some tables."""
        with self.server.connect() as cursor:
            cursor.execute(f"REVOKE ALL PRIVILEGES ON {self.name}.* FROM {USER}@localhost")
            for table in tables:
                cursor.execute(f"GRANT {rights} ON {self.name}.{table} TO {USER}@localhost")

    def drop(self) -> None:
        with self.server.connect() as cursor:
            cursor.execute(f"DROP DATABASE IF EXISTS {self.name}")


def open_to_all(folder: Path) -> None:
    """Let the server's user through the folders above: pytest's are for root alone."""
    for parent in (folder, *folder.parents):
        if parent.stat().st_uid == os.geteuid() and str(parent) not in ("/", "/tmp"):
            parent.chmod(0o755)


@contextlib.contextmanager
def running(folder: Path, *options: str) -> Iterator[MariaDb]:
    """Run a new server in a folder until the end of the block."""
    needed("mariadbd", "mariadb-server")
    pwd.getpwnam("mysql")
    open_to_all(folder)
    server = MariaDb(folder, options)
    server.install()
    server.start()
    try:
        yield server
    finally:
        server.stop()

"""What the real postgrey, sqlgrey and milter-greylist wrote, taken by `greylag import`."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.e2e.plugin import BIN, needed
from tests.server.daemon import Connection
from tests.server.test_serve import free_port
from tests.servers.mariadb import PASSWORD, USER, Database, MariaDb
from tests.servers.milter import CONTINUE, Milter

KNOWN = ("192.0.2.7", "known@example.org", "info@example.net")
SIX = ("2001:db8:1:2::7", "six@example.org", "info@example.net")
WAITS = ("203.0.113.5", "waits@example.org", "info@example.net")
ODD = ("203.0.113.5", "odd/\\x|y\"'@example.org", "info@example.net")
PASS, DEFER = 0, 10


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """Return a folder that other users may enter, with greylag's settings."""
    for parent in (tmp_path, *tmp_path.parents):
        if parent.stat().st_uid == os.geteuid() and str(parent) not in ("/", "/tmp"):
            parent.chmod(0o755)
    (tmp_path / "greylag.toml").write_text(
        f'store.url = "sqlite://{tmp_path}/greylag.db"\ndns.servers = "off"\n'
    )
    return tmp_path


def greylag(place: Path, *words: str | Path, code: int | None = 0, stdin: str = "") -> str:
    done = subprocess.run(
        [BIN / "greylag", "--config", place / "greylag.toml", *words],
        input=stdin,
        env={"PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert code is None or done.returncode == code, done.stderr
    return done.stdout if code is not None else str(done.returncode)


def taken(place: Path, *words: str | Path, stdin: str = "") -> dict[str, tuple[int, int]]:
    """Import, and return how many of each kind were read, and new."""
    found = json.loads(greylag(place, "import", *words, "--json", stdin=stdin))
    kinds = found["taken"].items()
    return {name: (one["read"], one["new"]) for name, one in kinds if one["read"]}


def checked(place: Path, mail: Sequence[str]) -> int:
    return int(greylag(place, "check", *mail, code=None))


@contextmanager
def running(command: list[str], ready: Callable[[], bool], log: Path) -> Iterator[None]:
    with log.open("ab") as out:
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=out, stderr=out)
    try:
        end = time.monotonic() + 20
        while not ready():
            assert process.poll() is None, log.read_text()
            assert time.monotonic() < end, log.read_text()
            time.sleep(0.05)
        yield
    finally:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def listening(port: int) -> Callable[[], bool]:
    def ready() -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", port)) == 0

    return ready


def ask(port: int, mail: Sequence[str]) -> bytes:
    client, sender, recipient = mail
    with Connection(port) as connection:
        return connection.ask(
            client_address=client,
            client_name="mail.example.org",
            helo_name="mail.example.org",
            protocol_name="ESMTP",
            sender=sender,
            recipient=recipient,
            instance=f"{time.monotonic_ns():x}",
        )


def until_passed(port: int, mail: Sequence[str]) -> None:
    end = time.monotonic() + 20
    while ask(port, mail).upper().startswith(b"ACTION=DEFER"):
        assert time.monotonic() < end
        time.sleep(0.3)


def test_postgrey(place: Path) -> None:
    """Its folder, its files, and the text of db_dump: a triplet that passed there passes here."""
    needed("postgrey", "postgrey")
    needed("db_dump", "db-util")
    home = place / "postgrey"
    home.mkdir()
    shutil.chown(home, "postgrey", "postgrey")
    port = free_port()
    command = ["/usr/sbin/postgrey", f"--inet=127.0.0.1:{port}", f"--dbdir={home}"]
    command += ["--user=postgrey", "--group=postgrey", "--delay=1"]
    # No configuration of this machine, and a list of nobody.
    command += ["--whitelist-clients=/dev/null", "--whitelist-recipients=/dev/null"]
    with running(command, listening(port), place / "log"):
        for mail in (KNOWN, SIX, WAITS, ODD):
            assert b"DEFER" in ask(port, mail)
        for mail in (KNOWN, SIX):
            until_passed(port, mail)
        said = greylag(place, "import", "postgrey", home, code=75)
        assert said == ""
    # Greylag's delay is longer than that of this postgrey.
    config = place / "greylag.toml"
    config.write_text(config.read_text() + '[policy]\ndelay = "1s"\n')
    time.sleep(1)
    wanted = {"passed": (2, 2), "waiting": (2, 2), "trust": (2, 2)}
    assert taken(place, "postgrey", "--dry-run", home) == wanted
    assert not (place / "greylag.db").exists()
    assert taken(place, "postgrey", home) == wanted
    assert [checked(place, mail) for mail in (KNOWN, SIX)] == [PASS, PASS]
    assert taken(place, "postgrey", home / "postgrey.db") == {"passed": (2, 0), "waiting": (2, 0)}
    for option in ("-p", None):  # as text, or as hexadecimal numbers
        words = ["db_dump", *([option] if option else []), str(home / "postgrey.db")]
        dump = subprocess.run(words, capture_output=True, text=True, check=True).stdout
        other = place / f"other{option}"
        other.mkdir()
        (other / "greylag.toml").write_text(
            config.read_text().replace("greylag.db", f"{other.name}.db")
        )
        assert taken(other, "postgrey", "-", stdin=dump) == {"passed": (2, 2), "waiting": (2, 2)}
        assert checked(other, KNOWN) == PASS


def test_a_client_that_postgrey_lets_in_at_once_is_trusted_here(place: Path) -> None:
    """Its auto-whitelist, written as db_dump writes it: five passes were enough there."""
    now = int(time.time())
    text = f"VERSION=3\nformat=print\nHEADER=END\n 192.0.2.7\n 5,{now - 60}\nDATA=END\n"
    assert taken(place, "postgrey", "-", stdin=text) == {"trust": (1, 1)}
    assert checked(place, ("192.0.2.7", "new@example.com", "info@example.net")) == PASS
    assert checked(place, ("192.0.2.8", "new@example.com", "info@example.net")) == DEFER


def sqlgrey_settings(place: Path, port: int, database: str) -> Path:
    settings = place / "sqlgrey.conf"
    settings.write_text(
        f"conf_dir = /etc/sqlgrey\nuser = sqlgrey\ngroup = nogroup\ninet = 127.0.0.1:{port}\n"
        f"pidfile = {place}/sqlgrey.pid\n{database}db_cleandelay = 1800\nreconnect_delay = 0\n"
        "group_domain_level = 2\nawl_age = 60\ngreymethod = classc\n"
    )
    return settings


def feed_sqlgrey(place: Path, database: str) -> None:
    port = free_port()
    command = ["/usr/sbin/sqlgrey", "-f", str(sqlgrey_settings(place, port, database))]
    several = [("198.51.100.9", f"user{n}@example.com", "info@example.net") for n in range(3)]
    with running(command, listening(port), place / "log"):
        for mail in (KNOWN, *several):
            assert b"defer" in ask(port, mail).lower()
        for mail in (KNOWN, *several):
            until_passed(port, mail)
        assert b"defer" in ask(port, WAITS).lower()


def passes_as_in_sqlgrey(place: Path) -> None:
    """A sender of an AWL passes from where it came, and a domain's other senders with it."""
    assert checked(place, KNOWN) == PASS
    assert checked(place, ("192.0.2.200", KNOWN[1], "another@example.net")) == PASS  # of its /24
    assert checked(place, ("198.51.100.9", "new@example.com", "info@example.net")) == PASS
    assert checked(place, ("192.0.3.7", KNOWN[1], KNOWN[2])) == DEFER
    assert checked(place, WAITS) == DEFER


def test_sqlgrey_on_sqlite(place: Path) -> None:
    needed("sqlgrey", "sqlgrey")
    home = place / "sqlgrey"
    home.mkdir()
    shutil.chown(home, "sqlgrey")
    feed_sqlgrey(place, f"db_type = SQLite\ndb_name = {home}/sqlgrey.db\n")
    found = taken(place, "sqlgrey", home / "sqlgrey.db")
    assert found["waiting"] == (1, 1)
    assert found["trust"][0] >= 2 * 256  # of two /24
    passes_as_in_sqlgrey(place)


@pytest.fixture
def database(mariadb: MariaDb) -> Iterator[Database]:
    made = mariadb.database()
    yield made
    made.drop()


def test_sqlgrey_on_mariadb_as_its_client_prints_the_tables(
    place: Path, database: Database
) -> None:
    needed("sqlgrey", "sqlgrey")
    server = database.server.socket
    feed_sqlgrey(
        place,
        f"db_dsn = DBI:mysql:database={database.name};mysql_socket={server}\n"
        f"db_user = {USER}\ndb_pass = {PASSWORD}\n",
    )
    client = ["mysql", "--no-defaults", "-uroot", "-S", str(server), "-B"]
    text = "".join(
        subprocess.run(
            [*client, "-e", f"SELECT * FROM {table}", database.name],
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for table in ("connect", "from_awl", "domain_awl")
    )
    found = taken(place, "sqlgrey", "-", stdin=text)
    assert found["waiting"] == (1, 1)
    passes_as_in_sqlgrey(place)


def test_milter_greylist(place: Path) -> None:
    """The program itself, where there is one: Debian 12 has none."""
    if shutil.which("milter-greylist", path="/usr/sbin:/usr/bin") is None:
        pytest.skip("milter-greylist is missing: Debian 13 has it")
    port = free_port()
    settings = place / "mg.conf"
    settings.write_text(
        f'pidfile "{place}/mg.pid"\ndumpfile "{place}/dump"\ndumpfreq 0\nquiet\n'
        "greylist 1s\nautowhite 3d\nracl greylist default\n"
    )
    command = ["milter-greylist", "-D", "-u", "root", "-f", str(settings)]
    command += ["-p", f"inet:{port}@127.0.0.1"]

    def asked(mail: Sequence[str]) -> bytes:
        with Milter(port, mail[0]) as milter:
            return milter.mail(*mail[1:])

    with running(command, listening(port), place / "log"):
        for mail in (KNOWN, SIX, WAITS):
            assert asked(mail)[:1] != CONTINUE
        time.sleep(2)
        assert [asked(mail)[:1] for mail in (KNOWN, SIX)] == [CONTINUE] * 2
        time.sleep(0.5)
    assert taken(place, "milter-greylist", place / "dump") == {
        "passed": (2, 2),
        "waiting": (1, 1),
    }
    assert [checked(place, mail) for mail in (KNOWN, SIX, WAITS)] == [PASS, PASS, DEFER]

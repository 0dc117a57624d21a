"""Option files of MySQL's clients, and TLS to a real MariaDB as they ask for it (T26)."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import closing
from pathlib import Path

import pytest

from greylag.store import open_store
from greylag.store.base import StoreError
from greylag.store.mysql.options import read_option_file, read_url
from greylag.store.mysql.schema import DATA, LISTS
from greylag.store.mysql.tls import Tls, arguments
from tests.e2e.plugin import needed
from tests.e2e.postfix import free_port
from tests.servers.mariadb import PASSWORD, USER, Database, MariaDb, open_to_all, running

PLAIN = "[client]\ndatabase = mail\nuser=u\n"


def option_file(folder: Path, text: str, name: str = "my.cnf") -> str:
    path = folder / name
    path.write_text(text)
    return str(path)


@pytest.mark.parametrize(
    ("lines", "tls"),
    [
        ("", Tls()),
        ("ssl", Tls("REQUIRED")),
        ("ssl = ON", Tls("REQUIRED")),
        ("ssl=0", Tls("DISABLED")),
        ("skip-ssl", Tls("DISABLED")),
        ("ssl-ca=/ca.pem", Tls("VERIFY_CA", "/ca.pem")),
        ("ssl_ca=/ca.pem\nssl_verify_server_cert=1", Tls("VERIFY_IDENTITY", "/ca.pem")),
        ("ssl-verify-server-cert", Tls("VERIFY_IDENTITY")),
        ("ssl-ca=/ca.pem\nssl-verify-server-cert=0", Tls("VERIFY_CA", "/ca.pem")),
        ("ssl-cert=/c.pem\nssl-key='/k.pem'", Tls("REQUIRED", "", "/c.pem", "/k.pem")),
        ("ssl-mode=verify_identity", Tls("VERIFY_IDENTITY")),
        ("ssl-mode=PREFERRED\nssl-ca=/ca.pem", Tls("PREFERRED", "/ca.pem")),
        ("ssl_mode = DISABLED", Tls("DISABLED")),
        ("get-server-public-key", Tls(believe_key=True)),
        ("server-public-key-path=/k.pem", Tls(server_key="/k.pem")),
    ],
)
def test_what_an_option_file_says_of_tls(tmp_path: Path, lines: str, tls: Tls) -> None:
    assert read_option_file(option_file(tmp_path, PLAIN + lines + "\n")).tls == tls


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        ("ssl-mode=STRICT", "ssl-mode: expected one of DISABLED, PREFERRED, REQUIRED, VERIFY_CA"),
        ("ssl=perhaps", "ssl: expected 1 or 0, got 'perhaps'"),
        ("ssl-verify-server-cert=2", "ssl-verify-server-cert: expected 1 or 0"),
        ("ssl-key=/k.pem", "ssl-key: expected ssl-cert beside it"),
        ("!include /nowhere/my.cnf", "/nowhere/my.cnf: No such file"),
        ("!includedir /nowhere", "/nowhere: No such file"),
    ],
)
def test_what_cannot_be_honoured_is_an_error_with_the_file(
    tmp_path: Path, lines: str, expected: str
) -> None:
    """Never a connection that is weaker than what was asked for."""
    path = option_file(tmp_path, PLAIN + lines + "\n")
    with pytest.raises(StoreError) as error:
        read_option_file(path)
    assert expected in str(error.value)
    assert path in str(error.value) or "!include" in lines


def test_included_files_are_read_in_their_place(tmp_path: Path) -> None:
    (tmp_path / "conf.d").mkdir()
    option_file(tmp_path / "conf.d", "[client]\nuser=second\n", "b.cnf")
    option_file(tmp_path / "conf.d", "[client]\nuser=first\npassword=p\n", "a.cnf")
    option_file(tmp_path / "conf.d", "[client]\nuser=never\n", "c.txt")
    other = option_file(tmp_path, "[client]\nport=3307\nhost=db.example.org\n[mysqld]\nx=1\n", "o")
    text = f"[client]\nuser=zeroth\n!includedir {tmp_path}/conf.d\n!include\t{other}\ndatabase=d\n"
    place = read_option_file(option_file(tmp_path, text))
    assert (place.user, place.password, place.database) == ("second", "p", "d")
    assert place.hosts == (("db.example.org", 3307),)


SPELLINGS = r"""password="secret" # new|password=secret\t# x|password=secret #x|password=secret#new
password="pa\"ss"|password=pa\\ss|password=pa\sss|password=käse|password='a#b'|password="a#b"
password="a;b"|password=a;b|password = a b |password=" a "|password=a\tb|password=a\nb
password=a\qb|password="a|password=a"|password=a'b|password="a""b"|password='a\'b'|password=a"#"b
password=a'#b|password=\#a|password="a" b|password=|password=""|password==a|password='a"
password="a\\"#b|  password=a|password=#a|password=a # "b"|password=a\|password\t=\t"x\\\\n"
password='\''|password="\\\"#"# "|password = 'ä€' ;x|password=\"a\"|password=a\x""".replace(
    "\n", "|"
).split("|")


@pytest.mark.parametrize("line", SPELLINGS)
@pytest.mark.parametrize(
    "section", ["[client]", "[Client] x", "[client-server]", "[client-mariadb]"]
)
def test_a_password_is_read_as_by_the_real_client(tmp_path: Path, line: str, section: str) -> None:
    text = line.replace("\\t#", "\t#").replace("password\\t=\\t", "password\t=\t")
    path = option_file(tmp_path, f"{PLAIN}{section}\n{text}\n")
    command = [needed("my_print_defaults", "mariadb-client"), f"--defaults-file={path}"]
    sections = ("client", "client-server", "client-mariadb")
    done = subprocess.run([*command, *sections], capture_output=True, check=True)
    said = done.stdout.partition(b"--password=")[2][:-1]
    assert read_option_file(path).password.encode("utf-8", "surrogateescape") == said


def test_no_text_about_a_place_holds_its_password() -> None:
    place = read_url("mysql://u:canary@db.example.org/d")
    assert "canary" not in f"{place} {place!r}"
    with pytest.raises(ValueError, match="expected a port") as error:
        read_url("mysql://u@db.example.org:canary/d")
    assert "canary" not in str(error.value)


def test_files_that_include_each_other_are_an_error(tmp_path: Path) -> None:
    path = option_file(tmp_path, f"!include {tmp_path}/my.cnf\n")
    with pytest.raises(StoreError, match="include each other"):
        read_option_file(path)


def test_files_that_include_more_and_more_files_are_an_error(tmp_path: Path) -> None:
    """T44: nine files that each name the next one twenty times are 20**9 files to read."""
    for depth in range(9):
        line = f"!include {tmp_path}/{depth + 1}.cnf\n"
        option_file(tmp_path, PLAIN + line * 20, f"{depth}.cnf")
    option_file(tmp_path, PLAIN, "9.cnf")
    with pytest.raises(StoreError, match="expected at most 200 files"):
        read_option_file(f"{tmp_path}/0.cnf")


@pytest.mark.parametrize("word", ["!include", "!includedir"])
def test_a_zero_byte_in_the_name_of_an_included_file_is_told(tmp_path: Path, word: str) -> None:
    path = option_file(tmp_path, f"{PLAIN}{word} /nowhere/a\0b\n")
    with pytest.raises(StoreError, match=r"/nowhere/a.*: No such file"):
        read_option_file(path)


def test_a_user_who_has_no_name_is_told_to_name_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = option_file(tmp_path, "[client]\ndatabase=mail\n")
    monkeypatch.setattr(os, "geteuid", lambda: 54321)
    with pytest.raises(StoreError, match=r"expected user=NAME .* user 54321 has no name"):
        read_option_file(path)


@pytest.mark.parametrize("port", ["\u00b2", "1" * 5000])
def test_a_port_that_is_no_number_is_told_as_others_are(tmp_path: Path, port: str) -> None:
    path = option_file(tmp_path, f"{PLAIN}port={port}\n")
    with pytest.raises(StoreError, match="expected a port from 1 to 65535"):
        read_option_file(path)


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An authority, another one, and a certificate of the first for `localhost`."""
    folder = tmp_path_factory.mktemp("pem")
    openssl = needed("openssl", "openssl")
    new = [openssl, "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2"]
    for name in ("ca", "other"):
        command = [*new, "-subj", f"/CN={name}", "-keyout", f"{name}.key", "-out", f"{name}.pem"]
        subprocess.run(command, cwd=folder, check=True, capture_output=True)
    signed = ["-CA", "ca.pem", "-CAkey", "ca.key", "-addext", "subjectAltName=DNS:localhost"]
    command = [*new, *signed, "-subj", "/CN=localhost", "-keyout", "s.key", "-out", "s.pem"]
    subprocess.run(command, cwd=folder, check=True, capture_output=True)
    lock = [openssl, "rsa", "-aes256", "-passout", "pass:x", "-in", "s.key", "-out", "locked.key"]
    subprocess.run(lock, cwd=folder, check=True, capture_output=True)
    open_to_all(folder)
    for path in folder.iterdir():
        path.chmod(0o644)
    return folder


@pytest.fixture(scope="module")
def secure(tmp_path_factory: pytest.TempPathFactory, certificates: Path) -> Iterator[Database]:
    """A database on a server with TLS."""
    keys = [f"--ssl-{name}={certificates}/{file}" for name, file in SERVER_FILES.items()]
    with running(tmp_path_factory.mktemp("tls"), *keys, *listening()) as server:
        yield over_tcp(server)


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Database]:
    """A database on a server without."""
    with running(tmp_path_factory.mktemp("plain"), "--skip-ssl", *listening()) as server:
        yield over_tcp(server)


SERVER_FILES = {"ca": "ca.pem", "cert": "s.pem", "key": "s.key"}


def listening() -> list[str]:
    return ["--skip-networking=0", "--bind-address=127.0.0.1", f"--port={free_port()}"]


def over_tcp(server: MariaDb) -> Database:
    database = server.database(LISTS, DATA)
    with server.connect() as cursor:
        cursor.execute(f"CREATE USER {USER}@'127.0.0.1' IDENTIFIED BY %s", (PASSWORD,))
        cursor.execute(f"GRANT ALL PRIVILEGES ON {database.name}.* TO {USER}@'127.0.0.1'")
    return database


def cipher(database: Database, folder: Path, options: Mapping[str, object]) -> str:
    """Connect with these options; return the cipher that the server says is used."""
    (port,) = database.rows("SELECT @@port")[0]
    lines = "".join(f"{name}={word}\n" for name, word in options.items())
    text = f"host=127.0.0.1\nport={port}\nuser={USER}\npassword={PASSWORD}\n{lines}"
    path = option_file(folder, f"[client]\ndatabase={database.name}\n{text}")
    with closing(open_store(f"mysql:?default_file={path}", timeout=4)) as store:
        rows = store._session.read("SHOW SESSION STATUS LIKE 'Ssl_cipher'")  # type: ignore[attr-defined]
    return str(rows[0][1])


@pytest.mark.parametrize(
    ("options", "outcome"),
    [
        ({}, True),
        ({"ssl": 0}, False),
        ({"ssl-mode": "REQUIRED"}, True),
        ({"ssl-ca": "ca.pem"}, True),
        ({"ssl-ca": "other.pem"}, "certificate verify failed"),
        ({"ssl-verify-server-cert": 1}, "certificate verify failed"),
        ({"ssl-ca": "ca.pem", "ssl-verify-server-cert": 1}, "IP address mismatch"),
        ({"ssl-ca": "missing.pem"}, "missing.pem"),
        ({"ssl-ca": "s.key"}, "NO_CERTIFICATE_OR_CRL_FOUND"),
        ({"ssl-cert": "s.pem", "ssl-key": "s.key"}, True),
        ({"ssl-cert": "s.pem", "ssl-key": "locked.key"}, "s.pem: "),
    ],
)
def test_tls_is_what_was_asked_for_t26(
    secure: Database,
    certificates: Path,
    tmp_path: Path,
    options: dict[str, object],
    outcome: bool | str,
) -> None:
    given = {
        name: f"{certificates}/{word}" if str(word).endswith((".pem", ".key")) else word
        for name, word in options.items()
    }
    if isinstance(outcome, bool):
        assert bool(cipher(secure, tmp_path, given)) is outcome
        return
    with pytest.raises(StoreError) as error:
        cipher(secure, tmp_path, given)
    assert outcome in str(error.value)


@pytest.mark.parametrize("options", [{"ssl": 1}, {"ssl-mode": "REQUIRED"}, {"ssl-cert": "s.pem"}])
def test_a_server_without_tls_is_refused_where_it_was_asked_for_t26(
    plain: Database, certificates: Path, tmp_path: Path, options: dict[str, object]
) -> None:
    if "ssl-cert" in options:
        options = {"ssl-cert": f"{certificates}/s.pem", "ssl-key": f"{certificates}/s.key"}
    assert cipher(plain, tmp_path, {}) == ""
    with pytest.raises(StoreError, match="doesn't support it"):
        cipher(plain, tmp_path, options)


@pytest.mark.parametrize("option", ["", "ssl-ca", "ssl-cert", "server-public-key-path"])
def test_a_pipe_in_the_place_of_a_file_holds_nobody(tmp_path: Path, option: str) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    line = f"{option}={pipe}" if option else f"!include {pipe}"
    path = option_file(tmp_path, f"{PLAIN}{line}\n")
    for read in (
        lambda: arguments(read_option_file(path).tls),
        lambda: read_option_file(str(pipe)),
    ):
        with pytest.raises(StoreError, match=f"{pipe}: expected a plain file"):
            read()


@pytest.mark.parametrize("key", ["user", "host", "database"])
def test_a_url_in_the_place_of_a_name_is_not_shown_t43(tmp_path: Path, key: str) -> None:
    path = tmp_path / "my.cnf"
    path.write_text(
        f"[client]\nuser=u\ndatabase=d\nhost=127.0.0.1\nport=1\n{key}=mysql://u:canary@db.example.org/d\n"
    )
    with pytest.raises((StoreError, ValueError)) as told:
        open_store(f"mysql:?default_file={path}", timeout=1).close()
    assert "canary" not in str(told.value)

"""The files of `contrib/` that the package carries, as the programs that read them judge them."""

from __future__ import annotations

import os
import pwd
import re
import subprocess
import textwrap
from pathlib import Path

import pytest

from greylag.app.contrib import CARRIED, FILES, Places, read
from tests.e2e.plugin import needed

ROOT = Path(__file__).parents[2]
UNITS = [name for name in FILES if name.startswith("systemd/")]
SERVICES = ["systemd/greylag.service", "systemd/greylag-web.service"]
SCRIPTS = [name for name, mode in FILES.items() if mode == 0o755]
THERE = Places(program="/bin/true", user="daemon", group="daemon")


def run(*command: str | Path) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def written(folder: Path, places: Places = THERE) -> None:
    for name, mode in FILES.items():
        target = folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(read(name, places))
        target.chmod(mode)


def test_the_package_carries_what_the_repository_has() -> None:
    def files(top: Path) -> dict[str, bytes]:
        return {str(p.relative_to(top)): p.read_bytes() for p in top.rglob("*") if p.is_file()}

    assert files(CARRIED) == files(ROOT / "contrib")
    assert set(FILES) <= set(files(CARRIED))


@pytest.mark.parametrize("name", FILES)
def test_no_placeholder_is_left(name: str) -> None:
    text = read(name, Places(program="/opt/x/greylag", options="--qmail-home /var/qmail"))
    assert re.search(rb"@[a-z]+@", text) is None
    if b"greylag serve" in (CARRIED / name).read_bytes().replace(b"@greylag@", b"greylag"):
        assert b"/opt/x/greylag --qmail-home /var/qmail serve" in text


@pytest.mark.parametrize(
    "places",
    [
        Places(user="a b"),
        Places(user="-R"),
        Places(user=""),
        Places(log="/var/log/a\nExecStartPre=/bin/sh"),
        Places(program="/opt/$HOME/greylag"),
        Places(options="--config /etc/%n"),
        Places(options="--config '/etc/a b'"),
        Places(mail="a@example.org; reboot"),
        Places(ask="inet:1, permit }"),
    ],
    ids=repr,
)
def test_a_word_that_would_mean_more_in_a_file_is_refused(places: Places) -> None:
    with pytest.raises(ValueError, match="can stand there"):
        read("tcprules/tcp.smtp", places)


def test_another_file_is_not_read() -> None:
    with pytest.raises(KeyError):
        read("../__init__.py")


def test_units_are_what_systemd_expects(tmp_path: Path) -> None:
    written(tmp_path)
    verify = [needed("systemd-analyze", "systemd"), "--man=no", "verify"]
    assert run(*verify, *(tmp_path / name for name in UNITS)) == ""


@pytest.mark.parametrize("name", SERVICES)
def test_a_unit_leaves_little_to_an_attacker(name: str, tmp_path: Path) -> None:
    """P11: systemd scores from 0 to 10; docs/running/daemon.md says how much this is at most."""
    written(tmp_path)
    analyze = [needed("systemd-analyze", "systemd"), "security", "--offline=true"]
    run(*analyze, "--threshold=15", tmp_path / name)


def test_scripts_are_good_shell(tmp_path: Path) -> None:
    written(tmp_path)
    for name in SCRIPTS:
        assert run("sh", "-n", tmp_path / name) == ""
    run(needed("shellcheck", "shellcheck"), *(tmp_path / name for name in SCRIPTS))


def test_logrotate_takes_the_file(tmp_path: Path) -> None:
    """The log moves, a new one is made for the daemon's user, and the daemon is told once."""
    program = needed("logrotate", "logrotate")
    folder = tmp_path / "log"
    folder.mkdir()
    (folder / "greylag.log").write_text("old\n")
    user = pwd.getpwuid(os.getuid()).pw_name
    group = subprocess.check_output(["id", "-gn"], text=True).strip()
    conf = tmp_path / "conf"
    conf.write_bytes(read("logrotate/greylag", Places(user=user, group=group, log=str(folder))))
    conf.chmod(0o644)
    state = ["--state", str(tmp_path / "state")]
    assert "error" not in run(program, "-d", *state, conf).lower()
    path = tmp_path / "bin"
    path.mkdir()
    for name in ("systemctl", "svc", "sv"):
        (path / name).write_text(f'#!/bin/sh\necho {name} "$@" >>{tmp_path}/told\n')
        (path / name).chmod(0o755)
    command = [program, "--force", *state, str(conf)]
    subprocess.run(command, check=True, timeout=60, env={"PATH": str(path)})
    told = (tmp_path / "told").read_text()
    assert told.lower().count("hup") + told.count("svc -h") == 1
    assert (folder / "greylag.log.1").read_text() == "old\n"
    assert (folder / "greylag.log").read_bytes() == b""


def test_tcprules_compiles_the_rules(tmp_path: Path) -> None:
    program, check = needed("tcprules", "ucspi-tcp"), needed("tcprulescheck", "ucspi-tcp")
    database, rules = tmp_path / "cdb", read("tcprules/tcp.smtp")
    subprocess.run([program, database, tmp_path / "new"], input=rules, check=True, timeout=60)

    def ask(address: str) -> str:
        environ = {"TCPREMOTEIP": address, "PATH": os.environ["PATH"]}
        return subprocess.check_output([check, database], env=environ, text=True, timeout=60)

    assert "set environment variable GREYLISTING=\n" in ask("192.0.2.1")
    assert "set environment variable RELAYCLIENT=\n" in ask("127.0.0.1")
    assert "GREYLISTING" not in ask("127.0.0.1")


def test_postfix_takes_the_lines(tmp_path: Path) -> None:
    postconf = needed("postconf", "postfix")
    (tmp_path / "main.cf").write_bytes(b"compatibility_level = 3.6\n" + read("postfix/main.cf"))
    (tmp_path / "master.cf").write_text("")
    shown = run(postconf, "-c", tmp_path, "-n")
    assert "warning" not in shown
    ask = "{ inet:127.0.0.1:10023, timeout=5s, default_action=DUNNO, try_limit=1 }"
    assert shown.count(f"check_policy_service {ask}") == 2
    assert "access_map_defer_code = 451\n" in shown


@pytest.mark.parametrize(
    "name", ["systemd/greylag.service", "daemontools/run", "daemontools/log/run"]
)
def test_the_handbook_shows_the_same_files(name: str) -> None:
    places = Places(user="vpopmail", group="vchkpw", options="--qmail-home /var/qmail")
    shown = textwrap.indent(read(name, places).decode(), "    ")
    assert f" <<'END'\n{shown}    END\n" in (ROOT / "docs" / "running" / "daemon.md").read_text()


def test_the_handbook_shows_the_same_lines_of_main_cf() -> None:
    page = (ROOT / "docs" / "start" / "postfix.md").read_text()
    for line in read("postfix/main.cf").decode().replace(",\n    ", ", ").splitlines():
        assert line.startswith("#") or f"postconf -e '{line}'" in page

"""The daemon's user and the mail server's user share one state: socket, records, figures."""

from __future__ import annotations

import grp
import os
import pwd
import shutil
import signal
import sqlite3
import stat
import subprocess
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

import greylag
from tests.server.daemon import Connection

DAEMON, MAIL_SERVER, GROUP = "daemon", "nobody", "mail"
SERVE = """import os, sys
sys.path.append(sys.argv[1])
from greylag.app.serve import serve
serve(os.environb, ".")"""
ONE_SHOT = """import sys
sys.path.append(sys.argv[1])
from greylag.plugin.greylisting import main
main()"""

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root can be two users")


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A set-group-id folder for the records, one for the socket; greylag where both can read it."""
    for parent in (tmp_path, *tmp_path.parents):
        if parent.stat().st_uid == 0 and str(parent) not in ("/", "/tmp"):
            parent.chmod(0o755)
    shutil.copytree(Path(greylag.__file__).parent, tmp_path / "lib" / "greylag")
    group = grp.getgrnam(GROUP).gr_gid
    for name, mode in (("data", 0o2770), ("run", 0o2750)):
        (tmp_path / name).mkdir()
        os.chown(tmp_path / name, pwd.getpwnam(DAEMON).pw_uid, group)
        (tmp_path / name).chmod(mode)
    (tmp_path / "greylag.toml").write_text(
        f'[store]\nurl = "sqlite://{tmp_path}/data/greylag.db"\n'
        f'[server]\nsocket = "{tmp_path}/run/s"\nsocket_group = "{GROUP}"\n'
    )
    return tmp_path


def as_user(name: str, code: str, place: Path, **environ: str) -> subprocess.Popen[bytes]:
    user = pwd.getpwnam(name)
    return subprocess.Popen(
        ["/usr/bin/python3", "-I", "-c", code, str(place / "lib")],
        env={"PATH": os.defpath, "GREYLAG_CONFIG": str(place / "greylag.toml"), **environ},
        user=user.pw_uid,
        group=user.pw_gid,
        extra_groups=[GROUP],
        umask=0o077,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )


@contextmanager
def daemon(place: Path) -> Iterator[Connection]:
    process = as_user(DAEMON, SERVE, place)
    try:
        end = time.monotonic() + 20
        while not (place / "run" / "s").exists() and time.monotonic() < end:
            time.sleep(0.05)
        time.sleep(0.2)
        with Connection(place / "run" / "s") as connection:
            yield connection
    finally:
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=20)


def plugin(place: Path, recipient: str) -> tuple[bytes, bytes]:
    environ = {"GREYLISTING": "", "TCPREMOTEIP": "192.0.2.17", "SMTPMAILFROM": "a@example.org"}
    process = as_user(MAIL_SERVER, ONE_SHOT, place, SMTPRCPTTO=recipient, **environ)
    return process.communicate(timeout=30)


@pytest.mark.parametrize("first", ["daemon", "plugin"])
def test_both_write_the_same_records_whoever_made_them(place: Path, first: str) -> None:
    if first == "plugin":
        assert plugin(place, "before@example.net")[0].startswith(b"E451")
    with daemon(place) as client:
        assert client.ask(recipient="b@example.net").startswith(b"action=DEFER")
        output, log = plugin(place, "b@example.net")
        assert output.startswith(b"E451")
        assert b"reason=early" in log
        assert plugin(place, "c@example.net")[0].startswith(b"E451")
        assert client.ask(recipient="c@example.net").startswith(b"action=DEFER")
        socket = (place / "run" / "s").stat()
        assert stat.S_IMODE(socket.st_mode) == 0o660
        for path in (place / "data").iterdir():
            assert stat.S_IMODE(path.stat().st_mode) == 0o660, path
    output, log = plugin(place, "b@example.net")  # the daemon has gone, and left no locked door
    assert b"reason=early" in log
    with closing(sqlite3.connect(place / "data" / "greylag.db")) as db:
        blocked = dict(db.execute("SELECT recipient, blocked FROM records"))
    assert (blocked["b@example.net"], blocked["c@example.net"]) == (3, 2)

"""How a dashboard begins: without its packages, and without anybody who may sign in."""

from __future__ import annotations

import os
import pty
import re
import select
import socket
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from greylag.cli.main import cli
from tests.cli.runner import runner
from tests.server.daemon import BIN
from tests.web.dashboard import PASSWORD, Client, greylag, write_config


def test_without_its_packages_one_line_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_config(tmp_path)
    monkeypatch.setattr("greylag.cli.web.find_spec", lambda _name: None)
    for words in (["web"], ["web", "passwd"], ["web", "users"]):
        ended = runner().invoke(cli, ["--config", str(tmp_path / "greylag.toml"), *words])
        assert ended.exit_code == 78
        (line,) = ended.stderr.splitlines()
        assert "make install" in line
        assert "pip install 'greylag[web]'" in line
        assert "apt-get install python3-" in line


def test_a_port_that_another_program_has_is_tried_again_later(tmp_path: Path) -> None:
    """The unit does not restart after an exit code 78: that is for wrong settings."""
    port = write_config(tmp_path)
    greylag(tmp_path, "web", "passwd", "alice", "--role", "admin", stdin=f"{PASSWORD}\n")
    with socket.create_server(("127.0.0.1", port)):
        ended = greylag(tmp_path, "web")
    assert (ended.returncode, "Address already in use" in ended.stderr) == (75, True)


def test_on_a_terminal_a_link_makes_the_first_user_once(tmp_path: Path) -> None:
    """T15: nobody else sees it, and it makes one user, also when it is used four times at once."""
    port = write_config(tmp_path)
    assert greylag(tmp_path, "db", "init").returncode == 0
    ours, terminal = pty.openpty()
    process = subprocess.Popen(
        [BIN / "greylag", "--config", tmp_path / "greylag.toml", "web"],
        env={"PATH": os.defpath},
        stdin=terminal,
        stderr=terminal,
    )
    try:
        told, end = "", time.monotonic() + 20
        while "event=web-started" not in told:
            assert time.monotonic() < end
            told += os.read(ours, 4096).decode()
        found = re.search(r"http://127\.0\.0\.1:\d+(/set-up/\S+)", told)
        assert found is not None
        path = found[1]
        client = Client(port)
        while True:
            try:
                page = client.get(path)
                break
            except OSError:
                assert time.monotonic() < end
        assert Client(port).get("/set-up/another").status == 404
        form = {"user": "first", "password": PASSWORD, "token": page.token}
        assert client.post(path, {**form, "again": "another one"}).status == 400
        others = [Client(port) for _ in range(4)]
        forms = [
            {**form, "user": f"first{n}", "again": PASSWORD, "token": other.get(path).token}
            for n, other in enumerate(others)
        ]
        with ThreadPoolExecutor(len(others)) as at_once:
            made = list(at_once.map(lambda one, sent: one.post(path, sent), others, forms))
        assert sorted(one.status for one in made) == [303, 404, 404, 404]
        winner = others[[one.status for one in made].index(303)]
        assert winner.get("/users").status == 200  # an admin, and signed in
        assert Client(port).get(path).status == 404
        told += os.read(ours, 4096).decode()
        assert PASSWORD not in told
    finally:
        process.terminate()
        process.wait(20)
        last = ""
        while select.select([ours], [], [], 1.0)[0]:  # what is not there is not waited for
            last += os.read(ours, 4096).decode()
        os.close(ours)
        os.close(terminal)
    (line,) = (tmp_path / "users").read_text().splitlines()
    assert re.match(r"first[0-3]:admin:\$argon2id\$", line)
    assert "event=web-stopped" in last, "what is queued for the log is written at the end"

"""The wheel works alone: in a fresh virtual environment, away from the checkout.

`bare` has the wheel and the two libraries of the command; `whole` is the same environment with the
extra `all`, so what needs `bare` stands first.
"""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.plugin import needed
from tests.e2e.postfix import free_port

ROOT = Path(__file__).parents[2]
SOAK = os.environ.get("GREYLAG_SOAK") == "1"
PASSWORD = "a-long-pass-phrase"
QUESTION = (
    b"request=smtpd_access_policy\nprotocol_state=RCPT\nsender=a@example.org\n"
    b"recipient=b@example.net\nclient_address=192.0.2.17\n\n"
)


class Installed:
    """A virtual environment with the wheel, and a folder for what it writes."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.bin = folder / "venv" / "bin"

    def install(self, what: str) -> None:
        constraints = ["-c", str(ROOT / "constraints.txt")]
        pip = [
            str(self.bin / "python"),
            "-m",
            "pip",
            "-qq",
            "--disable-pip-version-check",
            "install",
        ]
        subprocess.run([*pip, *constraints, what], check=True, cwd="/", timeout=300)

    def start(self, *words: str) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            [self.bin / "greylag", "--config", self.folder / "greylag.toml", *words],
            env={"PATH": "/usr/bin:/bin"},
            cwd="/",
        )

    def run(self, *words: str, typed: str = "", code: int = 0) -> str:
        done = subprocess.run(
            [self.bin / "greylag", "--config", self.folder / "greylag.toml", *words],
            env={"PATH": "/usr/bin:/bin"},
            cwd="/",
            input=typed,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert done.returncode == code, done.stdout + done.stderr
        return done.stdout + done.stderr


def settled(installed: Installed) -> Installed:
    port = free_port()
    (installed.folder / "greylag.toml").write_text(f"""
[store]
url = "sqlite:///{installed.folder}/greylag.db"
[server]
socket = "{installed.folder}/s"
[dns]
servers = "off"
[web]
listen = "127.0.0.1:{port}"
users = "{installed.folder}/web-users"
""")
    return installed


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("dist")
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
    subprocess.run(build, check=True, cwd=ROOT, stdout=subprocess.PIPE, timeout=120)
    (made,) = folder.glob("*.whl")
    return made


@pytest.fixture(scope="module")
def bare(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Installed:
    installed = Installed(tmp_path_factory.mktemp("bare"))
    subprocess.run([sys.executable, "-m", "venv", installed.folder / "venv"], check=True)
    installed.install(str(wheel))
    return settled(installed)


@pytest.fixture(scope="module")
def whole(wheel: Path, bare: Installed) -> Installed:
    bare.install(f"{wheel}[all]")
    return bare


@contextlib.contextmanager
def serving(installed: Installed) -> Iterator[Path]:
    """Run the daemon; give its socket."""
    daemon = installed.start("serve")
    try:
        path = installed.folder / "s"
        end = time.monotonic() + 20
        while not path.exists() and time.monotonic() < end:
            time.sleep(0.05)
        yield path
    finally:
        daemon.terminate()
        assert daemon.wait(20) == 0


def ask(path: Path) -> bytes:
    with socket.socket(socket.AF_UNIX) as peer:
        peer.settimeout(20)
        peer.connect(str(path))
        peer.sendall(QUESTION)
        return peer.recv(4096)


def test_the_daemon_answers(bare: Installed) -> None:
    assert bare.run("--version").startswith("greylag, version ")
    bare.run("config", "--check")
    with serving(bare) as path:
        assert ask(path).startswith(b"action=DEFER_IF_PERMIT 4.7.1 Greylisted")
    assert "192.0.2.0/24" in bare.run("search")


def test_the_c_plugins_are_compiled_and_ask_the_daemon(bare: Installed) -> None:
    needed("cc", "gcc")
    home = bare.folder / "qmail"
    (home / "control").mkdir(parents=True)
    said = bare.run("qmail", "install", "--native", "--force", "--qmail-home", str(home))
    assert "compiled with" in said
    environ = {
        "GREYLISTING": "",
        "TCPREMOTEIP": "198.51.100.7",
        "SMTPMAILFROM": "a@example.org",
        "SMTPRCPTTO": "b@example.net",
    }
    with serving(bare):
        answer = subprocess.run(
            [home / "plugins" / "greylisting"], env=environ, cwd=home, capture_output=True,
            check=True, timeout=30,
        )  # fmt: skip
    assert answer.stdout.startswith(b"E451 4.7.1 Greylisted")
    assert b"one-shot" not in answer.stderr
    alone = subprocess.run(
        [home / "plugins" / "greylisting"], env=environ, cwd=home, capture_output=True,
        check=True, timeout=30,
    )  # fmt: skip
    assert alone.stdout.startswith(b"E451 4.7.1 Greylisted")
    assert b"one-shot" in alone.stderr


def test_without_the_extras_it_is_told_what_to_install(bare: Installed) -> None:
    assert "pip install 'greylag[web]'" in bare.run("web", code=78)


def test_the_daemon_answers_with_all_extras(whole: Installed) -> None:
    with serving(whole) as path:
        assert ask(path).startswith(b"action=")


def test_the_dashboard_answers(whole: Installed) -> None:
    whole.run("web", "passwd", "alice", typed=f"{PASSWORD}\n")
    line = (whole.folder / "greylag.toml").read_text().partition("listen = ")[2]
    port = int(line.split('"')[1].rpartition(":")[2])
    web = whole.start("web")
    try:
        answer, end = b"", time.monotonic() + 20
        while not answer and time.monotonic() < end:
            with (
                contextlib.suppress(OSError),
                socket.create_connection(("127.0.0.1", port)) as peer,
            ):
                peer.sendall(b"GET /sign-in HTTP/1.0\r\nHost: 127.0.0.1\r\n\r\n")
                answer = peer.recv(4096)
            time.sleep(0.05)
        assert b" 200 OK\r\n" in answer
    finally:
        web.terminate()
        web.wait(20)


def test_the_demo_and_the_service_files_are_there(whole: Installed) -> None:
    assert "month of mail" in " ".join(whole.run("demo", "--help").split())
    program = "from greylag.app.contrib import *; print(sum(len(read(name)) for name in FILES))"
    python = [str(whole.bin / "python"), "-I", "-c", program]
    assert int(subprocess.check_output(python, cwd="/", timeout=60)) > 3000


@pytest.mark.skipif(not SOAK, reason="GREYLAG_SOAK=1")
def test_pipx_installs_it(wheel: Path, tmp_path: Path) -> None:
    subprocess.run([sys.executable, "-m", "venv", tmp_path / "pipx"], check=True)
    pip = [f"{tmp_path}/pipx/bin/pip", "-qq", "--disable-pip-version-check", "install"]
    subprocess.run([*pip, "pipx"], check=True, timeout=300)
    environ = {**os.environ, "PIPX_HOME": f"{tmp_path}/home", "PIPX_BIN_DIR": f"{tmp_path}/bin"}
    install = [f"{tmp_path}/pipx/bin/pipx", "install", f"{wheel}[all]"]
    subprocess.run(install, check=True, env=environ, cwd="/", timeout=300)
    shown = subprocess.check_output([tmp_path / "bin" / "greylag", "--version"], text=True)
    assert shown.startswith("greylag, version ")

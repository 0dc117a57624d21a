"""The Containerfile: its health check asks a real daemon; it is built where a builder is.

A builder is podman, or docker with its server. Without one the instructions are held as far as
they can be: what they copy is there, the settings are good, and the entrypoint is run by itself.
GREYLAG_BASE names the image to begin with, where no registry can be reached.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.e2e.postfix import free_port
from tests.server.daemon import BIN, serving
from tests.servers.mariadb import PASSWORD, running

ROOT = Path(__file__).parents[2]
ENTRYPOINT = ROOT / "contrib" / "container" / "entrypoint"
CHECK = ROOT / "contrib" / "container" / "healthcheck"
TEXT = (ROOT / "Containerfile").read_text()


def health(path: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-I", str(CHECK), str(path)]
    return subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)


def test_the_health_check_asks_the_daemon_and_leaves_no_record(tmp_path: Path) -> None:
    with serving(tmp_path) as daemon:
        asked = health(daemon.socket)
        assert (asked.returncode, asked.stderr) == (0, "")
        records = subprocess.run(
            [BIN / "greylag", "--config", tmp_path / "greylag.toml", "search"],
            capture_output=True,
            text=True,
            check=False,
        )
        assert "192.0.2" not in records.stdout
    gone = health(daemon.socket)
    assert gone.returncode == 1
    assert gone.stderr.startswith("healthcheck: ")


def test_a_daemon_that_does_not_answer_is_not_healthy(tmp_path: Path) -> None:
    listener = "import socket,sys,time; s=socket.socket(1); s.bind(sys.argv[1]); s.listen()"
    with subprocess.Popen(
        [sys.executable, "-c", f"{listener}; print(flush=True); time.sleep(60)", tmp_path / "s"],
        stdout=subprocess.PIPE,
    ) as silent:
        assert silent.stdout is not None
        silent.stdout.readline()
        assert health(tmp_path / "s").returncode == 1
        silent.kill()


def test_what_is_copied_is_there_and_let_through() -> None:
    copied = re.findall(r"^COPY (?:--\S+ )?(\S+) ", TEXT, re.MULTILINE)
    let_through = (ROOT / ".containerignore").read_text().splitlines()
    for path in copied:
        assert path == "dist/greylag-*.whl" or (ROOT / path).exists()
        assert any(line[0] == "!" and path.startswith(line[1:]) for line in let_through)


def test_the_settings_of_the_image_are_good(tmp_path: Path) -> None:
    text = (ROOT / "contrib" / "container" / "greylag.toml").read_text()
    (tmp_path / "greylag.toml").write_text(
        f'{text}\n[store]\nurl = "sqlite:///{tmp_path}/greylag.db"\n'
    )
    command = [f"{BIN}/greylag", "--config", f"{tmp_path}/greylag.toml", "config", "--check"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr


def enter(folder: Path, *words: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run the entrypoint, with the image's places in a folder."""
    settings, made = folder / "greylag.toml", folder / "run" / "greylag.toml"
    made.parent.mkdir(exist_ok=True)
    if not settings.exists():
        settings.write_text('[dns]\nservers = "off"\n')
    environ = {"PATH": f"{BIN}:{os.defpath}", "GREYLAG_CONFIG": str(made)}
    return subprocess.run(
        [sys.executable, "-I", str(ENTRYPOINT), *words],
        env={**environ, "GREYLAG_SETTINGS": str(settings), **variables},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_secrets_in_files_name_the_database(tmp_path: Path) -> None:
    """On a real MariaDB, asked on its port; the password is in no process's environment."""
    (tmp_path / "server").mkdir()
    port = free_port()
    network = ("--skip-networking=0", "--bind-address=127.0.0.1", f"--port={port}")
    with running(tmp_path / "server", *network) as server:
        with server.connect() as cursor:
            cursor.execute("CREATE DATABASE mail")
            cursor.execute("CREATE USER grey@127.0.0.1 IDENTIFIED BY %s", (PASSWORD,))
            cursor.execute("GRANT ALL ON mail.* TO grey@127.0.0.1")
        (tmp_path / "password").write_text(f"{PASSWORD}\n")
        variables = {
            "MYSQL_HOST": "127.0.0.1",
            "MYSQL_PORT": str(port),
            "MYSQL_USER": "grey",
            "MYSQL_DATABASE": "mail",
            "MYSQL_PASSWORD_FILE": str(tmp_path / "password"),
        }
        for _again in range(2):  # a container that is started again finds its files
            made = enter(tmp_path, "db", "init", **variables)
            assert (made.returncode, PASSWORD in made.stdout + made.stderr) == (0, False), made
        assert enter(tmp_path, "db", "check", **variables).returncode == 0
    for name in ("mysql.cnf", "greylag.toml"):
        assert (tmp_path / "run" / name).stat().st_mode & 0o777 == 0o600


def test_without_variables_the_settings_are_the_file(tmp_path: Path) -> None:
    assert enter(tmp_path, "config").returncode == 0
    assert (tmp_path / "run" / "greylag.toml").readlink() == tmp_path / "greylag.toml"


@pytest.mark.parametrize(
    ("variables", "told"),
    [
        ({"MYSQL_HOST": "db", "MYSQL_HOST_FILE": "/dev/null"}, "which one is meant?"),
        ({"MYSQL_HOST": "db", "MYSQL_PASSWORD_FILE": "/nowhere"}, "MYSQL_PASSWORD_FILE cannot be"),
        ({"MYSQL_HOST": "db", "MYSQL_PASSWORD": "se\ncret"}, "MYSQL_PASSWORD has a line end"),
    ],
)
def test_variables_that_cannot_be_meant_are_told(
    tmp_path: Path, variables: dict[str, str], told: str
) -> None:
    done = enter(tmp_path, "config", **variables)
    assert (done.returncode, told in done.stderr, "cret" in done.stderr) == (1, True, False)


def test_a_store_in_the_settings_and_in_variables_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "greylag.toml").write_text('[store]\nurl = "memory:"\n')
    done = enter(tmp_path, "config", MYSQL_HOST="db")
    assert (done.returncode, "leave one out" in done.stderr) == (1, True)
    (tmp_path / "greylag.toml").write_text("[store] # ours\nmax_waiting = 20000\n")
    shown = enter(tmp_path, "config", MYSQL_HOST="db")
    assert (shown.returncode, "mysql:?default_file=" in shown.stdout) == (0, True), shown


def builder() -> str:
    for name in ("podman", "docker"):
        found = shutil.which(name)
        if (
            found
            and subprocess.run([found, "info"], capture_output=True, check=False).returncode == 0
        ):
            return found
    pytest.skip("no builder of containers here: podman, or docker with its server")


def test_the_image_is_built_and_is_healthy(tmp_path: Path) -> None:
    program = builder()
    dist = tmp_path / "dist"
    hatch = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(dist)]
    subprocess.run(hatch, check=True, cwd=ROOT, stdout=subprocess.PIPE, timeout=120)
    shutil.copytree(ROOT / "contrib" / "container", tmp_path / "contrib" / "container")
    shutil.copy(ROOT / "Containerfile", tmp_path)
    base = os.environ.get("GREYLAG_BASE")
    build = [program, "build", *(("--format", "docker") if program.endswith("podman") else ())]
    build += [f"--build-arg=BASE={base}"] if base else []
    build += ["-t", "greylag-test", "-f", "Containerfile", "."]
    subprocess.run(build, check=True, cwd=tmp_path, timeout=600)
    run = [program, "run", "-d", "--rm", "--name", "greylag-test", "greylag-test"]
    subprocess.run(run, check=True, timeout=60)
    try:
        ask = "for _ in 1 2 3 4 5 6 7 8 9; do greylag-healthcheck && exit; sleep 1; done; exit 1"
        command = [program, "exec", "greylag-test", "sh", "-c", ask]
        subprocess.run(command, check=True, timeout=120)
    finally:
        subprocess.run([program, "stop", "greylag-test"], check=False, timeout=60)

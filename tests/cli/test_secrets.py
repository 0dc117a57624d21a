"""T43: a password reaches no output, no log and no list of processes, however it is mistyped."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cli.conftest import CLIENT, RECIPIENT, SENDER, Greylag

SOAK = os.environ.get("GREYLAG_SOAK") == "1"
CANARY = "kanarienvogel"
RIGHT = f"mysql://grey:{CANARY}@127.0.0.1:1/mail"
WRONG = (
    f"mysql:/grey:{CANARY}@db/mail",
    f"mysql:grey:{CANARY}@db/mail",
    f"mysql//grey:{CANARY}@db/mail",
    f"mysq://grey:{CANARY}@db/mail",
    f"MYSQL://grey:{CANARY}@db/mail",
    f" mysql://grey:{CANARY}@db/mail",
    f"mysql+pymysql://grey:{CANARY}@db/mail",
    f"grey:{CANARY}@db/mail",
    f"mysql://grey:{CANARY}/db/mail",
    f"mysql://grey:{CANARY}",
    f"mysql://grey:{CANARY}@db",
    f"mysql://grey:{CANARY}@db/",
    f"mysql://grey:{CANARY}@db/mail/x",
    f"mysql://:{CANARY}@db/mail",
    f"mysql://grey:x@{CANARY}@/",
    f"mysql://grey@db:{CANARY}/mail",
    f"mysql://grey@db/mail?password={CANARY}",
    f"mysql://grey/{CANARY}@db/mail",
    f"mysql://grey;{CANARY}@db/mail",
    f"mysql://grey {CANARY}@db/mail",
    f"mysql:?password={CANARY}",
    f"mysql:?user=grey&password={CANARY}&default_file=/x",
    f"sqlite://grey:{CANARY}@db/mail",
    f"postgres://grey:{CANARY}@db/mail",
    CANARY,
)
COMMANDS = (
    ("config",), ("config", "--json"), ("config", "--check"), ("config", "--check", "--json"),
    ("check", CLIENT, SENDER, RECIPIENT), ("search",), ("stats",), ("top",), ("report",),
    ("whatif", "--delay", "15m"), ("search", "--history"),
    ("expire",),
    ("allow", "list"), ("deny", "add", CLIENT, "--yes"), ("forget", CLIENT, SENDER, RECIPIENT),
    ("db", "init"), ("db", "check"), ("db", "copy", "sqlite:///nowhere/x.db", "tree:///nowhere"),
    ("doctor",), ("doctor", "--json"), ("export", "none.jsonl"), ("import", "none.jsonl"),
    ("db", "backup", "none.backup"),
)  # fmt: skip


def silent(greylag: Greylag, *arguments: str) -> None:
    result = greylag.run(*arguments)
    assert CANARY not in result.stdout + result.stderr, arguments


@pytest.mark.parametrize("url", [RIGHT, *WRONG])
def test_every_command_with_every_spelling_of_the_url_t43(greylag: Greylag, url: str) -> None:
    greylag.configure(f'store.url = "{url}"\n')
    for arguments in COMMANDS if SOAK or url == RIGHT else COMMANDS[::5]:
        silent(greylag, *arguments)


@pytest.mark.parametrize(
    "text",
    [
        f'store = "{RIGHT}"',
        f"store.url = {RIGHT}",
        f'store.url = ["{RIGHT}"]',
        f'[store.url]\nvalue = "{RIGHT}"',
        f'store.ulr = "{RIGHT}"',
        f'"{RIGHT}" = 1',
        f'[store]\n"{RIGHT}" = 1',
        f'policy.delay = "{RIGHT}"',
        f'reply.defer = "{RIGHT}"',
        f'server.socket = "{RIGHT}"',
        f'server.policy = ["{RIGHT}"]',
        f'log.file = "{RIGHT}"',
        f'store.url = "{RIGHT}',
    ],
)
def test_a_url_in_the_wrong_place_of_greylag_toml_t43(greylag: Greylag, text: str) -> None:
    greylag.config.write_text(text)
    for arguments in COMMANDS[:4]:
        silent(greylag, *arguments)


@pytest.mark.parametrize(
    "text",
    [
        f"mysql_default_file={RIGHT}",
        f"mysql_default_file=grey:{CANARY}@db/mail",
        f"mysql_host=127.0.0.1:1\nmysql_user=grey\nmysql_pass={CANARY}\nmysql_db=mail",
        f"mysql_pass={CANARY}",
        f"mysql_pass {CANARY}",
        f"mysql_password={CANARY}",
        f"password: {CANARY}",
        RIGHT,
        f"block_expire={RIGHT}",
    ],
)
def test_the_old_plugins_file_and_variables_t43(
    greylag: Greylag, monkeypatch: pytest.MonkeyPatch, text: str
) -> None:
    greylag.config.write_text("")
    (greylag.home / "control").mkdir()
    (greylag.home / "control/greylisting").write_text(text)
    for arguments in COMMANDS[:6]:
        silent(greylag, *arguments)
    (greylag.home / "control/greylisting").unlink()
    value = text.partition("=")[2] or text
    for name in ("GLMYSQLDEFAULTFILE", "GLBLOCKEXPIRE", "GLEXPLICIT"):
        if "@" in value:  # else it is a path, as far as anybody can tell
            monkeypatch.setenv(name, value)
    for arguments in COMMANDS[:4]:
        silent(greylag, *arguments)


@pytest.mark.parametrize(
    "text",
    [
        f"[client]\npassword={CANARY}\n",
        f"[client]\nuser=grey\npassword={CANARY}\ndatabase=mail\nhost=127.0.0.1\nport=1\n",
        f"[client]\nuser=grey\npassword {CANARY}\ndatabase=mail\nport={CANARY}\n",
        f"[client\npassword={CANARY}\n",
    ],
)
def test_an_option_file_t43(greylag: Greylag, text: str) -> None:
    (greylag.home / "my.cnf").write_text(text)
    greylag.configure(f'store.url = "mysql:?default_file={greylag.home}/my.cnf"\n')
    for arguments in COMMANDS:
        silent(greylag, *arguments)


@pytest.mark.parametrize("url", [RIGHT, *WRONG])
def test_the_arguments_of_db_copy_t43(greylag: Greylag, url: str) -> None:
    for arguments in ((url, "sqlite:///x.db"), ("sqlite:///x.db", url), (url,), (url, url, url)):
        result = greylag.run("db", "copy", *arguments)
        assert result.exit_code == 2
        if url != CANARY and not url.startswith(" "):
            assert CANARY not in result.stdout + result.stderr, arguments


def test_a_password_among_the_arguments_is_refused_with_the_right_way_t43(greylag: Greylag) -> None:
    """Every user sees them with ps for as long as the command runs."""
    result = greylag.run("db", "copy", RIGHT, "sqlite:///x.db")
    assert result.exit_code == 2
    assert "ps" in result.stderr
    assert "mysql:?default_file=" in result.stderr


def test_click_quotes_no_account_t43(greylag: Greylag) -> None:
    for arguments in ((RIGHT,), ("db", RIGHT), ("check", RIGHT, "a@b", "c@d"), ("stats", RIGHT)):
        silent(greylag, *arguments)


@pytest.mark.parametrize("url", [RIGHT, WRONG[0], WRONG[15]])
def test_the_logs_of_plugin_and_daemon_t43(tmp_path: Path, url: str) -> None:
    (tmp_path / "greylag.toml").write_text(f'store.url = "{url}"\nserver.socket = "{tmp_path}/s"\n')
    environ = {"GREYLAG_CONFIG": str(tmp_path / "greylag.toml"), "GREYLISTING": ""}
    asked = {"TCPREMOTEIP": CLIENT, "SMTPMAILFROM": SENDER, "SMTPRCPTTO": RECIPIENT}
    programs = Path(sys.executable).parent
    one = subprocess.run(
        [programs / "greylisting"], env=environ | asked, cwd=tmp_path,
        capture_output=True, check=False, timeout=20,
    )  # fmt: skip
    assert one.returncode == 0
    assert b"reason=" in one.stderr
    assert CANARY.encode() not in one.stdout + one.stderr
    with subprocess.Popen(
        [programs / "greylag", "serve"], env=environ, cwd=tmp_path, stderr=subprocess.PIPE
    ) as daemon:
        assert daemon.stderr is not None
        first = daemon.stderr.readline()
        shown = Path(f"/proc/{daemon.pid}/cmdline").read_bytes() if daemon.poll() is None else b""
        daemon.terminate()
        rest = daemon.stderr.read()
    assert first
    assert CANARY.encode() not in first + rest + shown

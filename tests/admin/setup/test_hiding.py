"""T43: what setup shows of a file has no password in it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from greylag.admin.setup.hiding import hidden
from tests.admin.setup.conftest import root
from tests.cli.test_setup import postfix, run

__all__ = ["root"]  # a fixture
CANARY = "kanarienvogel"


@pytest.mark.parametrize(
    "line",
    [
        f' url = "mysql://grey:{CANARY}@127.0.0.1/mail"\n',
        f"-url = 'mysql:/grey:{CANARY}@127.0.0.1/mail'\n",
        f'+store.url="{CANARY}"\n',
        f' store = {{ url = "mysql://grey:{CANARY}@h/mail" }}\n',
        f' # url = "mysql://grey@h/mail?password={CANARY}"',
        f" mysql://grey:{CANARY}@h/mail\n",
        f" mysql_pass={CANARY}\n",
        f" mysql_pass {CANARY}\n",
        f"-export GLMYSQLPASS={CANARY}\r\n",
        f" password: {CANARY}\n",
        f"+smtp_sasl_password_maps = static:grey:{CANARY}\n",
    ],
)
def test_a_line_with_a_password_t43(line: str) -> None:
    shown = hidden(line)
    assert CANARY not in shown
    assert "***" in shown
    assert shown[len(shown.rstrip("\r\n")) :] == line[len(line.rstrip("\r\n")) :]


@pytest.mark.parametrize(
    "line",
    [
        '+url = "sqlite:///var/lib/greylag/greylag.db"\n',
        "+smtpd_recipient_restrictions = permit_mynetworks, check_policy_service unix:x/y\n",
        " # who has passed is let in\n",
        "--- /etc/greylag/greylag.toml\n",
        ' 127.:allow,RELAYCLIENT=""\n',
    ],
)
def test_a_line_without_one_is_shown_as_it_is(line: str) -> None:
    assert hidden(line) == line


@pytest.mark.parametrize("begin", [" a", " a:", " pass", " .", " a:=", " pass\t"])
def test_a_line_without_an_end_is_not_looked_through(begin: str) -> None:
    assert hidden(begin * 1_000_000 + "\n") == "***\n"


@pytest.mark.parametrize("words", [["--dry-run"], ["--dry-run", "--json"]])
def test_setup_shows_no_password_of_the_store_t43(root: Path, words: list[str]) -> None:
    postfix(root)
    settings = root / "etc/greylag/greylag.toml"
    settings.parent.mkdir(exist_ok=True)
    settings.write_text(f'[store]\nurl = "mysql://grey:{CANARY}@127.0.0.1:1/mail"\n')
    done = run(root, "postfix", *words)
    assert CANARY not in done.stdout + done.stderr
    assert "greylag.toml" in done.stdout
    if "--json" in words:
        assert json.loads(done.stdout)["changes"]

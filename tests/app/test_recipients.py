"""`[[recipient]]` of greylag.toml."""

from __future__ import annotations

from pathlib import Path

import pytest

from greylag.app import config
from greylag.app.config import ConfigError, Settings, load
from greylag.app.recipients import SPARED, TABLE_OPTIONS
from greylag.core.policy import Greylist, IdentityBy, Policy
from greylag.core.recipients import Table
from greylag.core.signs import Sign


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(config, "DEFAULT_PATH", str(tmp_path / "etc-greylag.toml"))
    (tmp_path / "control").mkdir()
    return tmp_path


def load_toml(home: Path, text: str) -> Settings:
    (home / "etc-greylag.toml").write_text(text)
    return load({}, str(home))


def errors_of(home: Path, text: str) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        load_toml(home, text)
    return [line.replace(f"{home}/etc-", "") for line in caught.value.errors]


def test_every_setting_of_a_table(home: Path) -> None:
    text = """
        [policy]
        delay = "2m"
        [[recipient]]
        match = ["Example.net", "user@example.org"]
        greylist = "suspicious"
        delay = "1m"
        retry_window = "4h"
        lifetime = "90d"
        identity = "spf"
        trust_after = 3
        trust_all_after = 0
        signs = ["helo", "spf"]
        signs_needed = 2
        [[recipient]]  # the rest
        match = [".example.net"]
        [dns]
        servers = "system"
        """
    settings = load_toml(home, text)
    one, two, _spared = settings.recipients.tables
    changes = (
        *(("greylist", Greylist.SUSPICIOUS), ("delay", 60), ("retry_window", 14400)),
        *(("lifetime", 90 * 86400), ("identity", IdentityBy.SPF), ("trust_after", 3)),
        *(("trust_all_after", 0), ("signs", frozenset({Sign.HELO, Sign.SPF}))),
        ("signs_needed", 2),
    )
    where = f"{home}/etc-greylag.toml"
    assert one == Table(("example.net", "user@example.org"), changes, f"{where}:4")
    assert two == Table((".example.net",), (), f"{where}:15")
    assert {name for name, _ in changes} == set(TABLE_OPTIONS)
    assert settings.policy.delay == 120
    assert not settings.warnings


MATCH = 'expected a list such as ["example.net", ".example.net", "user@example.org", "postmaster@"]'


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("[recipient]\nmatch = []\n", "1: expected tables [[recipient]]"),
        ("recipient = 3\n", "1: expected tables [[recipient]]"),
        ("[[recipient]]\n", f"1: recipient.match: {MATCH}"),
        ("[[recipient]]\nmatch = []\n", f"2: recipient.match: {MATCH}"),
        ('[[recipient]]\nmatch = "x"\n', f"2: recipient.match: {MATCH}"),
        (
            '[[recipient]]\nmatch = ["example.net", "a b@"]\n',
            f"2: recipient.match: {MATCH}: number 2, 'a b@', names no mailbox",
        ),
        (
            '[[recipient]]\nmatch = ["a@"]\n[[ recipient ]] # two\nmatch = ["b@"]\ndelay = 5\n',
            (
                "5: recipient.delay: expected a duration with its unit (s, m, h, d or w), such as "
                '"5m" or "36d", got 5'
            ),
        ),
        (
            '[[recipient]]\nmatch = ["a@"]\ndealy = "5m"\n',
            "3: unknown key 'recipient.dealy': did you mean 'delay'?",
        ),
        (
            '[[recipient]]\nmatch = ["a@"]\nnull_sender = "rcpt"\n',
            "3: recipient.null_sender: it holds for all recipients, and belongs into [policy]",
        ),
        (
            '[[recipient]]\nmatch = ["a@"]\ndelay = "3d"\n',
            (
                "1: the retry window (2d) must be longer than the delay (3d), or nothing could "
                "ever pass"
            ),
        ),
        (
            (
                '[[recipient]]\nmatch = ["a@"]\nidentity = "spf+name"\n'
                '[dns]\nservers = "system"\nsuffixes = "/nowhere"\n'
            ),
            "1: recipient.identity: /nowhere: no such file (Debian's package publicsuffix has it)",
        ),
    ],
)
def test_one_error(home: Path, text: str, error: str) -> None:
    assert errors_of(home, text) == [f"greylag.toml:{error}"]


def test_tables_in_one_line_are_tables_too(home: Path) -> None:
    text = 'recipient = [{match = ["a@"], delay = "9m"}]\n'
    found, _spared = load_toml(home, text).recipients.tables
    assert found.changes == (("delay", 540),)
    (error,) = errors_of(home, 'recipient = [{match = ["a@"], delay = 9}]\n')
    assert error.startswith("greylag.toml: recipient.delay: expected a duration")
    (error,) = errors_of(home, "recipient = [1]\n")
    assert error == "greylag.toml: recipient: expected tables [[recipient]], got 1"


def test_a_table_with_many_errors_tells_some(home: Path) -> None:
    tables = "".join(f'[[recipient]]\nmatch = ["a@"]\ndelay = {n}\n' for n in range(200))
    errors = errors_of(home, tables)
    assert errors[-1] == "greylag.toml: these are 50 errors, and there may be more"
    assert len(errors) == 51


def test_a_password_in_the_wrong_place_is_not_shown_t43(home: Path) -> None:
    url = "mysql://grey:geheim@db/mail"
    text = f'[[recipient]]\nmatch = ["{url}"]\ndelay = "{url}"\n"{url}" = 1\n'
    assert "geheim" not in "".join(errors_of(home, text))


def test_what_needs_dns_in_a_table_is_a_warning_where_it_is_off(home: Path) -> None:
    text = '[[recipient]]\nmatch = ["a@"]\ngreylist = "suspicious"\ndns = 1\n'
    text = text.replace("dns = 1\n", '[dns]\nservers = "off"\n')
    (warning,) = load_toml(home, text).warnings
    where = f"{home}/etc-greylag.toml:1"
    assert warning == f'{where}: dns.servers is "off", and recipient.greylist needs DNS'


def test_in_new_installations_postmaster_and_abuse_are_never_greylisted_unless_a_table_says_so(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(config, "DEFAULT_TABLES", (SPARED,))
    settings = load_toml(home, '[[recipient]]\nmatch = ["abuse@"]\ngreylist = "all"\n')
    own, spared = settings.recipients.tables
    assert (own.changes, spared.origin) == ((("greylist", Greylist.ALL),), "default")
    assert settings.recipients.find(b"abuse@example.org") == 0
    assert settings.recipients.find(b"postmaster@example.org") == 1
    (home / "control" / "greylisting").write_text("")
    assert load_toml(home, "").recipients.tables == ()
    assert load_toml(home, "").policy.greylist is Policy().greylist


def test_a_table_under_which_nothing_would_be_greylisted(home: Path) -> None:
    """More signs needed than mail can show: greylisting would be off, and nobody would know."""
    policy = 'policy = {signs = ["helo"], signs_needed = 3}\n'
    table = '[[recipient]]\nmatch = ["example.net"]\n'
    load_toml(home, policy + table)
    (error,) = errors_of(home, f'{policy}{table}greylist = "suspicious"\n')
    assert error.startswith("greylag.toml:2: recipient.signs_needed is 3, and ")
    assert "1 of recipient.signs at most" in error
    load_toml(home, f'{policy}{table}greylist = "suspicious"\nsigns_needed = 1\n')
    suspicious = f'policy.greylist = "suspicious"\n{table}'
    (error,) = errors_of(home, f"{suspicious}signs = []\n")
    assert error.startswith("greylag.toml:2: recipient.signs_needed is 1, and mail can show 0 of ")


@pytest.mark.parametrize(
    ("item", "told"),
    [
        ("*@example.net", "'*@example.net', names no mailbox"),
        ("info-*@example.net", "'info-*@example.net', names no mailbox"),
        ("*@", "'*@', names no mailbox"),
        ("@example.net", "'@example.net', names no mailbox"),
        ("192.0.2.1", "'192.0.2.1', names no domain"),
        ("bob@192.0.2.1", "'bob@192.0.2.1', names no domain"),
        ("bob", "'bob', names no domain ('bob@' is a mailbox of any, '.bob' a domain)"),
    ],
)
def test_what_no_recipient_could_be_is_an_error_that_quotes_it(
    home: Path, item: str, told: str
) -> None:
    (error,) = errors_of(home, f'[[recipient]]\nmatch = ["example.net", "{item}"]\n')
    assert error == f"greylag.toml:2: recipient.match: {MATCH}: number 2, {told}"


def test_what_may_be_a_password_is_not_quoted(home: Path) -> None:
    """T43: in whatever place it was put."""
    url = "mysql://greylag:secret@db/mail"
    (error,) = errors_of(home, f'[[recipient]]\nmatch = ["{url}"]\n')
    assert "secret" not in error


@pytest.mark.parametrize("item", ["bob@", ".bob", "localhost", "bob@localhost", "example.net"])
def test_names_without_a_dot_that_may_be_meant(home: Path, item: str) -> None:
    load_toml(home, f'[[recipient]]\nmatch = ["{item}"]\n')

"""`greylag config`."""

from __future__ import annotations

import re

import pytest

from greylag.app.options import BY_KEY, OPTIONS
from greylag.app.toml_file import read_toml
from greylag.app.written import written
from greylag.cli.config import example_lines
from tests.cli.conftest import Greylag, shape


def uncommented() -> str:
    return "\n".join(re.sub(r"^#(?=\w)", "", line) for line in example_lines())


def test_values_and_their_origins(greylag: Greylag) -> None:
    greylag.configure('policy.delay = "10m"\n')
    lines = [line.split() for line in greylag.run("config").stdout.splitlines()]
    assert lines[0] == ["setting", "value", "from"]
    assert lines[1] == ["policy.delay", '"10m"', f"{greylag.config}:2"]
    assert lines[2] == ["policy.retry_window", '"2d"', "default"]
    settings = [line for line in lines if not line[0].startswith("recipient.")]
    assert len(settings) == len(OPTIONS) + 1
    assert lines[-2:] == [
        ["recipient.match", '["postmaster@",', '"abuse@"]', "default"],
        ["recipient.greylist", '"off"', "default"],
    ]


def test_json(greylag: Greylag) -> None:
    found = greylag.json("config")
    assert shape(found) == {
        "settings": [dict.fromkeys(("key", "value", "origin"), "str")],
        "recipients": [{"match": ["str"], "settings": {"greylist": "str"}, "origin": "str"}],
        "warnings": [],
        "notes": [],
        "switch": "NoneType",
    }
    values = {item["key"]: item["value"] for item in found["settings"]}
    assert list(values) == list(BY_KEY)
    assert (values["policy.lifetime"], values["policy.ipv6_prefix"]) == ("36d", 64)
    assert (values["policy.explicit"], values["log.level"]) == (False, "info")


def test_the_old_plugins_files_are_found(greylag: Greylag, monkeypatch: pytest.MonkeyPatch) -> None:
    (greylag.home / "control").mkdir()
    (greylag.home / "control/greylisting").write_text("block_expire=2\nnonsense=1\n")
    monkeypatch.setenv("GLRECORDEXPIRE", "2000")
    result = greylag.run("config")
    lines = [line.split(maxsplit=2) for line in result.stdout.splitlines()]
    assert lines[1] == ["policy.delay", '"2m"', "control/greylisting:1 (block_expire)"]
    assert lines[2] == ["policy.retry_window", '"1d9h20m"', "environment (GLRECORDEXPIRE)"]
    assert result.stderr == "greylag: control/greylisting:2: 'nonsense' is not a setting: ignored\n"
    away = greylag.home / "away"
    away.mkdir()
    monkeypatch.chdir(away)
    assert "block_expire" not in greylag.run("config").stdout
    assert "block_expire" in greylag.run("--qmail-home", str(greylag.home), "config").stdout
    assert greylag.run("--qmail-home", "missing", "config").exit_code == 66


def test_the_option_config_goes_before_the_variable(greylag: Greylag) -> None:
    (greylag.home / "b.toml").write_text('policy.delay = "7m"')
    assert '"7m"' in greylag.run("--config", "b.toml", "config").stdout
    result = greylag.run("--config", "missing.toml", "config")
    assert (result.exit_code, result.stdout) == (78, "")
    assert "missing.toml: no such file" in result.stderr


def test_check(greylag: Greylag) -> None:
    result = greylag.run("config", "--check")
    assert (result.exit_code, result.stdout, result.stderr) == (0, "ok\n", "")
    assert greylag.json("config", "--check") == {"ok": True, "errors": [], "warnings": []}


def test_check_reports_every_error(greylag: Greylag) -> None:
    greylag.configure(
        'policy.delay = 5\npolicy.dealy = "5m"\nlog.level = "loud"\nstore.url = "x:"\n'
    )
    result = greylag.run("config", "--check")
    assert (result.exit_code, result.stdout) == (78, "")
    told = result.stderr.splitlines()
    assert [line.split(": ")[1] for line in told] == [f"{greylag.config}:{n}" for n in (1, 2, 3, 4)]
    found = greylag.json("config", "--check", code=78)
    assert (found["ok"], len(found["errors"])) == (False, 4)


TWENTY_ERRORS = """\
policy.delay = 5
policy.retry_window = "2 days"
policy.lifetime = "23m"
policy.ipv4_prefix = 33
policy.ipv6_prefix = true
policy.null_sender = "later"
policy.explicit = "yes"
policy.delya = "5m"
policy.identity = "dkim"
policy.trust_after = -1
policy.greylist = "some"
policy.signs = ["odd"]
store.url = "sqlite://greylag.db"
store.timeout = "2m"
store.on_failure = "reject"
reply.defer = "550 never"
reply.deny = "553"
log.level = "loud"
server.max_connections = "many"
sever = "/run/x"
"""


def test_of_twenty_planted_errors_twenty_are_told_with_file_and_line(greylag: Greylag) -> None:
    greylag.configure(TWENTY_ERRORS)
    result = greylag.run("config", "--check")
    assert (result.exit_code, result.stdout) == (78, "")
    told = [line.split(": ")[1] for line in result.stderr.splitlines()]
    assert told == [f"{greylag.config}:{number}" for number in range(1, 21)]


def test_every_command_reports_every_error(greylag: Greylag) -> None:
    greylag.configure('policy.delay = 5\nlog.level = "loud"\nstore.timeout = "4s"')
    triplet = ("192.0.2.1", "user@example.org", "info@example.net")
    for arguments in (
        ("check", *triplet), ("forget", *triplet), ("search",), ("stats",), ("expire",),
        ("config",), ("allow", "list"), ("deny", "add", "192.0.2.1"),
        ("allow", "remove", "192.0.2.1"),
    ):  # fmt: skip
        result = greylag.run(*arguments)
        assert (result.exit_code, result.stdout) == (78, "")
        assert len(result.stderr.splitlines()) == 2


def test_the_example_loads_back_as_the_defaults(greylag: Greylag) -> None:
    text = greylag.run("config", "--example").stdout
    assert text == "\n".join(example_lines()) + "\n"
    as_it_is = read_toml(text.encode(), "example")
    assert (as_it_is.given, as_it_is.tables, as_it_is.errors) == ([], [], [])
    found = read_toml(uncommented().encode(), "example")
    assert found.errors == []
    assert {item.key: item.value for item in found.given} == {o.key: o.default for o in OPTIONS}
    assert all(option.meaning in text for option in OPTIONS)


def test_the_example_needs_no_good_configuration(greylag: Greylag) -> None:
    greylag.configure("store = nonsense")
    assert greylag.run("config", "--example").exit_code == 0
    found = greylag.json("config", "--example")
    assert shape(found) == {
        "options": [dict.fromkeys(("key", "default", "meaning"), "str") | {"restart": "bool"}]
    }
    assert greylag.run("config", "--example", "--check").exit_code == 2


@pytest.mark.parametrize("option", OPTIONS, ids=lambda option: option.key)
def test_values_are_written_as_they_are_read(option: object) -> None:
    from greylag.app.option import Option

    assert isinstance(option, Option)
    assert option.read(written(option, option.default)) == option.default


def test_a_password_in_the_url_is_not_shown(greylag: Greylag) -> None:
    greylag.configure('store.url = "mysql://user:se:cr@et@db.example.org/greylag"\n')
    for arguments in (["config"], ["config", "--json"]):
        shown = greylag.run(*arguments).stdout
        assert "mysql://user:***@db.example.org/greylag" in shown
        assert "cr@et" not in shown


def test_tables_of_recipients_are_listed_in_the_order_in_which_they_hold(greylag: Greylag) -> None:
    greylag.configure(
        '[[recipient]]\nmatch = ["Postmaster@", ".example.net"]\ngreylist = "off"\ndelay = "9m"\n'
        '[[recipient]]\nmatch = ["example.org"]\nsigns = ["spf", "helo"]\n'
    )
    one, two = f"{greylag.config}:2", f"{greylag.config}:6"
    lines = [line.split() for line in greylag.run("config").stdout.splitlines()[-7:-2]]
    assert lines == [
        ["recipient.match", '["postmaster@",', '".example.net"]', one],
        ["recipient.greylist", '"off"', one],
        ["recipient.delay", '"9m"', one],
        ["recipient.match", '["example.org"]', two],
        ["recipient.signs", '["helo",', '"spf"]', two],
    ]
    assert greylag.json("config")["recipients"][:2] == [
        {
            "match": ["postmaster@", ".example.net"],
            "settings": {"greylist": "off", "delay": "9m"},
            "origin": one,
        },
        {"match": ["example.org"], "settings": {"signs": ["helo", "spf"]}, "origin": two},
    ]


def test_check_tells_what_is_wrong_with_a_table_of_recipients(greylag: Greylag) -> None:
    greylag.configure('[[recipient]]\nmatch = ["a b"]\ntrap = "deny"\n')
    lines = greylag.run("config", "--check").stderr.splitlines()
    assert [line.partition(f"{greylag.config}:")[2][:18] for line in lines] == [
        "4: recipient.trap:",
        "3: recipient.match",
    ]


def test_a_setting_is_explained_with_its_value_and_where_that_comes_from(greylag: Greylag) -> None:
    greylag.configure('policy.delay = "10m"\n')
    assert greylag.run("config", "explain", "policy.delay").stdout.splitlines() == [
        "setting       policy.delay",
        "meaning       how long after the first attempt a retry is let in",
        f'value         "10m" (from: {greylag.config}:2)',
        'default       "5m"',
        'expected      a duration with its unit (s, m, h, d or w), such as "5m" or "36d"',
        "takes effect  at a reload",
    ]
    assert greylag.json("config", "explain", "store.timeout") == {
        "settings": [
            {
                "key": "store.timeout",
                "meaning": "the longest wait for another program that is writing",
                "default": "4s",
                "expected": 'a duration from "1s" to "4s"',
                "restart": True,
                "value": "4s",
                "origin": "default",
            }
        ]
    }


def test_all_settings_are_explained_where_none_is_named(greylag: Greylag) -> None:
    result = greylag.run("config", "explain")
    named = [line.split()[1] for line in result.stdout.splitlines() if line.startswith("setting ")]
    assert named == list(BY_KEY)
    assert all(item["expected"] for item in greylag.json("config", "explain")["settings"])


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("explain", "policy.dealy"), "Did you mean policy.delay?"),
        (("explain", "delay"), "Did you mean policy.delay?"),
        (("explain", "quux"), "unknown setting 'quux': greylag config shows all"),
        (("policy.delay",), "expected explain and keys"),
        (("explain", "--check"), "expected explain and keys"),
    ],
)
def test_a_setting_that_is_not_known_tells_what_was_meant(
    greylag: Greylag, words: tuple[str, ...], told: str
) -> None:
    result = greylag.run("config", *words)
    assert (result.exit_code, result.stdout) == (2, "")
    assert told in result.stderr


def test_a_password_is_not_explained_t43(greylag: Greylag) -> None:
    greylag.configure('[store]\nurl = "mysql://greylag:hunter2@db.example/mail"\n')
    result = greylag.run("config", "explain", "store.url")
    assert result.exit_code == 0
    assert "hunter2" not in result.stdout + result.stderr


def test_all_settings_of_a_section_are_explained_where_it_is_named(greylag: Greylag) -> None:
    result = greylag.run("config", "explain", "web", "policy.delay", "web.listen")
    named = [line.split()[1] for line in result.stdout.splitlines() if line.startswith("setting ")]
    assert named == [*(key for key in BY_KEY if key.startswith("web.")), "policy.delay"]

"""The old plugin's settings: every key in file and environment, and its fault 8."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from greylag.core.duration import LONGEST
from greylag.core.policy import Policy
from greylag.wire.oldplugin import (
    OLD_OPTIONS,
    Given,
    old_defaults,
    read_file,
    read_variables,
)
from tests.strategies import PROPERTY
from tests.wire.hostile import VALUES

PATH = "control/greylisting"
KEYS = [
    ("mysql_default_file", "GLMYSQLDEFAULTFILE", "store.url"),
    ("block_expire", "GLBLOCKEXPIRE", "policy.delay"),
    ("record_expire", "GLRECORDEXPIRE", "policy.retry_window"),
    ("record_expire_good", "GLRECORDEXPIREGOOD", "policy.lifetime"),
    ("loglevel", "GLLOGLEVEL", "log.level"),
    ("explicit", "GLEXPLICIT", "policy.explicit"),
]
SMALLER = "expected a smaller number"
CENTURY_M, CENTURY_D = LONGEST // 60, LONGEST // 86400


def read(text: str | bytes) -> tuple[dict[str, object], list[str], list[str]]:
    """Read a file; return our keys with their values, the errors and warnings, and the notes."""
    data = text if isinstance(text, bytes) else text.encode()
    found = read_file(data, PATH)
    return {i.key: i.value for i in found.given}, found.errors + found.warnings, found.notes


def read_environ(environ: dict[bytes, bytes]) -> tuple[list[Given], list[str]]:
    found = read_variables(environ)
    return found.given, found.errors + found.warnings


def all_of(data: bytes) -> tuple[list[Given], list[str], list[str]]:
    found = read_file(data, PATH)
    return found.given, found.errors + found.warnings, found.notes


GOOD = [
    ("mysql_default_file", "/var/qmail/control/mysql.cnf",
     "mysql:?default_file=/var/qmail/control/mysql.cnf"),
    ("mysql_default_file", " my.cnf ", "mysql:?default_file=my.cnf"),
    ("mysql_default_file", "a=b", "mysql:?default_file=a=b"),
    ("block_expire", "2", 120),
    ("block_expire", "0", 0),
    ("block_expire", "007", 420),
    ("block_expire", " 2\t", 120),
    ("block_expire", "2 minutes", 120),
    ("block_expire", "2 # as in the guide", 120),
    ("block_expire", "2.9", 120),
    ("block_expire", str(CENTURY_M), LONGEST),
    ("record_expire", "2000", 120_000),
    ("record_expire", "0", 0),
    ("record_expire_good", "36", 36 * 86400),
    ("record_expire_good", "1", 86400),
    ("record_expire_good", str(CENTURY_D), LONGEST),
    ("loglevel", "0", 0),
    ("loglevel", "4", 4),
    ("loglevel", "5", 5),
    ("loglevel", "6", 5),
    ("loglevel", "9999999999", 5),
    ("block_expire", "000000000000000000000002", 120),
    ("explicit", "0", False),
    ("explicit", "00", False),
    ("explicit", "1", True),
    ("explicit", "2", True),
]  # fmt: skip
# What the old program reads, which our admins may not have meant: a warning, and the same value.
DOUBTED = [
    ("explicit", "no", False, "expected a number, got 'no': read as 0"),
    ("explicit", "yes", False, "expected a number, got 'yes': read as 0"),
    ("explicit", "", False, "expected a number, got '': read as 0"),
    ("explicit", "+1", True, "expected a number, got '+1': read as 1"),
    ("explicit", "-0", False, "expected a number, got '-0': read as 0"),
    ("loglevel", "debug", 0, "expected a number, got 'debug': read as 0"),
    ("loglevel", "-2147483648", 0, "expected a number, got '-2147483648': read as -2147483648"),
    ("block_expire", "+2", 120, "expected a number, got '+2': read as 2"),
    ("block_expire", " +2 ", 120, "expected a number, got '+2': read as 2"),
    ("block_expire", "", 0, "expected a number, got '': read as 0"),
    ("block_expire", "two", 0, "expected a number, got 'two': read as 0"),
    ("block_expire", "\u0662", 0, "expected a number, got '\u0662': read as 0"),
    ("record_expire", "+2000", 120_000, "expected a number, got '+2000': read as 2000"),
    ("record_expire", "soon", 0, "expected a number, got 'soon': read as 0"),
    ("record_expire_good", "0", 0, "with 0 days every mail is greylisted again"),
]
# What nobody can mean: under these values it let everybody in, or nobody.
WRONG = [
    ("mysql_default_file", "", "expected the path of a MySQL option file"),
    ("mysql_default_file", "  ", "expected the path of a MySQL option file"),
    ("block_expire", "-1", "expected 0 or more"),
    ("block_expire", "99999999999", SMALLER),
    ("block_expire", "9" * 5000, SMALLER),
    ("block_expire", str(CENTURY_M + 1), f"expected at most {CENTURY_M}"),
    ("record_expire", "-2147483648", "expected 0 or more"),
    ("record_expire", str(CENTURY_M + 1), f"expected at most {CENTURY_M}"),
    ("record_expire_good", "-1", "expected 0 or more"),
    ("record_expire_good", str(CENTURY_D + 1), f"expected at most {CENTURY_D}"),
    ("explicit", "-1", "expected 0 or more"),
]
OURS = {name: key for name, _variable, key in KEYS}
VARIABLES = {name: variable for name, variable, _key in KEYS}


@pytest.mark.parametrize(("name", "text", "wanted"), GOOD)
def test_a_value_in_file_and_environment(name: str, text: str, wanted: object) -> None:
    assert read(f"{name}={text}\n") == ({OURS[name]: wanted}, [], [])
    given, errors = read_environ({VARIABLES[name].encode(): text.encode()})
    assert given == [Given(OURS[name], wanted, f"environment ({VARIABLES[name]})")]
    assert errors == []


@pytest.mark.parametrize(("name", "text", "wanted", "told"), DOUBTED)
def test_a_number_is_read_as_the_old_program_reads_it_and_doubted(
    name: str, text: str, wanted: object, told: str
) -> None:
    found = read_file(f"{name}={text}\n".encode(), PATH)
    assert ([item.value for item in found.given], found.errors) == ([wanted], [])
    assert found.warnings == [f"{PATH}:1: {name}: {told}"]
    variable = VARIABLES[name]
    found = read_variables({variable.encode(): text.encode()})
    assert ([item.value for item in found.given], found.errors) == ([wanted], [])
    assert found.warnings == [f"environment: {variable}: {told}"]


ACCOUNT = "mysql_host=db.example.net\nmysql_user=grey\nmysql_pass=p@ss/wörd\nmysql_db=mail\n"


@pytest.mark.parametrize(
    ("text", "url"),
    [
        (ACCOUNT, "mysql://grey:p%40ss%2Fw%C3%B6rd@db%2Eexample%2Enet/mail".replace("%2E", ".")),
        ("mysql_user=grey\nmysql_db=mail\n", "mysql://grey@/mail"),
        ("mysql_host=localhost\nmysql_user=a\nmysql_pass=\nmysql_db=b\n", "mysql://a@/b"),
        (f"{ACCOUNT}mysql_default_file=my.cnf\n", "mysql:?default_file=my.cnf"),
    ],
)
def test_the_account_settings_of_version_0_3_name_the_database(text: str, url: str) -> None:
    found = read_file(text.encode(), PATH)
    assert [(item.key, item.value) for item in found.given] == [("store.url", url)]
    assert found.errors == found.warnings == []


@pytest.mark.parametrize("text", ["mysql_host=db\n", "mysql_pass=geheim\nmysql_db=mail\n"])
def test_an_account_that_names_no_database_is_an_error(text: str) -> None:
    values, errors, notes = read(text)
    assert (values, notes) == ({}, [])
    assert "expected mysql_user and mysql_db, or mysql_default_file in their place" in errors[0]
    assert "geheim" not in errors[0]


@pytest.mark.parametrize("line", ["mysql_pass geheim", "password: geheim", "u:geheim@h"])
def test_a_line_that_may_hold_a_password_is_not_quoted_t43(line: str) -> None:
    assert read(line) == (
        {},
        [],
        [f"{PATH}:1: a line that may hold a password is no setting: ignored"],
    )


@pytest.mark.parametrize(("name", "text", "told"), WRONG)
def test_a_wrong_value_in_file_and_environment(name: str, text: str, told: str) -> None:
    """Fault 8: a negative delay overflowed and let everybody in."""
    values, errors, notes = read(f"{name}={text}\n")
    assert (values, notes) == ({}, [])
    assert [error.partition(told)[:2] for error in errors] == [(f"{PATH}:1: {name}: ", told)]
    given, errors = read_environ({VARIABLES[name].encode(): text.encode()})
    assert given == []
    variable = VARIABLES[name]
    assert [e.partition(told)[:2] for e in errors] == [(f"environment: {variable}: ", told)]
    shown = "" if name.startswith("mysql") else f", got {text.strip()[:80]!r}: it is passed over"
    assert errors[0].endswith(shown)


@pytest.mark.parametrize(("option", "names"), [*zip(OLD_OPTIONS, KEYS, strict=True)])
def test_the_names_are_those_of_the_old_plugin(option: object, names: tuple[str, ...]) -> None:
    assert tuple(getattr(option, field) for field in ("name", "variable", "key")) == names


def test_the_defaults_are_those_of_the_old_plugin() -> None:
    values = {item.key: item.value for item in old_defaults()}
    assert values == {
        "policy.delay": 55 * 60,
        "policy.retry_window": 500 * 60,
        "policy.lifetime": 36 * 86400,
        "log.level": 3,
        "policy.explicit": False,
    }
    assert {item.origin for item in old_defaults()} == {
        f"the old plugin's default ({name})" for name, _variable, key in KEYS if key in values
    }
    policy = Policy(delay=55 * 60, retry_window=500 * 60)
    assert policy.fault() is None


def test_a_file_as_the_guide_has_it() -> None:
    """CRLF is tolerated, `#` and `;` begin comments, and each setting knows its line."""
    data = (
        b"# greylisting\r\n; block_expire=9\r\n\r\n  # indented=1\r\n"
        b"mysql_default_file=c/my.cnf\r\nblock_expire=2\r\nrecord_expire = 2000\r\n"
        b"\tloglevel=4"
    )
    given, errors, notes = all_of(data)
    assert (errors, notes) == ([], [])
    assert given == [
        Given("store.url", "mysql:?default_file=c/my.cnf", f"{PATH}:5 (mysql_default_file)"),
        Given("policy.delay", 120, f"{PATH}:6 (block_expire)"),
        Given("policy.retry_window", 120_000, f"{PATH}:7 (record_expire)"),
        Given("log.level", 4, f"{PATH}:8 (loglevel)"),
    ]  # fmt: skip


@pytest.mark.parametrize("data", [b"", b"\n", b"\r\n\r\n", b"#", b";", b"# block_expire=2", b" "])
def test_a_file_that_says_nothing(data: bytes) -> None:
    assert read(data) == ({}, [], [])


@pytest.mark.parametrize(
    ("line", "shown"),
    [
        ("blok_expire=2", "'blok_expire'"),
        ("Block_expire=2", "'Block_expire'"),
        ("GLBLOCKEXPIRE=2", "'GLBLOCKEXPIRE'"),
        ("=2", "''"),
        ("block_expire", "'block_expire'"),
        ("block_expire 2", "'block_expire 2'"),
        ("policy.delay=2", "'policy.delay'"),
        ("\ufeffblock_expire=2", r"'\ufeffblock_expire'"),
        ("\x1b[2J=1", r"'\x1b[2J'"),
        ("x" * 81 + "=1", "'" + "x" * 80 + "'"),
    ],
)
def test_what_is_no_setting_is_noted_and_ignored(line: str, shown: str) -> None:
    wanted = f"{PATH}:2: {shown} is not a setting: ignored"
    assert read(f"\n{line}\nloglevel=1") == ({"log.level": 1}, [], [wanted])


def test_a_byte_order_mark_does_not_hide_the_first_setting() -> None:
    given, errors, notes = all_of(b"\xef\xbb\xbfblock_expire=2\n")
    assert [(item.key, item.value) for item in given] == [("policy.delay", 120)]
    assert errors == notes == []


def test_the_last_line_of_a_key_counts_and_all_errors_are_told() -> None:
    values, errors, notes = read("block_expire=1\nblock_expire=3\nloglevel=x\nexplicit=-1\nfoo=1")
    assert values == {"policy.delay": 180, "log.level": 0}
    assert [error.split(" ")[0] for error in errors] == [f"{PATH}:3:", f"{PATH}:4:"]
    assert len(notes) == 1


def test_variables_are_read_in_the_order_of_the_options() -> None:
    """The environment wins over the file because it comes later (see app.config)."""
    environ = {variable.encode(): b"1" for _name, variable, _key in reversed(KEYS)}
    given, errors = read_environ(environ | {b"GLUNKNOWN": b"1", b"block_expire": b"1"})
    assert [item.key for item in given] == [key for _name, _variable, key in KEYS]
    assert errors == []
    assert read_environ({}) == ([], [])


def test_undecodable_paths_stay_what_they_are_t23() -> None:
    """T23: and an error shows such bytes escaped."""
    values, _, _ = read(b"mysql_default_file=/etc/\xff.cnf")
    assert str(values["store.url"]).encode("utf-8", "surrogateescape").endswith(b"/etc/\xff.cnf")
    _, errors, _ = read(b"block_expire=\xff")
    assert r"got '\udcff'" in errors[0]


@pytest.mark.parametrize("name", [name for name, _variable, _key in KEYS])
def test_hostile_values_are_read_or_told_t23(name: str) -> None:
    """T23: many hostile environments: a value, or an error on one line."""
    for value in VALUES:
        given, errors = read_environ({VARIABLES[name].encode(): value})
        assert 1 <= len(given) + len(errors) <= 3
        assert all(error.isprintable() and len(error) < 600 for error in errors)


@PROPERTY
@given(st.binary(max_size=400) | st.lists(st.sampled_from(VALUES)).map(b"\n".join))
@example(b"\0block_expire=2")
@example(b"block_expire=2\0")
def test_binary_junk_is_read_or_told_p3(data: bytes) -> None:
    given, errors, notes = all_of(data)
    assert len(given) + len(errors) + len(notes) <= 3 * (data.count(b"\n") + 1)
    assert all(text.isprintable() for text in errors + notes)


def test_layers_are_put_together_in_their_order() -> None:
    found, later = read_file(b"block_expire=3\nhello\n", PATH), read_file(b"block_expire=4\n", PATH)
    wanted = found.given + later.given
    told = found.warnings + found.notes + later.warnings + later.notes
    found.add(later)
    assert found.given == wanted
    assert found.warnings + found.notes == told
    assert found.errors == []

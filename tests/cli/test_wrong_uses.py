"""A table of wrong uses: one line that says what is wrong, the documented exit code, no traceback.

The codes are those of commands.md. `Greylag.run` checks that nothing but our own lines comes.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from greylag.store.sqlite.store import SqliteStore
from tests.cli.conftest import NOW, Greylag
from tests.cli.test_main import commands

USAGE, NOTHING, NO_INPUT, STORE, LATER, CONFIG, INTERRUPTED = 2, 1, 66, 74, 75, 78, 130
NOBODY = 65534

# A right use of each command, which the general failures below are made of.
RIGHT = {
    "why": "a@example.org b@example.net",
    "release": "0000-000",
    "check": "192.0.2.1 a@example.org b@example.net",
    "serve": "",
    "off": "--for 2h",
    "on": "",
    "observe": "--for 7d",
    "allow add": "192.0.2.1",
    "allow remove": "192.0.2.1",
    "allow list": "",
    "allow import": "{lines}",
    "deny add": "192.0.2.1",
    "deny remove": "192.0.2.1",
    "deny list": "",
    "deny import": "{lines}",
    "expect add": "b@example.net",
    "expect list": "",
    "expect end": "b@example.net",
    "trap add": "b@example.net",
    "trap remove": "b@example.net",
    "trap release": "192.0.2.1",
    "trap list": "",
    "providers list": "",
    "providers refresh": "google",
    "providers add": "ours _spf.example.org",
    "providers remove": "google",
    "stats": "",
    "top": "",
    "whatif": "--delay 15m",
    "report": "",
    "search": "",
    "forget": "192.0.2.1 a@example.org b@example.net",
    "distrust": "192.0.2.1",
    "expire": "",
    "import smtp-log": "{log}",
    "export": "--force {home}/new.jsonl",
    "import lines": "{exported}",
    "import postgrey": "{dump}",
    "import sqlgrey": "{rows}",
    "import iredapd": "{tracking}",
    "import milter-greylist": "{tuples}",
    "import spamdb": "{spamdb}",
    "db init": "",
    "db check": "",
    "db copy": "sqlite://{home}/greylag.db sqlite://{home}/b.db",
    "db backup": "--force {home}/new.backup",
    "db restore": "{saved}",
    "config": "",
    "doctor": "--root {home}",
    "setup qmail": "--root {home} --dry-run",
    "setup postfix": "--root {home} --dry-run",
    "qmail install": "--qmail-home {qmail}",
    "qmail uninstall": "--qmail-home {qmail}",
    "completion": "bash",
    "demo": "",
    "web serve": "",
    "web passwd": "alice",
    "web users": "",
}
PEERS = ("exported", "dump", "rows", "tracking", "tuples", "spamdb")
SETUP = ("setup qmail", "setup postfix", "doctor")  # make settings, or look at any
WITHOUT_SETTINGS = ("completion", "demo", "qmail install", "qmail uninstall", *SETUP)
WITHOUT_STORE = (*WITHOUT_SETTINGS, "config", "serve", "web serve", "web passwd", "web users")

WRONG = [
    # typo
    ("chek 192.0.2.1", USAGE, "No such command 'chek'. Did you mean 'check'?"),
    ("frob", USAGE, "No such command 'frob': there are "),
    ("allow ad 192.0.2.1", USAGE, "No such command 'ad'"),
    ("db inti", USAGE, "No such command 'inti'"),
    ("qmail instal", USAGE, "No such command 'instal'"),
    ("import smtplog x", USAGE, "No such command 'smtplog'"),
    ("--frob", USAGE, "No such option '--frob': there are --config, "),
    ("search --frob", USAGE, "No such option '--frob': there are --client, --sender, "),
    ("search --clint 192.0.2.1", USAGE, "'--clint'. Did you mean '--client'? (see"),
    ("stats --sinc 1h", USAGE, "'--sinc'. Did you mean '--since'? (see"),
    ("stats --hour", USAGE, "'--hour'. Did you mean '--by-hour'? (see"),
    ("search --recipients a", USAGE, "'--recipients'. Did you mean '--recipient'? (see"),
    ("status", USAGE, "'status'. Did you mean 'stats'? (see"),
    ("import stmp-log x", USAGE, "'stmp-log'. Did you mean 'smtp-log'? (see"),
    ("qmail reinstall", USAGE, "'reinstall'. Did you mean 'install' or 'uninstall'? (see"),
    # words that share a few letters with another are not taken for it
    ("start", USAGE, "'start': there are allow, check, "),
    ("outport", USAGE, "'outport': there are allow, check, "),
    ("search --sort x", USAGE, "'--sort': there are --client, --sender, "),
    ("config --set x", USAGE, "'--set': there are --check, "),
    ("completion csh", USAGE, "'csh' is not one of 'bash', 'zsh', 'fish'"),
    # what is missing or too much
    ("check", USAGE, "Missing argument 'ADDRESS'"),
    ("check 192.0.2.1 a@example.org", USAGE, "expected ADDRESS SENDER RECIPIENT, or ADDRESS alone"),
    ("check 192.0.2.1 a b c", USAGE, "expected ADDRESS SENDER RECIPIENT, or ADDRESS alone"),
    ("allow add", USAGE, "Missing argument 'SUBJECT...'"),
    ("allow import", USAGE, "Missing argument 'FILE'"),
    ("import smtp-log", USAGE, "Missing argument 'FILES...'"),
    ("db copy sqlite:///a.db", USAGE, "Missing argument 'TO'"),
    ("forget", USAGE, "expected ADDRESS SENDER RECIPIENT, or options that choose records"),
    ("forget 192.0.2.1", USAGE, "expected ADDRESS SENDER RECIPIENT, or none of them and options"),
    ("forget 192.0.2.1 a b --passed", USAGE, "not both"),
    ("distrust example.org", USAGE, "expected an address, spf:DOMAIN or name:DOMAIN"),
    ("distrust 192.0.2.1 x", USAGE, "expected a sender domain or 'any', got 'x'"),
    ("search --trusted --trapped", USAGE, "exclude each other"),
    ("stats now", USAGE, "Got more arguments than expected"),
    ("search --client", USAGE, "Option '--client' requires an argument"),
    ("config --check --example", USAGE, "exclude each other"),
    ("search --waiting --passed", USAGE, "exclude each other"),
    ("search --connections --sender a", USAGE, "a connection has no sender and no recipient"),
    ("check 192.0.2.1 --helo x", USAGE, "a connection is asked about before HELO"),
    ("check 192.0.2.1 a b --by-address", USAGE, "is for connections: ADDRESS alone"),
    ("deny import - --replace", USAGE, "--replace of standard input needs --source NAME"),
    # a bad value
    ("check 192.0.2 a b", USAGE, "expected an IPv4 or IPv6 address, got '192.0.2'"),
    ("check mx.example.org a b", USAGE, "expected an IPv4 or IPv6 address"),
    ("check 192.0.2.1 a <>", USAGE, "expected a recipient, got an empty text"),
    ("search --client 192.0.2.", USAGE, "such as 192.0.2.1 or 192.0.2.0/24; got '192.0.2.'"),
    ("search --client example.org", USAGE, "--client: expected an address or a range"),
    ("search --client 192.0.2.1/24", USAGE, "expected a range without host bits"),
    ("search --client 192.0.2.0/99", USAGE, "expected a prefix from 0 to 32"),
    ("search --limit 0", USAGE, "expected a whole number of at least 1, got 0"),
    ("search --limit many", USAGE, "expected a whole number, got 'many'"),
    ("stats --since 24", USAGE, "expected a duration with its unit"),
    ("stats --since 0s", USAGE, "expected a time longer than none"),
    ("allow add 192.0.2.1/24", USAGE, "expected a range without host bits"),
    ("allow add 192.0.2.0/24 --expires yesterday", USAGE, "expected"),
    ("allow add a@example.org", USAGE, "a@example.org"),
    ("allow remove 192.0.2.300", USAGE, "192.0.2.300"),
    ("import smtp-log --days 0 {log}", USAGE, "expected 1 to 3650, got 0"),
    ("import smtp-log --pattern ( {log}", USAGE, "expected a regular expression"),
    ("import smtp-log --pattern x {log}", USAGE, "expected a group (?P<address>...)"),
    ("db copy nonsense sqlite:///b.db", USAGE, "expected sqlite:///absolute/path.db"),
    ("db copy sqlite:///a.db sqlite:///a.db", USAGE, "expected two different stores"),
    ("db init --print", USAGE, "--print is for databases of a server"),
    ("db init --config {tree}", USAGE, "jgreylist's files, no database with tables"),
    ("db check --config {tree}", USAGE, "jgreylist's files, no database with tables"),
    ("db init --config {memory}", USAGE, "memory ends with the process"),
    ("db check --config {memory}", USAGE, "memory ends with the process"),
    ("db backup {home}/new --config {memory}", USAGE, "there is nothing to back up"),
    ("db restore {saved} --config {tree}", USAGE, "any program copies"),
    ("db backup", USAGE, "Missing argument 'FILE'"),
    ("db backup {saved}", NOTHING, "is there already (--force writes over it)"),
    ("db backup {home}/none/new", NOTHING, "No such file or directory"),
    # a file that is missing, or is something else
    ("db restore {home}/missing", NO_INPUT, "missing: No such file or directory"),
    ("db restore {home}", NO_INPUT, "expected a plain file"),
    ("db restore {lines}", NO_INPUT, "is no whole backup: it is another file"),
    ("allow import {home}/missing", NO_INPUT, "missing': No such file or directory"),
    ("deny import {home}", NO_INPUT, "Is a directory"),
    ("import smtp-log {home}/missing", NO_INPUT, "missing: No such file or directory"),
    ("import smtp-log {home}", NO_INPUT, "Is a directory"),
    ("import smtp-log {broken}", NO_INPUT, "broken.gz: "),
    ("export", USAGE, "Missing argument 'FILE'"),
    ("export {lines}", NOTHING, "is there already (--force writes over it)"),
    ("export {home}/none/new", NOTHING, "No such file or directory"),
    ("export - --json", USAGE, "--json needs a FILE"),
    ("import {home}/missing", NO_INPUT, "missing: No such file or directory"),
    ("import --dry-run {lines}", NO_INPUT, "expected the first line of `greylag export`"),
    ("import postgrey {home}/missing", NO_INPUT, "missing: No such file or directory"),
    ("import postgrey {home}", NO_INPUT, "has no postgrey.db and no postgrey_clients.db"),
    ("import postgrey {lines}", NO_INPUT, "expected what db_dump writes"),
    ("import sqlgrey {lines}", NO_INPUT, "expected a line of column names, with"),
    ("import sqlgrey {home}/greylag.db", NO_INPUT, "no such table: connect"),
    ("import iredapd {home}", NO_INPUT, "Is a directory"),
    ("import iredapd /dev/null", NOTHING, "there is nothing to take in it"),
    ("import spamdb /dev/zero", NO_INPUT, "/dev/zero:1: expected a line of at most 64 MiB"),
    ("import milter-greylist", USAGE, "Missing argument 'SOURCE...'"),
    ("import smtp-log {lines}", NOTHING, "no accepted mail in 1 lines: no line begins with a time"),
    ("--qmail-home {home}/missing stats", NO_INPUT, "missing' does not exist"),
    ("qmail install --qmail-home {home}/missing", NO_INPUT, "missing' does not exist"),
    ("qmail uninstall --qmail-home {lines}", NO_INPUT, "is a file"),
    ("--config {home}/missing stats", CONFIG, "missing: no such file (named by"),
    ("config --config {lines}", CONFIG, "lines"),
    ("stats --config {home}", CONFIG, "expected a plain file"),
    ("db copy sqlite://{home}/none.db sqlite://{home}/b.db", STORE, "none.db: No such file"),
    ("import smtp-log --tree {home}/none {log}", LATER, "none: No such file or directory"),
    # nothing there
    ("search", NOTHING, "no record fits"),
    ("distrust 192.0.2.1", NOTHING, "192.0.2.1 has earned no trust: nothing to end"),
    ("forget 192.0.2.1 a@example.org b@example.net", NOTHING, "no record fits: nothing to forget"),
    ("allow remove 192.0.2.9", NOTHING, "not on the allowlist"),
    # nobody to ask
    ("deny add 0.0.0.0/0", NOTHING, "--yes"),
    ("deny add example.net", NOTHING, "--yes"),
]  # fmt: skip


@pytest.fixture
def names(greylag: Greylag) -> dict[str, str]:
    """Make what the table names."""
    home = greylag.home
    greylag.run("db", "init")
    greylag.run("db", "backup", str(home / "saved"))
    (home / "qmail").mkdir()
    (home / "lines").write_text("192.0.2.1\n")
    (home / "broken.gz").write_bytes(b"\x1f\x8b broken")
    (home / "log").write_text(
        f"@{2**62 + 10 + 1_799_999_999:016x}00000000 remote=192.0.2.1 result=accepted code=250\n"
    )
    (home / "exported").write_text(
        json.dumps({"kind": "greylag-export", "version": 1, "made": NOW})
        + "\n"
        + json.dumps({"kind": "end", "lines": 2})
        + "\n"
    )
    (home / "dump").write_text(
        f"HEADER=END\n {b'192.0.2.0/a@e.org/b@e.net'.hex()}\n {f'{NOW},{NOW}'.encode().hex()}\n"
    )
    (home / "rows").write_text(
        f"sender_name,sender_domain,src,rcpt,first_seen\na,e.org,192.0.2,b@e.net,{NOW}\n"
    )
    (home / "tracking").write_text(
        f"sender,recipient,client_address,init_time\na@e.org,b@e.net,192.0.2.1,{NOW}\n"
    )
    (home / "tuples").write_text(f"192.0.2.1\t<a@e.org>\t<b@e.net>\t{NOW}\n")
    (home / "spamdb").write_text(f"TRAPPED|192.0.2.1|{NOW + 9000}\n")
    (home / "tree.toml").write_text(f'store.url = "tree://{home}/qmail"\n')
    (home / "memory.toml").write_text('store.url = "memory:"\n')
    return {
        "home": str(home),
        **{name: str(home / name) for name in (*PEERS, "qmail", "lines", "log")},
        "broken": str(home / "broken.gz"),
        "saved": str(home / "saved"),
        "tree": str(home / "tree.toml"),
        "memory": str(home / "memory.toml"),
    }


def told_in_one_line(greylag: Greylag, words: list[str], code: int) -> str:
    result = greylag.run(*words)
    assert result.exit_code == code, result.stderr
    assert result.stdout == "" or words[0] == "check"  # which tells the answer all the same
    lines = [line for line in result.stderr.splitlines() if line]
    remarks = ["no database yet", "nothing was", "the store is memory", "it would be refused"]
    remarks.append("is for root alone")
    lines = [line for line in lines if not any(remark in line for remark in remarks)]
    assert len(lines) == 1, lines
    if "--json" in words:
        return str(json.loads(lines[0])["error"])
    assert lines[0].startswith("greylag: ")
    return lines[0]


@pytest.mark.parametrize(("line", "code", "told"), WRONG, ids=lambda part: str(part)[:60])
def test_a_wrong_use_is_told_in_one_line(
    greylag: Greylag, names: dict[str, str], line: str, code: int, told: str
) -> None:
    words = [word.format(**names) if "{" in word else word for word in line.split()]
    assert told in told_in_one_line(greylag, words, code)


def right_use(name: str, names: dict[str, str]) -> list[str]:
    return [*name.split(), *RIGHT[name].format(**names).split()]


def test_the_table_has_every_command() -> None:
    assert {" ".join(path) for path in commands()} == set(RIGHT)
    assert len(WRONG) + 3 * len(RIGHT) > 100


@pytest.mark.parametrize("name", RIGHT)
def test_an_unknown_option_of_each_command(
    greylag: Greylag, names: dict[str, str], name: str
) -> None:
    told = told_in_one_line(greylag, [*right_use(name, names), "--frobnicate"], USAGE)
    assert "No such option '--frobnicate'" in told
    assert f"(see greylag {name} --help)" in told


@pytest.mark.parametrize("name", [name for name in RIGHT if name not in WITHOUT_SETTINGS])
def test_settings_that_are_missing_before_and_behind_each_command(
    greylag: Greylag, names: dict[str, str], name: str
) -> None:
    missing = ["--config", f"{names['home']}/missing.toml"]
    use = right_use(name, names)
    behind = told_in_one_line(greylag, [*use, *missing], CONFIG)
    assert told_in_one_line(greylag, [*missing, *use], CONFIG) == behind
    assert "missing.toml: no such file" in behind


MENDS = ("db restore",)  # puts a sound database in the place of a damaged one


@pytest.mark.parametrize("name", [n for n in RIGHT if n not in (*WITHOUT_STORE, *MENDS)])
def test_a_database_that_is_none(greylag: Greylag, names: dict[str, str], name: str) -> None:
    for path in greylag.home.glob("greylag.db*"):
        path.unlink()
    greylag.database.write_bytes(b"junk" * 4096)
    assert str(greylag.database) in told_in_one_line(greylag, right_use(name, names), STORE)


@contextmanager
def unprivileged(home: Path) -> Iterator[None]:
    """Be nobody for a while; pytest's folders are for the user that runs it alone."""
    for parent in (home, *home.parents):
        if parent.stat().st_uid == os.geteuid() and str(parent) not in ("/", "/tmp"):
            parent.chmod(0o755)
    if os.geteuid():
        yield
        return
    os.seteuid(NOBODY)
    try:
        yield
    finally:
        os.seteuid(0)


@pytest.mark.parametrize("name", [name for name in RIGHT if name not in WITHOUT_STORE])
def test_a_database_that_may_not_be_read(
    greylag: Greylag, names: dict[str, str], name: str
) -> None:
    greylag.run(*right_use(name, names))  # so that all modules are loaded
    greylag.run("db", "init")
    greylag.database.chmod(0)
    with unprivileged(greylag.home):
        told = told_in_one_line(greylag, right_use(name, names), STORE)
    assert str(greylag.database) in told


@pytest.mark.parametrize(
    ("line", "code"),
    [("allow import {closed}", NO_INPUT), ("import smtp-log {closed}", NO_INPUT),
     ("stats --config {closed}", CONFIG), ("qmail install --qmail-home {qmail}", NOTHING)],
)  # fmt: skip
def test_a_file_that_may_not_be_read(
    greylag: Greylag, names: dict[str, str], line: str, code: int
) -> None:
    greylag.run(*line.format(closed=names["lines"], **names).split(), "--help")
    closed = greylag.home / "closed"
    closed.touch(mode=0)
    (greylag.home / "qmail").chmod(0o555)
    with unprivileged(greylag.home):
        words = line.format(closed=str(closed), **names).split()
        assert "ermission denied" in told_in_one_line(greylag, words, code)


@pytest.mark.parametrize("name", [name for name in RIGHT if name not in WITHOUT_SETTINGS])
def test_an_interrupt_of_each_command(
    greylag: Greylag, names: dict[str, str], name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_words: object, **_options: object) -> None:
        raise KeyboardInterrupt

    words = right_use(name, names)
    monkeypatch.setattr("greylag.cli.common.load", interrupted)
    told = told_in_one_line(greylag, words, INTERRUPTED)
    assert told == "greylag: interrupted"


def test_an_interrupt_in_the_middle_of_a_write_leaves_all_as_it_was(
    greylag: Greylag, names: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_words: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(SqliteStore, "merge", interrupted)
    told_in_one_line(greylag, right_use("import smtp-log", names), INTERRUPTED)
    assert greylag.keys() == []


def test_a_prompt_that_nobody_can_answer(greylag: Greylag) -> None:
    from tests.cli.conftest import KEY

    greylag.remember(KEY)
    result = greylag.run("forget", "--sender", "example.org")
    assert result.exit_code == NOTHING
    assert result.stderr.splitlines()[-1] == "greylag: nothing was deleted"
    assert len(greylag.keys()) == 1


@pytest.mark.parametrize("words", ["allow import {} --yes", "deny import {}", "import smtp-log {}"])
def test_a_file_that_opens_and_cannot_be_read_is_named(greylag: Greylag, words: str) -> None:
    """As on a bad disk; the memory of a process cannot be read from its beginning."""
    result = greylag.run(*words.format("/proc/self/mem").split())
    assert result.exit_code == os.EX_NOINPUT
    assert "greylag: /proc/self/mem: Input/output error\n" in result.stderr

"""`greylag allow import` and `greylag deny import`."""

from __future__ import annotations

import os
from collections.abc import Iterable
from threading import Thread
from typing import Any

import pytest

from greylag.cli import listimport
from greylag.core.accesslist import Entry
from greylag.store.sqlite.store import SqliteStore
from tests.cli.conftest import Greylag
from tests.cli.test_lists import BAD, LISTS

IMPORT = """\ufeff# our networks
192.0.2.0/24   branch  office

  2001:db8::/32\t# a comment sign is dropped\r
203.0.113.7
192.0.2.0/24 said again
"""


@pytest.mark.parametrize("which", LISTS)
def test_import_a_file(greylag: Greylag, which: str) -> None:
    (greylag.home / "list").write_text(IMPORT, newline="")
    result = greylag.run(which, "import", "list")
    assert result.exit_code == 0
    other = "deny" if which == "allow" else "allow"
    assert (
        f"greylag: {which}list: 3 added, 0 replaced, 0 moved from the {other}list\n"
        in result.stderr
    )
    assert greylag.entries() == [
        f"{which} 192.0.2.0/24 [list] said again",
        f"{which} 2001:db8::/32 [list] a comment sign is dropped",
        f"{which} 203.0.113.7 [list]",
    ]


def test_import_from_a_pipe_and_not_without_an_end(
    greylag: Greylag, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A shell's `<(command)` is a pipe with a name."""
    pipe = greylag.home / "pipe"
    os.mkfifo(pipe)
    writer = Thread(target=pipe.write_text, args=["192.0.2.7\n"], daemon=True)
    writer.start()
    assert greylag.run("allow", "import", str(pipe)).exit_code == 0
    writer.join()
    monkeypatch.setattr(listimport, "_MOST", 1 << 20)
    (greylag.home / "large").write_text("# a comment\n" * 100_000)
    result = greylag.run("allow", "import", "large")
    assert result.exit_code == 2
    assert "large: has more than 1 MiB" in result.stderr
    assert greylag.entries() == ["allow 192.0.2.7 [pipe]"]


def test_import_stdin_as_json(greylag: Greylag) -> None:
    greylag.run("deny", "add", "203.0.113.7")
    found = greylag.json("allow", "import", "-", stdin=IMPORT)
    assert (found["added"], found["switched"]) == (
        ["192.0.2.0/24", "2001:db8::/32"],
        ["203.0.113.7"],
    )


def test_import_reports_every_error_by_line_and_stores_nothing(greylag: Greylag) -> None:
    lines = [
        "192.0.2.1",
        *(bad for bad in BAD if bad.strip()),
        "192.0.2.2 " + "x" * 256,
        "b\0.example",
    ]
    data = "\n".join(lines).encode("utf-8", "surrogateescape")
    (greylag.home / "list").write_bytes(data)
    result = greylag.run("deny", "import", "list")
    assert result.exit_code == 2
    told = result.stderr.splitlines()
    assert [line.split(" ")[1] for line in told[:-1]] == [
        f"list:{number}:" for number in range(2, len(lines) + 1)
    ]
    assert all("expected " in line for line in told[:-1])
    assert told[-1] == "greylag: nothing was stored"
    assert not greylag.database.exists()


def test_import_is_one_transaction(greylag: Greylag, monkeypatch: pytest.MonkeyPatch) -> None:
    """P7: what dies in the middle leaves the lists as they were."""
    greylag.run("allow", "add", "example.org")

    def dies(store: SqliteStore, entries: Iterable[Entry]) -> None:
        real(store, (entry if number == 0 else fail() for number, entry in enumerate(entries)))

    def fail() -> Entry:
        raise KeyboardInterrupt

    real = SqliteStore.put_entries
    monkeypatch.setattr(SqliteStore, "put_entries", dies)
    assert greylag.run("deny", "import", "-", stdin="192.0.2.1\n192.0.2.2\n").exit_code == 130
    assert greylag.entries() == ["allow example.org"]


def test_import_of_nothing(greylag: Greylag) -> None:
    result = greylag.run("deny", "import", "-", stdin="# none\n")
    assert result.exit_code == 0
    assert "names no subject" in result.stderr
    assert greylag.run("deny", "import", "missing").exit_code == 66


# Lines as in the lists that other greylisters ship: of names and regular expressions of clients.
NAMES = ["mail.example.org", "example.org", "2.0.192.in-addr.arpa", "xn--bcher-kva.example"]


@pytest.mark.parametrize("which", LISTS)
@pytest.mark.parametrize("name", NAMES)
def test_a_name_in_a_file_is_not_guessed_to_be_a_recipient_domain(
    greylag: Greylag, which: str, name: str
) -> None:
    result = greylag.run(which, "import", "-", stdin=f"192.0.2.1\n{name} # a client\n")
    assert result.exit_code == 2
    assert f"stdin:2: expected a client address or range; {name!r} is a name" in result.stderr
    assert "--domain for recipient domains" in result.stderr
    assert greylag.entries() == []
    result = greylag.run(which, "import", "-", "--domain", "--yes", stdin=f"192.0.2.1\n{name}\n")
    assert result.exit_code == 0
    assert f"recipient domain {name}: mail TO it is" in result.stderr
    assert greylag.entries() == [f"{which} 192.0.2.1", f"{which} {name}"]


@pytest.mark.parametrize(
    "line",
    [
        "198.51.100.0/29 203.0.113.8/29 # shop",
        "198.51.100.0/29 and 203.0.113.8/29",
        "198.51.100.1 198.51.100.2",
        "198.51.100.1 2001:db8::1",
        "198.51.100.1 198.51.100.77/24",
        "198.51.100.1 mail.example.org",
        "203.0.113.9 reject",
        "203.0.113.9 REJECT no spam here",
        "203.0.113.9\tOK",
        "203.0.113.9 permit",
        "203.0.113.9 dunno",
        "203.0.113.9 DEFER_IF_PERMIT later",
        "203.0.113.9 550 5.7.1 no",
        "203.0.113.9 450",
        "203.0.113.9 DISCARD",
        "203.0.113.9 hold",
        "203.0.113.9 error:5.7.1:550 no",
        "203.0.113.9 RELAY",
    ],
)
@pytest.mark.parametrize("which", LISTS)
def test_what_looks_like_a_subject_or_an_action_is_no_comment(
    greylag: Greylag, which: str, line: str
) -> None:
    result = greylag.run(which, "import", "-", stdin=f"{line}\n")
    assert result.exit_code == 2
    assert "stdin:1: expected one subject" in result.stderr
    assert "write # before a comment" in result.stderr
    assert greylag.entries() == []


@pytest.mark.parametrize(
    ("line", "comment"),
    [
        ("192.0.2.1 # 203.0.113.8/29", "203.0.113.8/29"),
        ("192.0.2.1 # reject", "reject"),
        ("192.0.2.1 #reject", "reject"),
        ("192.0.2.1 branch office, since 1.5 years", "branch office, since 1.5 years"),
        ("192.0.2.1 shop # 203.0.113.8/29", "shop # 203.0.113.8/29"),
        ("192.0.2.1 okay", "okay"),
    ],
)
def test_what_is_a_comment_all_the_same(greylag: Greylag, line: str, comment: str) -> None:
    assert greylag.run("allow", "import", "-", stdin=f"{line}\n").exit_code == 0
    assert greylag.entries() == [f"allow 192.0.2.1 {comment}"]


def test_host_bits_are_cleared_with_mask(greylag: Greylag) -> None:
    data = "192.0.2.77/24\n2001:db8::1/32\n"
    assert greylag.run("allow", "import", "-", stdin=data).exit_code == 2
    assert greylag.run("allow", "import", "--mask", "-", stdin=data).exit_code == 0
    assert greylag.entries() == ["allow 192.0.2.0/24", "allow 2001:db8::/32"]


def test_replace_removes_what_this_file_brought_and_lacks_now(greylag: Greylag) -> None:
    networks, others = greylag.home / "networks", greylag.home / "others"
    networks.write_text("192.0.2.1\n192.0.2.2 shop\n192.0.2.3\n192.0.2.4\n")
    others.write_text("198.51.100.1\n")
    for name in ("networks", "others"):
        assert greylag.run("allow", "import", name).exit_code == 0
    greylag.run("allow", "add", "203.0.113.1", "--comment", "by hand")
    greylag.run("allow", "add", "192.0.2.3", "--comment", "mine now")
    greylag.run("deny", "add", "192.0.2.4", "--comment", "[networks] moved")
    networks.write_text("192.0.2.2 shop\n192.0.2.5\n")
    result = greylag.run("allow", "import", "--replace", "networks")
    assert "allowlist: 1 removed that networks brought and lacks now\n" in result.stderr
    assert sorted(greylag.entries()) == [
        "allow 192.0.2.2 [networks] shop",
        "allow 192.0.2.3 mine now",
        "allow 192.0.2.5 [networks]",
        "allow 198.51.100.1 [others]",
        "allow 203.0.113.1 by hand",
        "deny 192.0.2.4 [networks] moved",
    ]


def test_replace_as_json(greylag: Greylag) -> None:
    (greylag.home / "list").write_text("192.0.2.1\n")
    assert "removed" not in greylag.json("allow", "import", "list")
    (greylag.home / "list").write_text("192.0.2.2\n")
    found = greylag.json("allow", "import", "--replace", "list")
    assert (found["added"], found["removed"]) == (["192.0.2.2"], ["192.0.2.1"])


def test_a_line_without_a_comment_takes_none_away(greylag: Greylag) -> None:
    greylag.run("allow", "add", "192.0.2.1", "--comment", "ticket 12")
    greylag.run("deny", "import", "-", stdin="192.0.2.1\n")
    assert greylag.entries() == ["deny 192.0.2.1 ticket 12"]


def test_a_file_named_alike_is_another_source(greylag: Greylag) -> None:
    for name in ("list", "list2"):
        (greylag.home / name).write_text(f"192.0.2.{len(name)}\n")
        greylag.run("allow", "import", name)
    (greylag.home / "list").write_text("192.0.2.9\n")
    greylag.run("allow", "import", "--replace", "list")
    assert greylag.entries() == ["allow 192.0.2.5 [list2]", "allow 192.0.2.9 [list]"]


def test_replace_by_an_empty_file_removes_nothing(greylag: Greylag) -> None:
    """As after a download that failed."""
    (greylag.home / "list").write_text("192.0.2.1\n")
    greylag.run("allow", "import", "list")
    (greylag.home / "list").write_text("# nothing\n")
    result = greylag.run("allow", "import", "--replace", "list")
    assert result.exit_code == 2
    assert result.stderr.endswith("names no subject\ngreylag: nothing was removed\n")
    assert greylag.entries() == ["allow 192.0.2.1 [list]"]


def test_replace_partly_removes_the_entry_of_a_line_that_became_unreadable(
    greylag: Greylag,
) -> None:
    (greylag.home / "list").write_text("192.0.2.1\n192.0.2.2\n")
    greylag.run("allow", "import", "list")
    (greylag.home / "list").write_text("192.0.2.1\n192.0.2.2.\n")
    result = greylag.run("allow", "import", "--replace", "--partly", "list")
    assert result.exit_code == 0
    assert "list: 1 lines were left out" in result.stderr
    assert greylag.entries() == ["allow 192.0.2.1 [list]"]


def test_standard_input_needs_a_name_to_be_replaced(greylag: Greylag) -> None:
    result = greylag.run("allow", "import", "--replace", "-", stdin="192.0.2.1\n")
    assert result.exit_code == 2
    assert "needs --source NAME" in result.stderr
    for data in ("192.0.2.1\n", "192.0.2.2\n"):
        greylag.run("allow", "import", "--replace", "--source", "feed", "-", stdin=data)
    assert greylag.entries() == ["allow 192.0.2.2 [feed]"]


@pytest.mark.parametrize("name", ["", " ", "a]b", "x" * 65])
def test_a_bad_source_is_refused(greylag: Greylag, name: str) -> None:
    result = greylag.run("allow", "import", "--source", name, "-", stdin="192.0.2.1\n")
    assert (result.exit_code, greylag.entries()) == (2, [])
    assert "greylag: expected a name" in result.stderr


def test_a_long_list_tells_how_many_of_each_kind(greylag: Greylag) -> None:
    data = "".join(f"192.0.2.{number}\n" for number in range(30)) + "2001:db8::/32\n"
    greylag.run("db", "init")
    told = greylag.run("allow", "import", "-", stdin=data).stderr
    assert "greylag: client address: 30, such as 192.0.2.0\n" in told
    assert "greylag: client range: 1, such as 2001:db8::/32\n" in told
    assert len(told.splitlines()) == 3


POSTGREY = "mail.example.org # a shop\n192.0.2\n/^mail\\d+\\.example\\.org$/\n"


def test_postgreys_file_is_stored_whole_or_on_demand_in_part(greylag: Greylag) -> None:
    (greylag.home / "whitelist_clients").write_text(POSTGREY)
    words = ("allow", "import", "--format", "postgrey-clients", "whitelist_clients")
    result = greylag.run(*words)
    assert result.exit_code == 2
    assert "whitelist_clients:3: expected what an entry can say" in result.stderr
    assert "--partly stores all other lines" in result.stderr
    assert greylag.entries() == []
    result = greylag.run(*words, "--partly")
    assert result.exit_code == 0
    assert "whitelist_clients:3: expected" in result.stderr
    assert "whitelist_clients: 1 lines were left out" in result.stderr
    assert greylag.entries() == [
        "allow mail.example.org [whitelist_clients] a shop",
        "allow 192.0.2.0/24 [whitelist_clients]",
    ]
    greylag.run("allow", "add", "--client-name", "mine.example.org")
    (greylag.home / "whitelist_clients").write_text("192.0.2\n")
    assert greylag.run(*words, "--replace").exit_code == 0
    assert greylag.entries() == [
        "allow mine.example.org",
        "allow 192.0.2.0/24 [whitelist_clients]",
    ]


def test_an_access_table_is_read_for_one_list_after_the_other(greylag: Greylag) -> None:
    table = "192.0.2.1 OK\npartner.example REJECT\nmail.example.org OK\n"
    (greylag.home / "access").write_text(table)
    words = ("import", "--format", "postfix", "--client-name", "access")
    result = greylag.run("allow", *words)
    assert "access: 1 lines are for the denylist (greylag deny import reads them)" in result.stderr
    assert greylag.run("deny", *words, "--yes").exit_code == 0
    assert greylag.entries() == [
        "allow 192.0.2.1 [access]",
        "allow mail.example.org [access]",
        "deny partner.example [access]",
    ]
    result = greylag.run("allow", "import", "--format", "postgrey-clients", "--sender", "access")
    assert result.exit_code == 2
    assert "says itself what each line names" in result.stderr


@pytest.mark.parametrize("name", ["provider:example", "a[b]", "x" * 65, " "])
def test_a_file_is_not_remembered_under_any_name(greylag: Greylag, name: str) -> None:
    """An origin with a colon is a provider's."""
    result = greylag.run("allow", "import", "-", "--source", name, stdin="192.0.2.1\n")
    assert result.exit_code == 2
    assert greylag.entries() == []


def test_an_import_that_is_interrupted_says_that_it_may_be_run_again(
    greylag: Greylag, monkeypatch: pytest.MonkeyPatch
) -> None:
    lines = "".join(f"10.{n // 256}.{n % 256}.1\n" for n in range(3000))
    with monkeypatch.context() as patch:
        whole = SqliteStore.put_entries

        def second_part_is_interrupted(store: SqliteStore, *words: Any, **more: Any) -> None:
            if list(store.entries()):
                raise KeyboardInterrupt
            whole(store, *words, **more)

        patch.setattr(SqliteStore, "put_entries", second_part_is_interrupted)
        result = greylag.run("allow", "import", "-", stdin=lines)
    assert result.exit_code == 130
    assert "what was stored before stays; it may be run again" in result.stderr
    assert 0 < len(greylag.entries()) < 3000
    assert greylag.run("allow", "import", "-", stdin=lines).exit_code == 0
    assert len(greylag.entries()) == 3000

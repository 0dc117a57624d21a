"""`greylag allow` and `greylag deny`."""

from __future__ import annotations

from collections.abc import Iterable

import pytest

from greylag.core.accesslist import NEVER, Entry
from greylag.store.sqlite import SqliteStore
from tests.cli.conftest import NOW, Greylag, shape

LISTS = ("allow", "deny")
OTHER = {"allow": "deny", "deny": "allow"}
BAD = ["192.0.2.300", "10.1.2/24", "x/33", "192.0.2.0/33", "192.0.2.1/24", "2001:db8::1/32", "",
       " ", "foo", "user@example.org", "*.example.org", "1.2.3.4.5", "fe80::1%eth0", "a b.example",
       "\x1b[31m.example", "b\udcff.example"]  # fmt: skip


@pytest.mark.parametrize("which", LISTS)
def test_add_and_list(greylag: Greylag, which: str) -> None:
    result = greylag.run(
        which, "add", "192.0.2.1", "2001:db8::/32", "Example.ORG", "--comment", "c d"
    )
    assert (result.exit_code, result.stdout) == (0, "")
    assert f"greylag: {which}list: 3 added, 0 replaced, 0 switched\n" in result.stderr
    assert greylag.entries() == [
        f"{which} {s} c d" for s in ("192.0.2.1", "2001:db8::/32", "example.org")
    ]
    lines = greylag.run(which, "list").stdout.splitlines()
    assert lines[0].split() == ["subject", "expires", "created", "comment"]
    assert lines[1].split() == ["192.0.2.1", "never", "2027-01-15", "08:00:00", "UTC", "c", "d"]
    assert greylag.run(OTHER[which], "list").stderr == f"greylag: the {OTHER[which]}list is empty\n"


def test_what_entries_hold(greylag: Greylag) -> None:
    greylag.run("allow", "add", "192.0.2.1")
    greylag.run("deny", "add", "192.0.2.2")
    greylag.run("deny", "add", "192.0.2.3", "--expires", "1h")
    with greylag.store() as store:
        found = [(e.denied_until, e.expires, e.created) for e in store.entries()]
    assert found == [(0, NEVER, NOW), (NEVER, NEVER, NOW), (NOW + 3600, NOW + 3600, NOW)]


@pytest.mark.parametrize("which", LISTS)
@pytest.mark.parametrize("bad", BAD)
def test_a_bad_value_is_refused_and_nothing_is_stored(
    greylag: Greylag, which: str, bad: str
) -> None:
    """The old program stored such values as rows that never match (its fault 6)."""
    result = greylag.run(which, "add", "192.0.2.77", bad, "example.org")
    assert result.exit_code == 2
    assert "greylag: expected " in result.stderr
    assert result.stderr.endswith("greylag: nothing was stored\n")
    assert greylag.entries() == []
    assert not greylag.database.exists()
    assert greylag.run(which, "remove", bad).exit_code == 2


def test_all_bad_values_are_reported(greylag: Greylag) -> None:
    result = greylag.run("allow", "add", *BAD, "--expires", "5")
    assert len(result.stderr.splitlines()) == len(BAD) + 2


@pytest.mark.parametrize("which", LISTS)
def test_a_subject_on_the_other_list_is_switched(greylag: Greylag, which: str) -> None:
    other = OTHER[which]
    greylag.run(other, "add", "192.0.2.0/24")
    result = greylag.run(which, "add", "192.0.2.0/24")
    assert (
        result.stderr
        == f"greylag: 192.0.2.0/24: was on the {other}list, is on the {which}list now\n"
    )
    assert greylag.entries() == [f"{which} 192.0.2.0/24"]


def test_add_as_json(greylag: Greylag) -> None:
    greylag.run("deny", "add", "192.0.2.1")
    greylag.run("allow", "add", "192.0.2.2")
    assert greylag.json("allow", "add", "192.0.2.1", "192.0.2.2", "192.0.2.3", "192.0.2.3") == {
        "list": "allow",
        "added": ["192.0.2.3"],
        "replaced": ["192.0.2.2"],
        "switched": ["192.0.2.1"],
    }


def test_an_entry_that_ended_is_neither_shown_nor_switched(greylag: Greylag) -> None:
    greylag.run("deny", "add", "192.0.2.1", "--expires", "1h")
    greylag.at(NOW + 3600)
    assert greylag.json("deny", "list")["entries"] == []
    ended = greylag.json("deny", "list", "--all")["entries"]
    assert [(e["subject"], e["list"], e["live"]) for e in ended] == [("192.0.2.1", "deny", False)]
    assert greylag.json("allow", "add", "192.0.2.1")["added"] == ["192.0.2.1"]


@pytest.mark.parametrize(
    ("text", "expires"),
    [
        ("1h", NOW + 3600),
        ("36d", NOW + 36 * 86400),
        ("2027-01-16", NOW + 57600),
        ("9999-12-31", NEVER - 86399),
    ],
)
def test_expires(greylag: Greylag, text: str, expires: int) -> None:
    greylag.run("allow", "add", "example.org", "--expires", text)
    assert greylag.json("allow", "list")["entries"][0]["expires"] == expires


@pytest.mark.parametrize(
    "text", ["", "5", "0s", "-1d", "1.5h", "2027-01-15", "2026-12-31", "2027-02-30", "2027-1-20",
             "soon", "20270120", "2027-W05-1", "99999d", "2027-01-20T00:00:00"]
)  # fmt: skip
def test_a_bad_expires_is_refused(greylag: Greylag, text: str) -> None:
    result = greylag.run("allow", "add", "example.org", "--expires", text)
    assert result.exit_code == 2
    assert "greylag: expected " in result.stderr
    assert greylag.entries() == []


def test_a_name_without_a_dot_needs_domain(greylag: Greylag) -> None:
    assert greylag.run("allow", "add", "localhost").exit_code == 2
    assert greylag.run("allow", "add", "localhost", "--domain").exit_code == 0
    assert greylag.run("allow", "remove", "localhost", "--domain").exit_code == 0


def test_a_comment_is_bounded(greylag: Greylag) -> None:
    assert greylag.run("allow", "add", "example.org", "--comment", "x" * 256).exit_code == 2
    assert greylag.run("allow", "add", "example.org", "--comment", "b\udcff").exit_code == 0
    assert greylag.entries() == ["allow example.org b\ufffd"]


@pytest.mark.parametrize("which", LISTS)
def test_remove(greylag: Greylag, which: str) -> None:
    greylag.run(which, "add", "192.0.2.1", "192.0.2.2")
    result = greylag.run(which, "remove", "192.0.2.1")
    assert (result.exit_code, result.stderr) == (
        0,
        f"greylag: 192.0.2.1: removed from the {which}list\n",
    )
    assert greylag.entries() == [f"{which} 192.0.2.2"]


def test_removing_what_is_not_there(greylag: Greylag) -> None:
    greylag.run("deny", "add", "192.0.2.1")
    result = greylag.run("allow", "remove", "192.0.2.1", "192.0.2.2")
    assert result.exit_code == 1
    assert result.stderr == (
        "greylag: 192.0.2.1: on the denylist, not on the allowlist "
        "(greylag deny remove 192.0.2.1)\n"
        "greylag: 192.0.2.2: not on the allowlist (greylag allow list shows what is)\n"
    )
    assert greylag.entries() == ["deny 192.0.2.1"]


def test_remove_as_json(greylag: Greylag) -> None:
    greylag.run("deny", "add", "192.0.2.1")
    assert greylag.json("deny", "remove", "192.0.2.1", "192.0.2.2", code=1) == {
        "list": "deny",
        "removed": ["192.0.2.1"],
        "missing": ["192.0.2.2"],
    }


def test_removing_from_a_missing_database_makes_none(greylag: Greylag) -> None:
    assert greylag.run("deny", "remove", "192.0.2.1").exit_code == 1
    assert not greylag.database.exists()


def test_making_the_database_is_told(greylag: Greylag) -> None:
    told = f"greylag: made the database {greylag.database}; the user"
    assert greylag.run("allow", "add", "example.org").stderr.startswith(told)
    assert "made" not in greylag.run("allow", "add", "example.org").stderr


def test_list_json_schema(greylag: Greylag) -> None:
    greylag.run("allow", "add", "192.0.2.1", "--expires", "1d")
    entry = dict.fromkeys(("subject", "kind", "list", "comment"), "str")
    wanted = {**entry, "created": "int", "expires": "int", "live": "bool"}
    found = greylag.json("allow", "list")
    assert shape(found) == {"list": "str", "entries": [wanted]}
    greylag.run("allow", "add", "192.0.2.1")
    assert greylag.json("allow", "list")["entries"][0]["expires"] is None


def test_explicit_mode_tells_what_a_domain_means(greylag: Greylag) -> None:
    greylag.configure("policy.explicit = true\n")
    assert "explicit mode: a domain" in greylag.run("allow", "add", "example.org").stderr
    assert "explicit mode" not in greylag.run("allow", "add", "192.0.2.1").stderr


IMPORT = """\ufeff# our networks
192.0.2.0/24   branch  office

  2001:db8::/32\t# a comment sign is dropped\r
Example.ORG
192.0.2.0/24 said again
"""


@pytest.mark.parametrize("which", LISTS)
def test_import_a_file(greylag: Greylag, which: str) -> None:
    (greylag.home / "list").write_text(IMPORT, newline="")
    result = greylag.run(which, "import", "list")
    assert result.exit_code == 0
    assert f"greylag: {which}list: 3 added, 0 replaced, 0 switched\n" in result.stderr
    assert greylag.entries() == [
        f"{which} 192.0.2.0/24 said again",
        f"{which} 2001:db8::/32 a comment sign is dropped",
        f"{which} example.org",
    ]


def test_import_stdin_as_json(greylag: Greylag) -> None:
    greylag.run("deny", "add", "example.org")
    found = greylag.json("allow", "import", "-", stdin=IMPORT)
    assert (found["added"], found["switched"]) == (
        ["192.0.2.0/24", "2001:db8::/32"],
        ["example.org"],
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
    assert greylag.run("deny", "import", "missing").exit_code == 2

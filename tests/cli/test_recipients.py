"""`greylag expect` and `greylag trap`."""

from __future__ import annotations

import pytest

from greylag.core.accesslist import Purpose
from tests.cli.conftest import NOW, Greylag


def marked(greylag: Greylag) -> list[tuple[str, str, int]]:
    with greylag.store() as store:
        return [(e.purpose.value, str(e.subject), e.expires) for e in store.entries()]


@pytest.mark.parametrize("words", [("expect",), ("expect", "add")])
def test_a_mailbox_expects_mail_for_a_time(greylag: Greylag, words: tuple[str, ...]) -> None:
    result = greylag.run(*words, "Bob@Example.net")
    assert result.exit_code == 0
    assert "bob@example.net: new mail TO it is let in until " in result.stderr
    assert greylag.run(*words, "--for", "2h", "eve@example.net").exit_code == 0
    assert marked(greylag) == [
        ("expected", "bob@example.net", NOW + 1800),
        ("expected", "eve@example.net", NOW + 7200),
    ]
    shown = greylag.json("expect", "list")
    assert [(e["mailbox"], e["expires"]) for e in shown["entries"]] == [
        ("bob@example.net", NOW + 1800),
        ("eve@example.net", NOW + 7200),
    ]
    greylag.at(NOW + 1800)
    assert greylag.run("expect", "list").stdout.count("example.net") == 1
    greylag.run("expect", "dan@example.net")  # and what has ended is removed
    assert [name for _, name, _ in marked(greylag)] == ["eve@example.net", "dan@example.net"]


def test_it_is_ended_before_its_time(greylag: Greylag) -> None:
    greylag.run("expect", "bob@example.net", "--comment", "a code")
    result = greylag.run("expect", "end", "bob@example.net", "eve@example.net")
    assert result.exit_code == 1
    assert "bob@example.net: waits for mail no longer\n" in result.stderr
    assert "eve@example.net: did not wait for mail\n" in result.stderr
    assert marked(greylag) == []
    assert greylag.run("expect", "list").stderr == "greylag: no mailbox waits for mail\n"
    assert greylag.json("expect", "eve@example.net") == {
        "purpose": "expected",
        "added": ["eve@example.net"],
        "expires": NOW + 1800,
    }


def test_traps_are_kept(greylag: Greylag) -> None:
    result = greylag.run("trap", "add", "old@example.net", "--comment", "left in 2019")
    assert result.stderr.endswith("greylag: old@example.net: is a trap now\n")
    shown = greylag.run("trap", "list").stdout
    assert shown.splitlines()[1].split()[0] == "old@example.net"
    assert "left in 2019" in shown
    assert greylag.json("trap", "list")["entries"][0]["expires"] is None
    assert greylag.run("trap", "remove", "old@example.net").exit_code == 0
    assert greylag.run("trap", "remove", "old@example.net").exit_code == 1
    assert greylag.run("trap", "list").stderr == "greylag: there is no trap\n"


def test_one_mailbox_may_have_an_entry_for_each_purpose(greylag: Greylag) -> None:
    """And the commands of one purpose leave those of the others alone."""
    box = "bob@example.net"
    greylag.run("deny", "add", "--recipient", box)
    greylag.run("trap", "add", box)
    greylag.run("expect", box)
    assert {purpose for purpose, _, _ in marked(greylag)} == {"access", "trap", "expected"}
    assert greylag.json("allow", "list")["entries"] == []
    assert len(greylag.json("deny", "list")["entries"]) == 1
    greylag.run("expect", "end", box)
    greylag.run("deny", "remove", "--recipient", box)
    assert [purpose for purpose, _, _ in marked(greylag)] == [Purpose.TRAP.value]
    said = greylag.run("allow", "add", "--recipient", box).stderr
    assert said.endswith("allowlist: 1 added, 0 replaced, 0 moved from the denylist\n")
    assert "is on the allowlist now" not in said


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ("expect bob@example.net --for soon", "expected"),
        ("expect bob@example.net --for 0s", "expected a time to come"),
        ("expect add bob", "expected a mailbox"),
        ("expect b@example.net a@", "expected a mailbox"),
        ("expect end bob", "expected a mailbox"),
        ("expect add", "Missing argument"),
        ("expect bob", "No such command 'bob'"),
        ("trap add bob", "expected a mailbox"),
        ("trap remove bob", "expected a mailbox"),
        ("trap add a@example.net --comment " + "x" * 300, "at most 255 characters"),
    ],
)
def test_what_is_none_changes_nothing(greylag: Greylag, words: str, told: str) -> None:
    result = greylag.run(*words.split())
    assert result.exit_code == 2
    assert told in result.stderr
    assert "--domain" not in result.stderr, "they have no such option"
    assert not greylag.database.exists()


def test_a_trap_where_there_are_no_traps_is_told_to_have_no_effect(greylag: Greylag) -> None:
    assert "off" not in greylag.run("trap", "add", "old@example.net").stderr
    greylag.configure('policy.trapped_for = "off"\n')
    result = greylag.run("trap", "add", "old@example.net")
    assert result.exit_code == 0
    told = "greylag: traps are off (policy.trapped_for), so nobody is refused for it\n"
    assert result.stderr.endswith(told)
    assert greylag.json("trap", "add", "old@example.net")["added"] == ["old@example.net"]


def test_a_mailbox_that_the_denylist_names_is_told_to_wait_in_vain(greylag: Greylag) -> None:
    """Also where it is its domain; not where the mailbox itself is on the allowlist."""
    told = "the denylist names it, so mail TO it is still refused\n"
    greylag.run("deny", "add", "--recipient", "bob@example.net")
    greylag.run("deny", "add", "--yes", "example.org")
    greylag.run("deny", "add", "--yes", "0.0.0.0/0")  # names clients
    greylag.run("allow", "add", "--recipient", "eve@example.org")
    for box in ("bob@example.net", "bob@example.org"):
        result = greylag.run("expect", box)
        assert (result.exit_code, result.stderr.count("\n")) == (0, 2)
        assert result.stderr.endswith(f"greylag: {box}: {told}")
    for box in ("eve@example.org", "dan@example.net"):
        assert told not in greylag.run("expect", box).stderr
    assert greylag.json("expect", "bob@example.net")["added"] == ["bob@example.net"]
    greylag.at(NOW + 10)
    greylag.run("deny", "remove", "--recipient", "bob@example.net")
    assert told not in greylag.run("expect", "bob@example.net").stderr

"""`greylag allow` and `greylag deny`."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from greylag.cli.common import NO_TERMINAL
from greylag.core.accesslist import NEVER
from tests.cli.conftest import CLIENT, NOW, RECIPIENT, SENDER, Greylag, shape
from tests.server.daemon import BIN

LISTS = ("allow", "deny")
OTHER = {"allow": "deny", "deny": "allow"}
EFFECT = {"allow": "let in", "deny": "refused"}
BAD = ["192.0.2.300", "10.1.2/24", "x/33", "192.0.2.0/33", "192.0.2.1/24", "2001:db8::1/32", "",
       " ", "foo", "user@example.org", "*.example.org", "1.2.3.4.5", "fe80::1%eth0", "a b.example",
       "\x1b[31m.example", "b\udcff.example"]  # fmt: skip


@pytest.mark.parametrize("which", LISTS)
def test_add_and_list(greylag: Greylag, which: str) -> None:
    result = greylag.run(
        which, "add", "192.0.2.1", "2001:db8::/32", "Example.ORG", "--comment", "c d", "--yes"
    )
    assert (result.exit_code, result.stdout) == (0, "")
    assert (
        f"greylag: {which}list: 3 added, 0 replaced, 0 moved from the {OTHER[which]}list\n"
        in result.stderr
    )
    assert greylag.entries() == [
        f"{which} {s} c d" for s in ("192.0.2.1", "2001:db8::/32", "example.org")
    ]
    lines = greylag.run(which, "list").stdout.splitlines()
    assert lines[0].split() == ["subject", "kind", "expires", "created", "origin", "comment"]
    assert lines[1].split() == [
        "192.0.2.1",
        "client",
        "address",
        "never",
        "2027-01-15",
        "08:00:00",
        "UTC",
        "c",
        "d",
    ]
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
    assert result.stderr == (
        f"greylag: 192.0.2.0/24: was on the {other}list, is on the {which}list now\n"
        f"greylag: client range 192.0.2.0/24: mail FROM it is {EFFECT[which]}\n"
        f"greylag: {which}list: 0 added, 0 replaced, 1 moved from the {other}list\n"
    )
    assert greylag.entries() == [f"{which} 192.0.2.0/24"]


@pytest.mark.parametrize("which", LISTS)
@pytest.mark.parametrize("again", LISTS)
@pytest.mark.parametrize(
    ("words", "comment"),
    [((), "ticket 12"), (("--comment", "ticket 14"), "ticket 14"), (("--comment", ""), "")],
)
def test_an_entry_keeps_its_comment_unless_another_is_given(
    greylag: Greylag, which: str, again: str, words: tuple[str, ...], comment: str
) -> None:
    """Whether it goes to the other list, or is put on its own once more."""
    greylag.run(which, "add", "192.0.2.1", "--comment", "ticket 12")
    greylag.run(again, "add", "192.0.2.1", "192.0.2.2", *words)
    assert greylag.entries() == [
        f"{again} 192.0.2.1 {comment}".strip(),
        f"{again} 192.0.2.2 {comment if words else ''}".strip(),
    ]


def test_the_comment_of_an_entry_that_ended_is_not_kept(greylag: Greylag) -> None:
    greylag.run("allow", "add", "192.0.2.1", "--comment", "ticket 12", "--expires", "1h")
    greylag.at(NOW + 3600)
    greylag.run("allow", "add", "192.0.2.1")
    assert greylag.entries() == ["allow 192.0.2.1"]


def test_add_as_json(greylag: Greylag) -> None:
    greylag.run("deny", "add", "192.0.2.1")
    greylag.run("allow", "add", "192.0.2.2")
    assert greylag.json("allow", "add", "192.0.2.1", "192.0.2.2", "192.0.2.3", "192.0.2.3") == {
        "list": "allow",
        "added": ["192.0.2.3"],
        "replaced": ["192.0.2.2"],
        "switched": ["192.0.2.1"],
        "kinds": dict.fromkeys(("192.0.2.1", "192.0.2.2", "192.0.2.3"), "client address"),
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
    told = f"greylag: made the database {greylag.database}\n"
    assert greylag.run("allow", "add", "example.org").stderr.startswith(told)
    assert "made" not in greylag.run("allow", "add", "example.org").stderr


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
@pytest.mark.parametrize(
    ("folder", "made_by", "told"),
    [
        ((65534, 65534), 0, None),  # root's new database is given to the folder's owner
        ((65534, 65534), 65534, None),
        ((0, 65534), 65534, None),  # a folder of root's that a group may write to
        ((1, 65534), 65534, None),  # its owner is of the group
        ((0, 0), 0, "it is root's; for greylag as another user: chown USER {0} {0}/x.db*"),
        ((1, 1), 65534, "daemon, whose folder it is in, cannot use it yet: chown daemon {0}/x.db*"),
    ],
)
def test_only_what_has_to_be_done_about_a_new_database_is_told(
    folder: tuple[int, int], made_by: int, told: str | None
) -> None:
    with TemporaryDirectory(dir="/tmp") as path:
        config = Path(path, "greylag.toml")
        config.write_text(f'store.url = "sqlite://{path}/x.db"\n')
        config.chmod(0o644)
        os.chown(path, *folder)
        os.chmod(path, 0o777)
        done = subprocess.run(
            [BIN / "greylag", "--config", config, "db", "init"],
            user=made_by,
            group=made_by,
            extra_groups=[],
            capture_output=True,
            text=True,
            check=True,
            timeout=30,
        )
    wanted = [f"greylag: made the database {path}/x.db"]
    wanted += [f"greylag: {told.format(path)}"] if told else []
    assert done.stderr.splitlines() == wanted


def test_list_json_schema(greylag: Greylag) -> None:
    greylag.run("allow", "add", "192.0.2.1", "--expires", "1d")
    entry = dict.fromkeys(("subject", "kind", "purpose", "list", "origin", "comment"), "str")
    wanted = {**entry, "spoofable": "bool", "created": "int", "expires": "int", "live": "bool"}
    found = greylag.json("allow", "list")
    assert shape(found) == {"list": "str", "entries": [wanted]}
    greylag.run("allow", "add", "192.0.2.1")
    assert greylag.json("allow", "list")["entries"][0]["expires"] is None


def test_explicit_mode_is_told_wherever_the_allowlist_is(greylag: Greylag) -> None:
    """policy.explicit turns the meaning of the allowlist's recipient domains round."""
    greylag.configure("policy.explicit = true\n")
    told = greylag.run("allow", "add", "example.org").stderr
    assert "domain example.org: mail TO it is greylisted (policy.explicit is on)\n" in told
    assert "explicit mode (policy.explicit): a recipient domain" in told
    address = greylag.run("allow", "add", "192.0.2.1").stderr
    assert "client address 192.0.2.1: mail FROM it is let in\n" in address
    assert "explicit mode (policy.explicit)" in address
    checked = greylag.run("check", "192.0.2.9", "a@example.net", "b@example.org").stdout
    assert "mode            explicit mode (policy.explicit)" in checked
    assert greylag.json("check", "192.0.2.1", "a@example.net", "b@example.org")["explicit"] is True
    assert "With policy.explicit" in greylag.run("allow", "--help").stdout


def test_explicit_mode_is_not_told_where_it_is_off(greylag: Greylag) -> None:
    assert "explicit mode" not in greylag.run("allow", "add", "example.org").stderr
    assert "explicit mode" not in greylag.run("check", CLIENT, SENDER, RECIPIENT).stdout


@pytest.mark.parametrize("which", LISTS)
@pytest.mark.parametrize(
    ("subject", "told"),
    [
        ("gmail.example", "recipient domain gmail.example: mail TO it is"),
        ("192.0.2.7", "client address 192.0.2.7: mail FROM it is"),
        ("192.0.2.0/24", "client range 192.0.2.0/24: mail FROM it is"),
        ("2001:db8::1", "client address 2001:db8::1: mail FROM it is"),
        ("2001:db8::/32", "client range 2001:db8::/32: mail FROM it is"),
    ],
)
def test_the_kind_that_was_stored_is_always_told(
    greylag: Greylag, which: str, subject: str, told: str
) -> None:
    """`allow add` of a sender's domain lets in all mail TO it: that has to be seen."""
    for _ in "again":
        result = greylag.run(which, "add", subject, "--yes")
        assert f"greylag: {told} {EFFECT[which]}\n" in result.stderr


@pytest.mark.parametrize("which", LISTS)
def test_a_mailbox_tells_what_to_do_instead(greylag: Greylag, which: str) -> None:
    result = greylag.run(which, "add", "alice@example.org")
    assert result.exit_code == 2
    assert (
        "'alice@example.org' is a mailbox (--sender takes it for who mail is from" in result.stderr
    )
    assert "--recipient for whom it is to)" in result.stderr


GRAVE = ["ours.example", "0.0.0.0/0", "198.0.0.0/7", "2000::/15", "::/0"]


@pytest.mark.parametrize("subject", GRAVE)
def test_refusing_mail_of_many_has_to_be_confirmed(greylag: Greylag, subject: str) -> None:
    result = greylag.run("deny", "add", "192.0.2.1", subject)
    assert result.exit_code == 1
    assert subject in result.stderr
    assert result.stderr.endswith(f"greylag: {NO_TERMINAL}\ngreylag: nothing was stored\n")
    assert greylag.entries() == []
    assert greylag.run("deny", "import", "-", "--domain", stdin=subject).exit_code == 1
    assert greylag.entries() == []
    assert greylag.run("deny", "add", subject, "--yes").exit_code == 0
    assert greylag.entries() == [f"deny {subject}"]
    assert greylag.run("allow", "add", subject).exit_code == 0


@pytest.mark.parametrize("subject", ["198.0.0.0/8", "2000::/16", "192.0.2.1"])
def test_refusing_less_needs_no_question(greylag: Greylag, subject: str) -> None:
    assert greylag.run("deny", "add", subject).exit_code == 0


@pytest.mark.parametrize(("answer", "code", "stored"), [(True, 0, True), (False, 1, False)])
def test_on_a_terminal_the_admin_is_asked(
    greylag: Greylag, monkeypatch: pytest.MonkeyPatch, answer: bool, code: int, stored: bool
) -> None:
    monkeypatch.setattr("greylag.cli.listput.interactive", lambda: True)
    monkeypatch.setattr("greylag.cli.listput.ask", lambda _text: answer)
    result = greylag.run("deny", "add", "ours.example")
    assert result.exit_code == code
    assert (greylag.entries() == ["deny ours.example"]) is stored


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ("localhost", " (--domain takes it for a recipient domain)"),
        ("*.example.org", " (to name the recipient domain itself, write example.org)"),
        ("example.org.", " (to name the recipient domain itself, write example.org)"),
        ("192.0.2.300", " holds no complete IPv4 or IPv6 address"),
        ("--domain *", "got '*'"),
    ],
)
def test_what_is_no_subject_is_told_with_what_to_write(
    greylag: Greylag, words: str, told: str
) -> None:
    result = greylag.run("allow", "add", *words.split())
    assert (result.exit_code, result.stderr.splitlines()[0].endswith(told)) == (2, True)


def test_what_is_not_done_yet_is_not_told_as_done(greylag: Greylag) -> None:
    said = greylag.run("deny", "add", "example.net").stderr
    assert "mail TO it would be refused\n" in said
    assert "is refused" not in said


@pytest.mark.parametrize("which", LISTS)
def test_a_sender_as_keys_have_it_is_refused(greylag: Greylag, which: str) -> None:
    """No mail has the sender `list-bounces-#@...`: the number was left out of the key."""
    result = greylag.run(which, "add", "--sender", "list-bounces-#@club.example")
    assert result.exit_code == 2
    assert "`#` stands for what changes from mail to mail" in result.stderr
    assert greylag.entries() == []

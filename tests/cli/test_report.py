"""`greylag report`: on the terminal, as a page, by mail."""

from __future__ import annotations

import email
import os
import re
from email import policy
from email.message import EmailMessage
from pathlib import Path

import pytest

from greylag.core.history import Begun, Deferral, Ended, Event, Outcome
from greylag.core.triplet import Triplet
from tests.cli.conftest import EVIL, NETWORK, NOW, Greylag

FIGURES = {
    "pass:known": 60, "pass:retried": 20, "defer:new": 100, "fate:stopped": 80, "fate:evicted": 9,
    "never:likely-spam": 50, "never:other-way": 20, "never:varying": 2, "never:unknown": 8,
    "waited:600": 20, "waited:seconds": 12000,
}  # fmt: skip
BAD = "<script>alert(1)</script>"


def fill(greylag: Greylag, domain: str = "late.example") -> None:
    events: list[Event] = []
    for number in range(3):
        key = Triplet(NETWORK, f"a@{domain}", f"b{number}@example.net")
        one = Deferral(key, NOW - 9000, NOW - 8700, name="mx.example.org")
        events += [Begun(one), Ended(key, NOW - 1800, Outcome.PASSED)]
    with greylag.store() as store:
        store.apply((), FIGURES, NOW - 3600)
        store.remember(events, NOW)


@pytest.fixture
def sendmail(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A program that keeps what it is given."""
    program = tmp_path / "sendmail"
    program.write_text(
        f'#!/bin/sh\nfor one; do echo "$one"; done >{tmp_path}/arguments\ncat >{tmp_path}/mail\n'
        f'test ! -e {tmp_path}/refuse || {{ echo "queue is full" >&2; exit 75; }}\n'
    )
    program.chmod(0o755)
    monkeypatch.setattr("greylag.cli.mailing.SENDMAIL", str(program))
    return program


def mailed(sendmail: Path) -> EmailMessage:
    text = (sendmail.parent / "mail").read_bytes()
    found = email.message_from_bytes(text, policy=policy.default)
    assert isinstance(found, EmailMessage)
    return found


def part(of: EmailMessage, kind: str) -> str:
    found = of.get_body((kind,))
    assert found is not None
    return str(found.get_content())


def test_it_opens_with_what_to_look_at(greylag: Greylag) -> None:
    fill(greylag)
    lines = greylag.run("report").stdout.splitlines()
    assert lines[0] == "To look at"
    assert lines[1].startswith("1. 9 waiting triplets had to make room")
    assert lines[3].startswith("2. 3 likely good mails from late.example were late")
    assert "as DNS is off: greylag why " in lines[4]
    assert "never came back            80" in lines
    assert "  likely spam              50 (62.5%)" in lines


def test_where_nothing_stands_out_it_says_so(greylag: Greylag) -> None:
    with greylag.store() as store:
        store.apply((), {"pass:known": 9}, NOW)
    assert greylag.run("report").stdout.startswith("To look at\nnothing stands out\n")


def test_json(greylag: Greylag) -> None:
    fill(greylag)
    found = greylag.json("report", "--since", "24h")
    assert [one["finding"] for one in found["to_look_at"]] == ["evicted", "hurt"]
    assert found["never_came_back"]["count"] == 80
    assert len(found["hours"]) == 25
    assert found["top"]["hurt"]["mails"] == 3


def test_the_page_says_since_when_its_figures_are(greylag: Greylag) -> None:
    """They are of whole days, so they begin before the seven times 24 hours do."""
    fill(greylag)
    page = greylag.run("report", "--html", "-").stdout
    assert "<p>2027-01-08 00:00:00 UTC to 2027-01-15 08:00:00 UTC</p>" in page
    assert "<p>Figures of 8 days (UTC), the last of which is not over yet.</p>" in page
    line = "figures of  8 days (UTC), the last of which is not over yet"
    assert line in greylag.run("report").stdout.splitlines()
    assert "figures of  25 hours (UTC), " in greylag.run("report", "--since", "24h").stdout


def test_the_page_stands_alone(greylag: Greylag) -> None:
    """It may be opened from a disk without a network: nothing in it is fetched or run."""
    fill(greylag)
    path = greylag.home / "week.html"
    result = greylag.run("report", "--html", str(path))
    assert (result.exit_code, result.stdout) == (0, "")
    text = path.read_text()
    assert "http" not in text
    assert not re.search(
        r"<(script|link|img|iframe|object|base)|\son\w+=|style=|url\(|@import", text
    )
    assert text.count("<svg") == 4
    assert text.index("To look at") < text.index("<svg")
    for words in ("likely spam", "late.example", "Hurt", "3 likely good mails"):
        assert words in text
    assert greylag.run("report", "--html", "-").stdout == text


@pytest.mark.parametrize("domain", [BAD, EVIL, '" onload="x'])
def test_hostile_names_do_nothing_in_the_page(greylag: Greylag, domain: str) -> None:
    """T15, T26."""
    fill(greylag, domain)
    text = greylag.run("report", "--html", "-").stdout
    assert BAD not in text
    assert not re.search(r"<[a-z][^>]*\sonload=", text)
    assert text.replace("\n", "").isprintable()


def test_a_file_that_cannot_be_written_is_said(greylag: Greylag) -> None:
    result = greylag.run("report", "--html", f"{greylag.home}/missing/week.html")
    assert result.exit_code == 2
    assert "No such file or directory" in result.stderr


def test_mail_has_both_forms(greylag: Greylag, sendmail: Path) -> None:
    fill(greylag)
    result = greylag.run("report", "--mail", "postmaster@example.org")
    assert (result.exit_code, result.stdout) == (0, "")
    arguments = (sendmail.parent / "arguments").read_text().splitlines()
    assert arguments == ["-i", "--", "postmaster@example.org"]
    mail = mailed(sendmail)
    assert mail["To"] == "postmaster@example.org"
    assert mail["Subject"].startswith("greylag on ")
    assert mail["Subject"].endswith(": 7 d, 2 to look at")
    assert mail["Auto-Submitted"] == "auto-generated"
    assert part(mail, "plain").startswith("To look at\n1. 9 waiting")
    assert "<svg" in part(mail, "html")


def test_both_forms_of_a_mail_say_what_is_missing(greylag: Greylag, sendmail: Path) -> None:
    """The text did not: its notes went to whoever sent it."""
    fill(greylag)
    greylag.configure(f'store.url = "tree://{greylag.home}/tree"')
    (greylag.home / "tree").mkdir()
    assert greylag.run("report", "--mail", "postmaster@example.org").exit_code == 0
    mail = mailed(sendmail)
    for kind in ("plain", "html"):
        told = " ".join(part(mail, kind).split())
        assert told.count("no history of mail") == 1, kind
        assert told.count("keeps no figures") == 1, kind


def test_names_add_no_header_and_end_no_mail(greylag: Greylag, sendmail: Path) -> None:
    """T14: a line of a dot ends no mail with -i, and names stand in the body alone."""
    fill(greylag, "x\r\nBcc: y@example.com\r\n.\r\n")
    assert greylag.run("report", "--mail", "root").exit_code == 0
    mail = mailed(sendmail)
    assert "Bcc" not in mail
    assert set(mail.keys()) == {
        "To", "Subject", "Date", "Auto-Submitted", "MIME-Version", "Content-Type",
    }  # fmt: skip


@pytest.mark.parametrize(
    "address",
    [
        "-oQ/tmp", "--", "-t@example.org", "a@b@c", "a b@example.org", "a,b@example.org",
        "a@example.org\nBcc: b", "a@example.org;id", "$(id)@example.org", "|cat", "`id`",
        "<a@example.org>", "", "é@example.org", "a@-example.org", "a@", "x" * 255, "/etc/passwd",
    ],
)  # fmt: skip
def test_what_is_no_address_is_not_mailed_to(
    greylag: Greylag, sendmail: Path, address: str
) -> None:
    result = greylag.run("report", f"--mail={address}")
    assert result.exit_code == 2
    assert "expected one address" in result.stderr
    assert not (sendmail.parent / "arguments").exists()


@pytest.mark.parametrize(
    "address", ["root", "a@example.org", "a.b+c=d@mail-1.example.org", "a_b@x"]
)
def test_what_is_an_address(greylag: Greylag, sendmail: Path, address: str) -> None:
    assert greylag.run("report", "--mail", address).exit_code == 0
    assert (sendmail.parent / "arguments").read_text().splitlines()[-1] == address


def test_a_mail_that_is_not_taken_is_said(
    greylag: Greylag, sendmail: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (sendmail.parent / "refuse").touch()
    result = greylag.run("report", "--mail", "root")
    assert result.exit_code == 75
    assert "did not take the mail (exit code 75): queue is full" in result.stderr
    sendmail.unlink()
    result = greylag.run("report", "--mail", "root")
    assert result.exit_code == 75
    assert "No such file or directory" in result.stderr
    sendmail.write_text("#!/bin/sh\nexec sleep 30\n")
    sendmail.chmod(0o755)
    monkeypatch.setattr("greylag.cli.mailing.PATIENCE", 0.2)
    result = greylag.run("report", "--mail", "root")
    assert result.exit_code == 75
    assert "did not end within" in result.stderr


def test_page_and_mail_and_json_go_together(greylag: Greylag, sendmail: Path) -> None:
    fill(greylag)
    path = greylag.home / "week.html"
    assert greylag.json("report", "--html", str(path), "--mail", "root")["top"]
    assert path.exists()
    assert os.path.exists(sendmail.parent / "mail")


def examples() -> list[str]:
    """Return the commands that the sections of these commands show."""
    text = (Path(__file__).parents[2] / "docs/reference/commands.md").read_text()
    sections = [
        section
        for section in text.split("\n## ")
        if section.startswith(("greylag stats", "greylag top", "greylag report"))
    ]
    shown = re.findall(r"^ {4,}(?:[\d *]+ )?greylag (.+)$", "\n".join(sections), re.MULTILINE)
    assert len(shown) >= len(sections) == 3
    return [str(words) for words in shown]


@pytest.mark.parametrize("words", examples())
def test_what_the_docs_show_runs(greylag: Greylag, sendmail: Path, words: str) -> None:
    fill(greylag)
    result = greylag.run(*words.split())
    assert result.exit_code == 0, result.stderr
    assert result.stdout or (sendmail.parent / "mail").exists()

"""`greylag setup` where others than files and folders stand: they are refused, and left."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from tests.admin.setup.conftest import root
from tests.cli.test_setup import MAIN, postfix, qmail, run

__all__ = ["root"]  # a fixture
pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="setup is for root")
REPLACED = (
    "etc/greylag/greylag.toml",
    "etc/systemd/system/greylag.service",
    "etc/systemd/system/multi-user.target.wants/greylag.service",
    "usr/local/share/bash-completion/completions/greylag",
    "var/qmail/control/smtpplugins",
    "var/qmail/plugins/greylisting",
)
FOLDERS = "var/lib/greylag", "var/qmail/plugins", "etc/systemd/system/multi-user.target.wants"


def paths(root: Path) -> list[tuple[object, ...]]:
    found = []
    for folder, names, files in os.walk(root):
        for name in (*names, *files):
            seen = os.lstat(f"{folder}/{name}")
            found.append((folder, name, seen.st_mode, seen.st_uid, seen.st_ino))
    return sorted(found)


@pytest.mark.parametrize("kind", ["fifo", "device", "folder"])
@pytest.mark.parametrize("path", REPLACED)
def test_what_undo_could_not_make_again_is_not_replaced(root: Path, path: str, kind: str) -> None:
    qmail(root)
    (root / path).parent.mkdir(parents=True, exist_ok=True)
    if kind == "fifo":
        os.mkfifo(root / path)
    elif kind == "device":
        os.mknod(root / path, 0o020666, os.makedev(1, 5))
    else:
        (root / path).mkdir()
    before = paths(root)
    told = run(root, "qmail", "--yes", code=1).stderr
    assert f"/{path}: is " in told
    assert paths(root) == before


@pytest.mark.parametrize("path", FOLDERS)
def test_what_stands_for_a_folder_is_told_before_anything_is_changed(root: Path, path: str) -> None:
    qmail(root)
    (root / path).write_text("a file\n")
    before = paths(root)
    assert f"/{path}: has to be a folder" in run(root, "qmail", "--yes", code=1).stderr
    assert paths(root) == before


@pytest.mark.parametrize("path", ["var/qmail/plugins/greylisting", REPLACED[1], REPLACED[2]])
def test_a_link_of_another_user_is_his_again(root: Path, path: str) -> None:
    """Setup replaces it by its own, which nobody else may change."""
    qmail(root)
    there = root / path
    there.parent.mkdir(parents=True, exist_ok=True)
    there.symlink_to("/etc/other")
    os.lchown(there, 8900, 8901)
    run(root, "qmail", "--yes")
    assert there.lstat().st_uid == 0
    run(root, "qmail", "--undo", "--yes")
    assert there.readlink() == Path("/etc/other")
    assert (there.lstat().st_uid, there.lstat().st_gid) == (8900, 8901)


@pytest.mark.parametrize("kind", ["folder", "fifo", "loop"])
def test_a_manifest_that_cannot_be_read_is_not_written_over(root: Path, kind: str) -> None:
    """What was before the first setup would be lost."""
    postfix(root)
    kept = root / "var/lib/greylag-setup"
    kept.mkdir(mode=0o700)
    path = kept / "manifest.json"
    if kind == "folder":
        path.mkdir()
    elif kind == "fifo":
        os.mkfifo(path)
    else:
        path.symlink_to("manifest.json")
    before = paths(root)
    for words in (("--yes",), ("--undo", "--yes")):
        told = run(root, "postfix", *words, code=1).stderr
        assert "manifest.json: cannot be read, so what was before is not known" in told
    assert paths(root) == before


def test_what_a_setup_left_that_was_killed_at_once_goes_with_undo(root: Path) -> None:
    kept = root / "var/lib/greylag-setup"
    kept.mkdir(mode=0o700)
    (kept / ".manifest.json.0123456789abcdef").touch()
    assert "nothing to undo" in run(root, "postfix", "--undo", "--yes", "--dry-run", code=1).stdout
    assert kept.exists()
    assert "nothing to undo" in run(root, "postfix", "--undo", "--yes", code=1).stdout
    assert not kept.exists()


SAID = {
    "script": (
        "service/smtp/run",
        "#!/bin/sh\nexport ENABLE_SPP=1\nexec /var/qmail/bin/qmail-smtpd\n",
    ),
    "rule": ("etc/tcp.smtp", ':allow,ENABLE_SPP=""\n'),
    "envdir": ("service/smtp/env/ENABLE_SPP", "1"),
    "named": ("etc/smtp-env/ENABLE_SPP", "1"),
    "build": ("var/qmail/bin/qmail-smtpd", "\x7fELF\0control/smtpplugins\0"),
    "wrapper": ("var/qmail/bin/qmail-smtpd", "#!/bin/sh\nexec /opt/qmail-smtpd\n"),
}


@pytest.mark.parametrize("where", SAID)
def test_undo_leaves_the_file_that_qmail_smtpd_reads_by_now(root: Path, where: str) -> None:
    """P19: it was not there before setup. Without it qmail-spp answers 421 to all mail."""
    lines = qmail(root) / "control/smtpplugins"
    script = root / "service/smtp/run"
    script.parent.mkdir(parents=True)
    script.write_text("#!/bin/sh\nexec envdir /etc/smtp-env /var/qmail/bin/qmail-smtpd\n")
    run(root, "qmail", "--yes", "--supervisor", "systemd")
    path, text = SAID[where]
    (root / path).parent.mkdir(parents=True, exist_ok=True)
    (root / path).write_text(text)
    told = run(root, "qmail", "--undo", "--yes").stdout
    assert "control/smtpplugins: stays, empty: without it this qmail-smtpd would refuse" in told
    assert told.endswith("all else that setup changed is as it was before\n")
    assert lines.read_bytes() == b""
    assert "nothing to undo" in run(root, "qmail", "--undo", "--yes", code=1).stdout


def test_undo_takes_the_file_away_that_nothing_reads(root: Path) -> None:
    lines = qmail(root) / "control/smtpplugins"
    run(root, "qmail", "--yes")
    run(root, "qmail", "--undo", "--yes")
    assert not lines.exists()


def value(root: Path, name: str) -> str:
    words = ["postconf", "-c", str(root / "etc/postfix"), "-hx", name]
    return subprocess.run(words, capture_output=True, text=True, check=True).stdout.strip()


@pytest.mark.parametrize("where", ["main.cf", "master.cf", "variable"])
def test_undo_leaves_the_guard_that_no_other_list_has_by_now(root: Path, where: str) -> None:
    """P19: Postfix's smtpd takes no mail where neither list about relaying refuses others."""
    main = postfix(root)
    main.write_text(f"{MAIN}compatibility_level = 3.6\n")
    if where == "variable":
        main.write_text(f"{main.read_text()}mine = reject_unauth_destination\n")
        main.write_text(f"{main.read_text()}smtpd_relay_restrictions = permit_mynetworks, $mine\n")
    run(root, "postfix", "--yes")
    if where == "main.cf":
        main.write_text(f"{main.read_text()}smtpd_relay_restrictions =\n")
    elif where == "master.cf":
        master = root / "etc/postfix/master.cf"
        master.write_text(f"{master.read_text()}  -o smtpd_relay_restrictions=permit_mynetworks\n")
    else:
        main.write_text(main.read_text().replace("mine = reject_unauth_destination", "mine ="))
    run(root, "postfix", "--undo", "--yes")
    assert value(root, "smtpd_recipient_restrictions") == (
        "permit_mynetworks, permit_sasl_authenticated, reject_unauth_destination, "
        "reject_unlisted_recipient"
    )
    assert "greylag" not in main.read_text()
    assert value(root, "access_map_defer_code") == "450"


def test_a_guard_that_was_missing_before_setup_is_not_invented(root: Path) -> None:
    """P19: byte for byte what was there."""
    main = postfix(root)
    main.write_text(f"{MAIN}smtpd_relay_restrictions =\n")
    before = main.read_text()
    run(root, "postfix", "--yes")
    run(root, "postfix", "--undo", "--yes")
    assert main.read_text() == before


def test_a_list_that_another_parameter_ends_is_named(root: Path) -> None:
    """The question would stand behind what lets everybody in, and never be asked."""
    main = postfix(root)
    main.write_text(
        f"{MAIN}mine = permit_mynetworks, reject_unauth_destination, permit\n"
        "smtpd_recipient_restrictions = $mine\n"
    )
    before = paths(root)
    told = run(root, "postfix", "--yes", code=1).stderr
    assert "ends with permit within a parameter that it names" in told
    assert paths(root) == before


def test_a_question_in_another_parameter_is_not_asked_twice(root: Path) -> None:
    main = postfix(root)
    main.write_text(
        f"{MAIN}mine = reject_unauth_destination, check_policy_service unix:greylag/greylag.sock\n"
        "smtpd_recipient_restrictions = $mine\n"
    )
    run(root, "postfix", "--yes")
    assert "smtpd_recipient_restrictions = $mine\n" in main.read_text()

"""All or nothing, and undone byte for byte, however a setup ended."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from greylag.admin.setup import applying, manifest, putting
from greylag.admin.setup.applying import carry_through, undo
from greylag.admin.setup.place import Place, SetupError
from greylag.admin.setup.steps import RECORDS, RUN, Builder, Plan
from tests.admin.setup.conftest import Look

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root may give files away")


def fill(root: Path) -> None:
    """Make what a plan changes: a file with an odd mode and owner, a link, an old time."""
    (root / "etc/mail").mkdir()
    path = root / "etc/mail/main.cf"
    path.write_bytes(b"a = 1\r\n\xff no newline at the end")
    os.chown(path, 8900, 102)
    path.chmod(0o4604)
    os.utime(path, ns=(1_000_000_007, 1_000_000_007))
    (root / "etc/mail/linked").symlink_to("main.cf")


def build(place: Place) -> Plan:
    builder = Builder(place)
    builder.folder("/var/lib/new", 0o2770, "vpopmail", "vchkpw", inside=RECORDS)
    builder.folder("/var/lib/run", 0o710, "vpopmail", "postfix", inside=RUN)
    builder.file("/etc/mail/main.cf", b"a = 2\n")
    builder.file("/etc/mail/linked", b"a file now\n", 0o755)
    builder.file("/etc/new/deep/file", b"new\n", 0o640, "vpopmail", "vchkpw")
    builder.link("/etc/new/link", "/etc/mail/main.cf")
    return Plan("test", tuple(builder.steps))


def untold(text: str) -> None:
    """What is told is not looked at."""


def no_check() -> None:
    """Nothing to ask."""


def test_there_and_back(root: Path, place: Place, look: Look) -> None:
    """P19."""
    fill(root)
    before = look()
    carry_through(build(place), place, untold, no_check)
    after = look()
    main = (root / "etc/mail/main.cf").stat()
    assert (main.st_uid, main.st_gid, main.st_mode & 0o7777) == (8900, 102, 0o4604)
    assert (root / "var/lib/new").stat().st_mode & 0o7777 == 0o2770
    assert (root / "etc/new/deep/file").stat().st_gid == 8901
    assert build(place).empty()
    assert look() == after
    (root / "var/lib/run/sock.lock").touch()
    assert undo(place, untold).finished
    assert look() == before


def test_a_step_that_fails_takes_back_those_before_it(root: Path, place: Place, look: Look) -> None:
    fill(root)
    plan = build(place)
    (root / "etc/new").write_text("a file where a folder is to be\n")  # since the plan was made
    before = look()
    with pytest.raises(SetupError) as error:
        carry_through(plan, place, untold, no_check)
    assert error.value.lines[-1] == "all that was changed is as it was before"
    assert look() == before


def test_a_question_that_fails_takes_all_back(root: Path, place: Place, look: Look) -> None:
    fill(root)
    before = look()

    def check() -> None:
        (root / "var/lib/new/records").touch()  # as a daemon would have made them by now
        raise SetupError("451 broken")

    with pytest.raises(SetupError, match="451 broken"):
        carry_through(build(place), place, untold, check)
    assert look() == before


def test_a_second_signal_does_not_end_the_way_back(
    root: Path, place: Place, look: Look, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A shell whose connection is lost sends SIGHUP to its jobs, and so does the kernel."""
    fill(root)
    before = look()
    old = {number: signal.getsignal(number) for number in (signal.SIGHUP, signal.SIGTERM)}
    put_back = putting.put_back
    told: list[str] = []

    def disturbed(*arguments: Any, **options: Any) -> putting.Told | None:
        for number in old:
            os.kill(os.getpid(), number)
        return put_back(*arguments, **options)

    def check() -> None:
        os.kill(os.getpid(), signal.SIGHUP)

    monkeypatch.setattr(applying, "put_back", disturbed)
    try:
        for number in old:
            signal.signal(number, signal.default_int_handler)
        with pytest.raises(KeyboardInterrupt):
            carry_through(build(place), place, told.append, check)
        assert signal.getsignal(signal.SIGHUP) is signal.default_int_handler
    finally:
        for number, handler in old.items():
            signal.signal(number, handler)
    assert look() == before
    assert told[-1] == "all that was changed is as it was before"


KILLED = """
import os, signal, sys
from pathlib import Path
from greylag.admin.setup import applying
from greylag.admin.setup.place import Place
from greylag.cli.setuprun import run
from tests.admin.setup.test_applying import build
place, at, put = Place(Path(sys.argv[1]), run), int(sys.argv[2]), applying.put
def counted(*arguments):
    global at
    at -= 1
    if at < 0:
        os.kill(os.getpid(), signal.SIGKILL)
    put(*arguments)
applying.put = counted
applying.carry_through(build(place), place, print, lambda: None)
"""


@pytest.mark.parametrize("at", range(8))
def test_undo_puts_back_what_a_killed_setup_has_done(
    root: Path, place: Place, look: Look, at: int
) -> None:
    """The manifest is on the disk before the first change."""
    fill(root)
    before = look()
    done = subprocess.run(
        [sys.executable, "-c", KILLED, str(root), str(at)],
        cwd=Path(__file__).parents[3],
        check=False,
    )
    assert done.returncode == -signal.SIGKILL
    assert look() != before
    assert undo(place, untold).finished
    assert look() == before


def test_a_second_setup_keeps_what_was_before_the_first(
    root: Path, place: Place, look: Look
) -> None:
    fill(root)
    before = look()
    carry_through(build(place), place, untold, no_check)
    builder = Builder(place)
    builder.file("/etc/mail/main.cf", b"a = 3\n")
    carry_through(Plan("test", tuple(builder.steps)), place, untold, no_check)
    assert (root / "etc/mail/main.cf").read_bytes() == b"a = 3\n"
    assert undo(place, untold).finished
    assert look() == before


def test_what_the_admin_changed_since_is_left_and_told(root: Path, place: Place) -> None:
    fill(root)
    carry_through(build(place), place, untold, no_check)
    (root / "etc/mail/main.cf").write_text("mine\n")
    (root / "etc/new/deep/other").write_text("mine, too\n")
    (root / "var/lib/new/records").write_text("records\n")
    told: list[str] = []
    assert undo(place, told.append).finished
    assert "/etc/mail/main.cf: was changed since setup, so it is left as it is" in told
    assert "/etc/new/deep: is not empty, so it stays" in told
    assert "/var/lib/new: kept (--purge deletes it)" in told
    assert (root / "etc/mail/main.cf").read_text() == "mine\n"
    assert (root / "etc/mail/linked").is_symlink()
    assert not (root / "etc/new/deep/file").exists()


def test_records_that_were_kept_can_be_deleted_later(root: Path, place: Place, look: Look) -> None:
    fill(root)
    before = look()
    carry_through(build(place), place, untold, no_check)
    (root / "var/lib/new/records").touch()
    assert undo(place, untold).finished
    assert (root / "var/lib/new/records").exists()
    assert undo(place, untold, purge=True).finished
    assert look() == before


def test_purge_deletes_records_and_no_link_in_them_leads_out(
    root: Path, place: Place, look: Look, tmp_path: Path
) -> None:
    """T44: the folder of the records is another user's."""
    fill(root)
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside/file").touch()
    before = look()
    carry_through(build(place), place, untold, no_check)
    (root / "var/lib/new/trap").symlink_to(tmp_path / "outside")
    assert undo(place, untold, purge=True).finished
    assert look() == before
    assert (tmp_path / "outside/file").exists()


def test_a_manifest_that_others_may_write_is_not_believed(root: Path, place: Place) -> None:
    """T44: undo writes what it says, as root."""
    fill(root)
    carry_through(build(place), place, untold, no_check)
    (root / manifest.FOLDER.lstrip("/")).chmod(0o777)
    with pytest.raises(SetupError, match="others may write there"):
        undo(place, untold)


def test_a_damaged_backup_is_an_error_before_anything_is_changed(
    root: Path, place: Place, look: Look
) -> None:
    fill(root)
    carry_through(build(place), place, untold, no_check)
    folder = root / manifest.FOLDER.lstrip("/")
    next(path for path in folder.iterdir() if len(path.name) == 64).write_bytes(b"other")
    after = look()
    with pytest.raises(SetupError, match="missing or damaged"):
        undo(place, untold)
    assert look() == after


def test_two_at_once(place: Place) -> None:
    with manifest.locked(place), pytest.raises(SetupError, match="another setup is at work"):
        undo(place, untold)


def test_links_lead_to_no_place_outside_of_the_root(
    root: Path, place: Place, tmp_path: Path
) -> None:
    (root / "etc/mail").symlink_to("/var/lib")
    assert place.real("/etc/mail/x") == root / "var/lib/x"
    (root / "etc/up").symlink_to("../../../../..")
    assert place.real("/etc/up/x") == root / "x"
    (root / "etc/loop").symlink_to("loop")
    with pytest.raises(OSError, match="Too many levels"):
        place.real("/etc/loop/x")


def test_a_link_of_another_user_is_not_followed(root: Path, place: Place) -> None:
    """T44."""
    (root / "etc/mail").symlink_to("/var/lib")
    os.chown(root / "etc/mail", 8900, 8901, follow_symlinks=False)
    builder = Builder(place)
    with pytest.raises(PermissionError, match="link of another user"):
        builder.file("/etc/mail/file", b"x")


@pytest.mark.parametrize(
    "wrong",
    [
        {"mta": ["x"]},
        {"entries": [{"path": "/etc/x", "kind": 5, "inside": "", "wrote": []}]},
        {"entries": [{"path": ["/etc/x"], "kind": "missing", "inside": "", "wrote": []}]},
        {"entries": [{"account": 7, "home": "/", "group": None}]},
        {"entries": [{"act": "x", "do": [[1]], "undo": [[]]}]},
    ],
)
def test_a_manifest_with_wrong_types_is_an_error_and_nothing_is_changed(
    root: Path, place: Place, look: Look, wrong: dict[str, object]
) -> None:
    fill(root)
    carry_through(build(place), place, untold, no_check)
    kept = root / manifest.FOLDER.lstrip("/") / "manifest.json"
    kept.write_text(json.dumps(json.loads(kept.read_text()) | wrong))
    before = look()
    with pytest.raises(SetupError, match="cannot be read"):
        undo(place, untold)
    assert look() == before


def test_the_user_stays_where_a_folder_that_was_there_before_is_its_own(
    root: Path, place: Place
) -> None:
    """systemd gives /var/lib/greylag to the daemon's user. The next user would get its number."""
    builder = Builder(place)
    builder.account("greylag", "/var/lib/greylag")
    carry_through(Plan("test", tuple(builder.steps)), place, untold, no_check)
    ids = place.user("greylag")
    assert ids is not None
    records = root / "var/lib/greylag"
    records.mkdir()
    os.chown(records, *ids)
    told: list[str] = []
    assert undo(place, told.append, purge=True).finished
    assert told == ["the user greylag stays, as it has /var/lib/greylag, which setup did not make"]
    assert place.user("greylag") == ids
    assert records.is_dir()

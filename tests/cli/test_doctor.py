"""`greylag doctor`: its page, its output, what it remembers, and files that nobody should read."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import pytest

from greylag.admin.doctor import CHECKS, changes, diagnose, restrictions, worst
from greylag.admin.doctor.finding import Check, Finding, Level, Problem, warn
from greylag.admin.doctor.place import Place
from greylag.cli.common import Run
from greylag.cli.place import place_of, ran
from tests.admin.setup.conftest import root
from tests.cli import test_setup as setup

__all__ = ["root"]  # a fixture

ROOT = Path(__file__).parents[2]
GREYLAG = Path(sys.executable).parent / "greylag"
DEADLINE = 60  # seconds for a whole run
OK, WARNINGS, ERRORS = 0, 10, 11


def doctor(*arguments: str, **options: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(GREYLAG), "doctor", *arguments],
        capture_output=True,
        text=True,
        timeout=DEADLINE,
        check=False,
        env={"PATH": os.environ["PATH"]},
    )


def codes(told: str) -> dict[str, str]:
    """Return the level of each code."""
    return {one["code"]: one["level"] for one in json.loads(told)["checks"]}


@pytest.fixture
def scratch(tmp_path: Path) -> Path:
    """A root with a qmail home and a database's folder."""
    home = tmp_path / "var/qmail"
    for folder in ("control", "plugins", "bin"):
        (home / folder).mkdir(parents=True)
    (tmp_path / "var/lib/greylag").mkdir(parents=True)
    (tmp_path / "etc/greylag").mkdir(parents=True)
    (tmp_path / "etc/greylag/greylag.toml").write_text('[dns]\nservers = "off"\n')
    (home / "control/smtpplugins").write_text("[rcpt]\nplugins/ifauthskip\nplugins/greylisting\n")
    for name in ("ifauthskip", "greylisting"):
        (home / "plugins" / name).write_text("#!/bin/sh\n# greylag plugin\n")
        (home / "plugins" / name).chmod(0o755)
    tmp_path.chmod(0o755)
    return tmp_path


def test_every_code_has_a_section_and_every_section_a_code() -> None:
    text = (ROOT / "docs/running/doctor.md").read_text()
    assert re.findall(r"^### (\S+)$", text, re.MULTILINE) == [one.code for one in CHECKS]
    assert len({one.code for one in CHECKS}) == len(CHECKS)


def test_what_lies_below_a_folder_is_looked_at_and_named(scratch: Path) -> None:
    (scratch / "var/qmail/control/smtpplugins").write_text("[rcpt]\nplugins/greylisting\n")
    done = doctor("--root", str(scratch), "--json")
    (found,) = [one for one in json.loads(done.stdout)["checks"] if one["level"] != "ok"][:1]
    assert found["code"] == "ifauthskip-missing"
    assert str(scratch) in found["mend"]
    subprocess.run(["/bin/sh", "-c", found["mend"]], check=True)
    assert codes(doctor("--root", str(scratch), "--json").stdout)["ifauthskip-missing"] == "ok"


def test_the_exit_code_tells_warnings_from_errors(scratch: Path) -> None:
    assert doctor("--root", str(scratch)).returncode == OK
    (scratch / "var/qmail/control/smtpplugins").write_text("[rcpt]\nplugins/greylisting\n")
    assert doctor("--root", str(scratch)).returncode == WARNINGS
    (scratch / "var/lib/greylag/greylag.db").write_text("this is no database\n" * 10)
    done = doctor("--root", str(scratch))
    assert done.returncode == ERRORS
    assert re.search(r"^error +db-unusable ", done.stdout, re.MULTILINE)
    assert "\x1b" not in done.stdout  # colours are for terminals


def test_changes_are_told_once_and_their_end_too(scratch: Path) -> None:
    plugin = scratch / "var/qmail/plugins/ifauthskip"
    toml = scratch / "etc/greylag/greylag.toml"
    toml.write_text(toml.read_text() + '[policy]\nretry_window = "10m"\n')
    first = doctor("--root", str(scratch), "--changes")
    assert first.stdout.split()[:2] == ["warn", "delay-window"]
    assert first.returncode == WARNINGS
    again = doctor("--root", str(scratch), "--changes")
    assert (again.stdout, again.stderr, again.returncode) == ("", "", OK)
    plugin.unlink()
    broken = doctor("--root", str(scratch), "--changes")
    assert broken.returncode == ERRORS
    assert broken.stdout.split()[:2] == ["error", "plugin-missing"]
    assert "delay-window" not in broken.stdout
    plugin.write_text("#!/bin/sh\n# greylag plugin\n")
    plugin.chmod(0o755)
    mended = doctor("--root", str(scratch), "--changes")
    assert mended.returncode == OK
    assert mended.stdout.split()[:4] == ["ok", "plugin-missing", "is", "mended:"]
    assert doctor("--root", str(scratch), "--changes").stdout == ""


@pytest.mark.parametrize(
    "kept",
    [
        b"",
        b"[]",
        b"[" * 100_000,
        b'{"problems": [[1], "x", ["a", "b"]]}',
        b"\xff\0",
        b'{"size": []}',
    ],
    ids=range(6),
)
def test_a_foreign_state_is_no_state(scratch: Path, kept: bytes) -> None:
    (scratch / "var/lib/greylag/doctor.json").write_bytes(kept)
    (scratch / "var/qmail/control/smtpplugins").write_text("[rcpt]\nplugins/greylisting\n")
    done = doctor("--root", str(scratch), "--changes")
    assert done.returncode == WARNINGS
    assert done.stderr == ""
    assert doctor("--root", str(scratch), "--changes").stdout == ""


def _fifo(path: Path) -> None:
    os.mkfifo(path)


def _endless(path: Path) -> None:
    with path.open("wb") as file:
        file.truncate(1 << 30)


def _binary(path: Path) -> None:
    path.write_bytes(bytes(range(256)) * 400)


def _folder(path: Path) -> None:
    path.mkdir()


def _loop(path: Path) -> None:
    path.symlink_to(path.name)


LOOKED_AT = (
    "etc/greylag/greylag.toml",
    "etc/passwd",
    "etc/crontab",
    "etc/tcp.smtp",
    "etc/postfix/main.cf",
    "etc/postfix/master.cf",
    "var/qmail/control/smtpplugins",
    "var/qmail/control/greylisting",
    "var/qmail/bin/qmail-smtpd",
    "var/qmail/plugins/greylisting",
    "var/qmail/supervise/qmail-smtpd/run",
    "var/lib/greylag/greylag.db",
    "var/lib/greylag/doctor.json",
    "var/lib/greylag/web-users",
    "run/greylag/greylag.sock",
)


@pytest.mark.parametrize("made", [_fifo, _endless, _binary, _folder, _loop])
def test_whatever_lies_where_it_looks_it_ends_without_a_traceback(scratch: Path, made) -> None:  # type: ignore[no-untyped-def]
    for name in LOOKED_AT:
        path = scratch / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.unlink(missing_ok=True)
        made(path)
    done = doctor("--root", str(scratch), "--changes", "--json")
    assert done.returncode in (WARNINGS, ERRORS), done.stderr
    assert "Traceback" not in done.stderr
    assert "internal" not in done.stderr
    json.loads(done.stdout)


def test_plugins_and_numbers_that_are_none_end_no_check(scratch: Path) -> None:
    """A first line of two characters; and `²`, which is a digit and no number."""
    plugin = scratch / "var/qmail/plugins/greylisting"
    plugin.write_text("#!\n# greylag plugin\n")
    plugin.chmod(0o755)
    run = scratch / "var/qmail/supervise/qmail-smtpd/run"
    run.parent.mkdir(parents=True)
    run.write_text("#!/bin/sh\nMEM=²\nexec softlimit -m ² qmail-smtpd\n")
    user = "qmaild:x:²:10:q:/:/bin/sh\nqmaild:x:10:²:q:/:/bin/sh\n"
    (scratch / "etc/passwd").write_text(user + f"nobody:x:{'9' * 5000}:1:n:/:/bin/sh\n")
    (scratch / "etc/group").write_text("nofiles:x:²:qmaild\n")
    done = doctor("--root", str(scratch), "--json")
    assert "Traceback" not in done.stderr
    found = json.loads(done.stdout)["checks"]
    assert not [one for one in found if "failed" in one.get("text", "")]
    assert [one for one in found if "names no Python in its first line" in one.get("text", "")]


@pytest.mark.parametrize("server", ["qmail", "postfix"])
def test_what_setup_writes_into_a_folder_is_as_it_should_be(root: Path, server: str) -> None:
    {"qmail": setup.qmail, "postfix": setup.postfix}[server](root)
    setup.run(root, server, "--yes")
    told = doctor("--root", str(root), "--json").stdout
    wrong = {code for code, level in codes(told).items() if level not in ("ok", "skipped")}
    assert wrong <= {"resolver"}, told  # a matter of this machine


def test_every_code_is_broken_by_a_test() -> None:
    admin = "admin/test_doctor_store.py", "admin/test_doctor_advice.py"
    files = "cli/test_doctor.py", *admin, "e2e/test_doctor.py"
    texts = "".join((ROOT / "tests" / name).read_text() for name in files)
    assert [one.code for one in CHECKS if f'"{one.code}"' not in texts] == []


def test_a_plugin_that_its_user_cannot_load(scratch: Path) -> None:
    (scratch / "etc/passwd").write_text("vpopmail:x:8900:8901::/:/bin/sh\n")
    package = scratch / "opt/packages/greylag"
    package.mkdir(parents=True)
    (package / "__init__.py").touch()
    path = "import sys\nsys.path.append('/opt/packages')\n"
    plugin = scratch / "var/qmail/plugins/greylisting"
    plugin.write_text(plugin.read_text() + path)
    assert codes(doctor("--root", str(scratch), "--json").stdout)["greylag-closed"] == "ok"
    package.chmod(0o700)
    told = json.loads(doctor("--root", str(scratch), "--json").stdout)
    (found,) = [one for one in told["checks"] if one["code"] == "greylag-closed"]
    subprocess.run(["/bin/sh", "-c", found["mend"]], check=True)
    assert codes(doctor("--root", str(scratch), "--json").stdout)["greylag-closed"] == "ok"


def test_a_mail_server_that_nobody_told_to_ask(scratch: Path) -> None:
    (scratch / "etc/postfix").mkdir()
    (scratch / "etc/postfix/main.cf").write_text("compatibility_level = 3.6\n")
    assert codes(doctor("--root", str(scratch), "--json").stdout)["nobody-asks"] == "ok"  # qmail
    shutil.rmtree(scratch / "var/qmail")
    assert codes(doctor("--root", str(scratch), "--json").stdout)["nobody-asks"] == "warn"


def _place(scratch: Path) -> Place:
    return place_of(Run(), str(scratch), {})


def test_a_check_that_hangs_is_cut_off_and_one_that_fails_is_a_line(
    scratch: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("greylag.admin.doctor._LONGEST", 0.2)

    def hangs(_place: Place) -> Sequence[Problem]:
        time.sleep(DEADLINE)
        return []

    def fails(_place: Place) -> Sequence[Problem]:
        raise RecursionError("deep\ndeeper")

    def good(_place: Place) -> Sequence[Problem]:
        return [warn("found")]

    checks = [Check("a", "", hangs), Check("b", "", fails), Check("c", "", good)]
    found = list(diagnose(_place(scratch), checks))
    assert [one.level for one in found] == [Level.SKIPPED, Level.SKIPPED, Level.WARN]
    assert "RecursionError: deep deeper" in found[1].text
    assert worst(found) is Level.WARN


def test_programs_are_bounded_in_time_and_bytes() -> None:
    assert ran(["/nonexistent"]).status is None
    assert ran(["/bin/sh", "-c", "exit 3"]).status == 3
    assert ran(["/bin/echo", "yes"]).output == "yes\n"
    assert ran(["/bin/cat", "/dev/zero"]).status is None


def test_what_was_skipped_is_not_told_as_mended() -> None:
    problem = Finding("disk", Level.WARN, "full", about="/var")
    kept = changes.read(changes.written([problem], {"size": 1}, {}))
    assert kept["size"] == 1
    skipped = Finding("disk", Level.SKIPPED, "cannot be looked at")
    assert changes.changed([skipped], kept) == []
    again = changes.read(changes.written([skipped], {}, kept))
    assert changes.changed([problem], again) == []
    assert [one.level for one in changes.changed([], again)] == [Level.OK]


@pytest.mark.parametrize(
    ("text", "righted"),
    [
        (
            "check_policy_service inet:127.0.0.1:10023, permit_mynetworks, reject",
            "permit_mynetworks, permit_sasl_authenticated, reject_unlisted_recipient, ASK, reject",
        ),
        (
            "permit_mynetworks reject_rbl_client b.example.org check_client_access hash:/x, permit",
            (
                "permit_mynetworks, reject_rbl_client b.example.org, check_client_access hash:/x, "
                "permit_sasl_authenticated, reject_unlisted_recipient, ASK, permit"
            ),
        ),
        (
            "check_policy_service inet:192.0.2.1:9, permit_mynetworks",
            (
                "check_policy_service inet:192.0.2.1:9, permit_mynetworks, "
                "permit_sasl_authenticated, reject_unlisted_recipient, ASK"
            ),
        ),
        ("", "permit_mynetworks, permit_sasl_authenticated, reject_unlisted_recipient, ASK"),
    ],
)
def test_a_list_is_righted_and_keeps_what_else_it_has(text: str, righted: str) -> None:
    asked = restrictions.service("inet:127.0.0.1:10023")
    steps = restrictions.read(text)
    made = restrictions.righted(steps, asked, at_data=False, unauth=False)
    assert made == righted.replace("ASK", str(asked))
    again = restrictions.righted(restrictions.read(made), asked, at_data=False, unauth=False)
    assert again == made


def test_where_greylisting_is_switched_off_for_a_time_nothing_says_that_it_is_on(
    scratch: Path,
) -> None:
    """It is meant, so it is no warning."""
    database = scratch / "var/lib/greylag/greylag.db"
    toml = scratch / "for-switching.toml"
    toml.write_text(f'[store]\nurl = "sqlite://{database}"\n')
    for words, said in (
        (("off", "--for", "3h"), r"greylisting is off until \S+ \S+ UTC \(in 3h\), switched by "),
        (("observe", "--for", "7d"), r"greylisting only observes until \S+ \S+ UTC \(in 7d\), "),
        (("on",), r"Greylisting is on\.$"),
    ):
        subprocess.run([GREYLAG, "--config", toml, *words], check=True, capture_output=True)
        done = doctor("--root", str(scratch))
        assert re.search(rf"^ok +switched-off +{said}", done.stdout, re.MULTILINE), done.stdout
        assert done.returncode == OK


@pytest.mark.skipif(os.geteuid() != 0, reason="it is run as another user")
def test_who_may_not_see_the_switch_is_not_told_that_greylisting_is_on(scratch: Path) -> None:
    for folder in (scratch, *scratch.parents):
        if not folder.stat().st_mode & 0o001:
            folder.chmod(folder.stat().st_mode | 0o011)
    (scratch / "var/lib/greylag").chmod(0o700)
    words = [str(GREYLAG), "doctor", "--root", str(scratch)]
    done = subprocess.run(
        words, user=65534, capture_output=True, text=True, timeout=DEADLINE, check=False
    )
    told = f"cannot be looked at: {scratch}/var/lib/greylag/greylag.db: Permission denied"
    assert re.search(rf"^skipped +switched-off +{told}$", done.stdout, re.MULTILINE), done.stdout
    assert "Greylisting is on" not in done.stdout
    assert "greylag: run it as root" in done.stderr
    assert "as root" not in doctor("--root", str(scratch)).stderr

"""control/smtpplugins: our lines in it, put in and taken out with nothing else changed."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import Result

from greylag.admin import smtpplugins
from greylag.admin.folder import KEPT
from greylag.cli.main import cli
from greylag.cli.plugins import ONESHOTS, PLUGINS
from tests.cli.runner import runner
from tests.e2e.plugin import BIN, needed

OURS = b"plugins/ifauthskip\nplugins/greylisting\n"


def run(home: Path, command: str, *options: str) -> Result:
    return runner().invoke(cli, ["qmail", command, "--qmail-home", str(home), *options])


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A qmail home on a machine whose run scripts are in a folder of the test's own."""
    monkeypatch.setattr(smtpplugins, "SCRIPTS", (f"{tmp_path}/service/*/run",))
    (tmp_path / "control").mkdir()
    return tmp_path


def lines_of(home: Path) -> bytes:
    return (home / "control" / "smtpplugins").read_bytes()


def write(home: Path, text: bytes) -> None:
    (home / "control" / "smtpplugins").write_bytes(text)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (b"", b"[rcpt]\n" + OURS),
        (b"[rcpt]\n", b"[rcpt]\n" + OURS),
        (b"[mail]\nplugins/x\n", b"[mail]\nplugins/x\n[rcpt]\n" + OURS),
        (b"[rcpt]\nplugins/x\n\n[data]\n", b"[rcpt]\nplugins/x\n" + OURS + b"\n[data]\n"),
        (b"[rcpt]\nplugins/x", b"[rcpt]\nplugins/x\n" + OURS),
        (b"[r]\nplugins/x\n[data]\ny\n", b"[r]\nplugins/x\n" + OURS + b"[data]\ny\n"),
        (b"[rcpt]\nplugins/greylisting\n", b"[rcpt]\n" + OURS),
        (b"[rcpt]\nplugins/ifauthskip\n", b"[rcpt]\n" + OURS),
        (b"[rcpt]\nplugins/skipifauth\n", b"[rcpt]\nplugins/skipifauth\nplugins/greylisting\n"),
        (b"[rcpt]\n" + OURS, b"[rcpt]\n" + OURS),
        (b"[rcpt]\n/var/qmail/plugins/greylisting\n",
         b"[rcpt]\nplugins/ifauthskip\n/var/qmail/plugins/greylisting\n"),
        (b"# plugins/greylisting\n", b"# plugins/greylisting\n[rcpt]\n" + OURS),
    ],
)  # fmt: skip
def test_our_lines_are_added_at_the_end_of_rcpt(before: bytes, after: bytes) -> None:
    home = Path("/var/qmail")
    assert smtpplugins.with_ours(before, home) == after
    assert smtpplugins.with_ours(after, home) == after


def test_install_tells_the_lines_and_edit_writes_them(home: Path) -> None:
    told = run(home, "install").output
    assert f"Now name them in {home}/control/smtpplugins (--edit does that):" in told
    assert "[rcpt]\nplugins/ifauthskip\nplugins/greylisting\n" in told
    assert not (home / "control" / "smtpplugins").exists()
    assert "names the plugins now" in run(home, "install", "--edit").output
    assert lines_of(home) == b"[rcpt]\n" + OURS
    assert "smtpplugins: names the plugins\n" in run(home, "install").output


def test_uninstall_takes_out_our_lines_and_no_others(home: Path) -> None:
    """A line that names a missing program has qmail-spp answer 451 to every recipient."""
    write(home, b"# mine\n[rcpt]\nplugins/other\nplugins/skipifauth\nplugins/greylisting\n[data]\n")
    run(home, "install")
    result = run(home, "uninstall")
    assert result.exit_code == 0
    assert lines_of(home) == b"# mine\n[rcpt]\nplugins/other\n[data]\n"
    assert list((home / "plugins").iterdir()) == []
    assert "our lines are taken out" in result.output


@pytest.mark.parametrize("before", [b"[rcpt]\nplugins/x", b"# none\n", b"[data]\nplugins/y\n\n"])
def test_what_edit_changed_is_restored_byte_for_byte(home: Path, before: bytes) -> None:
    write(home, before)
    run(home, "install", "--edit")
    assert b"plugins/greylisting" in lines_of(home)
    assert run(home, "uninstall").exit_code == 0
    assert lines_of(home) == before
    assert [path.name for path in (home / "control").iterdir()] == ["smtpplugins"]


def test_a_line_that_was_there_by_hand_goes_with_its_program_p19(home: Path) -> None:
    """A line that names a missing program has qmail-spp answer 451 to every recipient."""
    write(home, b"[rcpt]\nplugins/greylisting\nplugins/x\n")
    run(home, "install", "--edit")
    assert run(home, "uninstall").exit_code == 0
    assert lines_of(home) == b"[rcpt]\nplugins/x\n"


@pytest.mark.parametrize("line", ["plugins//greylisting", ":plugins/greylisting", "{link}"])
def test_a_line_that_is_spelt_otherwise_stops_it_p19(home: Path, line: str, tmp_path: Path) -> None:
    link = tmp_path / "link"
    link.symlink_to(home)
    text = line.format(link=link / "plugins" / "greylisting").encode()
    write(home, b"[rcpt]\n" + text + b"\n")
    run(home, "install")
    result = run(home, "uninstall")
    assert result.exit_code == 1
    assert "smtpplugins:2: " + text.decode() in result.stderr
    assert (home / "plugins" / "greylisting").exists()


def test_lines_of_programs_that_come_back_stay(home: Path) -> None:
    """The old plugin is restored, so the line that names it is right again."""
    (home / "plugins").mkdir()
    (home / "plugins" / "greylisting").write_text("#!/bin/sh\n")
    write(home, b"[rcpt]\n" + OURS)
    run(home, "install")
    run(home, "uninstall")
    assert lines_of(home) == b"[rcpt]\nplugins/greylisting\n"
    assert [path.name for path in (home / "plugins").iterdir()] == ["greylisting"]


@pytest.mark.parametrize(
    ("place", "line"),
    [
        ("service/smtpd/run", "exec tcpserver 0 25 plugins/jgreylist bin/qmail-smtpd"),
        ("service/smtpd/run", "exec tcpserver 0 25 /var/qmail/plugins/jgreylist qmail-smtpd 2>&1"),
        ("control/smtpplugins.submission", "plugins/greylisting"),
        ("control/smtpplugins.submission", ":plugins/greylisting --x"),
    ],
)
def test_uninstall_refuses_while_something_else_runs_a_plugin(
    home: Path, place: str, line: str
) -> None:
    run(home, "install", "--edit")
    (home / place).parent.mkdir(parents=True, exist_ok=True)
    (home / place).write_text(f"#!/bin/sh\n{line}\n")
    before = sorted((home / "plugins").iterdir())
    result = run(home, "uninstall")
    assert result.exit_code == 1
    assert f"greylag:   {home}/{place}:2: {line}" in result.stderr.splitlines()
    assert result.stderr.splitlines()[-1] == (
        "greylag: take these lines out and run this again, or give --force"
    )
    assert max(map(len, result.stderr.replace(f"{home}/{place}:2: {line}", "").split("\n"))) < 80
    assert sorted((home / "plugins").iterdir()) == before
    assert lines_of(home) == b"[rcpt]\n" + OURS
    assert run(home, "uninstall", "--force").exit_code == 0
    assert list((home / "plugins").iterdir()) == []


def test_what_only_looks_like_us_does_not_stop_it(home: Path) -> None:
    run(home, "install")
    (home / "service" / "smtpd").mkdir(parents=True)
    (home / "service" / "smtpd" / "run").write_text(
        "#!/bin/sh\n# plugins/jgreylist\nexec plugins/jgreylist.sh\nmyplugins/greylisting\n"
    )
    assert run(home, "uninstall").exit_code == 0


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can be another user")
@pytest.mark.parametrize("closed", ["plugins", "control"])
def test_without_the_right_to_write_nothing_is_done_or_told_as_done(
    home: Path, closed: str
) -> None:
    run(home, "install", "--edit")
    for parent in (home, *home.parents):
        if parent.stat().st_uid == 0 and str(parent) not in ("/", "/tmp"):
            parent.chmod(0o755)
    for folder in ("plugins", "control"):
        os.chown(home / folder, 65534, 65534)
    (home / closed).chmod(0o555)
    before = sorted(path.name for path in home.rglob("*"))
    done = subprocess.run(
        ["/usr/bin/python3", "-I", "-c", UNINSTALL, str(Path(smtpplugins.__file__).parents[2]),
         str(home)],
        user=65534, group=65534, extra_groups=[], capture_output=True, text=True, timeout=30,
        check=False,
    )  # fmt: skip
    assert done.returncode == 1
    assert done.stdout == ""
    assert done.stderr == f"Error: {home / closed}: Permission denied\n"
    assert sorted(path.name for path in home.rglob("*")) == before
    assert lines_of(home) == b"[rcpt]\n" + OURS


UNINSTALL = """import sys
sys.path.append(sys.argv[1])
from greylag.admin import smtpplugins
smtpplugins.SCRIPTS = ()
from greylag.cli.qmail import qmail
qmail(["uninstall", "--qmail-home", sys.argv[2]])"""


def test_programs_stay_for_sessions_that_have_read_our_lines(home: Path) -> None:
    """P19: a qmail-smtpd that runs goes on calling what smtpplugins named when it started."""
    run(home, "install", "--edit")
    smtpd = home / "qmail-smtpd"
    smtpd.write_text("#!/bin/sh\nread end\n")
    smtpd.chmod(0o755)
    with subprocess.Popen([smtpd], cwd=home, stdin=subprocess.PIPE) as session:
        while (Path("/proc") / str(session.pid) / "comm").read_text() != "qmail-smtpd\n":
            pass
        result = run(home, "uninstall")
        assert result.exit_code == 1
        assert "our lines are taken out" in result.output
        assert f"greylag: process {session.pid} (qmail-smtpd)" in result.stderr
        assert result.stderr.splitlines()[-1] == (
            "greylag: run this again when they have ended, or give --force"
        )
        assert b"greylisting" not in lines_of(home)
        assert sorted(path.name for path in (home / "plugins").iterdir()) == sorted(PLUGINS)
    assert run(home, "uninstall").exit_code == 0
    assert list((home / "plugins").iterdir()) == []


NAMED = """import ctypes, sys
ctypes.CDLL(None).prctl(15, b"\\xff) \\xfe", 0, 0, 0)  # PR_SET_NAME
print(flush=True)
sys.stdin.read()"""


def test_a_process_with_a_strange_name_does_not_stop_uninstall_t44(home: Path) -> None:
    """T44: any user of the machine chooses the names of his processes."""
    run(home, "install", "--edit")
    pipe = subprocess.PIPE
    with subprocess.Popen([sys.executable, "-c", NAMED], stdin=pipe, stdout=pipe) as strange:
        assert strange.stdout is not None
        strange.stdout.readline()
        result = run(home, "uninstall")
        strange.communicate()
    assert result.exit_code == 0, result.output
    assert list((home / "plugins").iterdir()) == []


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root")
def test_a_control_file_that_has_to_be_waited_for_is_passed_over_t44(home: Path) -> None:
    """T44: a link to the kernel's messages, which are a file without an end."""
    run(home, "install", "--edit")
    (home / "control" / "planted").symlink_to("/proc/kmsg")
    command = [
        sys.executable,
        "-c",
        UNINSTALL,
        str(Path(smtpplugins.__file__).parents[2]),
        str(home),
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=20, check=False)
    assert done.returncode == 0, done.stderr


def test_an_upgrade_keeps_the_kind_that_is_there(home: Path) -> None:
    needed("cc", "gcc")
    greylag: list[str | Path] = [BIN / "greylag", "qmail", "install", "--qmail-home", home]

    def install(*options: str) -> bool:
        subprocess.run([*greylag, *options], check=True, capture_output=True, timeout=120)
        return (home / "plugins" / "greylisting").read_bytes().startswith(b"\x7fELF")

    assert not install()
    assert install("--native")
    assert install()
    assert (home / "plugins" / ONESHOTS["greylisting"]).exists()
    assert not install("--python")
    assert not install()
    assert not (home / "plugins" / f"greylisting{KEPT}").exists()


def leads_in_a_circle(path: Path) -> None:
    path.symlink_to(path.name)


def leads_nowhere(path: Path) -> None:
    path.symlink_to("nothing")


def is_too_large(path: Path) -> None:
    with path.open("wb") as file:
        file.truncate(1 << 40)


ODD = {
    leads_in_a_circle: "Too many levels of symbolic links",
    leads_nowhere: "No such file or directory",
    Path.mkdir: "expected a plain file",
    os.mkfifo: "expected a plain file",
    is_too_large: "expected a file of at most 1 MiB",
}


def all_of(home: Path) -> dict[str, tuple[int, bytes]]:
    """Return the kind and the content of everything in a home."""
    found = {}
    for path in sorted(home.rglob("*")):
        mode = path.lstat().st_mode
        small = stat.S_ISREG(mode) and path.lstat().st_size < 1 << 20
        found[str(path)] = mode, path.read_bytes() if small else b""
    return found


@pytest.mark.parametrize("words", ["install", "install --edit", "uninstall", "uninstall --force"])
@pytest.mark.parametrize("make", ODD, ids=lambda make: make.__name__)
def test_lines_that_cannot_be_read_are_one_error_and_nothing_is_done_t44(
    home: Path, make: Callable[[Path], None], words: str
) -> None:
    """T44: without its lines taken out, a removed plugin has every recipient refused."""
    if words.startswith("uninstall"):
        run(home, "install")
    make(home / "control" / "smtpplugins")
    before = all_of(home)
    result = run(home, *words.split())
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr == f"greylag: {home}/control/smtpplugins: {ODD[make]}\n"
    assert all_of(home) == before


@pytest.mark.parametrize(
    ("words", "lines", "error"),
    [
        ("install --edit", b"[rcpt]\nplugins/other\n", "add the lines to"),
        ("uninstall", b"[rcpt]\n" + OURS, "take our lines out of"),
    ],
)
def test_lines_behind_a_link_are_read_and_left_to_the_admin_t44(
    home: Path, words: str, lines: bytes, error: str
) -> None:
    """qmail-spp follows the link; whose the file is that it leads to, we do not know."""
    if words == "uninstall":
        run(home, "install")
    (home / "elsewhere").write_bytes(lines)
    (home / "control" / "smtpplugins").symlink_to(home / "elsewhere")
    before = all_of(home)
    result = run(home, *words.split())
    assert (result.exit_code, result.stdout) == (1, "")
    where = f"{home}/control/smtpplugins"
    assert result.stderr == f"greylag: {where}: is a link: {error} the file that it leads to\n"
    assert all_of(home) == before
    (home / "elsewhere").write_bytes(b"[rcpt]\n" + (OURS if "install --" in words else b""))
    assert run(home, *words.split()).exit_code == 0
    assert (home / "control" / "smtpplugins").is_symlink()


@pytest.mark.parametrize("words", ["install --old-names --edit", "uninstall"])
@pytest.mark.parametrize("place", ["control", "bin", "sbin"])
def test_a_folder_that_leads_in_a_circle_is_an_error_before_anything_is_done(
    home: Path, place: str, words: str
) -> None:
    if words == "uninstall":
        run(home, "install")
    if place == "control":
        (home / place).rmdir()
    leads_in_a_circle(home / place)
    before = all_of(home)
    result = run(home, *words.split(), "--sbin", str(home / "sbin"))
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr == f"greylag: {home}/{place}: Too many levels of symbolic links\n"
    assert all_of(home) == before

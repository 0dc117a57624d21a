"""The installed `greylag` as a process: pipes, terminals, signals."""

from __future__ import annotations

import os
import pty
import re
import signal
import subprocess
import sys
from pathlib import Path
from select import select
from time import monotonic, sleep, time

import pytest

from greylag.core.triplet import Triplet
from tests.cli.conftest import EVIL, FORBIDDEN, NETWORK, Greylag

PROGRAM = Path(sys.executable).parent / "greylag"
LONG_AGO = 1_700_000_000  # long over


def run(
    *arguments: str, environ: dict[str, str] | None = None, stdin: str = ""
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [PROGRAM, *arguments],
        env=os.environ | (environ or {}),
        input=stdin,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


def on_a_terminal(
    *arguments: str, typed: bytes = b"", program: Path | str = PROGRAM, **environ: str
) -> tuple[int, str]:
    """Run with a terminal on all three descriptors; return exit code and what it showed.

    What is typed is typed again while nothing happens: an interrupt may come in the moment
    between Python's last look and its read, and wait there.
    """
    pid, handle = pty.fork()
    if not pid:
        os.execve(program, [str(program), *arguments], {**os.environ, "TERM": "xterm", **environ})
    shown, until = b"", monotonic() + 60
    try:
        while monotonic() < until:
            if not select([handle], [], [], 0.3)[0]:
                if typed and shown.rstrip().endswith(b"[y/N]:"):
                    os.write(handle, typed)
            elif chunk := os.read(handle, 65536):
                shown += chunk
            else:
                break
    except OSError:  # Linux: the other side is closed
        pass
    os.close(handle)  # hangs up, should it still run
    _, status = os.waitpid(pid, 0)
    return os.waitstatus_to_exitcode(status), shown.decode()


# What rich itself writes: colours, and a bar that is drawn again. Those of the rows are others.
OF_RICH = re.compile(r"\x1b\[(?:\?25[hl]|2K|1A|[01]m|[39][0-7]m)")


@pytest.mark.parametrize(
    ("columns", "encoding"), [("20", "utf-8"), ("80", "ascii"), ("400", "utf-8")]
)
def test_hostile_content_in_tables_that_are_folded_to_a_terminal_t46(
    greylag: Greylag, columns: str, encoding: str
) -> None:
    """Rows that no greylag wrote, in the tables of rich: no control character but its own."""
    evil = f"{EVIL}\x1b[5;41m" + "\U0001f469\u200d" * 30 + "e\u0301" * 30 + "\u4e00" * 30
    greylag.remember(Triplet(NETWORK, "a@example.org", "b@example.net"))
    assert greylag.run("allow", "add", "example.net").exit_code == 0
    greylag.sql("UPDATE records SET sender = ?, recipient = ?", (evil, evil))
    greylag.sql("UPDATE entries SET comment = ?, name = ?, origin = ?", (evil, evil, evil))
    greylag.sql("INSERT INTO figures VALUES (?, ?, 7)", (int(time()), f"pass:{evil}"))
    for command in (("search",), ("allow", "list", "--all"), ("stats", "--by-hour")):
        code, shown = on_a_terminal(*command, COLUMNS=columns, PYTHONIOENCODING=encoding)
        assert code == 0, shown
        shown = OF_RICH.sub("", shown)
        assert not FORBIDDEN - {"\r"} & set(shown), (command, shown)
        assert "Traceback" not in shown
        assert "\\x1b[2J" in shown or columns == "20"


def test_the_whole_way(greylag: Greylag) -> None:
    assert run("check", "192.0.2.1", "user@example.org", "info@example.net").returncode == 10
    assert run("deny", "import", "-", stdin="192.0.2.0/24 abuse\n").returncode == 0
    found = run("check", "192.0.2.1", "user@example.org", "info@example.net")
    assert (found.returncode, found.stderr) == (11, "")
    assert "  comment       abuse\n" in found.stdout
    assert run("frob").returncode == 2


def test_a_missing_configuration(greylag: Greylag) -> None:
    result = run("stats", environ={"GREYLAG_CONFIG": "/nonexistent/greylag.toml"})
    assert result.returncode == 78
    assert result.stderr == (
        "greylag: /nonexistent/greylag.toml: no such file (named by GREYLAG_CONFIG or --config)\n"
    )


def test_odd_bytes_in_arguments(greylag: Greylag) -> None:
    command = [
        os.fsencode(PROGRAM),
        b"check",
        b"192.0.2.1",
        b"\xff\x1b@example.org",
        b"\xe9@example.net",
    ]
    result = subprocess.run(command, capture_output=True, check=False, timeout=60)
    assert result.returncode == 10
    assert b"sender          \\xff\\x1b@example.org\n" in result.stdout


def test_an_early_end_of_the_reader_is_quiet(greylag: Greylag) -> None:
    greylag.remember(*(Triplet(NETWORK, f"s{n}@example.org", "x") for n in range(5000)))
    with subprocess.Popen(
        [PROGRAM, "search", "--limit", "5000"], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.readline()
        process.stdout.close()
        assert process.stderr.read() == b""
    assert process.returncode == 141


def test_a_full_disk_is_told(greylag: Greylag) -> None:
    with open("/dev/full", "wb") as full:
        result = subprocess.run(
            [PROGRAM, "config"], stdout=full, stderr=subprocess.PIPE, check=False
        )
    assert (result.returncode, result.stderr) == (74, b"greylag: output: No space left on device\n")


def test_an_interrupt_is_one_line(greylag: Greylag) -> None:
    with subprocess.Popen(
        [PROGRAM, "deny", "import", "-"], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        stderr=subprocess.PIPE, env={**os.environ, "PYTHONUNBUFFERED": "1"},
    ) as process:  # fmt: skip
        wait_until_it_reads(process.pid)
        process.send_signal(signal.SIGINT)
        _, told = process.communicate(timeout=30)
    assert (process.returncode, told.strip()) == (130, b"greylag: interrupted")


def wait_until_it_reads(pid: int) -> None:
    """Wait until the process waits for its stdin, which is descriptor 0 of a read(2)."""
    until = monotonic() + 30
    while monotonic() < until:
        call = Path(f"/proc/{pid}/syscall").read_text().split()
        if call[:2] == ["0", "0x0"]:
            return
        sleep(0.01)
    pytest.fail("it never read its stdin")


def test_no_colour_in_a_pipe_or_with_no_color(greylag: Greylag) -> None:
    """T12, also where FORCE_COLOR asks for it: a pipe is no terminal."""
    greylag.run("allow", "add", "example.org", "--comment", EVIL)
    forced = {"FORCE_COLOR": "1", "CLICOLOR_FORCE": "1", "TTY_COMPATIBLE": "1"}
    for arguments in (("allow", "list"), ("config",), ("--help",), ("frob",)):
        result = run(*arguments, environ=forced)
        assert "\x1b" not in result.stdout + result.stderr
    assert "\x1b" not in on_a_terminal("allow", "list", NO_COLOR="1")[1]


def test_tables_on_a_terminal(greylag: Greylag) -> None:
    """T12, CVE-2009-4487, on the way through rich: styles are ours, data cannot bring its own."""
    greylag.run("allow", "add", "192.0.2.0/24", "--comment", f"\x1b[5m[red]{EVIL}")
    code, shown = on_a_terminal("allow", "list")
    bare = shown.replace("\x1b[1m", "").replace("\x1b[0m", "")
    assert code == 0
    assert not set(bare) & {"\x1b", "\x07", "\u202e", "\x9b"}
    flat = "".join(bare.split())
    assert "\\x1b[5m[red]\\x1b[2J" in flat
    assert "[boldred]markup[/]" in flat


@pytest.mark.parametrize(
    ("typed", "code", "left"), [(b"y\n", 0, 0), (b"n\n", 1, 7), (b"\x03", 130, 7)]
)
def test_forget_asks_on_a_terminal(greylag: Greylag, typed: bytes, code: int, left: int) -> None:
    greylag.remember(*(Triplet(NETWORK, f"s{n}@example.org", "x") for n in range(7)))
    ended, shown = on_a_terminal("forget", "--sender", "example.org", typed=typed, NO_COLOR="1")
    assert (ended, len(greylag.keys())) == (code, left)
    assert "192.0.2.0/24 s4@example.org x\r\n  ... and 2 more\r\nForget 7 records? [y/N]" in shown


def test_a_progress_bar_is_for_terminals_alone(greylag: Greylag) -> None:
    many = [Triplet(NETWORK, f"s{n}@example.org", "x") for n in range(6000)]
    greylag.remember(*many, first_seen=LONG_AGO)
    greylag.remember(Triplet(NETWORK, "young@example.org", "x"), first_seen=int(time()))
    code, shown = on_a_terminal("expire", NO_COLOR="1")
    assert code == 0
    assert "never came back  6000" in shown
    greylag.remember(*many, first_seen=LONG_AGO)
    assert run("expire").stderr == ""


# Long work on a clock of its own, which each item moves on.
WORK = """
import sys
from greylag.cli import output
count, seconds, total = int(sys.argv[1]), float(sys.argv[2]), sys.argv[3] == "known"
now = 0.0
output.monotonic = lambda: now
for item in output.progress(range(count), count if total else None, "storing", 10):
    now += seconds
print("done")
"""


@pytest.mark.parametrize(
    ("count", "seconds", "total", "bar"),
    [
        ("9", "0.1", "known", False),  # 0.9 seconds
        ("90000", "0.00001", "known", False),  # as short, with many items
        ("100", "0.1", "known", True),
        ("100", "0.1", "unknown", True),
        ("3", "60", "known", True),
    ],
)
def test_a_progress_bar_comes_after_a_second_and_tells_how_fast_and_how_long(
    count: str, seconds: str, total: str, bar: bool
) -> None:
    words = ["-c", WORK, count, seconds, total]
    code, shown = on_a_terminal(*words, program=sys.executable, COLUMNS="100", NO_COLOR="1")
    assert code == 0, shown
    assert "done" in shown
    assert ("storing" in shown) == bar
    assert ("100 rows/s" in shown) == (bar and count == "100")
    assert ("left" in shown) == (bar and total == "known")
    piped = subprocess.run([sys.executable, *words], capture_output=True, text=True, check=True)
    assert (piped.stdout, piped.stderr) == ("done\n", "")


def test_a_narrow_locale_cannot_make_output_fail(greylag: Greylag) -> None:
    greylag.run("allow", "add", "example.org", "--comment", "Grüße")
    result = run("allow", "list", environ={"PYTHONIOENCODING": "ascii"})
    assert (result.returncode, "Gr\\xfc\\xdfe" in result.stdout) == (0, True)


def test_an_environment_of_odd_bytes(greylag: Greylag) -> None:
    """T23."""
    environ = {**os.environb, b"GLCONFIGFILE": b"\xff\x1b", b"GLBLOCKEXPIRE": b"\xff"}
    result = subprocess.run([PROGRAM, "config"], env=environ, capture_output=True, check=False)
    assert result.returncode == 0, "a number is read as the old plugin reads it"
    assert b"GLBLOCKEXPIRE" in result.stderr
    shown = result.stdout + result.stderr
    assert shown.isascii()
    assert b"\x1b" not in shown


@pytest.mark.parametrize("columns", [60, 80])
def test_a_narrow_terminal_shows_addresses_in_one_piece(greylag: Greylag, columns: int) -> None:
    sender = "newsletter-return-1234@bulk.mail.example.org"
    greylag.remember(Triplet(NETWORK, sender, "info@example.net"))
    _, shown = on_a_terminal("search", COLUMNS=str(columns))
    lines = shown.replace("\r", "").splitlines()
    assert f"sender          {sender}" in lines
    assert "recipient       info@example.net" in lines
    names = ["client", "sender", "recipient", "first", "state", "deferred", "let"]
    assert [re.sub(r"\x1b\[.*?[A-Za-z]", "", line).split()[0] for line in lines[-7:]] == names
    _, shown = on_a_terminal("search", COLUMNS="200")
    assert sender in shown.splitlines()[-1]
    assert "192.0.2.0/24" in shown.splitlines()[-1]


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
@pytest.mark.parametrize(
    ("words", "code"),
    [
        ("stats", 0),
        ("search", 1),
        ("allow add 192.0.2.9", 0),
        ("deny add example.net", 1),
        ("allow import -", (0, 66)),
        ("config --example", 0),
        ("frobnicate", 2),
    ],
)
def test_a_stream_that_is_closed_is_as_if_it_were_dev_null(
    tmp_path: Path, closed: str, words: str, code: int | tuple[int, ...]
) -> None:
    """Some crons and run scripts start programs without one of the three."""
    config = tmp_path / "greylag.toml"
    config.write_text(f'store.url = "sqlite://{tmp_path}/greylag.db"\n')
    done = subprocess.run(
        ["/bin/sh", "-c", f'exec "$0" "$@" {closed}', PROGRAM, *words.split()],
        env={**os.environ, "GREYLAG_CONFIG": str(config)},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode in (code if isinstance(code, tuple) else (code,)), done.stderr
    assert "internal error" not in done.stderr


@pytest.mark.parametrize("words", ["--help", "--version", "search --help"])
def test_a_help_text_that_cannot_be_written_is_told_in_one_line(words: str) -> None:
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [PROGRAM, *words.split()],
            env={k: v for k, v in os.environ.items() if k != "PYTHONUNBUFFERED"},
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
            timeout=60,
        )
    wanted = (74, "greylag: output: No space left on device\n")
    assert (done.returncode, done.stderr) == wanted

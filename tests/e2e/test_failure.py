"""A store that cannot be used: the path is said, the mail is let in, and all is well afterwards."""

from __future__ import annotations

import contextlib
import os
import shutil
import sqlite3
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from tests.e2e.plugin import BIN, Plugin, held, needed

UNPRIVILEGED = ("setpriv", "--bounding-set=-dac_override,-dac_read_search")


def unwritable(plugin: Plugin) -> tuple[str, ...]:
    """Even root, who may write anything, is without that power in the process under test."""
    plugin.run(SMTPRCPTTO="other@example.net")
    plugin.database.chmod(0o400)
    if os.geteuid() != 0:
        return ()
    return (needed("setpriv", "util-linux"), *UNPRIVILEGED[1:])


def not_a_database(plugin: Plugin) -> tuple[str, ...]:
    plugin.database.write_bytes(b"\xa5" * 8192)
    return ()


def a_folder(plugin: Plugin) -> tuple[str, ...]:
    plugin.database.mkdir()
    return ()


def no_folder(plugin: Plugin) -> tuple[str, ...]:
    plugin.write_toml(f'[store]\nurl = "sqlite://{plugin.database}/x/greylag.db"\n')
    return ()


def full(plugin: Plugin) -> tuple[str, ...]:
    """No file may grow: what a full disk looks like to SQLite."""
    plugin.run(SMTPRCPTTO="other@example.net")
    return ("prlimit", "--fsize=4096")


@pytest.mark.parametrize("on_failure", ["pass", "defer"])
@pytest.mark.parametrize("break_it", [unwritable, not_a_database, a_folder, no_folder, full])
def test_a_store_that_cannot_be_used(
    plugin: Plugin, break_it: Callable[[Plugin], tuple[str, ...]], on_failure: str
) -> None:
    wrapper = break_it(plugin)
    with (plugin.home / "greylag.toml").open("a") as file:
        file.write(f'on_failure = "{on_failure}"\n')
    answer = plugin.run(*wrapper)
    assert answer.code == 0
    assert (answer.output == b"") is (on_failure == "pass")
    assert answer.deferred is (on_failure == "defer")
    error, verdict = answer.log.splitlines()
    assert error.startswith("greylisting: level=error reason=store-unavailable error=")
    assert str(plugin.database) in error
    assert f"verdict={on_failure} reason=store-unavailable" in verdict


@contextmanager
def small_disk(place: Path, size: str = "256k") -> Iterator[Path]:
    place.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={size}", "greylag-test", str(place)]
    if os.geteuid() != 0 or subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("only root may mount a small disk")
    try:
        yield place
    finally:
        subprocess.run(["umount", str(place)], check=True)


def fill(path: Path) -> None:
    """Write until the disk is full."""
    with path.open("wb", buffering=0) as file, contextlib.suppress(OSError):
        while file.write(bytes(4096)):
            pass


def test_a_disk_that_is_really_full(plugin: Plugin) -> None:
    with small_disk(plugin.home / "disk") as disk:
        database = disk / "greylag.db"
        plugin.write_toml(f'[store]\nurl = "sqlite://{database}"\n')
        assert plugin.run().deferred
        fill(disk / "ballast")
        answer = plugin.run(SMTPRCPTTO="c@example.net")
        assert (answer.output, answer.code) == (b"", 0)
        assert f"{database}: " in answer.log
        (disk / "ballast").unlink()
        assert plugin.run(SMTPRCPTTO="c@example.net").deferred
        assert "reason=early" in plugin.run().log


def test_a_database_that_stays_locked_lets_in_within_the_budget_t7(plugin: Plugin) -> None:
    plugin.run()
    with closing(sqlite3.connect(plugin.database, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        began = time.monotonic()
        answer = plugin.run()
        took = time.monotonic() - began
    assert (answer.output, answer.code) == (b"", 0)
    assert f"{plugin.database}: database is locked" in answer.log
    assert 3 < took < 10  # 4 s by default, and a loaded machine
    assert plugin.run().deferred


def test_a_plugin_that_hangs_lets_in_when_its_budget_is_used_up(plugin: Plugin) -> None:
    """Whatever it hangs in: here in opening the database, as on a file server that is away."""
    assert plugin.run().deferred
    with held(plugin.database):
        began = time.monotonic()
        answer = plugin.run()
        took = time.monotonic() - began
    assert (answer.output, answer.code) == (b"", 0)
    assert 'reason=store-unavailable error="no answer within 5 s"' in answer.log
    assert 4.9 < took < 15


def test_output_that_nobody_takes_is_no_crash(plugin: Plugin) -> None:
    """The host may be gone: exit code 0, no traceback, and the record is there."""
    script = 'exec "$0" 0<&- 1>&- 2>&-'
    done = subprocess.run(
        ["/bin/sh", "-c", script, str(plugin.program)],
        env=plugin.variables({}),
        cwd=plugin.home,
        check=False,
        timeout=30,
    )
    assert done.returncode == 0
    assert "reason=early" in plugin.run().log


def test_closed_descriptors_do_not_become_the_database(plugin: Plugin) -> None:
    """With 0, 1 and 2 closed, the first file opened would get them, and log lines go into it."""
    script = 'exec "$0" 0<&- 1>&- 2>&-'
    for number in range(3):
        subprocess.run(
            ["/bin/sh", "-c", script, str(plugin.program)],
            env=plugin.variables({"SMTPRCPTTO": f"r{number}@example.net"}),
            cwd=plugin.home,
            check=True,
            timeout=30,
        )
    with closing(sqlite3.connect(plugin.database)) as db:
        assert db.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        assert db.execute("SELECT count(*) FROM records").fetchone() == (3,)


def test_the_tools_of_these_tests_are_there() -> None:
    for command in ("prlimit", "setpriv", "mount"):
        assert shutil.which(command)


@pytest.mark.parametrize("megabytes", [64, 1000])
def test_softlimit_does_not_stop_it(plugin: Plugin, megabytes: int) -> None:
    """softlimit -m limits stack, data and address space alike, as most run scripts do."""
    limit = megabytes * 1024 * 1024
    wrapper = ("prlimit", f"--as={limit}", f"--stack={limit}", f"--data={limit}")
    answer = plugin.run(*wrapper)
    assert answer.deferred, answer.log
    assert "reason=new" in answer.log


def run_main(plugin: Plugin, before: str) -> subprocess.CompletedProcess[bytes]:
    """Run the plugin's main in an interpreter in which something was broken first."""
    return subprocess.run(
        [
            BIN / "python",
            "-I",
            "-c",
            before + "from greylag.plugin.greylisting import main\nmain()\n",
        ],
        env=plugin.variables({}),
        cwd=plugin.home,
        capture_output=True,
        timeout=30,
        check=True,
    )


def test_without_threads_it_goes_on_without_a_watch(plugin: Plugin) -> None:
    code = "import _thread\ndef no(*a): raise RuntimeError('no')\n_thread.start_new_thread = no\n"
    done = run_main(plugin, code)
    assert done.stdout.startswith(b"E451")
    assert b"cannot limit the time of this answer" in done.stderr


def test_a_log_that_nobody_reads_holds_nobody(plugin: Plugin) -> None:
    """A stopped multilog: the pipe is full, and a write to it would wait for ever."""
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    with contextlib.suppress(BlockingIOError):
        while os.write(writing, bytes(4096)):
            pass
    os.set_blocking(writing, True)
    try:
        done = subprocess.run(
            [plugin.program],
            env=plugin.variables({}),
            cwd=plugin.home,
            stdout=subprocess.PIPE,
            stderr=writing,
            timeout=20,
            check=True,
        )
    finally:
        os.close(reading)
        os.close(writing)
    assert done.stdout.startswith(b"E451")


def test_when_the_time_is_over_the_configured_answer_is_given(plugin: Plugin) -> None:
    """A store that hangs for longer than any of its own waits: `on_failure` still decides."""
    code = "import time, greylag.store\ngreylag.store.open_store = lambda *a, **k: time.sleep(60)\n"
    with (plugin.home / "greylag.toml").open("a") as file:
        file.write('on_failure = "defer"\n')
    done = run_main(plugin, code)
    assert done.stdout.startswith(b"E451")
    assert b"no answer within 5 s" in done.stderr


def test_a_failure_of_our_own_is_said_and_lets_in(plugin: Plugin) -> None:
    code = "import greylag.core.engine\ngreylag.core.engine.precheck = lambda *a: 1 / 0\n"
    done = run_main(plugin, code)
    assert done.stdout == b""
    assert b'level=fatal reason=internal-error error="ZeroDivisionError' in done.stderr


def test_evidence_is_gathered_for_a_first_contact_and_within_the_budget(plugin: Plugin) -> None:
    code = (
        "import sys, greylag.app.dns\n"
        "def gather(question, kinds, seconds):\n"
        "    assert 0 < seconds <= 0.8\n"
        "    print('asked', *kinds, file=sys.stderr, flush=True)\n"
        "    return {}\n"
        "greylag.app.dns.gather_of = lambda *_: gather\n"
    )
    plugin.write_toml('[dns]\nservers = ["127.0.0.1"]\n')
    first, early = run_main(plugin, code), run_main(plugin, code)
    assert first.stdout.startswith(b"E451")
    assert b"asked Kind." in first.stderr
    assert early.stdout.startswith(b"E451")
    assert b"asked" not in early.stderr


def test_plugins_get_their_turn_while_records_are_forgotten(plugin: Plugin) -> None:
    """`greylag expire` on many records: nobody is let in because the database is locked."""
    plugin.run()
    with closing(sqlite3.connect(plugin.database)) as db, db:
        rows = [(0, b"\x0a\0\0\0", f"s{n}@example.org", "x", 1, 2, 3, 1, 0) for n in range(40_000)]
        db.executemany("INSERT INTO records VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)", rows)
    command = [str(BIN / "greylag"), "--config", str(plugin.home / "greylag.toml"), "expire"]
    expiring = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    asked = 0
    while expiring.poll() is None:
        answer = plugin.run(SMTPRCPTTO=f"r{asked}@example.net")
        assert answer.deferred, answer.log
        asked += 1
    assert expiring.returncode == 0
    assert asked > 5


def test_a_database_behind_a_link_that_leads_nowhere(plugin: Plugin) -> None:
    """SQLite would make the target, readable for all (T9)."""
    plugin.database.symlink_to(plugin.home / "missing.db")
    answer = plugin.run()
    assert answer.output == b""
    assert f"{plugin.database}: No such file or directory" in answer.log
    assert not (plugin.home / "missing.db").exists()

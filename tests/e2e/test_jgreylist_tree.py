"""jgreylist on the old program's files, before a stand-in for qmail-smtpd that tells what it is."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.e2e.plugin import BIN, TIMEOUT

NOBODY = 65534
PROGRAM = [sys.executable, "-IS", "-c", "import os; print('in', os.getpid(), os.environ)"]


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    made = tmp_path / "tree"
    made.mkdir(mode=0o700)
    return made


def start(tree: Path, *command: str, **changes: str | None) -> subprocess.Popen[bytes]:
    plain = {"TCPREMOTEIP": "192.0.2.17", "JGREYLIST_DIR": str(tree), "PATH": "/usr/bin:/bin"}
    environ = {k: v for k, v in {**plain, **changes}.items() if v is not None}
    return subprocess.Popen(
        [str(BIN / "jgreylist"), *command],
        env=environ,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )


def run(tree: Path, talk: bytes = b"", **changes: str | None) -> tuple[int, bytes, str]:
    process = start(tree, *PROGRAM, **changes)
    output, log = process.communicate(talk, TIMEOUT)
    return process.returncode, output, log.decode("ascii")


def plant(tree: Path, name: str, age: int) -> Path:
    file = tree / name
    file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    file.touch(0o600)
    then = int(time.time()) - age
    os.utime(file, (then, then))
    return file


def test_the_words_and_the_files_of_the_old_program(tree: Path) -> None:
    code, output, log = run(tree, b"RCPT TO:<b@example.net>\r\nQUIT\r\n")
    assert code == 0
    assert b"\r\n450 GREYLIST Try again later.\r\n221 " in output
    assert log.endswith("]: 192.0.2.17: GREY first time\n")
    assert [p.name for p in (tree / "192/000").iterdir()] == ["002"]
    assert "GREY too soon" in run(tree)[2]
    plant(tree, "192/000/002", 121)
    process = start(tree, *PROGRAM)
    output, error = process.communicate(timeout=TIMEOUT)
    assert error.decode() == f"greylist[{process.pid}]: 192.0.2.17: OK known\n"
    assert output.startswith(b"in %d " % process.pid), "the same process"


def test_a_tree_of_the_old_program_is_known(tree: Path) -> None:
    plant(tree, "192/000/002", 86400 * 3)
    assert "OK known" in run(tree)[2]


@pytest.mark.parametrize("client", ["2001:db8::17", "::1", "fe80::1", "2001:db9::1"])
def test_fault_2_ipv6_clients_have_records_of_their_own(tree: Path, client: str) -> None:
    plant(tree, "000/000/000", 3000)
    plant(tree, "200/.00/.00", 3000)
    assert "GREY first time" in run(tree, TCPREMOTEIP=client)[2]


def test_fault_2_mapped_ipv4_is_ipv4(tree: Path) -> None:
    plant(tree, "198/051/100", 3000)
    assert "OK known" in run(tree, TCPREMOTEIP="::ffff:198.51.100.1")[2]


def test_fault_3_by_address_over_an_existing_tree(tree: Path) -> None:
    plant(tree, "192/000/002", 3000)
    assert "OK known" in run(tree, JGREYLIST_BY_IP="1")[2]
    assert "GREY first time" in run(tree, JGREYLIST_BY_IP="1", TCPREMOTEIP="192.0.2.18")[2]
    assert "OK known" in run(tree)[2]


def test_fault_1_end_of_input_ends_it(tree: Path) -> None:
    ours, theirs = socket.socketpair()
    with ours:
        environ = {"TCPREMOTEIP": "192.0.2.17", "JGREYLIST_DIR": str(tree)}
        command = [str(BIN / "jgreylist"), "/bin/false"]
        end = theirs.fileno()
        process = subprocess.Popen(command, env=environ, stdin=end, stdout=end)
        theirs.close()
        ours.sendall(b"RCPT\r\nRCPT")
        ours.shutdown(socket.SHUT_WR)
        assert process.wait(TIMEOUT) == 0
        assert ours.recv(65536).count(b"450") <= 2


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"TCPREMOTEIP": ""}, "TCPREMOTEIP"),
        ({"TCPREMOTEIP": None}, "TCPREMOTEIP"),
        ({"JGREYLIST_DIR": "/nowhere"}, "JGREYLIST_DIR"),
        ({"JGREYLIST_DIR": "/etc/passwd"}, "JGREYLIST_DIR"),
        ({"JGREYLIST_DIR": ""}, "JGREYLIST_DIR"),
        ({"JGREYLIST_DIR": "\n\x1b[2J"}, "JGREYLIST_DIR"),
    ],
)
def test_what_is_missing_ends_it_with_1(
    tree: Path, changes: dict[str, str | None], said: str
) -> None:
    code, output, log = run(tree, b"", **changes)
    assert (code, output) == (1, b"")
    assert said in log
    assert log.count("\n") == 1
    assert log.isascii()
    assert "\x1b" not in log


@pytest.mark.parametrize("mode", [0o500, 0o300, 0o600])
def test_a_closed_folder_ends_it_with_1(tree: Path, mode: int) -> None:
    """As a user whom modes bind: root may do everything."""
    if os.geteuid():
        pytest.skip("only root can become another user")
    os.chown(tree, NOBODY, NOBODY)
    tree.chmod(mode)
    for parent in tree.parents:
        if parent.stat().st_mode & 0o005 != 0o005:
            parent.chmod(0o755)
    command = [str(BIN / "jgreylist"), *PROGRAM]
    environ = {"TCPREMOTEIP": "192.0.2.17", "JGREYLIST_DIR": str(tree)}
    try:
        done = subprocess.run(
            command,
            env=environ,
            user=NOBODY,
            group=NOBODY,
            extra_groups=[],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=TIMEOUT,
            check=False,
        )
    except PermissionError:
        pytest.skip("other users cannot reach this installation")
    assert (done.returncode, done.stdout) == (1, b"")
    assert b"expected a folder that we can read, write and enter" in done.stderr


def test_no_command_ends_it_with_1(tree: Path) -> None:
    process = start(tree)
    assert b"no command" in process.communicate(timeout=TIMEOUT)[1]
    assert process.returncode == 1


@pytest.mark.parametrize(
    ("changes", "fate"),
    [
        ({"JGREYLIST": ""}, "OK whitelisted"),
        ({"JGREYLIST": "no"}, "DENY blacklisted"),
        ({"JGREYLIST_NOREV": "no name"}, "DENY no reverse DNS"),
        ({"RELAYCLIENT": "", "JGREYLIST_NOREV": "no name"}, "OK relay"),  # fault 4
    ],
)
def test_the_operators_word_goes_before_the_folder(
    tree: Path, changes: dict[str, str], fate: str
) -> None:
    code, _, log = run(tree, b"", JGREYLIST_DIR="/nowhere", **changes)
    assert code == 0
    assert log.endswith(f": 192.0.2.17: {fate}\n")


def test_a_planted_link_lets_in_and_is_logged_t21(tree: Path, tmp_path: Path) -> None:
    outside = plant(tmp_path, "outside/000/002", 3000)
    before = outside.stat()
    (tree / "192").symlink_to(tmp_path / "outside")
    code, output, log = run(tree)
    assert code == 0
    assert output.startswith(b"in ")
    assert "store-unavailable" in log
    assert (outside.stat().st_mtime, outside.stat().st_atime) == (before.st_mtime, before.st_atime)


def test_settings_of_greylag_do_not_matter(tree: Path, tmp_path: Path) -> None:
    (tmp_path / "bad.toml").write_text("broken =")
    assert "GREY first time" in run(tree, GREYLAG_CONFIG=str(tmp_path / "bad.toml"))[2]


def test_many_first_contacts_at_once_are_one_record_p9(tree: Path) -> None:
    processes = [start(tree, *PROGRAM, TCPREMOTEIP=f"192.0.2.{n}") for n in range(12)]
    logs = [process.communicate(timeout=TIMEOUT)[1].decode() for process in processes]
    assert all("GREY first time" in log or "GREY too soon" in log for log in logs), logs
    assert len([p for p in tree.rglob("*") if p.is_file()]) == 1

"""`greylag serve` as mail servers and admins meet it."""

from __future__ import annotations

import json
import os
import pwd
import re
import signal
import socket
import sqlite3
import stat
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from tests.e2e.plugin import at
from tests.server.daemon import BIN, Connection, Daemon, request, serving, write_config
from tests.server.test_failure import until_deferred

ID = b"9SWE-4EK"
DEFERRED = b"action=DEFER_IF_PERMIT 4.7.1 Greylisted, please try again in 300 seconds (id 9SWE-4EK)"
REPLY = b"action=451 4.7.1 Greylisted, please try again in 300 seconds (id 9SWE-4EK)"


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture
def daemon(tmp_path: Path) -> Iterator[Daemon]:
    with serving(tmp_path) as running:
        yield running


def rows(daemon: Daemon, sql: str) -> list[tuple[object, ...]]:
    with closing(sqlite3.connect(daemon.database)) as db:
        return db.execute(sql).fetchall()


def figures(daemon: Daemon) -> dict[str, int]:
    found = rows(daemon, "SELECT name, sum(number) FROM figures GROUP BY name")
    return {str(name): int(str(number)) for name, number in found}


def test_the_life_of_a_triplet(tmp_path: Path) -> None:
    with serving(tmp_path, '[policy]\ndelay = "1s"\n') as daemon, daemon.connect() as client:
        first = client.ask()
        assert first.startswith(b"action=DEFER_IF_PERMIT 4.7.1 ")
        time.sleep(2.1)
        assert client.ask() == b"action=DUNNO"
        assert client.ask(client_address="192.0.2.99") == b"action=DUNNO"
        assert daemon.logged("reason=retried client_address=192.0.2.17")
        assert daemon.logged("reason=known client_address=192.0.2.99")
    mail = r"SELECT blocked, passed FROM records WHERE recipient <> '\trusted'"
    assert rows(daemon, mail) == [(1, 2)]
    assert figures(daemon)["pass:known"] == 1


def test_what_was_deferred_is_on_the_disk_when_the_answer_is_out(daemon: Daemon) -> None:
    with daemon.connect() as client:
        assert client.ask() == DEFERRED
        assert rows(daemon, "SELECT blocked FROM records") == [(1,)]


def test_counts_of_repeats_are_written_within_a_second_and_at_the_end(tmp_path: Path) -> None:
    with serving(tmp_path) as daemon, daemon.connect() as client:
        for _ in range(10):
            assert client.ask().startswith(b"action=DEFER_IF_PERMIT")
        time.sleep(1.5)
        assert rows(daemon, "SELECT blocked FROM records") == [(10,)]
        for _ in range(5):
            client.ask()
    assert rows(daemon, "SELECT blocked FROM records") == [(15,)]
    assert figures(daemon) == {"defer:new": 1, "defer:early": 14}


def test_pipelined_requests_are_answered_in_their_order(daemon: Daemon) -> None:
    with daemon.connect() as client:
        client.socket.sendall(
            request() + request(client_address="junk") + request() + request(sender=b"\xff\xfe")
        )
        answers = [client.response()[:12] for _ in range(4)]
    assert answers == [b"action=DEFER", b"action=DUNNO", b"action=DEFER", b"action=DEFER"]


def test_hundreds_pipelined_at_once(daemon: Daemon) -> None:
    with daemon.connect() as client:
        client.socket.sendall(b"".join(request(recipient=f"r{n}@example.net") for n in range(500)))
        answers = [client.response() for _ in range(500)]
        begins = DEFERRED.partition(b"(id")[0]
        assert all(answer.startswith(begins) for answer in answers)
        assert len(set(answers)) == 500  # each has its own id


def test_the_plugin_speaks_on_the_unix_socket(daemon: Daemon) -> None:
    with daemon.connect() as client:
        assert client.ask(greylag_client="qmail-spp") == REPLY
        bounce = {"greylag_client": "qmail-spp", "sender": "", "recipient": "c@example.net"}
        assert client.ask(**bounce) == REPLY.replace(ID, b"8B1K-N3K") + b"\ngreylag_at=data"
        assert client.ask(**bounce, greylag_rcptcount="1").startswith(b"action=451 4.7.1 ")
        assert b"at=data" not in client.ask(**bounce, greylag_rcptcountall="2")


def test_tcprules_of_one_client_change_its_policy(daemon: Daemon) -> None:
    with daemon.connect() as client:
        plugin = {"greylag_client": "qmail-spp", "recipient": "c@example.net"}
        assert b"in 60 seconds" in client.ask(**plugin, greylag_glblockexpire="1")
        assert client.ask(**plugin, greylag_glexplicit="1") == b"action=DUNNO"
        for _ in range(3):
            wrong = client.ask(**plugin, greylag_glblockexpire="-1")
            assert wrong.startswith(b"action=451"), "it is passed over: the file's delay holds"
        never = client.ask(**plugin, greylag_glblockexpire="9999", greylag_glrecordexpire="no")
        assert never.startswith(b"action=451")
    assert daemon.logged("reason=config-warning")
    assert daemon.logged("GLRECORDEXPIRE: expected a number")
    assert daemon.log.read_text().count("GLBLOCKEXPIRE: expected 0 or more") == 1, "once"


@pytest.mark.parametrize("trusted", ["false", "true"])
def test_tcp_is_not_trusted_unless_configured_t18(tmp_path: Path, trusted: str) -> None:
    port = free_port()
    server = f'policy = ["127.0.0.1:{port}"]\ntrust_tcp = {trusted}'
    with serving(tmp_path, server=server), Connection(port) as client:
        answer = client.ask(greylag_client="qmail-spp", greylag_glblockexpire="1")
        believed = answer.startswith(b"action=451 ") and b"in 60 s" in answer
        assert believed is (trusted == "true")
        assert (answer == DEFERRED) is (trusted == "false")


def test_the_lists_are_seen_within_seconds(daemon: Daemon) -> None:
    def greylag(*words: str) -> None:
        config = daemon.folder / "greylag.toml"
        command = [str(BIN / "greylag"), "--config", str(config), *words]
        subprocess.run(command, check=True, capture_output=True, timeout=30)

    with daemon.connect() as client:
        assert client.ask() == DEFERRED
        greylag("allow", "add", "192.0.2.0/24")
        time.sleep(1.5)
        assert client.ask() == b"action=DUNNO"
        greylag("deny", "add", "192.0.2.17")
        time.sleep(1.5)
        assert client.ask() == b"action=553 5.7.1 Mail from 192.0.2.17 is not accepted here"
    assert daemon.logged("entry=192.0.2.17")


def test_what_the_command_forgets_is_forgotten_within_seconds(tmp_path: Path) -> None:
    """Memory would have let it in for minutes."""
    with serving(tmp_path, '[policy]\ndelay = "1s"') as daemon, daemon.connect() as client:
        assert b"DEFER" in client.ask()
        time.sleep(2)
        assert [client.ask(), client.ask()] == [b"action=DUNNO"] * 2
        config = daemon.folder / "greylag.toml"
        command = [str(BIN / "greylag"), "--config", str(config), "forget", "--yes"]
        subprocess.run([*command, "--recipient", "b@"], check=True, timeout=30)
        time.sleep(1.5)
        assert b"DEFER" in client.ask()


def test_one_shot_and_daemon_share_one_state(daemon: Daemon) -> None:
    variables = {
        "PATH": os.defpath,
        "GREYLAG_CONFIG": str(daemon.folder / "greylag.toml"),
        "GREYLISTING": "",
        "TCPREMOTEIP": "192.0.2.17",
        "SMTPMAILFROM": "a@example.org",
        "SMTPRCPTTO": "b@example.net",
    }
    done = subprocess.run(
        [BIN / "greylisting"], env=variables, capture_output=True, check=True, timeout=30
    )
    assert done.stdout.startswith(b"E451")
    with daemon.connect() as client:
        client.ask()
    assert daemon.logged("reason=early")


def test_the_socket_has_mode_and_lock(tmp_path: Path) -> None:
    """T18; CVE-2008-1569: nobody connects before the mode is right, no foreign socket is used."""
    with serving(tmp_path, server='socket_mode = "0600"') as daemon:
        assert stat.S_IMODE(daemon.socket.stat().st_mode) == 0o600
    assert not daemon.socket.exists()


def start_and_fail(folder: Path) -> tuple[int, str]:
    config = folder / "greylag.toml"
    done = subprocess.run(
        [BIN / "greylag", "--config", config, "serve"],
        env={"PATH": os.defpath},
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    return done.returncode, done.stderr


def test_it_refuses_to_start_twice(daemon: Daemon) -> None:
    code, said = start_and_fail(daemon.folder)
    assert code == 75  # the settings are right: it can start when the other has ended
    assert said == f"greylag: {daemon.socket}: another greylag serves there\n"
    with daemon.connect() as client:
        assert client.ask() == DEFERRED


def test_it_takes_over_the_socket_of_a_dead_one(tmp_path: Path) -> None:
    with serving(tmp_path) as first:
        first.process.kill()
        first.process.wait()
        assert first.socket.exists()
        with serving(tmp_path) as second, second.connect() as client:
            assert client.ask() == DEFERRED


def a_file(folder: Path) -> str:
    (folder / "s").write_text("x")
    return "is there, and is no socket"


def a_link(folder: Path) -> str:
    (folder / "s").symlink_to("/dev/null")
    return "is there, and is no socket"


OPEN: list[socket.socket] = []


def a_served_socket(folder: Path) -> str:
    other = socket.socket(socket.AF_UNIX)
    other.bind(str(folder / "s"))
    other.listen()
    OPEN.append(other)
    return "another program serves there"


def a_folder_for_all(folder: Path) -> str:
    folder.chmod(0o777)
    return "every user may write in it"


def a_folder_of_another(folder: Path) -> str:
    if os.geteuid() != 0:
        pytest.skip("only root can give a folder away")
    daemon = pwd.getpwnam("daemon").pw_uid
    os.chown(folder, daemon, -1)
    return "belongs to daemon, and we run as root: run the daemon as daemon"


@pytest.mark.parametrize(
    "make", [a_file, a_link, a_served_socket, a_folder_for_all, a_folder_of_another]
)
def test_places_it_does_not_serve_at(tmp_path: Path, make: object) -> None:
    write_config(tmp_path)
    wanted = make(tmp_path)  # type: ignore[operator]
    code, said = start_and_fail(tmp_path)
    while OPEN:
        OPEN.pop().close()
    assert code == (75 if make is a_served_socket else 78)  # 75: it can start later
    assert wanted in said
    assert said.count("\n") == 1


def test_all_errors_of_the_configuration_before_anything_is_bound(tmp_path: Path) -> None:
    write_config(tmp_path, '[policy]\ndelay = 3\n[log]\nlevel = "loud"\n')
    code, said = start_and_fail(tmp_path)
    assert code == 78
    assert said.count("\n") == 2
    assert not (tmp_path / "s.lock").exists()


def test_a_port_that_is_taken(tmp_path: Path) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        write_config(tmp_path, server=f'policy = ["127.0.0.1:{port}"]')
        code, said = start_and_fail(tmp_path)
    assert (code, said) == (75, f"greylag: 127.0.0.1:{port}: Address already in use\n")
    assert not (tmp_path / "s").exists()


def test_the_log_is_opened_again_on_sighup(tmp_path: Path) -> None:
    log = tmp_path / "greylag.log"
    with serving(tmp_path, f'[log]\nfile = "{log}"\n') as daemon, daemon.connect() as client:
        client.ask()
        end = time.monotonic() + 10
        while "reason=new" not in log.read_text() and time.monotonic() < end:
            time.sleep(0.02)  # lines are written a moment after the answer
        log.rename(tmp_path / "old.log")
        daemon.process.send_signal(signal.SIGHUP)
        end = time.monotonic() + 10
        while not log.exists() and time.monotonic() < end:
            time.sleep(0.02)
        client.ask()
        time.sleep(0.2)
        assert "reason=new" in (tmp_path / "old.log").read_text()
        assert "reason=early" in log.read_text()
        assert stat.S_IMODE(log.stat().st_mode) == 0o640


def test_sigterm_drains_and_leaves_nothing(daemon: Daemon) -> None:
    with daemon.connect() as client:
        client.socket.sendall(request())
        time.sleep(0.1)
        daemon.process.terminate()
        assert client.response() == DEFERRED
        assert client.closed()
    assert daemon.process.wait(20) == 0
    assert "event=stopped" in daemon.log.read_text()
    left = {path.name for path in daemon.folder.iterdir()}
    locks = {"s.lock", "handover.sock.lock"}
    assert left == {"greylag.db", "greylag.toml", "daemon.log", *locks}


def test_systemd_is_told(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(tmp_path / "notify"))
        manager.settimeout(20)
        with serving(tmp_path, env={"NOTIFY_SOCKET": str(tmp_path / "notify")}):
            assert manager.recv(100) == b"READY=1"
        assert manager.recv(100) == b"STOPPING=1"


def shown(port: int) -> str:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=20) as page:
        return str(page.read().decode())


def said(daemon: Daemon, *words: str) -> str:
    """Return what a command says of this daemon's database."""
    config = daemon.folder / "greylag.toml"
    command = [str(BIN / "greylag"), "--config", str(config), *words]
    return subprocess.run(command, check=True, capture_output=True, timeout=30).stdout.decode()


def test_metrics_use_the_words_of_the_log(tmp_path: Path) -> None:
    port = free_port()
    with serving(tmp_path, server=f'metrics = "127.0.0.1:{port}"') as daemon:
        with daemon.connect() as client:
            for _ in range(3):
                client.ask()
        text = shown(port)
    assert 'greylag_attempts_total{reason="early",verdict="defer"} 2.0' in text.replace(
        'verdict="defer",reason="early"', 'reason="early",verdict="defer"'
    )
    assert "greylag_store_down 0.0" in text
    assert 'greylag_store_seconds_bucket{le="+Inf"}' in text


def test_observing_lets_all_in_and_tells_what_it_would_have_done(tmp_path: Path) -> None:
    """In the log, in the metrics, and in the figures of `greylag stats`."""
    port = free_port()
    server = f'metrics = "127.0.0.1:{port}"'
    with serving(tmp_path, '[policy]\ngreylist = "observe"\n', server) as daemon:
        with daemon.connect() as client:
            for number in (1, 2, 1):
                answer = client.ask(sender=f"observed{number}@example.org")
                assert answer == b"action=DUNNO"
        text = shown(port)
        counted = json.loads(said(daemon, "stats", "--json"))["observed"]
        assert "only observed" in said(daemon, "stats")
    log = daemon.log.read_text()
    assert len(re.findall(r"verdict=pass reason=observed .* instead=new$", log, re.MULTILINE)) == 2
    assert len(re.findall(r"reason=known .*sender=observed1@", log)) == 1
    assert 'greylag_observed_total{reason="new"} 2.0' in text
    assert 'greylag_observed_total{reason="trapped"} 0.0' in text
    assert counted == {"count": 2, "by_reason": [{"reason": "new", "count": 2}]}


def test_metrics_have_the_delay_of_what_passed(tmp_path: Path) -> None:
    port = free_port()
    server = f'metrics = "127.0.0.1:{port}"'
    with serving(tmp_path, '[policy]\ndelay = "1s"\n', server) as daemon:
        assert "greylag_delay_seconds_count 0.0" in shown(port)
        with daemon.connect() as client:
            client.ask()
            time.sleep(2.1)
            assert client.ask() == b"action=DUNNO"
        text = shown(port)
    (waited,) = re.findall(r" waited=(\d+)$", daemon.log.read_text(), re.MULTILINE)
    assert f"greylag_delay_seconds_sum {waited}.0" in text
    assert 'greylag_delay_seconds_bucket{le="60"} 1.0' in text
    assert "greylag_delay_seconds_count 1.0" in text


def test_what_is_past_is_forgotten_without_cron(tmp_path: Path) -> None:
    port = free_port()
    with serving(tmp_path) as daemon, daemon.connect() as client:
        client.ask()
    with closing(sqlite3.connect(daemon.database)) as db, db:
        db.execute("UPDATE records SET expires = 1000")
    with serving(tmp_path, server=f'metrics = "127.0.0.1:{port}"') as daemon:
        end = time.monotonic() + 10
        while rows(daemon, "SELECT 1 FROM records") and time.monotonic() < end:
            time.sleep(0.05)
        assert rows(daemon, "SELECT 1 FROM records") == []
        assert figures(daemon)["fate:stopped"] == 1
        assert 'greylag_triplets_forgotten_total{fate="stopped"} 1.0' in shown(port)
        assert 'greylag_triplets_forgotten_total{fate="evicted"} 0.0' in shown(port)


def test_a_clock_that_jumps_forgets_nothing_p18_t30(tmp_path: Path) -> None:
    clock = tmp_path / "clock"
    clock.write_text("+0d")
    env = {
        **{name: str(text) for name, text in at("+0d").items() if name == "LD_PRELOAD"},
        "FAKETIME_TIMESTAMP_FILE": str(clock),
        "FAKETIME_NO_CACHE": "1",
        "FAKETIME_DONT_FAKE_MONOTONIC": "1",
    }
    with serving(tmp_path, env=env) as daemon, daemon.connect() as client:
        until_deferred(client, "a@example.org")  # a faked clock is slow: so is making the database
        clock.write_text("+400d")
        time.sleep(2.5)
        assert rows(daemon, "SELECT count(*) FROM records") == [(1,)]
        assert client.ask().startswith(b"action=DEFER_IF_PERMIT")

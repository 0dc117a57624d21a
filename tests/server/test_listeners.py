"""Where the daemon listens, and what a start that failed leaves behind."""

from __future__ import annotations

import os
import socket
import stat
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.server.daemon import BIN, Connection, serving, write_config
from tests.server.test_serve import DEFERRED, free_port, start_and_fail
from tests.server.test_two_users import DAEMON, GROUP, SERVE, as_user, place

__all__ = ["place"]
WITHOUT_IPV6 = (
    *("unshare", "--net", "/bin/sh", "-ec"),
    'echo 1 > /proc/sys/net/ipv6/conf/all/disable_ipv6; ip link set lo up; exec "$@"',
    *("sh", BIN / "greylag"),
)
# What the command says of an error of the start.
SERVE_AND_SAY = (
    f"try:\n    {SERVE.replace(chr(10), chr(10) + '    ')}\nexcept Exception as e: sys.exit(str(e))"
)
root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can be two users")


@root
def test_every_ipv4_and_every_ipv6_address_of_one_port(tmp_path: Path) -> None:
    port = free_port()
    places = f'policy = ["0.0.0.0:{port}", "[::]:{port}"]'
    with serving(tmp_path, server=places), Connection(port) as by_ipv4:
        assert by_ipv4.ask().startswith(DEFERRED)
        with socket.create_connection(("::1", port), 5):
            pass


@root
def test_without_ipv6_the_other_places_are_served_and_it_is_told(tmp_path: Path) -> None:
    port = free_port()
    places = f'policy = ["[::1]:{port}", "127.0.0.1:{port}"]'
    with serving(tmp_path, server=places, program=WITHOUT_IPV6) as daemon:
        assert daemon.logged(f"level=warn event=no-ipv6 place=[::1]:{port}")
        with daemon.connect() as client:
            assert client.ask().startswith(DEFERRED)


def test_an_ipv6_address_that_is_not_ours_is_still_an_error(tmp_path: Path) -> None:
    write_config(tmp_path, server='policy = ["[2001:db8::1]:10023"]')
    code, said = start_and_fail(tmp_path)
    assert (code, said) == (
        78,
        "greylag: [2001:db8::1]:10023: Cannot assign requested address\n",
    )


def test_a_start_that_failed_leaves_no_socket(tmp_path: Path) -> None:
    write_config(tmp_path, server='socket_group = "no-such-group"')
    code, said = start_and_fail(tmp_path)
    assert (code, said) == (78, f"greylag: {tmp_path}/s: there is no group 'no-such-group'\n")
    assert not (tmp_path / "s").exists()


def connected(path: Path) -> Connection:
    """Connect as soon as something serves there."""
    end = time.monotonic() + 20
    while True:
        try:
            return Connection(path)
        except OSError:
            if time.monotonic() > end:
                raise
            time.sleep(0.05)


@contextmanager
def started(place: Path) -> Iterator[subprocess.Popen[bytes]]:
    process = as_user(DAEMON, SERVE_AND_SAY, place)
    try:
        yield process
    finally:
        process.terminate()
        process.communicate()


@root
def test_a_socket_that_nobody_may_connect_to_does_not_stop_the_next_start(place: Path) -> None:
    """As an earlier greylag left it where the start failed halfway."""
    path = place / "run" / "s"
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(str(path))
    os.chown(path, (place / "run").stat().st_uid, -1)
    path.chmod(0)
    with started(place), connected(path) as client:
        assert client.ask().startswith(DEFERRED)


@root
def test_a_group_that_the_daemon_is_not_in_is_named(place: Path) -> None:
    config = place / "greylag.toml"
    config.write_text(config.read_text().replace(f'"{GROUP}"', '"root"'))
    with started(place) as process:
        assert process.wait(20) != 0
        assert process.stderr is not None
        assert (
            b"to give it to the group 'root', the daemon has to be in it" in process.stderr.read()
        )
    assert not (place / "run" / "s").exists()


@root
def test_the_folder_of_the_socket_is_made_where_that_is_allowed(tmp_path: Path) -> None:
    """As after a restart of the machine: /run is empty then."""
    config = write_config(tmp_path)
    config.write_text(config.read_text().replace("/s", "/run/s"))
    process = subprocess.Popen(
        [BIN / "greylag", "--config", config, "serve"], stderr=subprocess.DEVNULL
    )
    try:
        with connected(tmp_path / "run" / "s") as client:
            assert client.ask().startswith(DEFERRED)
        assert stat.S_IMODE((tmp_path / "run").stat().st_mode) == 0o750
    finally:
        process.terminate()
        process.wait()


@root
def test_else_the_one_command_that_makes_it_is_told(place: Path) -> None:
    missing = place / "missing"
    config = place / "greylag.toml"
    config.write_text(config.read_text().replace(f"{place}/run/s", f"{missing}/s"))
    with started(place) as process:
        assert process.wait(20) != 0
        assert process.stderr is not None
        said = process.stderr.read().decode()
    assert f"install -d -o {DAEMON} -g {DAEMON} -m 0750 {missing}" in said

"""Record trees that the daemon serves: those that are listed, and each by itself."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.e2e.test_failure import small_disk
from tests.server.daemon import Connection, Daemon, serving, write_config
from tests.server.test_serve import free_port

NEW = b"action=450 GREYLIST Try again later.\ngreylag_reason=new\ngreylag_tree=yes"
EARLY = b"action=450 GREYLIST I said to try later.\ngreylag_reason=early\ngreylag_tree=yes"
KNOWN = b"action=DUNNO\ngreylag_reason=known\ngreylag_tree=yes"
NOT_SERVED = b"greylag_tree=no"


def asked(
    daemon: Daemon,
    tree: Path | str | None,
    client: str = "192.0.2.17",
    place: int | None = None,
    **more: str,
) -> bytes:
    named = {} if tree is None else {"greylag_tree": str(tree)}
    with Connection(place or daemon.socket) as connection:
        return connection.ask(
            protocol_state="CONNECT",
            greylag_client="jgreylist",
            client_address=client,
            **named,
            **more,
        )


@pytest.fixture
def trees(tmp_path: Path) -> list[Path]:
    made = [tmp_path / "one", tmp_path / "two", tmp_path / "other"]
    for path in made:
        path.mkdir(mode=0o700)
    return made


def listing(*paths: object) -> str:
    return "[jgreylist]\ntrees = [{}]".format(", ".join(f'"{path}"' for path in paths))


@pytest.fixture
def served(tmp_path: Path, trees: list[Path]) -> Iterator[Daemon]:
    with serving(tmp_path, listing(f"{trees[0]}/", trees[1])) as daemon:
        yield daemon


def test_a_listed_tree_is_answered_from_its_files(served: Daemon, trees: list[Path]) -> None:
    assert asked(served, trees[0]) == NEW
    record = trees[0] / "192/000/002"
    assert record.stat().st_size == 0
    assert asked(served, f"{trees[0]}/") == EARLY
    assert asked(served, trees[0], greylag_holdtime="0").startswith(b"action=DUNNO")
    os.utime(trees[0] / "192/000/002", (time.time() - 10, time.time() - 300))
    time.sleep(2.1)  # what is in memory is believed for two seconds
    assert asked(served, trees[0]).startswith(b"action=DUNNO")


def test_records_of_trees_and_store_never_mix(served: Daemon, trees: list[Path]) -> None:
    assert asked(served, trees[0]) == NEW
    assert asked(served, trees[1]) == NEW
    assert asked(served, None).endswith(b"greylag_reason=new")
    assert asked(served, trees[0], greylag_holdtime="7") == EARLY


def test_a_tree_that_is_not_listed_is_not_touched(served: Daemon, trees: list[Path]) -> None:
    for tree in (trees[2], "", "relative", trees[0].parent, f"{trees[0]}/../other"):
        assert asked(served, tree) == NOT_SERVED
    assert not list(trees[2].iterdir())
    assert served.logged("event=tree-not-listed")


def test_lists_and_policy_of_the_settings_do_not_count(served: Daemon, trees: list[Path]) -> None:
    assert asked(served, trees[0], greylag_jgreylist="no %").startswith(b"action=553 DENIED no 192")
    assert asked(served, trees[0], greylag_relayclient="") == (
        b"action=DUNNO\ngreylag_reason=relay\ngreylag_tree=yes"
    )


def test_a_tree_that_fails_is_for_the_oneshot(served: Daemon, trees: list[Path]) -> None:
    trees[0].rmdir()
    assert asked(served, trees[0]) == NOT_SERVED
    assert asked(served, trees[1]) == NEW
    assert asked(served, None).endswith(b"greylag_reason=new")


def folder_of_many(place: Path) -> None:
    place.mkdir(mode=0o777)
    place.chmod(0o777)


@pytest.mark.parametrize(
    "plant",
    [Path.touch, lambda place: place.symlink_to("203"), folder_of_many],
    ids=["a_file", "a_link", "a_folder_that_all_may_write"],
)
def test_what_is_planted_on_the_way_to_one_record_harms_no_others_t34(
    served: Daemon, trees: list[Path], plant: Callable[[Path], None]
) -> None:
    plant(trees[0] / "198")
    for number in range(20):
        assert asked(served, trees[0], "198.51.100.1") == NOT_SERVED
        assert asked(served, trees[0], f"203.0.{number}.1") == NEW
    assert served.logged("event=store-refused")
    assert "event=store-failed" not in served.log.read_text()


def test_a_part_of_a_tree_that_cannot_be_written_harms_no_others_t34(
    served: Daemon, trees: list[Path]
) -> None:
    """As of a damaged directory: the system's own error, and not one of a planted file."""
    with small_disk(trees[0] / "198") as part:
        part.chmod(0o700)
        subprocess.run(["mount", "-o", "remount,ro", str(part)], check=True)
        for number in range(20):
            assert asked(served, trees[0], "198.51.100.1") == NOT_SERVED
            assert asked(served, trees[0], f"203.0.{number}.1") == NEW
    assert served.logged("event=store-refused")
    assert "event=store-failed" not in served.log.read_text()
    assert {path.name for path in trees[0].iterdir()} == {"198", "203"}


def test_only_the_cleaner_removes_records(served: Daemon, trees: list[Path]) -> None:
    """What came once and never again is counted by it: admins read that."""
    old = trees[0] / "198/051/100"
    old.parent.mkdir(parents=True, mode=0o700)
    old.touch(mode=0o600)
    os.utime(old, (1000, 1000))
    assert asked(served, trees[0]) == NEW
    time.sleep(1.5)
    assert old.exists()


def test_a_reload_lists_and_unlists(served: Daemon, trees: list[Path]) -> None:
    assert asked(served, trees[0]) == NEW
    write_config(served.folder, listing(trees[2]))
    served.process.send_signal(signal.SIGHUP)
    assert served.logged("event=reloaded")
    assert asked(served, trees[0]) == NOT_SERVED
    assert asked(served, trees[2]) == NEW


def test_a_tree_is_for_the_unix_socket_alone(tmp_path: Path, trees: list[Path]) -> None:
    """Whoever may connect to a TCP port is not for that reason one who may use the tree."""
    port = free_port()
    server = f'policy = ["127.0.0.1:{port}"]\ntrust_tcp = true'
    with serving(tmp_path, listing(trees[0]), server) as daemon:
        assert asked(daemon, trees[0], place=port) == NOT_SERVED
        assert not list(trees[0].iterdir())
        assert asked(daemon, None, place=port).endswith(b"greylag_reason=new")
        assert asked(daemon, trees[0]) == NEW


def test_hold_times_have_an_end(served: Daemon, trees: list[Path]) -> None:
    """Each costs a thread: whoever sends ever new ones is left to the one-shot."""
    answers = [asked(served, trees[0], greylag_holdtime=str(hold)) for hold in range(100, 140)]
    assert answers.count(NOT_SERVED) == 40 - 16

"""Mail that is late, from two addresses to its retry that passes, through a real daemon.

The daemon has answered the same mail before, so its memory has the record that waits.
"""

from __future__ import annotations

import re
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from greylag.core.shortid import short_id, shown_id
from greylag.core.triplet import Triplet
from tests.server.daemon import BIN, Connection, Daemon, serving, write_config
from tests.server.test_failure import DEFERRED, LET_IN
from tests.server.test_switch import configured, greylag
from tests.servers.mariadb import Database

SENDER, RECIPIENT = "alice@partner.example", "bob@ours.example"
MAIL = {"sender": SENDER, "recipient": RECIPIENT}
ID = shown_id(short_id(Triplet(b"\xc0\0\2\0", SENDER, RECIPIENT)))
SOON = 10.0  # seconds: a daemon follows in about one, but other tests may use the machine meanwhile


@pytest.fixture
def daemon(tmp_path: Path) -> Iterator[Daemon]:
    with serving(tmp_path) as running:
        yield running


def deferred(client: Connection, **changed: str) -> str:
    """Ask twice, so that memory answers the second; return the id in the answer."""
    first, early = (client.ask(**{**MAIL, **changed}) for _ in range(2))
    assert first.startswith(DEFERRED)
    assert early.startswith(DEFERRED)
    found = re.search(rb"\(id (\S+)\)", early)
    assert found is not None
    return found[1].decode()


def let_in(client: Connection, **changed: str) -> None:
    """Retry until it passes."""
    end = time.monotonic() + SOON
    while not client.ask(**{**MAIL, **changed}).startswith(LET_IN):
        assert time.monotonic() < end
        time.sleep(0.05)


def test_from_two_addresses_to_the_retry_that_passes(daemon: Daemon) -> None:
    """One command says why and until when, and the command that it names lets the mail in."""
    with daemon.connect() as client:
        assert deferred(client) == ID
        assert daemon.logged(f"reason=new client_address=192.0.2.17 sender={SENDER}")
        assert f" id={ID}\n" in daemon.log.read_text()
        told = greylag(configured(daemon), "why", SENDER, RECIPIENT)
        assert f"id              {ID}\n" in told
        assert "state           waits: a retry passes from " in told
        offered = told.splitlines()[-1].removeprefix("greylag: to let its next retry in: ")
        assert offered == f"greylag release {ID}"
        greylag(configured(daemon), *offered.split()[1:])
        let_in(client)
        assert daemon.logged(
            f"verdict=pass reason=retried client_address=192.0.2.17 sender={SENDER}"
        )
        assert client.ask(**{**MAIL, "sender": f"x{SENDER}"}).startswith(DEFERRED)


def test_the_lines_of_the_page_of_everyday_questions(daemon: Daemon) -> None:
    """As they stand there: two addresses, then one more command."""
    page = (Path(__file__).parents[2] / "docs/everyday/late-mail.md").read_text()
    section = page.partition("## Why is it late, and how do I let it in now?")[2].partition(
        "\n## "
    )[0]
    why, release = re.findall(r"^    greylag (.*)$", section, re.MULTILINE)
    with daemon.connect() as client:
        deferred(client)
        assert greylag(configured(daemon), *why.split()).endswith(f": greylag {release}\n")
        greylag(configured(daemon), *release.split())
        let_in(client)


def test_the_story_is_what_the_daemon_wrote_down(daemon: Daemon) -> None:
    """Tries are written about once a second; the pass ends the story."""
    with daemon.connect() as client:
        deferred(client)
        greylag(configured(daemon), "release", ID)
        let_in(client)
    end = time.monotonic() + SOON
    while ": let in\n" not in (told := greylag(configured(daemon), "why", ID)):
        assert time.monotonic() < end, told
    assert re.search(r"^history .*: first attempt: deferred$", told, re.MULTILINE)
    assert re.search(r"^history .*: (retry|\d+ retries), too early: deferred$", told, re.MULTILINE)
    assert re.search(r"^history .*: released by an admin", told, re.MULTILINE)
    assert "state           let in (" in told


@pytest.mark.parametrize("recipient", [RECIPIENT, ""], ids=["one", "several"])
def test_the_id_in_the_answer_to_a_bounce_is_enough(daemon: Daemon, recipient: str) -> None:
    """Postfix asks about these at DATA, and names no recipient where there are several."""
    bounce = {"sender": "", "recipient": recipient, "protocol_state": "DATA"}
    with daemon.connect() as client:
        shown = deferred(client, **bounce)
        told = greylag(configured(daemon), "why", shown)
        assert "sender          <>\n" in told.replace(" (the null sender)", "")
        assert f"recipient       {recipient or '(several recipients)'}\n" in told
        greylag(configured(daemon), "release", shown)
        let_in(client, **bounce)


@pytest.fixture
def database_url(database: Database) -> str:
    return database.url


@pytest.mark.parametrize("kind", ["sqlite", "mysql"])
def test_all_hosts_of_a_store_let_it_in(
    tmp_path: Path, request: pytest.FixtureRequest, kind: str
) -> None:
    """It is released on one host; the daemon of the other has it in memory, too."""
    url = (
        f"sqlite://{tmp_path}/shared.db"
        if kind == "sqlite"
        else request.getfixturevalue("database_url")
    )
    with ExitStack() as stack:
        daemons = []
        for name in ("one", "two"):
            folder = tmp_path / name
            folder.mkdir()
            config = write_config(folder, url=url)
            daemons.append(stack.enter_context(serving(folder, config=config)))
        clients = [stack.enter_context(daemon.connect()) for daemon in daemons]
        for client in clients:
            deferred(client)
        said = greylag(configured(daemons[0]), "release", ID)
        assert f"released {ID}" in said
        for client in clients[::-1]:
            let_in(client)


def test_a_release_of_what_is_not_known_changes_nothing(daemon: Daemon) -> None:
    with daemon.connect() as client:
        deferred(client)
        done = subprocess.run(
            [BIN / "greylag", "--config", configured(daemon), "release", "0000-000"],
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
        assert done.returncode == 1
        assert client.ask(**MAIL).startswith(DEFERRED)

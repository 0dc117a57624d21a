"""What the page on health looks at, and what it says."""

from __future__ import annotations

import re
import socket
import time
import urllib.request
from contextlib import closing
from pathlib import Path

from greylag.core.history import Outcome
from greylag.core.shortid import shown_id
from tests.server.daemon import serving as serving_daemon
from tests.web.dashboard import Dashboard, free_port, greylag, serving, write_config
from tests.web.seeded import deferral_at, opened, remember


def metrics_of(port: int) -> list[str]:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=9) as answer:
        lines = answer.read().decode().splitlines()
    return [
        one
        for one in lines
        if one.startswith("greylag_attempts_total") and "other-stage" not in one
    ]


def test_looking_is_neither_counted_as_mail_nor_logged(folder: Path) -> None:
    port = free_port()
    listen, config = write_config(folder), folder / "greylag.toml"
    metrics = f'[server]\nmetrics = "127.0.0.1:{port}"'
    config.write_text(config.read_text().replace("[server]", metrics))
    with (
        serving_daemon(folder, config=config) as daemon,
        serving(folder, listen) as made,
    ):
        client = made.client("viewer")
        before, logged = metrics_of(port), daemon.log.read_text()
        for _time in range(3):
            assert " answers within " in client.get("/health").text
        assert metrics_of(port) == before
        assert daemon.log.read_text() == logged


def test_a_sender_without_its_numbers_is_not_offered_and_not_stored(folder: Path) -> None:
    now, sender = int(time.time()), "list-bounces-#@club.example"
    one = deferral_at(3, now - 60, sender)
    with closing(opened(folder)) as store:
        remember(store, one, Outcome.WAITING, now)
    with serving(folder, write_config(folder)) as made:
        client = made.client("admin")
        text = client.get(f"/mail/{shown_id(one.id)}").text
        assert 'name="what" value="domain"' in text
        assert 'name="what" value="sender"' not in text
        form = {"list": "allow", "kind": "sender", "subjects": sender}
        assert client.send("/lists/put", form, "/lists").status == 400


def test_big_senders_that_nobody_asked_for_are_no_fault(standing: Dashboard) -> None:
    """The daemon refreshes only what was resolved once, so it is said how."""
    client = standing.client("viewer")
    text = client.get("/health").text
    card = text[: text.index("</span> Lists<")].rpartition('class="state ')[2]
    assert card.startswith("ok")
    assert "greylag providers refresh" in text
    assert "greylag providers refresh" in client.get("/trust").text


def test_a_daemon_that_is_away_and_one_that_hangs_are_told_apart(dashboard: Dashboard) -> None:
    client = dashboard.client("viewer")
    text = client.get("/health").text
    assert "no daemon is there" in text
    assert "Postfix lets all mail in where default_action is DUNNO" in text
    with socket.socket(socket.AF_UNIX) as hanging:
        hanging.bind(str(dashboard.folder / "s"))
        hanging.listen()
        text = client.get("/health").text
    assert "a daemon is there, but does not answer within a second" in text


def test_what_an_admin_changed_by_commands_stands_there(dashboard: Dashboard) -> None:
    for words in (["allow", "add", "192.0.2.1"], ["off", "--for", "1h"]):
        assert greylag(dashboard.folder, *words).returncode == 0
    text = dashboard.client("viewer").get("/health").text
    changes = text.partition("What was changed last")[2]
    assert re.search(r"allow</td><td [^>]*>192\.0\.2\.1<", changes)
    assert re.search(r"off</td><td [^>]*>until 2\d{3}-\d\d-\d\d \d\d:\d\d:\d\d UTC<", changes)

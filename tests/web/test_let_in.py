"""One click lets mail in, through the real daemon."""

from __future__ import annotations

import re
import time
from contextlib import closing
from itertools import count
from pathlib import Path

import pytest
from playwright.sync_api import Browser

from greylag.core.history import Begun, Deferral
from greylag.core.record import Created
from greylag.core.shortid import shown_id
from greylag.core.value import replace
from tests.server.daemon import serving as serving_daemon
from tests.web.browsing import visiting
from tests.web.dashboard import serving, write_config
from tests.web.seeded import deferral_at, opened


def test_let_in_and_the_next_retry_through_the_daemon_passes(
    browser: Browser, folder: Path
) -> None:
    """One click, from nothing but the two addresses."""
    config = folder / "greylag.toml"
    with (
        serving(folder, write_config(folder)) as made,
        serving_daemon(folder, config=config) as daemon,
        daemon.connect() as connection,
        visiting(browser, made, "operator") as page,
    ):
        assert connection.ask().startswith(b"action=DEFER")
        first = "/mail?sender=a@example.org&recipient=b@example.net"
        end = time.monotonic() + 15
        while page.goto(first) and not page.locator("tbody th a").count():
            assert time.monotonic() < end
        assert "waits" in page.locator("tbody tr").inner_text()
        page.locator("tbody th a").click()
        page.get_by_role("button", name="Let it in now").click()
        page.get_by_text(re.compile("next try passes|passes at its next try")).first.wait_for()
        assert page.get_by_role("button", name="Let it in now").count() == 0
        time.sleep(2)  # every daemon heeds it within a second
        assert connection.ask() == b"action=DUNNO"
        end = time.monotonic() + 15
        while page.goto(first) and "passed after" not in page.locator("tbody tr").inner_text():
            assert time.monotonic() < end
        with closing(opened(folder)) as store:
            (action,) = store.actions(9)
        assert (action.who, action.action) == ("web:operator", "release")
        assert action.subject.endswith(" a@example.org b@example.net")


def twin(one: Deferral) -> Deferral:
    """Return a newer mail with the same id, as somebody can make it on purpose."""
    domain = one.triplet.sender.rpartition("@")[2]
    newer = replace(one, first_seen=one.first_seen + 9)
    made = (replace(newer, triplet=replace(one.triplet, sender=f"u{n}@{domain}")) for n in count())
    return next(other for other in made if other.id == one.id)


@pytest.mark.parametrize("in_history", [True, False])
def test_a_row_leads_to_its_own_mail_though_another_has_its_id_t12(
    browser: Browser, folder: Path, in_history: bool
) -> None:
    """By the number in the history, or by the record's key; and an id leads to all that have it."""
    now = int(time.time())
    good = deferral_at(3, now - 20)
    evil = twin(good)
    with closing(opened(folder)) as store:
        for one in (good, evil):
            store.apply([Created(one.triplet, one.first_seen, now + 300, now + 9999)], {}, now)
        if in_history:
            store.remember([Begun(good), Begun(evil)], now)
    with (
        serving(folder, write_config(folder)) as made,
        visiting(browser, made, "operator") as page,
    ):
        page.goto(f"/mail/{shown_id(good.id)}")
        assert "Several mails have the id" in page.locator("h1").inner_text()
        assert page.locator("tbody tr").count() == 2
        assert page.get_by_role("button", name="Let it in now").count() == 0
        page.goto(f"/mail?sender={good.triplet.sender}")
        page.locator("tbody th a").click()
        assert good.triplet.sender in page.locator("h1").inner_text()
        page.get_by_role("button", name="Let it in now").click()
        page.get_by_text(re.compile("next try passes|passes at its next try")).first.wait_for()
    with closing(opened(folder)) as store:
        records = store.load([good.triplet, evil.triplet])
    assert records[good.triplet].defer_until <= time.time()
    assert records[evil.triplet].defer_until == now + 300

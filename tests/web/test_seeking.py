"""Pages that find mail by its signs, and clients that are trusted soon."""

from __future__ import annotations

import csv
import json
import time
from contextlib import closing
from io import StringIO
from pathlib import Path

from greylag.core.history import Outcome
from greylag.core.identity import of_address
from greylag.core.record import Noted
from greylag.core.triplet import trust_of
from tests.web.dashboard import serving, write_config
from tests.web.seeded import DAY, deferral_at, opened, remember


def test_mail_is_found_by_a_sign_and_clients_by_their_passes(folder: Path) -> None:
    now = int(time.time())
    good, bad = deferral_at(2, now - DAY, "a@good.example"), deferral_at(4, now, "a@bad.example")
    other = deferral_at(3, now - DAY, "a@other.example")
    with closing(opened(folder)) as store:
        remember(store, good, Outcome.PASSED, now)
        remember(store, other, Outcome.PASSED, now)
        remember(store, bad, Outcome.WAITING, now)
        for one, passes in ((good, 3), (other, 1)):
            key = trust_of(of_address(one.client), one.triplet.sender.partition("@")[2])
            store.apply([Noted(key, now, now + 9 * DAY, passes)], {}, now)
    with serving(folder, write_config(folder)) as made:
        client = made.client("operator")
        found = client.get("/mail?sign=helo").text
        assert "a@bad.example" in found
        assert "a@good.example" not in found
        assert "<option selected>helo</option>" in found
        assert "Nothing fits" in client.get("/mail?sign=spf").text
        assert client.get("/mail?sign=hel").status == 400
        while "is being counted" in (page := client.get("/trust").text):
            time.sleep(0.1)
        _before, _title, soon = page.partition("Trusted soon")
        soon = soon.partition("</section>")[0]
        assert "good.example" in soon
        assert "3 of 5" in soon
        assert "other.example" not in soon
        assert "Trusted soon" not in made.client("viewer").get("/trust").text


def test_what_is_found_is_a_file_too_as_the_role_may_see_it_t9(folder: Path) -> None:
    """T9: a viewer's file has no mailbox, no id and no address; and no cell is a formula."""
    now = int(time.time())
    evil = "=1+1@good.example"
    with closing(opened(folder)) as store:
        remember(store, deferral_at(2, now - DAY, evil), Outcome.PASSED, now)
        remember(store, deferral_at(4, now, "a@bad.example"), Outcome.WAITING, now)
    with serving(folder, write_config(folder)) as made:
        client = made.client("operator")
        page = client.get("/mail?outcome=passed&not=bad").text
        assert 'href="/mail.csv?outcome=passed&amp;not=bad"' in page
        answer = client.get("/mail.csv?outcome=passed&not=bad")
        assert answer.headers["content-type"] == "text/csv; charset=utf-8"
        assert answer.headers["content-disposition"] == 'attachment; filename="mail.csv"'
        header, row = csv.reader(StringIO(answer.text))
        assert row[header.index("sender")] == f"'{evil}"
        found = json.loads(client.get("/mail.json?not=good").text)
        assert [one["sender"] for one in found["mail"]] == ["a@bad.example"]
        assert found["complete"]
        assert client.get("/mail.csv?sign=hel").status == 400
        viewer = made.client("viewer")
        texts = viewer.get("/mail.csv").text + viewer.get("/mail.json").text
        for hidden in ("1+1", "a@bad", "user2@", "198.51.2.17", "mail2.example.org", '"id"'):
            assert hidden not in texts
        assert "@bad.example" in texts
        assert viewer.get("/mail.csv?sender=user").status == 400
        assert made.client().get("/mail.csv").status == 303

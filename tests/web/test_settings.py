"""The page of the settings says what the times of greylisting do."""

from __future__ import annotations

import html
import json
import re
import time
from pathlib import Path

from tests.web.dashboard import greylag, serving, write_config
from tests.web.seeded import seed


def test_the_times_are_shown_with_what_they_do(folder: Path) -> None:
    seed(folder, int(time.time()))
    with serving(folder, write_config(folder)) as made:
        client = made.client("viewer")
        while "sooner" not in (page := client.get("/settings").text):
            time.sleep(0.1)
    assert "first contacts were deferred" in page
    assert "would have been refused once more with 10m" in page
    assert "would have passed sooner with 2m30s" in page
    assert "would have had to begin again with 1d" in page


def test_without_a_history_nothing_is_told_of_it(folder: Path) -> None:
    with serving(folder, write_config(folder)) as made:
        page = made.client("viewer").get("/settings").text
    assert "policy.delay" in page
    assert "mails another delay would have delayed: <code>greylag whatif --delay 15m</code>" in page
    assert "refused once more" not in page


def test_each_setting_has_its_default_and_what_it_may_be_as_the_command_explains_it(
    folder: Path,
) -> None:
    """Without JavaScript: it is text of the page."""
    config = write_config(folder)
    said = json.loads(greylag(folder, "config", "explain", "--json").stdout)["settings"]
    with serving(folder, config) as made:
        page = made.client("viewer").get("/settings").text
    rows = dict(re.findall(r'<tr[^>]*><th scope="row"><code>([^<]*)</code></th>(.*)</tr>', page))
    assert set(rows) == {one["key"] for one in said}
    for one in said:
        row = html.unescape(rows[one["key"]])
        default = json.dumps(one["default"], ensure_ascii=False)
        takes = "at a restart" if one["restart"] else "at a reload"
        assert one["meaning"] in row
        assert f">{one['expected']}<" in row
        assert f"default <code>{default}</code>; a change counts {takes}" in row
    assert "a whole number from 8 to 32" in html.unescape(rows["policy.ipv4_prefix"])
    assert 's, m, h, d or w), such as "5m"' in html.unescape(rows["policy.delay"])

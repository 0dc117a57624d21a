"""The page of the settings says what the times of greylisting do."""

from __future__ import annotations

import time
from pathlib import Path

from tests.web.dashboard import serving, write_config
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
    assert "refused once more" not in page

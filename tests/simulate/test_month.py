"""A month of mail: the same for the same seed, true to what it says of itself, bounded."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from greylag.app.config import load
from greylag.service.policies import Policies
from greylag.simulate.mail import Truth
from greylag.simulate.month import Month, as_published
from greylag.simulate.senders import DAY, DAYS, mails
from greylag.store.memory import MemoryStore

BEGINS = 1_800_000_000
SHARE = 0.05
# What becomes of mail in greylag with the settings of a new install.
DELIVERED = {
    Truth.SPAM: False,
    Truth.PATIENT_SPAM: True,
    Truth.GOOD: True,
    Truth.POOL: True,
    Truth.LIST: True,
    Truth.VARYING_LIST: False,
    Truth.TWO_NETWORKS: True,
    Truth.LOST: False,
}


def test_a_seed_makes_one_month_and_another_seed_another() -> None:
    def told(seed: int) -> list[tuple[int, str, str, str]]:
        return [
            (mail.at, mail.sender(0), mail.recipient, mail.hosts[0].address)
            for mail in mails(seed, SHARE)
        ]

    assert told(1) == told(1)
    assert told(1) != told(2)


def test_a_month_has_as_many_of_each_as_it_says() -> None:
    month = mails(1)
    found = Counter(mail.truth for mail in month)
    assert found[Truth.SPAM] + found[Truth.PATIENT_SPAM] == 10_000
    assert len(month) == 14_000
    lists = {m.hosts[0].name for m in month if m.truth in (Truth.LIST, Truth.VARYING_LIST)}
    assert len(lists) == 30
    assert len({mail.sender(0).split("@")[1] for mail in month if mail.truth is Truth.POOL}) == 12
    assert len({mail.hosts[0].address for mail in month if mail.truth is Truth.GOOD}) == 900
    assert all(0 <= mail.at < DAYS * DAY for mail in month)


@pytest.fixture(scope="module")
def month(tmp_path_factory: pytest.TempPathFactory) -> Month:
    folder: Path = tmp_path_factory.mktemp("month")
    config = folder / "greylag.toml"
    config.write_text('[dns]\nservers = "off"\n')
    settings = load({b"GREYLAG_CONFIG": str(config).encode()}, str(folder))
    one = Month(mails(1, SHARE), BEGINS)
    for _made in one.play(
        MemoryStore(), Policies(as_published(settings.policy)), BEGINS + (DAYS + 3) * DAY
    ):
        pass
    return one


def test_mail_is_delivered_as_its_truth_says(month: Month) -> None:
    found = {
        truth: [s.delivered is not None for s in month.sendings if s.mail.truth is truth]
        for truth in Truth
    }
    for truth, delivered in found.items():
        right = sum(one is DELIVERED[truth] for one in delivered)
        assert right >= 0.95 * len(delivered), truth


def test_nothing_happens_before_its_time(month: Month) -> None:
    assert month.next_at is None, "all was sent"
    for sending in month.sendings:
        assert sending.delivered is None or sending.delivered >= sending.first
        assert 1 <= sending.tries <= 200

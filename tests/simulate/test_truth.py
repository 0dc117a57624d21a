"""What the figures say of a month whose truth is known; GREYLAG_SOAK=1 plays all of it."""

from __future__ import annotations

import os
import sqlite3
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import pytest

from greylag.admin.figures import report
from greylag.admin.looking import look
from greylag.admin.overview import Step, overview
from greylag.admin.top import Top, top
from greylag.app.config import load
from greylag.core.fates import HURT_AFTER
from greylag.core.figures import NEVER, STOPPED
from greylag.core.history import NEVER_CAME_BACK, By, Deferral, Outcome, Sought
from greylag.core.policy import Policy, Room
from greylag.core.stable import stable
from greylag.core.summary import Summary
from greylag.server.exporter import DaemonCollector
from greylag.server.journal import Journal
from greylag.server.metrics import Metrics
from greylag.server.storeevents import StoreEvents
from greylag.server.storefigures import EVERY
from greylag.server.worker import Worker
from greylag.service.desk import Desk
from greylag.service.dns.asking import Asking
from greylag.service.policies import Policies
from greylag.simulate.mail import Mail, Truth
from greylag.simulate.month import Month, as_published
from greylag.simulate.senders import DAY, DAYS, mails
from greylag.store import open_store
from greylag.store.base import Store
from tests.server.test_store_figures import Looking

BEGINS = 1_800_000_000
SHARE = 1.0 if os.environ.get("GREYLAG_SOAK") else 0.1
NOW = BEGINS + (DAYS + 6) * DAY  # all is over
EVERYTHING = 40 * DAY
ENOUGH = 10_000_000
BOTS = (Truth.SPAM, Truth.PATIENT_SPAM)
MOST_WRONG = 0.05


@dataclass
class Lived:
    """A month that is over."""

    month: Month
    store: Store
    path: Path
    policy: Policy
    at_the_end: Counter[str]  # figures that the last expiry added
    metrics: Metrics  # of a daemon that began before that

    def total(self) -> Summary:
        """Return all figures."""
        return report(self.store, NOW, EVERYTHING).total

    def top(self) -> Top:
        """Return what stands out of the whole month."""
        return top(self.store, self.policy, NOW, EVERYTHING, ENOUGH, ENOUGH)

    def deferrals(self) -> list[Deferral]:
        """Return all of the history."""
        return look(self.store, Sought(), most=ENOUGH).deferrals

    def mail_of(self) -> dict[tuple[str, str], Mail]:
        """Return the mail of each sender and recipient, as they are in keys."""
        found = {}
        for sending in self.month.sendings:
            to = sending.mail.recipient
            for sender in sending.senders:
                key = stable(sender.encode(), to.encode()).decode()
                found[key.lower(), to] = sending.mail
        return found


@pytest.fixture(scope="module")
def lived(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lived]:
    folder = tmp_path_factory.mktemp("month")
    config = folder / "greylag.toml"
    config.write_text('[dns]\nservers = "off"\n')
    policy = as_published(load({b"GREYLAG_CONFIG": str(config).encode()}, str(folder)).policy)
    month, path = Month(mails(1, SHARE), BEGINS), folder / "greylag.db"
    with closing(open_store(f"sqlite://{path}", timeout=4)) as store:
        for _made in month.play(store, Policies(policy), NOW):
            pass
        looking, before = Looking(store), counted(store)
        looking.now = NOW - 2 * EVERY
        looking.look()
        after = None
        while (after := store.expire(NOW, 1000, after).after) is not None:
            pass
        looking.look()
        at_the_end = counted(store)
        at_the_end.subtract(before)
        yield Lived(month, store, path, policy, at_the_end, looking.metrics)


def counted(store: Store) -> Counter[str]:
    """Return all figures of the month."""
    found: Counter[str] = Counter()
    for figures in store.figures(0, NOW + DAY).values():
        found.update(figures)
    return found


def close(found: int, truth: int) -> bool:
    return truth > 0 and abs(found - truth) <= MOST_WRONG * truth


def test_likely_spam_is_what_bots_sent_and_never_came_back(lived: Lived) -> None:
    truth = sum(
        sending.mail.truth in BOTS and sending.delivered is None for sending in lived.month.sendings
    )
    assert close(lived.total().likely_spam, truth), (lived.total().never, truth)


def test_likely_spam_is_spam(lived: Lived) -> None:
    """Nothing good is among it, or hardly any."""
    mail = lived.mail_of()
    likely = [one for one in lived.deferrals() if one.outcome is Outcome.LIKELY_SPAM]
    wrong = [one for one in likely if mail[one.sender_recipient].truth not in BOTS]
    assert len(wrong) <= MOST_WRONG * len(likely), wrong[:5]


def test_lists_are_not_called_spam(lived: Lived) -> None:
    truth = sum(
        sending.tries
        for sending in lived.month.sendings
        if sending.mail.truth is Truth.VARYING_LIST and sending.delivered is None
    )
    assert close(lived.total().never[Outcome.VARYING.value], truth), (lived.total().never, truth)


def test_who_was_hurt_is_who_waited_long_or_never_came(lived: Lived) -> None:
    truth = sum(
        sending.delivered is None or sending.delivered - sending.first >= HURT_AFTER
        for sending in lived.month.sendings
        if sending.mail.truth not in BOTS
    )
    found = lived.top()
    assert found.complete
    assert close(found.hurt_mails, truth), (found.hurt_mails, truth)
    domains = {sending.senders[0].rpartition("@")[2] for sending in lived.month.sendings
               if sending.mail.truth not in BOTS}  # fmt: skip
    of_bots = [one for one in found.hurt if one.domain not in domains]
    assert sum(one.mails for one in of_bots) <= MOST_WRONG * truth


def test_all_ways_to_the_figures_tell_the_same(lived: Lived) -> None:
    """The command, the charts, SQL by hand, the history and the figures of days."""
    total = lived.total()
    assert sum(total.never.values()) == total.stopped > 0
    for step in Step:
        assert overview(lived.store, NOW, step, 1000).total.never == total.never
    with closing(sqlite3.connect(lived.path)) as db:
        by_hand = dict(db.execute("SELECT name, sum(number) FROM figures GROUP BY name"))
        outcomes = dict(db.execute("SELECT outcome, count(*) FROM deferrals GROUP BY outcome"))
        days = db.execute("SELECT sum(never), sum(likely_spam) FROM tallies WHERE kind = 'network'")
        never, likely_spam = days.fetchone()
    assert by_hand["fate:stopped"] == total.stopped
    # Of a pool the record by network stays behind: what passed from another server, the history
    # knows as passed, and the figures as come another way.
    of_pools = total.never[Outcome.OTHER_WAY.value] - outcomes[Outcome.OTHER_WAY.value]
    passed = [one for one in lived.deferrals() if one.outcome is Outcome.PASSED]
    assert 0 < of_pools <= sum(bool(one.pool) for one in passed)
    for outcome in NEVER_CAME_BACK:
        word, behind = outcome.value, of_pools if outcome is Outcome.OTHER_WAY else 0
        assert by_hand.get(f"never:{word}", 0) == total.never[word]
        assert outcomes.get(word, 0) == total.never[word] - behind
    assert (never, likely_spam) == (total.stopped - of_pools, total.likely_spam)
    for by in By:
        tallies = lived.store.tallies(0, NOW, by, ENOUGH).values()
        assert sum(tally.never for tally in tallies) == total.stopped - of_pools
        assert sum(tally.deferred for tally in tallies) == len(lived.deferrals())
        assert sum(tally.passed for tally in tallies) >= len(passed)


def test_prometheus_is_told_the_same(lived: Lived) -> None:
    """What came while the daemon ran: here, what became of the last two days' mail."""
    desk, journal = Desk(), Journal()
    events = StoreEvents(journal, lived.metrics)
    worker = Worker(desk, lambda: lived.store, events, deadline=1, room=Room())
    collector = DaemonCollector(lived.metrics, desk, worker, journal, Asking())
    samples = {
        sample.labels["class"]: sample.value
        for metric in collector.collect()
        if metric.name == "greylag_never_came_back"
        for sample in metric.samples
    }
    assert samples == {
        outcome.value: lived.at_the_end[NEVER[outcome]] for outcome in NEVER_CAME_BACK
    }
    assert sum(samples.values()) == lived.at_the_end[STOPPED] > 0

"""Sends the world's mail through greylag, on a clock of its own.

Each attempt goes the way that it goes in a process for one recipient: `precheck`, then `Service`
with a store on the disk and evidence from a resolver. Nothing is decided here.
"""

from __future__ import annotations

import contextlib
import heapq
from collections import Counter
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from itertools import count
from math import inf
from pathlib import Path

from bench.world.evidence import Gathering
from bench.world.schedules import retries
from bench.world.servers import Server
from bench.world.settings import PLAIN, SETTINGS, settings
from bench.world.traffic import Expectation, Host, Lesson, Mail, Traffic
from greylag.admin.recipients import mark
from greylag.app.config import Settings
from greylag.core.accesslist import Entry, Purpose
from greylag.core.attempt import Attempt, Stage, Words
from greylag.core.engine import precheck
from greylag.core.sparing import taught
from greylag.core.subject import RecipientMailbox
from greylag.core.verdict import Decision, Verdict
from greylag.service import Service
from greylag.service.policies import Policies
from greylag.store import open_store
from greylag.store.base import StoreError

BEGINS = 1_800_000_000  # the first second of the world
WORDS = Words(helo=b"helo")
PATIENCE = 10.0  # seconds for a lock of the store


@dataclass(frozen=True)
class Fate:
    """What became of a mail."""

    mail: Mail
    delivered: int | None  # seconds after its first attempt, or never
    tries: tuple[tuple[int, str], ...]  # when each was, as `delivered`, and from which address
    reasons: tuple[str, str]  # of the first answer and of the last

    @property
    def passed(self) -> bool:
        """Tell whether it was delivered."""
        return self.delivered is not None

    @property
    def delayed(self) -> bool:
        """Tell whether its first attempt was deferred."""
        return self.delivered != 0

    @property
    def wait(self) -> float:
        """Return how long it took."""
        return inf if self.delivered is None else self.delivered


class Site:
    """The mail server of a site, which asks greylag."""

    def __init__(self, found: Settings) -> None:
        self.now = BEGINS
        self._policies = Policies(found.policy)
        self.store = open_store(found.store_url, timeout=PATIENCE)
        self._gathering = Gathering(found.dns)
        self._service = Service(
            lambda: self.store,
            report=_raise,
            clock=lambda: self.now,
            gather=self._gathering,
            history=True,
        )

    def close(self) -> None:
        """Close the store, and ask nobody any more."""
        self._service.close()
        self._gathering.close()

    def ask(self, host: Host, sender: bytes, recipient: bytes) -> Decision:
        """Ask about an attempt of somebody on the internet."""
        return self._answer(
            Attempt(
                host.address.encode(),
                sender,
                recipient,
                stage=Stage.RCPT,
                told={b"helo": host.helo.encode()},
                words=WORDS,
            )
        )

    def send(self, user: bytes, partner: bytes) -> Decision:
        """Ask about an attempt of a user who has logged in, and learn from it."""
        attempt = Attempt(b"192.0.2.200", user, partner, authenticated=True)
        noted = taught(attempt, self._policies.of(attempt), self.now)
        if noted is not None:  # the daemon writes it with its next batch
            with self.store.transaction():
                self.store.apply([noted], Counter(), self.now)
        return self._answer(attempt)

    def expire(self) -> None:
        """Delete what is over, as `greylag expire` does."""
        after = None
        while (after := self.store.expire(self.now, 1000, after).after) is not None:
            pass

    def figures(self) -> Counter[str]:
        """Return what was counted."""
        found: Counter[str] = Counter()
        for counted in self.store.figures(0, self.now + 1).values():
            found.update(counted)
        return found

    def put(self, *entries: Entry) -> None:
        """Put entries on the lists."""
        self.store.put_entries(entries)

    def expect(self, mailbox: bytes, seconds: int) -> None:
        """Say that a mailbox expects mail, as `greylag expect` does."""
        box, until = RecipientMailbox(mailbox.decode()), self.now + seconds
        mark(self.store, Purpose.EXPECTED, [box], self.now, until=until)

    def _answer(self, attempt: Attempt) -> Decision:
        return self._service.answer(precheck(attempt, self._policies.of(attempt)))


def _raise(error: StoreError) -> None:
    raise error


class _Sending:
    """A mail on its way."""

    def __init__(self, mail: Mail) -> None:
        self.mail = mail
        self.hosts = mail.walk()
        self.retries = retries(mail.schedule)
        self.tries: list[tuple[int, str]] = []
        self.reasons: list[str] = []
        self.delivered: int | None = None

    def fate(self) -> Fate:
        """Return what became of it."""
        reasons = (self.reasons[0], self.reasons[-1])
        return Fate(self.mail, self.delivered, tuple(self.tries), reasons)

    def attempt(self, site: Site, at: int) -> int | None:
        """Try once; return when it is tried again, or None."""
        mail = self.mail
        host = next(self.hosts)
        decision = site.ask(host, mail.sender, mail.recipient)
        self.tries.append((at - mail.at, host.address))
        self.reasons.append(decision.reason.value)
        if decision.verdict is Verdict.PASS:
            self.delivered = at - mail.at
            return None
        after = next(self.retries, None)
        return None if after is None else mail.at + after


def simulate(traffic: Traffic, site: Site) -> list[Fate]:
    """Let all of it happen; return the fates of all mails, in their order."""
    number = count()
    sendings = [_Sending(mail) for mail in traffic.mails]
    waiting: list[tuple[int, int, _Sending | Lesson | Expectation]]
    waiting = [(lesson.at, next(number), lesson) for lesson in traffic.lessons]
    waiting += [(one.at, next(number), one) for one in traffic.expectations]
    waiting += [(sending.mail.at, next(number), sending) for sending in sendings]
    heapq.heapify(waiting)
    while waiting:
        at, _number, what = heapq.heappop(waiting)
        site.now = BEGINS + at
        if isinstance(what, Lesson):
            site.send(what.user, what.partner)
        elif isinstance(what, Expectation):
            site.expect(what.mailbox, what.seconds)
        elif (again := what.attempt(site, at)) is not None:
            heapq.heappush(waiting, (again, next(number), what))
    return [sending.fate() for sending in sendings]


@contextlib.contextmanager
def site(policy: str, folder: Path, resolver: Server) -> Iterator[Site]:
    """Open a site with these settings, in a folder of its own."""
    folder.mkdir()
    with contextlib.closing(Site(settings(policy, folder, resolver))) as one:
        yield one


def fates(
    names: Iterable[str], traffic: Traffic, folder: Path, resolver: Server
) -> dict[str, list[Fate]]:
    """Return the fates of all mails under each of the settings.

    They go on side by side: most of their time is spent waiting for the disk.
    """
    with ThreadPoolExecutor() as threads:
        begun = {name: threads.submit(_lived, name, traffic, folder, resolver) for name in names}
        return {name: one.result() for name, one in begun.items()}


def _lived(name: str, traffic: Traffic, folder: Path, resolver: Server) -> list[Fate]:
    if name == PLAIN:  # there no mailbox expects mail
        traffic = replace(traffic, expectations=())
    with site(SETTINGS[name], folder / name, resolver) as one:
        return simulate(traffic, one)

"""What happens in the world: mails, and what the site's users and its operator do."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from random import Random
from zlib import crc32

SITE = "example.net"
USERS = tuple(f"user{number}@{SITE}" for number in range(1, 41))
DAY = 86400


@dataclass(frozen=True)
class Host:
    """Who connects."""

    address: str
    helo: str


@dataclass(frozen=True)
class Mail:
    """One mail for one recipient, with all attempts that its sender is ready to make."""

    kind: str  # a row of the table
    who: str  # the sender within its kind
    at: int  # seconds after the beginning
    sender: bytes
    recipient: bytes
    hosts: tuple[Host, ...]  # that its attempts may come from
    schedule: str
    seed: str = ""  # for the walk through the hosts

    def walk(self) -> Iterator[Host]:
        """Yield where each attempt comes from: always the same, or each time another one."""
        number = len(self.hosts)
        place = crc32(self.seed.encode()) % number
        turn = 0
        while True:
            yield self.hosts[place]
            turn += 1
            if number > 1:
                place = (place + 1 + crc32(f"{turn} {self.seed}".encode()) % (number - 1)) % number


@dataclass(frozen=True)
class Lesson:
    """A user writes to somebody: from then on he is a correspondent."""

    at: int
    user: bytes
    partner: bytes


@dataclass(frozen=True)
class Expectation:
    """The operator says that a mailbox expects mail."""

    at: int
    mailbox: bytes
    seconds: int


@dataclass(frozen=True)
class Traffic:
    """All that happens in some days."""

    mails: tuple[Mail, ...]
    lessons: tuple[Lesson, ...] = ()
    expectations: tuple[Expectation, ...] = ()

    def __add__(self, other: Traffic) -> Traffic:
        return Traffic(
            self.mails + other.mails,
            self.lessons + other.lessons,
            self.expectations + other.expectations,
        )


def moments(rng: Random, days: int, per_day: float) -> list[int]:
    """Return when something happens that happens so often, evenly spread."""
    return sorted(rng.randrange(days * DAY) for _ in range(round(days * per_day)))

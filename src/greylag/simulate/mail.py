"""What a mail is, and what is known to be true of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum

SITE = "example.net"
MAILBOXES = tuple(
    f"{name}@{SITE}"
    for name in (
        *("info", "office", "sales", "support", "orders", "billing", "jobs", "press"),
        *(f"user{number}" for number in range(1, 25)),
    )
)


class Truth(Enum):
    """Who really sent it, and what greylisting does to him."""

    SPAM = "spam"  # a bot, which does not come back
    PATIENT_SPAM = "patient-spam"  # a bot that comes back after the delay
    GOOD = "good"  # a mail server, which comes back
    POOL = "pool"  # servers of one sender, which come back from another network
    LIST = "list"  # a list that has the same sender when it comes back
    VARYING_LIST = "varying-list"  # a list that has another sender each time it comes back
    TWO_NETWORKS = "two-networks"  # comes back from another network, and no pool tells
    LOST = "lost"  # good mail whose sender gives up too early


@dataclass(frozen=True)
class Host:
    """Who connects, as Postfix tells it: a name that leads back to the address, or ""."""

    address: str
    name: str
    helo: str


@dataclass(frozen=True)
class Mail:
    """One mail for one recipient, with all attempts that its sender is ready to make."""

    truth: Truth
    at: int  # seconds after the beginning of the month
    recipient: str
    hosts: tuple[Host, ...]  # that its attempts come from, one after the other
    sender: Callable[[int], str]  # of which attempt, counted from 0
    schedule: str

"""When senders try again: what is known of big mail services and of common mail servers.

Seconds after the first attempt. They are facts of what senders do and no promise; what greylag has
seen of a sender itself counts more (`admin.why`).
"""

from __future__ import annotations

from greylag.core.value import value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence


@value
class Schedule:
    """When one kind of sender tries again; where the last is over, every `every` seconds."""

    name: str
    retries: tuple[int, ...]
    every: int
    domains: tuple[str, ...] = ()  # that the names of its servers end in; none: anybody may run it

    def next_after(self, first: int, after: int) -> int:
        """Return the Unix time of the first retry at or after a time, by the first attempt's."""
        for seconds in self.retries:
            if first + seconds >= after:
                return first + seconds
        last = first + self.retries[-1]
        return last + -(-(after - last) // self.every) * self.every


_EVERY_4_MINUTES = tuple(range(1210, 21_600, 240))
SERVICES = (
    Schedule("Gmail", (362, 1742, 3396, 5924, 9723, 13784, 18545), 7200, ("google.com",)),
    Schedule(
        "Outlook and Hotmail",
        (61, 123, 184, 306, 487, 728, 970, *_EVERY_4_MINUTES),
        240,
        ("outlook.com", "hotmail.com"),
    ),
    Schedule("Yahoo", (127, 339, 778, 1636, 3313, 6575, 13007), 12_800, ("yahoo.com",)),
    Schedule("AOL", (332, 692, 1292, 1892), 1800, ("aol.com",)),
    Schedule("GMX and WEB.DE", (301, 753, 1430, 2446, 3969, 6254, 9682), 7000, ("gmx.net",)),
    Schedule("mail.com", (302, 757, 1439, 2463, 3998, 6305, 9755), 7000, ("mail.com",)),
    Schedule("Mail.ru", (78, 1155, 2953, 4789, 6800, 9258), 2100, ("mail.ru",)),
    Schedule("Yandex", (65, 178, 413, 895, 1828, 2741, 3661), 930, ("yandex.net", "yandex.ru")),
    Schedule("QQ Mail", (305, 379, 502, 745, 1229, 3151, 5075, 8682), 3600, ("qq.com",)),
)
PROGRAMS = (
    Schedule("Postfix", (300, 600, 1200, 2400, 4800, 8800), 4000),
    Schedule("Exim", (900, 1800, 2700, 3600, 4500, 5400, 6300, 7200, 10_800), 5400),
    Schedule("Exchange", (60, 120, 180, 240, 540, 840, 1140, 1440, 1740), 1800),
    Schedule("qmail and OpenSMTPD", (400, 1600, 3600, 6400, 10_000, 14_400), 5200),
)
_NEAR = 0.15  # of a time: how far a retry may be from the schedule that it is taken for
_JITTER = 20  # seconds, the same for short times


def service_of(name: str) -> Schedule | None:
    """Return the schedule of the mail service that a confirmed client name belongs to."""
    for schedule in SERVICES:
        if any(name == domain or name.endswith(f".{domain}") for domain in schedule.domains):
            return schedule
    return None


def programs_like(first: int, tries: Sequence[int]) -> tuple[Schedule, ...]:
    """Return the mail servers whose schedule the tries seen so far agree with (Unix times).

    Without a try all of them do.
    """
    return tuple(p for p in PROGRAMS if all(_agrees(p, at - first) for at in tries))


def _agrees(schedule: Schedule, seconds: int) -> bool:
    return any(abs(seconds - at) <= max(_JITTER, _NEAR * at) for at in schedule.retries)

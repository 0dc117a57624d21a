"""What is asked to see whether all is well, for the page Health and for `greylag doctor`."""

from __future__ import annotations

import socket
import struct
from contextlib import suppress
from time import monotonic

from greylag.admin.providers import listing
from greylag.core.figures import HOUR, hour_of
from greylag.core.history import Sought
from greylag.core.record import CLOCK_TOLERANCE
from greylag.core.summary import summarised
from greylag.core.value import value
from greylag.service.providers import OFF, Provider
from greylag.store.base import Store

STALE = 3 * 86400  # seconds: the daemon resolves each once a day
DAY = 86400
PATIENCE = 1.0  # seconds
# Of a stage at which nothing is decided: neither counted as mail nor logged, but at debug.
_QUESTION = b"request=smtpd_access_policy\nprotocol_state=CONNECT\n\n"
_CREDENTIALS = struct.Struct("3i")


@value
class Answer:
    """What came of asking a daemon. One of `failed`, `slow` and `wrong` tells why it is none."""

    took: float = 0  # seconds
    failed: OSError | None = None  # nobody is there, or this user may not ask
    slow: bool = False  # somebody is there, and does not answer
    wrong: bool = False  # the answer is no answer of a daemon's
    pid: int = 0  # of the daemon, where a unix socket told
    uid: int = -1

    @property
    def good(self) -> bool:
        """Tell whether a daemon answered."""
        return self.failed is None and not self.slow and not self.wrong


def ask_daemon(path: str) -> Answer:
    """Ask the daemon at a unix socket something that counts as no mail."""
    began = monotonic()
    pid, uid = 0, -1
    try:
        with socket.socket(socket.AF_UNIX) as asked:
            asked.settimeout(PATIENCE)
            asked.connect(path)
            told = asked.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
            pid, uid, _gid = _CREDENTIALS.unpack(told)
            asked.sendall(_QUESTION)
            answered = asked.recv(200).startswith(b"action=")
    except (TimeoutError, BlockingIOError):
        return Answer(monotonic() - began, slow=True, pid=pid, uid=uid)
    except OSError as error:
        return Answer(monotonic() - began, failed=error)
    return Answer(monotonic() - began, wrong=not answered, pid=pid, uid=uid)


def speaks(host: str, port: int) -> bool:
    """Ask a name server for the root's name servers, and tell whether it answers."""
    question = b"\x67\x6c\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00\x00\x00\x02\x00\x01"
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with suppress(OSError), socket.socket(family, socket.SOCK_DGRAM) as asked:
        asked.settimeout(PATIENCE)
        asked.connect((host, port))
        asked.send(question)
        return asked.recv(4096)[:2] == question[:2]
    return False


def asked_within(store: Store, now: int, seconds: int = DAY) -> int:
    """Return how many recipients were asked about within so many seconds."""
    asked = 0
    for figures in store.figures(hour_of(now - seconds), now + HOUR).values():
        summary = summarised(figures)
        kinds = (summary.let_in, summary.deferred, summary.refused)
        asked += sum(sum(kind.values()) for kind in kinds)
    return asked


def clock_ahead(store: Store, now: int) -> int:
    """Return by how many seconds the newest mail is ahead of this clock; 0 if that is no sign."""
    newest = store.deferrals(Sought(), 1).deferrals
    ahead = newest[0].first_seen - now if newest else 0
    return ahead if ahead > CLOCK_TOLERANCE else 0


def used_providers(store: Store) -> list[Provider]:
    """Return the big senders that are not switched off."""
    return [one.provider for one in listing(store) if one.provider.status != OFF]


def stale(providers: list[Provider], now: int) -> list[Provider]:
    """Return those whose addresses are too old."""
    return [one for one in providers if 0 < one.refreshed < now - STALE]

"""What the log is told of the switch (`core.switch`): when it begins, changes and ends."""

from __future__ import annotations

from collections.abc import Callable
from time import gmtime, strftime, time

from greylag.core.accesslist import NEVER
from greylag.core.verdict import WARN
from greylag.server.journal import Journal
from greylag.service.desk import Desk

TYPE_CHECKING = False
if TYPE_CHECKING:
    from greylag.core.switch import Switch


class Switching:
    """Looks once a second; the desk itself goes by the switch's end to the second."""

    def __init__(self, desk: Desk, journal: Journal, clock: Callable[[], float] = time) -> None:
        self._desk = desk
        self._journal = journal
        self._clock = clock
        self._told: Switch | None = None

    def tick(self) -> None:
        """Tell what has changed since the last look."""
        switch = self._desk.switch
        if switch is not None and not switch.holds(int(self._clock())):
            switch = None
        if switch == self._told:
            return
        self._told = switch
        fields: dict[str, bytes | str | int] = {"event": "switched", "mode": "on"}
        if switch is not None:
            fields["mode"] = switch.mode.value
            if switch.until < NEVER:
                fields["until"] = strftime("%Y-%m-%dT%H:%M:%SZ", gmtime(switch.until))
            if switch.who:
                fields["who"] = switch.who
        self._journal.event(WARN, fields)

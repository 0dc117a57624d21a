"""The conversations of jgreylist as a whole: who hands clients over, who talks to them."""

from __future__ import annotations

import resource
from time import monotonic

from greylag.core.policy import Policy
from greylag.core.value import replace, value
from greylag.server.dialogues import DialogueLimits, Dialogues
from greylag.server.handover import HandOver
from greylag.server.journal import ERROR, WARN, Journal
from greylag.server.listeners import UnixListener, UnixPlace
from greylag.server.metrics import Metrics
from greylag.server.poller import Poller


@value
class ReceptionPlan:
    """What a reception is made from. A reload brings another one, for all but the socket."""

    socket: UnixPlace
    limits: DialogueLimits
    policy: Policy  # how much of an address makes the client network


class Reception:
    """Bound when made; serves from `start` to `stop`."""

    def __init__(self, plan: ReceptionPlan, journal: Journal, metrics: Metrics) -> None:
        self._journal = journal
        self._listener = UnixListener(plan.socket, records=True)
        self._poller = Poller(self._failed)
        self.dialogues = Dialogues(self._poller, plan.limits, journal, metrics)
        self._hand_over = HandOver(self._poller, self._listener.socket, self.dialogues, plan.policy)

    def start(self, descriptors_for_others: int) -> None:
        """Begin; to be called in the loop."""
        self._others = descriptors_for_others
        self._fit()
        self._poller.start()
        self._hand_over.start()

    def use(self, plan: ReceptionPlan, descriptors_for_others: int) -> None:
        """Go by another plan from now on."""
        self._others = descriptors_for_others
        self.dialogues.limits = plan.limits
        self._hand_over.policy = plan.policy
        self._fit()

    def _fit(self) -> None:
        """Raise the process's limit of descriptors, and stay below it."""
        _soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
        wanted, room = self.dialogues.limits.total, max(hard - self._others, hard // 2)
        if wanted > room:
            self.dialogues.limits = replace(self.dialogues.limits, total=room)
            fields: dict[str, bytes | str | int] = {"event": "few-descriptors"}
            fields |= {"limit": hard, "dialogues": room}
            self._journal.event(WARN, fields)

    def _failed(self, error: str) -> None:
        self._journal.rarely(ERROR, {"event": "dialogue-failed", "error": error})

    def sweep(self) -> None:
        """Look at the clock, once a second."""
        now = monotonic()
        self.dialogues.sweep(now)
        self._hand_over.sweep(now)

    def stop(self) -> None:
        """Take no more, and hang up on everybody."""
        self._hand_over.stop()
        self.dialogues.stop()
        self._poller.stop()

    def close(self) -> None:
        """Take the socket's name away."""
        self._listener.close()

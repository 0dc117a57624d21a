"""The conversations of jgreylist as a whole: who hands clients over, who talks to them."""

from __future__ import annotations

from time import monotonic

from greylag.core.policy import Policy
from greylag.core.value import replace, value
from greylag.core.verdict import ERROR
from greylag.server.connections import Shares
from greylag.server.dialogues import DialogueLimits, Dialogues
from greylag.server.handover import HandOver
from greylag.server.journal import Journal
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

    def start(self, shares: Shares) -> None:
        """Begin, within a share of the descriptors; to be called in the loop."""
        self._fit(shares)
        self._poller.start()
        self._hand_over.start()

    def use(self, plan: ReceptionPlan, shares: Shares) -> None:
        """Go by another plan from now on."""
        self.dialogues.limits = plan.limits
        self._hand_over.policy = plan.policy
        self._fit(shares)

    def _fit(self, shares: Shares) -> None:
        self.dialogues.limits = replace(self.dialogues.limits, total=shares.dialogues)
        self._hand_over.most_waiting = shares.handing_over

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

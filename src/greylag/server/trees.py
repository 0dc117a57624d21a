"""The record trees that the daemon serves beside its store: only those that the settings name.

A tree has a worker and a memory of its own. So its records never mix with others, and a file system
that hangs delays nobody else. A tree does not say when a client may come back, so there is one
worker for each hold time that connections bring. They share the files as two one-shots do. For
trees that are not served here, the one-shot answers.
"""

from __future__ import annotations

from greylag.core.policy import Room
from greylag.core.verdict import WARN
from greylag.server.journal import Journal
from greylag.server.worker import Worker
from greylag.service.desk import Desk
from greylag.store.tree import open_tree

TYPE_CHECKING = False
if TYPE_CHECKING:
    from greylag.server.events import Events

_MOST_HOLDS = 16  # of one tree; admins write one or two
_MOST_TOLD = 16  # trees that are told not to be listed


class Trees:
    """The listed trees; each is opened when it is first asked for."""

    def __init__(
        self, listed: tuple[str, ...], events: Events, journal: Journal, deadline: float
    ) -> None:
        self._events = events
        self._journal = journal
        self._open: dict[tuple[bytes, int], Worker] = {}
        self._told: set[bytes] = set()
        self.use(listed, deadline)

    def use(self, listed: tuple[str, ...], deadline: float) -> None:
        """Serve these from now on."""
        self._deadline = deadline
        self._listed = {path.rstrip("/").encode("utf-8", "surrogateescape") for path in listed}
        self._told.clear()
        for worker in self._open.values():
            worker.desk.forget_all()
            worker.use(deadline, Room())

    @property
    def are_crowded(self) -> bool:
        """Tell whether many wait for one of them."""
        return any(worker.is_crowded for worker in self._open.values())

    def find(self, path: bytes, hold: int) -> Worker | None:
        """Return the worker of a tree, or None where it is not served."""
        name = path.rstrip(b"/")
        if name not in self._listed:
            self._tell(name)
            return None
        known = self._open.get((name, hold))
        if known is None and sum(open_name == name for open_name, _ in self._open) < _MOST_HOLDS:
            known = self._start(name, hold)
        return known

    def _tell(self, name: bytes) -> None:
        if name not in self._told and len(self._told) < _MOST_TOLD:
            self._told.add(name)
            self._journal.event(WARN, {"event": "tree-not-listed", "tree": name})

    def _start(self, name: bytes, hold: int) -> Worker | None:
        path = name.decode("utf-8", "surrogateescape")
        worker = Worker(
            *(Desk(), lambda: open_tree(path, hold=hold, cleaned=True), self._events),
            deadline=self._deadline,
            room=Room(),
        )
        worker.reporting.told_of_figures = True  # nobody expects any of a tree
        try:
            worker.start()
        except RuntimeError:  # no thread is to be had
            return None
        self._open[name, hold] = worker
        return worker

    async def stop(self, patience: float) -> None:
        """Write what is left, within about `patience` seconds for all together."""
        for worker in self._open.values():
            await worker.stop(patience / len(self._open))

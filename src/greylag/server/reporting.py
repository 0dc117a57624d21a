"""What is told of a batch, beside its answers: for the log and the metrics."""

from __future__ import annotations

from time import monotonic

from greylag.server.job import Batch
from greylag.server.maintenance import Maintenance
from greylag.service.breaker import Breaker, Seldom

TYPE_CHECKING = False
if TYPE_CHECKING:
    from greylag.server.events import Events


class Reporting:
    """Tells what came of batches, each thing at a limited rate."""

    def __init__(self, events: Events, breaker: Breaker, maintenance: Maintenance) -> None:
        self._events = events
        self._breaker = breaker
        self._maintenance = maintenance
        self._refusals, self._warnings = Seldom(), Seldom()
        self.told_of_figures = False  # that the store keeps none; set: nobody expects any

    def report(self, batch: Batch) -> None:
        """Tell what came of a batch that succeeded."""
        if batch.no_figures is not None and not self.told_of_figures:
            self.told_of_figures = True
            self._events.no_figures(batch.no_figures)
        if batch.warning is not None and self._warnings.allows(monotonic()):
            self._events.store_warns(batch.warning)
        if batch.refused is not None and self._refusals.allows(monotonic()):
            self._events.store_refused(batch.refused)
        if batch.no_history is not None:  # it waits a minute after each failure
            self._events.history_failed(batch.no_history)
        self._events.batch_done(batch.took, len(batch.jobs))
        jump = self._maintenance.take_jump()
        if jump is not None:
            self._events.clock_jumped(*jump)
        error = self._maintenance.take_error()
        if error is not None and self._breaker.warns(monotonic()):
            self._events.maintenance_failed(error)
        if self._breaker.slow(batch.took, monotonic()):
            self._events.store_slow(batch.took, len(batch.jobs))

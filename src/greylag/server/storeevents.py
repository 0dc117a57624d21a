"""What the worker tells of the store, in the journal and in the metrics."""

from __future__ import annotations

from greylag.core.verdict import ERROR, WARN
from greylag.server.journal import Journal
from greylag.server.metrics import Metrics


class StoreEvents:
    """Tells journal and metrics what happens to the store."""

    def __init__(self, journal: Journal, metrics: Metrics) -> None:
        self._journal = journal
        self._metrics = metrics

    def store_failed(self, error: str) -> None:
        """The store does not answer; told once, until it does again."""
        self._metrics.store_errors += 1
        self._journal.event(ERROR, {"event": "store-failed", "error": error})

    def store_cause(self, error: str) -> None:
        """Why the store does not answer; known later than that it does not."""
        self._journal.event(ERROR, {"event": "store-cause", "error": error})

    def store_refused(self, error: str) -> None:
        """The store is there, but refuses something; told at a limited rate."""
        self._journal.event(ERROR, {"event": "store-refused", "error": error})

    def store_recovered(self) -> None:
        """The store answers again."""
        self._journal.event(WARN, {"event": "store-recovered"})

    def store_slow(self, seconds: float, attempts: int) -> None:
        """A batch took long; told at a limited rate."""
        fields: dict[str, bytes | str | int] = {"event": "store-slow", "attempts": attempts}
        self._journal.event(WARN, {**fields, "milliseconds": int(seconds * 1000)})

    def no_figures(self, cause: str) -> None:
        """The store keeps no figures; told once."""
        self._journal.event(WARN, {"event": "no-figures", "error": cause})

    def store_warns(self, warning: str) -> None:
        """An admin has to look after the store; told at a limited rate."""
        self._journal.event(WARN, {"event": "store-warning", "error": warning})

    def list_rows_ignored(self, rows: int) -> None:
        """So many rows of the lists name nothing; told each time that lists are loaded."""
        self._journal.event(WARN, {"event": "list-rows-ignored", "rows": rows})

    def maintenance_failed(self, error: str) -> None:
        """Expired records could not be deleted; told at a limited rate."""
        self._journal.event(WARN, {"event": "maintenance-failed", "error": error})

    def history_failed(self, error: str) -> None:
        """What became of deferred mail could not be written; told at a limited rate."""
        self._metrics.history_errors += 1
        self._journal.event(WARN, {"event": "history-failed", "error": error})

    def clock_jumped(self, seconds: int, pause: int) -> None:
        """The wall clock jumped, so no record is deleted for so many seconds."""
        fields: dict[str, bytes | str | int] = {"event": "clock-jumped", "seconds": seconds}
        self._journal.event(WARN, {**fields, "pause": pause})

    def batch_done(self, seconds: float, attempts: int) -> None:
        """A batch is written."""
        self._metrics.batches.observe(seconds, max(attempts, 1))

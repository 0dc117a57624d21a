"""What the worker tells of the store; a name for type checkers, which the daemon never imports."""

from __future__ import annotations

from typing import Protocol


class Events(Protocol):
    """What the worker tells: for the log and the metrics."""

    def store_failed(self, error: str) -> None:
        """The store does not answer; told once, until it does again."""

    def store_cause(self, error: str) -> None:
        """Why it does not answer, where that was not known before; told once."""

    def store_refused(self, error: str) -> None:
        """The store is there, but refuses something; told at a limited rate."""

    def store_recovered(self) -> None:
        """The store answers again."""

    def store_slow(self, seconds: float, attempts: int) -> None:
        """A batch took long; told at a limited rate."""

    def no_figures(self, cause: str) -> None:
        """The store keeps no figures; told once."""

    def store_warns(self, warning: str) -> None:
        """An admin has to look after the store; told at a limited rate."""

    def list_rows_ignored(self, rows: int) -> None:
        """So many rows of the lists name nothing; told each time that lists are loaded."""

    def maintenance_failed(self, error: str) -> None:
        """Expired records could not be deleted; told at a limited rate."""

    def history_failed(self, error: str) -> None:
        """What became of deferred mail could not be written; told at a limited rate."""

    def clock_jumped(self, seconds: int, pause: int) -> None:
        """The wall clock jumped, so no record is deleted for so many seconds."""

    def batch_done(self, seconds: float, attempts: int) -> None:
        """A batch is written."""

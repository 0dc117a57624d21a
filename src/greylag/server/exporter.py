"""The daemon's figures for Prometheus, on a port of their own (`metrics_port`)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import accumulate
from time import time

from prometheus_client import CollectorRegistry
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector

from greylag.core.accesslist import NEVER
from greylag.core.figures import RELEASED, SKIPPED, WAITED_BOUNDS
from greylag.core.policy import Greylist
from greylag.core.summary import Summary, summarised
from greylag.core.verdict import Reason, Verdict
from greylag.server.journal import Journal
from greylag.server.listeners import ListenError, TcpPlace, tcp_listener
from greylag.server.metrics import Histogram, Metrics
from greylag.server.metrics_port import Port
from greylag.server.worker import Worker
from greylag.service.desk import Desk
from greylag.service.dns.asking import Asking
from greylag.wire.tempfail import End


class DaemonCollector(Collector):
    """Reads what the daemon counts, at the moment somebody asks."""

    def __init__(
        self, metrics: Metrics, desk: Desk, worker: Worker, journal: Journal, dns: Asking
    ) -> None:
        self._metrics = metrics
        self._journal = journal
        self._desk = desk
        self._worker = worker
        self._dns = dns

    def collect(self) -> Iterator[Metric]:
        """Yield each figure; labels are our own words, so there are never more series."""
        quota = self._worker.maintenance.quota
        summary = summarised(self._metrics.figures() | dict(quota.fates))
        yield _attempts(summary)
        yield _observed(summary)
        yield _delays(summary)
        yield _fates(summary)
        yield from self._of_store()
        yield from self._times()
        yield from self._work()
        yield from self._dialogues()
        yield from self._health()
        yield from self._switch()
        yield self._records()
        yield from self._evidence()
        yield from self._providers()

    def _times(self) -> Iterator[Metric]:
        yield _histogram(
            "greylag_answer_seconds",
            "Time from a request to its answer.",
            self._metrics.latency,
        )
        yield _histogram(
            "greylag_store_seconds",
            "Time that the store took for an attempt's batch.",
            self._metrics.batches,
        )

    def _work(self) -> Iterator[Metric]:
        yield _counter("greylag_cache_hits", "Attempts answered from memory.", self._desk.hits)
        yield _counter(
            "greylag_cache_misses", "Attempts that the store was asked.", self._desk.misses
        )
        yield _gauge("greylag_queue_length", "Attempts that wait now.", self._worker.queue_length)

    def _health(self) -> Iterator[Metric]:
        yield _counter(
            "greylag_store_errors", "Times that the store failed.", self._metrics.store_errors
        )
        yield _gauge("greylag_store_down", "1 while the store fails.", self._worker.store_is_down)
        yield _counter(
            "greylag_log_dropped", "Log lines that could not be written.", self._journal.dropped
        )
        maintenance = self._worker.maintenance
        yield _counter("greylag_clock_jumps", "Jumps of the wall clock.", maintenance.jumps)
        yield _gauge(
            "greylag_expiry_paused", "1 while nothing is expired after one.", maintenance.paused
        )
        yield _gauge(
            "greylag_maintenance_failing",
            "1 while expired records cannot be deleted.",
            maintenance.has_failed,
        )

    def _of_store(self) -> Iterator[Metric]:
        counted = self._metrics.of_store
        classes = CounterMetricFamily(
            "greylag_never_came_back",
            "Triplets that expired without a retry, by what is known of them.",
            labels=("class",),
        )
        for word, number in summarised(counted).never.items():
            classes.add_metric((word,), number)
        yield classes
        yield _counter(
            "greylag_history_skipped",
            "First contacts of a flood that the history leaves out.",
            counted.get(SKIPPED, 0),
        )
        yield _counter(
            "greylag_history_errors",
            "Times that the history could not be written.",
            self._metrics.history_errors,
        )
        yield _counter(
            "greylag_released", "Waiting triplets that an admin let in.", counted.get(RELEASED, 0)
        )

    def _switch(self) -> Iterator[Metric]:
        switch, now = self._desk.switch, time()
        holding = switch if switch is not None and switch.holds(int(now)) else None
        mode = GaugeMetricFamily(
            "greylag_switch", "1 while `greylag off` or `greylag observe` holds.", labels=("mode",)
        )
        for one in (Greylist.OFF, Greylist.OBSERVE):
            mode.add_metric((one.value,), holding is not None and holding.mode is one)
        yield mode
        ends = 0 if holding is None or holding.until >= NEVER else holding.until
        yield _gauge("greylag_switch_ends_timestamp_seconds", "When it ends by itself.", ends)

    def _evidence(self) -> Iterator[Metric]:
        yield _counter("greylag_dns_queries", "Queries that were sent.", self._dns.asked)
        yield _counter("greylag_dns_errors", "Queries without an answer.", self._dns.errors)
        yield _gauge("greylag_dns_kept", "Answers in memory.", self._dns.kept)

    def _providers(self) -> Iterator[Metric]:
        found = self._metrics
        yield _gauge("greylag_providers", "Big senders that are let in.", found.providers)
        yield _gauge(
            "greylag_providers_oldest_timestamp_seconds",
            "When the oldest of their ranges were resolved.",
            found.oldest_provider,
        )
        yield _gauge(
            "greylag_providers_refused_timestamp_seconds",
            "When a change of one was refused last.",
            found.provider_refused,
        )

    def _records(self) -> Metric:
        """Return how many records there are, once they were counted."""
        records = GaugeMetricFamily(
            "greylag_records", "Records of mail, as the last walk counted.", labels=("state",)
        )
        found = self._worker.maintenance.records
        if found is not None:
            for state, number in zip(("waiting", "passed"), found, strict=True):
                records.add_metric((state,), number)
        return records

    def _dialogues(self) -> Iterator[Metric]:
        yield _gauge("greylag_dialogues", "Fake conversations under way.", self._metrics.dialogues)
        ends = CounterMetricFamily(
            "greylag_dialogues_ended", "Fake conversations that are over.", labels=("end",)
        )
        for end in End:
            ends.add_metric((end.value,), self._metrics.dialogue_ends[end])
        yield ends


def _attempts(summary: Summary) -> Metric:
    """Return the answers, with 0 for those that did not occur yet."""
    attempts = CounterMetricFamily(
        "greylag_attempts", "Attempts answered.", labels=("verdict", "reason")
    )
    counted = {
        Verdict.PASS: summary.let_in,
        Verdict.DEFER: summary.deferred,
        Verdict.REJECT: summary.refused,
    }
    for reason in Reason:
        for verdict in Verdict:
            number = counted[verdict].get(reason.value, 0)
            if number or verdict in reason.verdicts:
                attempts.add_metric((verdict.value, reason.value), number)
    return attempts


def _observed(summary: Summary) -> Metric:
    """Return what was only observed, with 0 for what did not occur yet."""
    observed = CounterMetricFamily(
        "greylag_observed",
        "Attempts let in because greylisting only observes.",
        labels=("reason",),
    )
    for reason in Reason:
        if set(reason.verdicts) != {Verdict.PASS} and reason.counted:
            observed.add_metric((reason.value,), summary.observed.get(reason.value, 0))
    return observed


def _delays(summary: Summary) -> Metric:
    bounds = (*map(str, WAITED_BOUNDS), "+Inf")
    return HistogramMetricFamily(
        "greylag_delay_seconds",
        "Time from first contact to first pass, of what passed after a delay.",
        buckets=list(zip(bounds, accumulate(summary.delays), strict=True)),
        sum_value=summary.waited,
    )


def _fates(summary: Summary) -> Metric:
    fates = CounterMetricFamily(
        "greylag_triplets_forgotten", "Triplets that were deleted.", labels=("fate",)
    )
    for fate, number in summary.fates.items():
        fates.add_metric((fate,), number)
    return fates


def _histogram(name: str, text: str, found: Histogram) -> Metric:
    buckets = list(found.buckets())
    return HistogramMetricFamily(name, text, buckets=buckets, sum_value=found.total)


def _counter(name: str, text: str, number: float) -> Metric:
    return CounterMetricFamily(name, text, value=number)


def _gauge(name: str, text: str, number: float) -> Metric:
    return GaugeMetricFamily(name, text, value=float(number))


def export(place: TcpPlace, collector: DaemonCollector) -> Callable[[], None]:
    """Serve the figures; return what ends that. Raises ListenError."""
    listener = tcp_listener(place)
    if listener is None:
        raise ListenError(f"{place}: there is no IPv6 on this machine")
    registry = CollectorRegistry()
    registry.register(collector)
    return Port(listener, registry).start()

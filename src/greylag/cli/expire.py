"""`greylag expire`: forget what has had its time, and count what became of it.

A clock that jumped ahead makes everything look old, and one that jumped back makes what waits
look as if it came from the future. So what would go is counted first, by reading alone, and where
that is too much to be ordinary nothing is done without `--yes`.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from time import monotonic, sleep

import click

from greylag.admin.records import EVERYTHING
from greylag.cli.common import NOTHING, CommandError, Run, examples, json_option
from greylag.cli.output import moment, progress, say, write_fields, write_json
from greylag.store.base import Filter, Page, Store

PAGE = 5000  # records in one transaction: some 50 ms
PAUSE = 0.12  # seconds between them: whoever waits for SQLite's lock looks every 0.1
MANY = 100  # fewer than these may well end on one day
SILENCE = 86400  # seconds without any contact after which the clock is to be doubted


@dataclass(slots=True)
class Count:
    """What a walk over all records found."""

    waiting: int = 0  # never passed, live or not
    passed: int = 0
    stopped: int = 0  # of the waiting: no longer live
    delayed: int = 0  # of the passed: no longer live
    future: int = 0  # of the stopped: first seen later than now
    newest: int = 0  # the last contact of all
    today: bool = False  # there was a contact within a day before now
    yesterday: bool = False  # and within the day before that

    def contact(self, at: int, now: int) -> None:
        """Note when a triplet was first seen, or passed last."""
        self.newest = max(self.newest, at)
        self.today |= 0 <= now - at < SILENCE
        self.yesterday |= SILENCE <= now - at < 2 * SILENCE

    def suspicious(self, now: int) -> str | None:
        """Tell what looks like a clock that jumped, or None."""
        if self.stopped + self.delayed >= MANY and now - self.newest > SILENCE:
            return f"nothing was seen since {moment(self.newest)}"
        if self.today and self.yesterday:
            return None  # a clock that jumped has been steady for a day since
        if self.delayed >= MANY and 2 * self.delayed > self.passed:
            return f"{self.delayed} of {self.passed} records that had passed would go"
        if self.future >= MANY and 2 * self.future > self.waiting:
            return f"{self.future} of {self.waiting} waiting records are from the future"
        return None


@click.command(
    short_help="Delete expired records.",
    epilog=examples("greylag expire", "greylag expire --dry-run"),
)
@click.option("--dry-run", is_flag=True, help="Only count.")
@click.option("--yes", is_flag=True, help="Go on even if most of the records would go.")
@json_option
@click.pass_obj
def expire(run: Run, dry_run: bool, yes: bool) -> None:
    """Delete expired records; to be run each hour or day.

    Triplets that never came back are counted as stopped, see `greylag stats`.
    """
    with closing(run.open_store()) as store:
        found = count_all(store, run.now, run.policy.lifetime)
        why = found.suspicious(run.now)
        if why and not yes and not dry_run:
            raise CommandError([f"refused: {why}; has the clock jumped? --yes goes on"], NOTHING)
        stopped, delayed = found.stopped, found.delayed
        waiting, passed = found.waiting - stopped, found.passed - delayed
        if not dry_run:
            stopped, delayed = _forget(store, run.now, found.waiting + found.passed)
            waiting, passed = store.count(run.now)
    if why and dry_run:
        say(f"without --yes this would be refused: {why}")
    _write(run, dry_run, (stopped, delayed), (waiting, passed))


def count_all(store: Store, now: int, lifetime: int) -> Count:
    """Count what is there and what would go, by reading alone."""
    count = Count()
    for _, record in progress(store.search(Filter(), EVERYTHING), None, "counting"):
        gone = not record.live(now)
        last_pass = record.expires - lifetime if record.passed else 0
        count.contact(record.first_seen, now)
        count.contact(last_pass, now)
        if record.passed:
            count.passed += 1
            count.delayed += gone
        else:
            count.waiting += 1
            count.stopped += gone
            count.future += gone and now < record.expires
    return count


def _forget(store: Store, now: int, total: int) -> tuple[int, int]:
    stopped = delayed = 0
    for page in progress(_pages(store, now), total, "forgetting", step=PAGE):
        stopped += page.stopped
        delayed += page.delayed
    return stopped, delayed


def _pages(store: Store, now: int) -> Iterator[Page]:
    page = Page(0, 0, None)
    while True:
        began = monotonic()
        page = store.expire(now, PAGE, page.after)
        yield page
        if page.after is None:
            return
        sleep(max(PAUSE, monotonic() - began))  # let the plugins have their turn


def _write(run: Run, dry_run: bool, gone: tuple[int, int], kept: tuple[int, int]) -> None:
    if run.json:
        write_json(
            {
                "dry_run": dry_run,
                "stopped": gone[0],
                "delayed": gone[1],
                "kept": {"waiting": kept[0], "passed": kept[1]},
            }
        )
        return
    name = "would be forgotten" if dry_run else "forgotten"
    write_fields(
        [
            (name, str(sum(gone))),
            ("  stopped", f"{gone[0]} never came back"),
            ("  delayed", f"{gone[1]} had passed"),
            ("kept", f"{sum(kept)} ({kept[0]} waiting, {kept[1]} passed)"),
        ]
    )

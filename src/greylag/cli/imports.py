"""`greylag import`: take over who is known from elsewhere, so that nobody known is delayed."""

from __future__ import annotations

import gzip
import re
import sys
import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import IO

import click

from greylag.cli.common import (
    NOTHING,
    STORE_ERROR,
    CommandError,
    Group,
    Run,
    examples,
    json_option,
)
from greylag.cli.output import progress, write_fields, write_json
from greylag.cli.smtplog import client_of, time_of
from greylag.core.client import IPV4_BYTES
from greylag.core.connection import HOLD
from greylag.core.policy import Policy
from greylag.core.record import Change, Created, Passed
from greylag.core.triplet import Triplet, connection_of
from greylag.store.base import Store
from greylag.store.tree import TreeStore
from greylag.store.tree_files import Times

LONGEST = 65536  # bytes of a line that are looked at
_DAY = 86400
_TOGETHER = 500  # records in one transaction
_IPV4_BITS = 32


@dataclass(slots=True)
class Reader:
    """Takes lines of logs, and keeps whose mail was accepted when."""

    now: int
    since: int
    policy: Policy
    pattern: re.Pattern[str] | None
    by_address: bool
    lines: int = 0
    accepted: int = 0  # lines of accepted mail with its client
    old: int = 0  # of these: from before `since`
    networks: dict[Triplet, Times] = field(default_factory=dict)

    def take(self, line: str) -> None:
        """Look at one line."""
        self.lines += 1
        stamp = time_of(line, self.now)
        client = client_of(stamp[1], self.pattern) if stamp else None
        if stamp is None or client is None:
            return
        self.accepted += 1
        if stamp[0] < self.since:
            self.old += 1
            return
        at = min(stamp[0], self.now)
        single = self.by_address and len(client) == IPV4_BYTES
        key = connection_of(client, _IPV4_BITS if single else self.policy.prefix_of(client))
        known = self.networks.get(key)
        # Its mail was accepted: so it had waited, and came at least twice.
        first = Times(at - HOLD, at)
        self.networks[key] = (
            Times(min(known.first, first.first), max(known.last, at)) if known else first
        )

    def parts(self) -> Iterator[dict[Triplet, Times]]:
        """Yield what was found in parts that one transaction takes."""
        items = iter(sorted(self.networks.items(), key=lambda item: item[0].key))
        while part := dict(islice(items, _TOGETHER)):
            yield part


@click.group("import", cls=Group)
def import_group() -> None:
    """Take over who is known from elsewhere."""


def _pattern(_context: click.Context, _parameter: click.Parameter, text: str | None) -> object:
    if text is None:
        return None
    try:
        pattern = re.compile(text)
    except re.error as error:
        raise click.BadParameter(f"expected a regular expression: {error}") from error
    if "address" not in pattern.groupindex:
        raise click.BadParameter("expected a group (?P<address>...) for the client's address")
    return pattern


@import_group.command(
    "smtp-log",
    short_help="Know the clients whose mail was accepted already (jgreylist).",
    epilog=examples(
        "greylag import smtp-log /var/log/qmail/smtpd/@* /var/log/qmail/smtpd/current",
        "greylag import smtp-log --tree /var/lib/jgreylist /var/log/mail.log*",
        "greylag import smtp-log --pattern 'delivered from (?P<address>[0-9a-f.:]+)' - < log",
    ),
)
@click.argument("files", nargs=-1, required=True, type=click.Path(path_type=str))
@click.option("--tree", metavar="DIR", envvar="JGREYLIST_DIR", show_envvar=True, help="Fill DIR.")
@click.option(
    "--days",
    type=click.IntRange(1, 3650),
    default=30,
    show_default=True,
    help="How far back lines count.",
)
@click.option(
    "--pattern",
    metavar="REGEX",
    callback=_pattern,
    help="What a line of accepted mail has behind its time, with a group (?P<address>...).",
)
@click.option("--by-address", is_flag=True, help="As JGREYLIST_BY_IP: each IPv4 address alone.")
@click.option("--dry-run", is_flag=True, help="Only tell what would be remembered.")
@json_option
@click.pass_obj
def smtp_log(  # noqa: PLR0913 - one for each option
    run: Run,
    files: tuple[str, ...],
    *,
    tree: str | None,
    days: int,
    pattern: re.Pattern[str] | None,
    by_address: bool,
    dry_run: bool,
) -> None:
    """Remember the clients of accepted mail in FILES, so that jgreylist lets them in at once.

    FILES are logs of qmail-smtpd through multilog (TAI64N stamps, result=accepted code=250), or of
    Postfix through syslog; .gz is unpacked, - is standard input. Records go into the store, or
    into jgreylist's own tree of files with --tree. What is known already stays as it is.
    """
    policy = run.policy if tree is None else Policy()
    reader = Reader(run.now, run.now - days * _DAY, policy, pattern, by_address)
    for line in progress((line for name in files for line in _lines_of(name)), None, "reading"):
        reader.take(line)
    if not reader.accepted:
        wanted = "expected multilog's lines with result=accepted code=250, or Postfix's in syslog"
        raise CommandError([f"no accepted mail in {reader.lines} lines: {wanted}"], NOTHING)
    opened = TreeStore(tree) if tree is not None else run.open_store(create=not dry_run)
    with closing(opened) as store:
        total = len(reader.networks)
        added = 0
        for part in progress(reader.parts(), total, "remembering", step=_TOGETHER):
            added += _remember(store, part, run.now, policy.lifetime, dry_run=dry_run)
    _write(run, reader, added, dry_run=dry_run)


def _lines_of(name: str) -> Iterator[str]:
    """Yield the lines of a file. Of a very long one the beginning counts."""
    try:
        with _opened(name) as stream:
            whole = True
            while piece := stream.readline(LONGEST):
                if whole:
                    yield piece.decode("latin-1").rstrip("\n")
                whole = piece.endswith(b"\n")
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise CommandError([f"{name}: {error}"], STORE_ERROR) from error


def _opened(name: str) -> IO[bytes] | gzip.GzipFile:
    if name == "-":
        return sys.stdin.buffer
    if name.endswith(".gz"):
        return gzip.open(name, "rb")
    return Path(name).open("rb")


def _remember(
    store: Store, part: Mapping[Triplet, Times], now: int, lifetime: int, *, dry_run: bool
) -> int:
    """Make records of those that have none that counts; return how many."""
    with store.transaction():
        known = store.load(list(part))
        new = {
            key: times
            for key, times in part.items()
            if now < times.last + lifetime and not (key in known and known[key].live(now))
        }
        if dry_run or not new:
            return len(new)
        if isinstance(store, TreeStore):
            store.remember(new.items())
        else:
            store.apply(_changes(new, lifetime), {}, now)
    return len(new)


def _changes(new: Mapping[Triplet, Times], lifetime: int) -> Sequence[Change]:
    changes: list[Change] = []
    for key, times in new.items():
        expires = times.last + lifetime
        changes.append(Created(key, times.first, times.first + HOLD, expires))
        changes.append(Passed(key, expires))
    return changes


def _write(run: Run, reader: Reader, added: int, *, dry_run: bool) -> None:
    if run.json:
        write_json(
            {
                "dry_run": dry_run,
                "lines": reader.lines,
                "accepted": reader.accepted,
                "too_old": reader.old,
                "networks": len(reader.networks),
                "added": added,
            }
        )
        return
    write_fields(
        [
            ("lines", str(reader.lines)),
            ("  of accepted mail", f"{reader.accepted}, {reader.old} of them too old"),
            ("networks", str(len(reader.networks))),
            ("  would be added" if dry_run else "  added", str(added)),
        ]
    )

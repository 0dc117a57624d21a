"""`greylag import`: what other programs know, and what the logs of mail servers tell."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterable, Iterator
from contextlib import closing

import click

from greylag.admin.bounded import TooLong
from greylag.admin.logs.files import LogUnreadable, lines_of
from greylag.admin.seeding import Reader, Seeds
from greylag.cli.common import NO_INPUT, NOTHING, CommandError, Group, Run, examples, json_option
from greylag.cli.exports import import_lines
from greylag.cli.output import progress, say, write_fields, write_json
from greylag.cli.peers import COMMANDS
from greylag.core.policy import Policy
from greylag.store.base import Store, StoreError
from greylag.store.tree import open_named_tree

_DAY = 86400
_EXPECTED = (
    "expected lines of qmail-smtpd through multilog (result=accepted code=250), of Postfix (its "
    "smtpd's client= and its qmgr's from=), or Exim's with <="
)


class Imports(Group):
    """Takes a FILE in a command's place: `greylag import FILE` is of `greylag export`."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Put the command `lines` before a file, where no command is named."""
        files = [word for word in args if word == "-" or "/" in word or os.path.isfile(word)]
        if files and not set(args) & set(self.commands):
            args = [import_lines.name or "", *args]
        return super().parse_args(ctx, args)


@click.group("import", cls=Imports, short_help="Take what greylag or others know.")
def import_group() -> None:
    """Take an export of greylag, or learn from what other programs know.

    `greylag import FILE` takes what greylag export wrote.
    """


for _command in (import_lines, *COMMANDS):
    import_group.add_command(_command)


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
    short_help="Learn from logs of accepted mail.",
    epilog=examples(
        "greylag import smtp-log /var/log/qmail/smtpd/@* /var/log/qmail/smtpd/current",
        "greylag import smtp-log --tree /var/lib/jgreylist /var/log/mail.log*",
        "journalctl -o short-iso -t postfix/smtpd -t postfix/qmgr -t postfix/lmtp |"
        " greylag import smtp-log -",
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
    """Remember whose mail was accepted in FILES, so that who is known is not delayed.

    FILES are logs of qmail-smtpd through multilog (TAI64N stamps, result=accepted code=250), of
    Postfix, or Exim's main log; also as journalctl, BusyBox or docker logs write them. gzip, bzip2
    and xz are unpacked, - is standard input. The clients go into the store as connections, for
    jgreylist; of Postfix's log also client, sender and recipient as triplets, for greylisting. With
    --tree the connections go into jgreylist's own files. A record that waits stays as it is.
    """
    policy = run.policy if tree is None else Policy()

    def opened() -> Store:
        return run.open_store(create=not dry_run) if tree is None else open_named_tree(tree)

    with closing(Seeds(opened, policy, run.now, dry_run=dry_run, progress=progress)) as seeds:
        reader = Reader(
            *(run.now, run.now - days * _DAY, policy, pattern, by_address),
            triplets=tree is None,
            write=seeds.write,
        )
        try:
            for line in progress(_lines(files), None, "reading", unit="lines"):
                reader.take(line)
            if not reader.accepted:
                raise CommandError([_why_nothing(reader, pattern)], NOTHING)
            reader.flush()
        except (CommandError, StoreError, KeyboardInterrupt):
            _tell_so_far(seeds, dry_run=dry_run)
            raise
    _write(run, reader, seeds, dry_run=dry_run)


def _tell_so_far(seeds: Seeds, *, dry_run: bool) -> None:
    """Say what stays stored where the command ends before its end."""
    added = seeds.added, seeds.added_triplets
    if any(added) and not dry_run:
        told = f"{added[0]} connections and {added[1]} triplets were added before, and stay"
        say(f"it was ended: {told}; it may be run again")


def _lines(names: Iterable[str]) -> Iterator[str]:
    try:
        for name in names:
            yield from lines_of(name, sys.stdin.buffer)
    except (LogUnreadable, TooLong) as error:
        raise CommandError([str(error)], NO_INPUT) from error


def _why_nothing(reader: Reader, pattern: re.Pattern[str] | None) -> str:
    told = f"no accepted mail in {reader.lines} lines: "
    no_time = reader.nearest.no_time()
    if no_time is not None:
        return f"{told}{no_time}; {_EXPECTED}" if pattern is None else told + no_time
    if pattern is not None:
        return f"{told}--pattern fits none: {reader.nearest.why(pattern)}"
    if reader.queue.begun:
        begun = f"Postfix's smtpd began {reader.queue.begun} mails"
        return f"{told}{begun}, but no line of qmgr with the same queue id tells that it took one"
    return told + _EXPECTED


def _write(run: Run, reader: Reader, seeds: Seeds, *, dry_run: bool) -> None:
    if run.json:
        write_json(
            {
                "dry_run": dry_run,
                "lines": reader.lines,
                "accepted": reader.accepted,
                "too_old": reader.old,
                "networks": seeds.networks,
                "added": seeds.added,
                "triplets": seeds.triplets,
                "added_triplets": seeds.added_triplets,
            }
        )
        return
    added = "  would be added" if dry_run else "  added"
    write_fields(
        [
            ("lines", str(reader.lines)),
            ("  of accepted mail", f"{reader.accepted}, {reader.old} of them too old"),
            ("networks", f"{seeds.networks} (connections, for jgreylist)"),
            (added, str(seeds.added)),
            ("triplets", f"{seeds.triplets} (client, sender and recipient, for greylisting)"),
            (added, str(seeds.added_triplets)),
        ]
    )

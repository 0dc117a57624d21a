"""`jgreylist-clean`: what the old program's cleaner did, for cron.

A clock that jumped ahead makes every record look old. So it is looked first, and where nothing was
seen for longer than any mail server is silent, nothing is removed without `--yes`.
"""

from __future__ import annotations

import os
from collections import Counter
from contextlib import closing

import click

from greylag.admin.expiry import ClockDoubted, doubt_of_tree
from greylag.admin.moments import moment
from greylag.cli.common import Run, examples, json_option
from greylag.cli.expire import refused
from greylag.cli.home import DEFAULT_HOME
from greylag.cli.main import Ending
from greylag.cli.output import progress, write, write_json
from greylag.core.client import IPV4_BYTES, format_address
from greylag.store.contacts import Times
from greylag.store.tree import open_named_tree
from greylag.store.tree.files import KEPT, OLD, ONCE, names_of, network_of

TREE = "jgreylist"  # in the qmail home
SAID = {
    ONCE: "came once and never again, over 1 day ago",
    OLD: "not seen for 30 days",
    KEPT: "kept",
}


def usual_tree() -> str:
    """Return where the old cleaner looks: below the qmail home, or where we are if it is here."""
    return os.path.abspath(TREE) if os.path.isdir(TREE) else f"{DEFAULT_HOME}/{TREE}"


@click.command(
    "jgreylist-clean",
    cls=Ending,
    epilog=examples(
        "jgreylist-clean /var/lib/jgreylist",
        "10 3 * * * jgreylist-clean -q /var/lib/jgreylist    (in a crontab)",
    ),
)
@click.argument("directory", metavar="[DIR]", envvar="JGREYLIST_DIR", default=usual_tree)
@click.option("-q", "quiet", is_flag=True, help="Print nothing but errors.")
@click.option("-d", "list_removed", is_flag=True, help="List what is removed.")
@click.option("-v", "verbose", is_flag=True, help="List what is removed and what is kept.")
@click.option("--yes", is_flag=True, help="Go on even if the clock seems to have jumped.")
@json_option
@click.pass_obj
def clean(
    run: Run, directory: str, *, quiet: bool, list_removed: bool, verbose: bool, yes: bool
) -> None:
    """Remove the records of jgreylist's tree DIR whose time is over.

    Without DIR it is that of JGREYLIST_DIR, else the folder jgreylist of the qmail home.

    Those are clients that came once and never again, after a day, and clients not seen for 30
    days; then folders left empty. Prints how many were removed and kept: how many came once
    tells how much was no mail server.
    """
    counts: Counter[str] = Counter({ONCE: 0, OLD: 0, KEPT: 0})
    told = {ONCE, OLD, KEPT} if verbose else {ONCE, OLD} if list_removed else set()
    with closing(open_named_tree(directory)) as tree:
        if not yes:
            try:
                doubt_of_tree(tree.walk(), run.now, progress)
            except ClockDoubted as doubt:
                raise refused(doubt) from None
        for way, times, fate in progress(tree.clean(run.now), None, "cleaning"):
            counts[fate] += 1
            if fate in told and not quiet and not run.json:
                write(f"{shown(way)}: {SAID[fate]} ({_seen(times)})")
    if run.json:
        write_json({"removed": {ONCE: counts[ONCE], OLD: counts[OLD]}, "kept": counts[KEPT]})
    elif not quiet:
        write(f"removed: {counts[ONCE]} {SAID[ONCE]}")
        write(f"removed: {counts[OLD]} {SAID[OLD]}")
        write(f"kept: {counts[KEPT]}")


def shown(way: tuple[str, ...]) -> str:
    """Return the network that names in a tree stand for; where it is none, the names."""
    network = network_of(way)
    if network is None:
        return "/".join(way)
    text = format_address(network)
    if len(network) == IPV4_BYTES:
        return text if network[-1] else f"{text}/24"
    return text if len(names_of(network)[-1]) > len("00000000") else f"{text}/64"


def _seen(times: Times) -> str:
    return f"first {moment(times.first)}, last {moment(times.last)}"


def main() -> None:
    """Run `jgreylist-clean` and end the process."""
    clean(prog_name="jgreylist-clean", obj=Run())

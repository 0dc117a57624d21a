"""The options that choose records, shared by `search` and `forget`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import wraps

import click

from greylag.admin.records import Wanted, wanted
from greylag.cli.common import told_as_usage
from greylag.core.policy import Policy


@dataclass(frozen=True, slots=True)
class Chosen:
    """The options as they were given."""

    client: str | None
    sender: str | None
    recipient: str | None
    waiting: bool
    passed: bool
    connections: bool

    def anything(self) -> bool:
        """Tell whether any option was given."""
        return self != Chosen(None, None, None, waiting=False, passed=False, connections=False)

    def wanted(self, policy: Policy) -> Wanted:
        """Return which records they mean. Raises click.UsageError."""
        if self.waiting and self.passed:
            raise click.UsageError("--waiting and --passed exclude each other")
        with told_as_usage():
            return wanted(
                policy,
                client=self.client,
                sender=self.sender,
                recipient=self.recipient,
                passed=self.passed if self.passed or self.waiting else None,
                connections=self.connections,
            )


def filter_options(command: Callable[..., int]) -> Callable[..., int]:
    """Give a command the options that choose records, and a Chosen in their place."""
    options = (
        click.option(
            "--client",
            metavar="ADDRESS|CIDR",
            help="The network of a client address, or all networks in a range.",
        ),
        click.option("--sender", metavar="TEXT", help="Part of the sender; <> is the null sender."),
        click.option("--recipient", metavar="TEXT", help="Part of the recipient."),
        click.option("--waiting", is_flag=True, help="Only what has not passed."),
        click.option("--passed", is_flag=True, help="Only what has passed."),
        click.option("--connections", is_flag=True, help="Only connections (jgreylist)."),
    )

    @wraps(command)
    def packed(*args: object, **given: object) -> int:
        names = Chosen.__slots__
        chosen = Chosen(*(given.pop(name) for name in names))  # type: ignore[arg-type]
        return command(*args, chosen=chosen, **given)

    for option in reversed(options):
        packed = option(packed)
    return packed

"""The options that choose records, shared by `search` and `forget`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import wraps

import click

from greylag.cli.typed import typed_address
from greylag.core.client import host_of, last_address, network
from greylag.core.policy import Policy
from greylag.core.subject import Domain, parse_subject
from greylag.core.triplet import OF_CONNECTIONS, Triplet, kind_of
from greylag.store.base import Filter

NULL_SENDER = "<>"


@dataclass(frozen=True, slots=True)
class Wanted:
    """The options as they were given."""

    client: str | None
    sender: str | None
    recipient: str | None
    waiting: bool
    passed: bool
    connections: bool

    def anything(self) -> bool:
        """Tell whether any option was given."""
        return self != Wanted(None, None, None, waiting=False, passed=False, connections=False)

    def filter(self, policy: Policy) -> Filter:
        """Return what to search a store for. Raises click.UsageError."""
        if self.waiting and self.passed:
            raise click.UsageError("--waiting and --passed exclude each other")
        if self.connections and (self.sender is not None or self.recipient is not None):
            raise click.UsageError("--connections: a connection has no sender and no recipient")
        first, last = (None, None) if self.client is None else _range(self.client, policy)
        null_sender = self.sender == NULL_SENDER
        return Filter(
            first_network=first,
            last_network=last,
            sender="" if null_sender else _text("--sender", self.sender, policy.sender_name),
            recipient=_text("--recipient", self.recipient, policy.recipient_name),
            null_sender=null_sender,
            passed=self.passed if self.passed or self.waiting else None,
        )

    def fits(self, key: Triplet) -> bool:
        """Tell what a store's own search cannot: whether it is of the kind that is wanted."""
        return not self.connections or kind_of(key) == OF_CONNECTIONS


def filter_options(command: Callable[..., int]) -> Callable[..., int]:
    """Give a command the options that choose records, and a Wanted in their place."""
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
        names = Wanted.__slots__
        wanted = Wanted(*(given.pop(name) for name in names))  # type: ignore[arg-type]
        return command(*args, wanted=wanted, **given)

    for option in reversed(options):
        packed = option(packed)
    return packed


def _range(text: str, policy: Policy) -> tuple[bytes, bytes]:
    """Return the first and last client network that a text means.

    Records are kept by network, so nothing narrower than one can be asked for.
    """
    expected = "--client: expected an address or a range, such as 192.0.2.1 or 192.0.2.0/24"
    try:
        subject = parse_subject(text)
    except ValueError as error:
        cause = f"--client: {error}" if "/" in text else f"{expected}; got {text!r}"
        raise click.UsageError(cause) from None
    if isinstance(subject, Domain):
        raise click.UsageError(f"{expected}; got {text!r}")
    single = subject.prefix == 8 * len(subject.packed)
    packed = host_of(subject.packed)[0] if single else subject.packed
    prefix = policy.prefix_of(packed)
    if subject.prefix >= prefix:
        only = network(packed, prefix)
        return only, only
    return subject.packed, last_address(subject.packed, subject.prefix)


def _text(option: str, text: str | None, name: Callable[[bytes], str]) -> str:
    if text is None:
        return ""
    if not text.strip():
        # Would fit every record; most likely an empty variable in a script.
        raise click.UsageError(f"{option}: expected a text, got an empty one")
    return name(typed_address(text))

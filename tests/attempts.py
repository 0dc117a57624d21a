"""What an attempt says, for tests of what reads one."""

from __future__ import annotations

from greylag.core.attempt import Attempt, Words
from greylag.core.value import replace

FACTS = (
    "client_name",
    "confirmed_name",
    "reverse_name",
    "helo",
    "instance",
    "tls",
    "recipients",
    "user",
)


def bare(attempt: Attempt) -> Attempt:
    """Return the attempt without what is looked up when it is asked for."""
    return replace(attempt, told={}, words=Words())


def facts_of(attempt: Attempt) -> dict[str, bytes | int]:
    """Return what is looked up."""
    return {name: getattr(attempt, name) for name in FACTS}

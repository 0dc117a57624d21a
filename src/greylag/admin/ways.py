"""Ways to let deferred mail in, each as the command that an admin types."""

from __future__ import annotations

from collections.abc import Iterator
from shlex import join

from greylag.admin.deferrals import Standing
from greylag.admin.retry import is_reduced
from greylag.core.client import format_address, is_packed
from greylag.core.client import network as network_of
from greylag.core.policy import Policy
from greylag.core.shortid import shown_id
from greylag.core.subject import Network
from greylag.core.value import value


@value
class Way:
    """One way to let mail in: what it lets in, and the command as it is typed."""

    what: str
    command: str


def ways_in(standing: Standing, policy: Policy, *, kinds: bool) -> Iterator[Way]:
    """Return the ways to let it in, the narrowest first; `kinds`: the store keeps such entries.

    Without DNS no SPF passes, so entries for senders do not count: they are left out.
    """
    deferral = standing.deferral
    sender, domain = deferral.triplet.sender, deferral.triplet.sender.rpartition("@")[2]
    if standing.waits:
        yield _way("this mail: its next retry", "release", shown_id(deferral.id))
    by_spf = kinds and policy.dns
    if by_spf and _is_plain(sender) and "@" in sender and not is_reduced(sender):
        yield _way(
            "all mail from this sender, where SPF passes", *_ALLOW, "--sender", sender, *_EXPIRES
        )
    if kinds and _is_plain(deferral.name):
        told = "all mail of servers with this name"
        if not policy.dns:
            told += " (DNS is off: only where the mail server confirms names, as Postfix does)"
        yield _way(told, *_ALLOW, "--client-name", deferral.name, *_EXPIRES)
    if is_packed(deferral.client):
        yield _way(
            "all mail from this address", *_ALLOW, format_address(deferral.client), *_EXPIRES
        )
    network = deferral.triplet.network
    prefix = policy.prefix_of(network)
    if is_packed(network) and prefix < 8 * len(network) and network == network_of(network, prefix):
        yield _way("all mail from this network", *_ALLOW, str(Network(network, prefix)), *_EXPIRES)
    if by_spf and _is_plain(domain):
        told = "all mail from this domain, where SPF passes"
        yield _way(told, *_ALLOW, "--sender-domain", domain, *_EXPIRES)


_ALLOW = ("allow", "add")
# An entry that nobody remembers lets in whoever has the address by then: so each ends by itself.
LASTS = "90d"
_EXPIRES = ("--expires", LASTS)


def _way(what: str, *words: str) -> Way:
    return Way(what, join(("greylag", *words)))


def _is_plain(text: str) -> bool:
    """Tell whether a name can be typed as it stands: an escape would be read as a byte."""
    visible = text.isascii() and text.isprintable() and "\\" not in text
    return bool(text) and visible and not text.startswith("-")

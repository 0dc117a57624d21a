"""Where the dashboard listens, by which names it may be called, and whom it believes about others.

A web page elsewhere can have its own name lead to our address (DNS rebinding). So names in `Host`
are believed only if they are ours; an address there cannot be the name of anybody's page.
"""

from __future__ import annotations

import re
from ipaddress import ip_address

from greylag.core.value import value

_HOST = re.compile(r"(\[[^\[\]]*\]|[^\[\]:]*)(?::[0-9]{0,5})?", re.ASCII)
_MOST_HOPS = 20  # addresses in X-Forwarded-For that are looked at


@value
class Place:
    """An address and a port."""

    host: str
    port: int

    @property
    def loopback(self) -> bool:
        """Tell whether nobody but this machine can reach it."""
        return ip_address(self.host).is_loopback

    @property
    def url(self) -> str:
        """Return what is typed into a browser."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"http://{host}:{self.port}/"


def place_of(text: str) -> Place:
    """Return the place of `127.0.0.1:8025` or `[::1]:8025`, which a setting's reader let pass."""
    host, _colon, port = text.rpartition(":")
    return Place(host.strip("[]"), int(port))


def host_allowed(header: str, names: frozenset[str]) -> bool:
    """Tell whether a Host header may name us: an address, localhost, or one of these names."""
    found = _HOST.fullmatch(header.strip().lower())
    if found is None:  # such as 127.0.0.1:80@example.org, which a link would lead elsewhere with
        return False
    host = found[1].strip("[]").removesuffix(".")
    return host == "localhost" or host in names or _is_address(host)


def _is_address(text: str) -> bool:
    try:
        ip_address(text)
    except ValueError:
        return False
    return True


def source_of(peer: str, forwarded: str, proxies: frozenset[str]) -> str:
    """Return who asks: the peer, or whom a named proxy says that it asks for.

    The last address of X-Forwarded-For that is no proxy of ours; those before it anybody can write.
    """
    if peer not in proxies:
        return peer
    for hop in reversed(forwarded.split(",")[-_MOST_HOPS:]):
        address = hop.strip()
        if not _is_address(address):
            return peer
        peer = str(ip_address(address))
        if peer not in proxies:
            break
    return peer

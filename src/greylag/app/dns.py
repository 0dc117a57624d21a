"""The settings of [dns]: whom to ask, and about what."""

from __future__ import annotations

from greylag.app.option import Option
from greylag.core.policy import Greylist, IdentityBy, Policy, with_evidence
from greylag.core.signs import Sign
from greylag.core.value import replace, value
from greylag.store.plain_file import read_plain

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any

    from greylag.core.evidence import Evidence, Kind
    from greylag.core.question import Question
    from greylag.core.recipients import Table
    from greylag.core.suffixes import Suffixes
    from greylag.core.zones import Zone
    from greylag.service.dns.asking import Sources
    from greylag.service.evidence import Gather

OFF, SYSTEM = "off", "system"
PORT = 53
SUFFIXES = "/usr/share/publicsuffix/public_suffix_list.dat"
_MOST_SERVERS = 3  # as in resolv.conf
_EXPECTED = 'expected "system", "off", or a list of addresses such as ["127.0.0.1", "[::1]:5353"]'
_OF_DNS = {Sign.NO_NAME, Sign.DYNAMIC_NAME, Sign.SPF, Sign.DNSBL}


@value
class DnsSettings:
    """Whom to ask, and which zones."""

    asks: bool
    servers: tuple[tuple[str, int], ...]  # none: those of the system
    dnsbl: tuple[Zone, ...]
    dnswl: tuple[Zone, ...]


def _servers(raw: object) -> str | tuple[str, ...]:
    """Return whom to ask. A name of a server would have to be asked about itself."""
    if raw in (OFF, SYSTEM):
        return str(raw)
    if not isinstance(raw, list) or not raw:
        raise ValueError(_EXPECTED)
    if len(raw) > _MOST_SERVERS:
        raise ValueError(f"{_EXPECTED}: at most {_MOST_SERVERS}")
    for item in raw:
        if not isinstance(item, str):
            raise ValueError(_EXPECTED)
        _server(item)
    return tuple(raw)


def _server(text: str) -> tuple[str, int]:
    """Return address and port of `192.0.2.1`, `192.0.2.1:53`, `2001:db8::1` or `[2001:db8::1]:53`.

    Raises ValueError.
    """
    host, port = text, str(PORT)
    if text.startswith("["):
        host, bracket, after = text[1:].partition("]")
        port = after[1:] if after[:1] == ":" else ("" if after or not bracket else port)
    elif text.count(":") == 1:
        host, _colon, port = text.partition(":")
    right = port.isascii() and port.isdigit() and len(port) <= 5 and 0 < int(port) < 65536
    from greylag.service.dns.servers import is_address  # few name any

    if not right or not is_address(host):
        raise ValueError(f"{_EXPECTED}: an address, not a name")
    return host, int(port)


def _zones(*, deny: bool) -> Callable[[object], tuple[str, ...]]:
    """Return a reader of lists of zones."""

    def read(raw: object) -> tuple[str, ...]:
        if not isinstance(raw, list) or not all(isinstance(item, str) for item in raw):
            raise ValueError('expected a list of zones, such as ["list.example.org"]')
        zones_of(tuple(raw), deny=deny)
        return tuple(raw)

    return read


def zones_of(texts: tuple[str, ...], *, deny: bool) -> tuple[Zone, ...]:
    """Return the zones that are written so, of DNSBL or DNSWL. Raises ValueError."""
    if not texts:
        return ()
    from greylag.core.zones import DNSBL_CODES, DNSWL_CODES, parse_zone  # few name any

    return tuple(parse_zone(text, DNSBL_CODES if deny else DNSWL_CODES) for text in texts)


def _path(raw: object) -> str:
    if not isinstance(raw, str) or not raw.startswith("/") or "\0" in raw:
        raise ValueError("expected an absolute path in quotes")
    return raw


DNS_OPTIONS = (
    Option(
        "dns.servers",
        _servers,
        SYSTEM,
        'which name servers are asked about clients and senders: "system", "off", or addresses',
    ),
    Option(
        "dns.dnsbl",
        _zones(deny=True),
        (),
        "zones whose word against a client is a sign of spam",
    ),
    Option(
        "dns.dnswl",
        _zones(deny=False),
        (),
        "zones that spare the clients they list the delay",
    ),
    Option(
        "dns.suffixes",
        _path,
        SUFFIXES,
        'the public suffix list, which identity = "spf+name" needs',
    ),
)


def dns_of(values: dict[str, Any]) -> DnsSettings:
    """Return what the settings say."""
    named = values["dns.servers"]
    return DnsSettings(
        named != OFF,
        () if named in (OFF, SYSTEM) else tuple(map(_server, named)),
        zones_of(values["dns.dnsbl"], deny=True),
        zones_of(values["dns.dnswl"], deny=False),
    )


def informed(
    policy: Policy,
    tables: Sequence[Table],
    values: dict[str, Any],
    origins: dict[str, str],
    errors: list[str],
) -> tuple[Policy, DnsSettings]:
    """Return the policy with what can be asked of DNS, and whom to ask. Adds errors."""
    dns, suffixes = dns_of(values), None
    wanting = [(origins["policy.identity"], "policy.identity")] if _wants_names(policy) else []
    wanting += [
        (table.origin, "recipient.identity")
        for table in tables
        if table.sets("identity") and _wants_names(replace(policy, **dict(table.changes)))
    ]
    if wanting:
        try:
            suffixes = suffixes_of(values["dns.suffixes"])
        except ValueError as error:
            errors.append(f"{': '.join(wanting[0])}: {error}")
    asks = dns.asks
    dnsbl, dnswl = asks and bool(dns.dnsbl), asks and bool(dns.dnswl)
    changed = replace(policy, dns=asks, dnsbl=dnsbl, dnswl=dnswl, suffixes=suffixes)
    return with_evidence(changed), dns


def _wants_names(policy: Policy) -> bool:
    return policy.identity is IdentityBy.SPF_OR_NAME


def unanswered(
    dns: DnsSettings, policy: Policy, tables: Sequence[Table], origins: dict[str, str]
) -> list[str]:
    """Tell what was set that needs DNS, where nothing is asked of it."""
    if dns.asks:
        return []
    wanting = [(origins[key], key) for key in _wanting(policy, "policy")]
    wanting += [(origins[key], key) for key in ("dns.dnsbl", "dns.dnswl") if getattr(dns, key[4:])]
    for table in tables:
        if not table.sets("identity", "greylist"):
            continue
        own = [f"recipient.{name}" for name, _value in table.changes]
        keys = _wanting(replace(policy, **dict(table.changes)), "recipient")
        wanting += [(table.origin, key) for key in keys if key in own]
    return [
        f'{origin}: dns.servers is "off", and {key} needs DNS'
        for origin, key in wanting
        if origin != "default"
    ]


def servers_of(dns: DnsSettings) -> tuple[tuple[str, int], ...]:
    """Return whom to ask: those that are named, or those of this machine."""
    if not dns.asks:
        return ()
    from greylag.service.dns.servers import system_servers

    return dns.servers or system_servers()


def sources_of(dns: DnsSettings) -> Sources:
    """Return whom the daemon asks, and which zones."""
    from greylag.service.dns.asking import Sources

    return Sources(servers_of(dns), dns.dnsbl, dns.dnswl)


def gather_of(dns: DnsSettings, caution: Callable[[str], None] | None = None) -> Gather | None:
    """Return what gathers evidence for one question, or None where nothing is asked of DNS.

    `caution` is told of bugs.
    """
    if not dns.asks:
        return None

    def gather(question: Question, kinds: frozenset[Kind], seconds: float) -> Evidence:
        from greylag.service.dns.oneshot import OneShot  # only for a first contact
        from greylag.service.dns.recipes import recipes_of

        recipes = recipes_of(dns.dnsbl, dns.dnswl)
        return OneShot(recipes, servers_of(dns), caution)(question, kinds, seconds)

    return gather


def _wanting(policy: Policy, section: str) -> list[str]:
    """Return the settings of a policy that need DNS."""
    keys = [] if policy.identity is IdentityBy.NONE else [f"{section}.identity"]
    if policy.greylist is Greylist.SUSPICIOUS and policy.signs & _OF_DNS:
        keys.append(f"{section}.greylist")
    return keys


def suffixes_of(path: str) -> Suffixes:
    """Read a public suffix list. A ValueError tells why it cannot be used."""
    from greylag.core.suffixes import Suffixes  # few need it

    try:
        return Suffixes(read_plain(path).decode("utf-8"))
    except FileNotFoundError:
        raise ValueError(f"{path}: no such file (Debian's package publicsuffix has it)") from None
    except OSError as error:
        raise ValueError(f"{path}: {error.strerror}") from None
    except ValueError:
        raise ValueError(f"{path}: expected a whole public suffix list") from None

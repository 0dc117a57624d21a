"""Every setting of `greylag.toml`: one table for the loader, `greylag config` and docs."""

from __future__ import annotations

from collections.abc import Callable

from greylag.core.client import parse_address
from greylag.core.duration import EXPECTED, parse_duration
from greylag.core.policy import NullSender, Policy, Room
from greylag.core.value import value
from greylag.core.verdict import Verdict
from greylag.store import check_url
from greylag.wire.reply import Replies, check_template

LEVELS = ("off", "fatal", "error", "warn", "info", "debug")  # the old plugin's 0 to 5
_DAY = 86400
_LONGEST_WAIT = 4  # seconds, so that a plugin answers as configured within its 5


@value
class Option:
    """A setting: its key, how a TOML value is read (ValueError says what was expected), default."""

    key: str
    read: Callable[[object], object]
    default: object
    meaning: str


def _text(raw: object) -> str:
    if not isinstance(raw, str):
        raise ValueError("expected a text in quotes")
    return raw


def _duration(raw: object) -> int:
    if not isinstance(raw, str):
        raise ValueError(f"expected {EXPECTED}")
    return parse_duration(raw)


def _lasting(raw: object) -> int:
    seconds = _duration(raw)
    if seconds < _DAY:
        raise ValueError('expected at least "1d", or every mail would be greylisted again')
    return seconds


def _wait(raw: object) -> int:
    seconds = _duration(raw)
    if not 1 <= seconds <= _LONGEST_WAIT:
        raise ValueError('expected a duration from "1s" to "4s"')
    return seconds


def _prefix(lowest: int, highest: int) -> Callable[[object], int]:
    def read(raw: object) -> int:
        if isinstance(raw, bool) or not isinstance(raw, int) or not lowest <= raw <= highest:
            raise ValueError(f"expected a whole number from {lowest} to {highest}")
        return raw

    return read


def _flag(raw: object) -> bool:
    if not isinstance(raw, bool):
        raise ValueError("expected true or false")
    return raw


def _null_sender(raw: object) -> NullSender:
    if raw not in ("data", "rcpt", "never"):
        raise ValueError('expected "data", "rcpt" or "never"')
    return NullSender(raw)


def _on_failure(raw: object) -> Verdict:
    if raw not in ("pass", "defer"):
        raise ValueError('expected "pass" or "defer"')
    return Verdict(raw)


def _level(raw: object) -> int:
    if not isinstance(raw, str) or raw not in LEVELS:
        raise ValueError("expected one of " + ", ".join(f'"{name}"' for name in LEVELS))
    return LEVELS.index(raw)


def _path(raw: object) -> str:
    if not isinstance(raw, str) or (raw and not raw.startswith("/")) or "\0" in raw:
        raise ValueError("expected an absolute path in quotes")
    return raw


def _mode(raw: object) -> int:
    octal = isinstance(raw, str) and len(raw) in (3, 4) and not set(raw) - set("01234567")
    if not octal or int(str(raw), 8) > 0o777:
        raise ValueError('expected an octal mode in quotes, such as "0660"')
    return int(str(raw), 8)


def _places(raw: object) -> tuple[str, ...]:
    if not isinstance(raw, list) or not all(isinstance(item, str) for item in raw):
        raise ValueError('expected a list of address:port, such as ["127.0.0.1:10023"]')
    for item in raw:
        host, _colon, port = item.rpartition(":")
        address = parse_address(host.strip("[]").encode())
        number = int(port) if port.isascii() and port.isdigit() and len(port) <= 5 else 0
        if address is None or not 0 < number < 65536:
            raise ValueError(f'expected address:port, such as "127.0.0.1:10023" ({item!r})')
    return tuple(raw)


def _place(raw: object) -> str:
    return raw if raw == "" else _places([raw])[0]


def _count(lowest: int, highest: int) -> Callable[[object], int]:
    return _prefix(lowest, highest)


_POLICY = Policy()
_REPLIES = Replies()
_ROOM = Room()

OPTIONS = (
    Option(
        "policy.delay",
        _duration,
        _POLICY.delay,
        "how long after the first attempt a retry is let in",
    ),
    Option(
        "policy.retry_window",
        _duration,
        _POLICY.retry_window,
        "how long after the first attempt a triplet that never came back is forgotten",
    ),
    Option(
        "policy.lifetime",
        _lasting,
        _POLICY.lifetime,
        "how long after its last pass a triplet is remembered",
    ),
    Option(
        "policy.ipv4_prefix",
        _prefix(8, 32),
        _POLICY.ipv4_prefix,
        "bits of an IPv4 address that make the client network",
    ),
    Option(
        "policy.ipv6_prefix",
        _prefix(16, 128),
        _POLICY.ipv6_prefix,
        "bits of an IPv6 address that make the client network",
    ),
    Option(
        "policy.null_sender",
        _null_sender,
        _POLICY.null_sender,
        'when bounces are deferred: at "data", at "rcpt" or "never"',
    ),
    Option(
        "policy.explicit",
        _flag,
        _POLICY.explicit,
        "greylist only the recipient domains that the allowlist names",
    ),
    Option(
        "store.url",
        lambda raw: check_url(_text(raw)),
        "sqlite:///var/lib/greylag/greylag.db",
        "where records, lists and figures are kept",
    ),
    Option(
        "store.timeout",
        _wait,
        4,
        "the longest wait for another program that is writing",
    ),
    Option(
        "store.on_failure",
        _on_failure,
        Verdict.PASS,
        'the answer when the store fails: "pass" or "defer"',
    ),
    Option(
        "store.max_waiting",
        _count(10_000, 1_000_000_000),
        _ROOM.total,
        "records that may wait for a retry; beyond, the daemon forgets some by chance",
    ),
    Option(
        "store.max_waiting_per_network",
        _count(100, 1_000_000_000),
        _ROOM.per_network,
        "of these, how many may be of one client network",
    ),
    Option(
        "reply.defer",
        lambda raw: check_template(_text(raw), "4"),
        _REPLIES.defer,
        "the SMTP reply of a deferral; {retry_after} and {client_address} are filled in",
    ),
    Option(
        "reply.deny",
        lambda raw: check_template(_text(raw), "5"),
        _REPLIES.deny,
        "the SMTP reply to what the denylist refuses; {client_address} is filled in",
    ),
    Option(
        "reply.header",
        _flag,
        False,
        "have Postfix add a header to mail that had to wait, with the delay in seconds",
    ),
    Option(
        "server.socket",
        _path,
        "/run/greylag/greylag.sock",
        "the unix socket of the daemon",
    ),
    Option(
        "server.socket_mode",
        _mode,
        0o660,
        "the mode of that socket: who may write to it may ask",
    ),
    Option(
        "server.socket_group",
        _text,
        "",
        "the group of that socket; empty: that of the daemon",
    ),
    Option(
        "server.policy",
        _places,
        (),
        "addresses and ports that mail servers may ask at",
    ),
    Option(
        "server.trust_tcp",
        _flag,
        False,
        "believe greylag_* attributes on these ports too, as on the unix socket",
    ),
    Option(
        "server.max_connections",
        _count(1, 100_000),
        4000,
        "connections at once; more are closed",
    ),
    Option(
        "server.deadline",
        _wait,
        1,
        "how long the store may take for an answer; then `store.on_failure` is the answer",
    ),
    Option(
        "server.metrics",
        _place,
        "",
        "address and port of the figures for Prometheus; empty: none",
    ),
    Option(
        "log.file",
        _path,
        "",
        "the daemon's log, opened again on SIGHUP; empty: standard error",
    ),
    Option(
        "log.level",
        _level,
        LEVELS.index("info"),
        'what is logged: "off", "fatal", "error", "warn", "info" or "debug"',
    ),
)
BY_KEY = {option.key: option for option in OPTIONS}

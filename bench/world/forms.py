"""Senders that programs make anew for each mail: lists, bulk senders, forwarders."""

from __future__ import annotations

from collections.abc import Callable
from random import Random

# From a list's name, the number of the mail, the recipient and a source of random words.
Form = Callable[[str, int, str, Random], str]

_BASE32 = "abcdefghijklmnopqrstuvwxyz234567"
_BASE64 = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"


def _hex(rng: Random, size: int) -> str:
    return f"{rng.getrandbits(4 * size):0{size}x}"


def _word(rng: Random, size: int, letters: str = _BASE64) -> str:
    return "".join(rng.choices(letters, k=size))


def _digits(rng: Random, size: int) -> str:
    return _word(rng, size, "123456789")


def _uuid(rng: Random) -> str:
    return "-".join(_hex(rng, size) for size in (8, 4, 4, 4, 12))


def _verp(recipient: str, at: str = "=") -> str:
    return recipient.replace("@", at)


# What writes it, and how.
LISTS: tuple[tuple[str, Form], ...] = (
    ("ezmlm", lambda name, n, to, _: f"{name}-return-{n}-{_verp(to)}"),
    ("ezmlm with a cookie", lambda name, n, to, r: f"{name}-return-{n}.{_hex(r, 6)}-{_verp(to)}"),
    ("Mailman", lambda name, _n, to, _r: f"{name}-bounces+{_verp(to)}"),
    ("Mailman without VERP", lambda name, _n, _to, _r: f"{name}-bounces"),
    ("Mailman behind BATV",
     lambda name, _n, to, r: f"prvs={_digits(r, 4)}{_hex(r, 6)}={name}-bounces+{_verp(to)}"),
    ("Sympa", lambda name, _n, to, _: f"bounce+{_verp(to, '==a==')}=={name}"),
    ("Sympa's owner", lambda name, _n, _to, _r: f"{name}-owner"),
    ("Listserv", lambda name, _n, to, _: f"owner-{name}*{_verp(to, '**')}"),
    ("mlmmj", lambda name, n, to, _: f"{name}+bounces-{n}-{_verp(to)}"),
    ("Majordomo", lambda name, _n, _to, _r: f"owner-{name}"),
    ("Lyris", lambda name, n, _to, r: f"bounce-{name}-{n}-{_digits(r, 7)}"),
    ("a group's tag", lambda name, _n, _to, r: f"{name}+bnc{_word(r, 18, _BASE64[:26])}"),
    ("groups with numbers",
     lambda _name, n, to, r: f"sentto-1234-{n}-{_digits(r, 10)}-{_verp(to)}"),
    ("dates", lambda name, n, _to, _r: f"{name}-bounce-202611{n % 30 + 1:02}"),
    ("GNU VERP", lambda name, n, to, _: f"{name}-owner-{_verp(to)}+{n}"),
)  # fmt: skip
BULK: tuple[tuple[str, Form], ...] = (
    ("account, tag and recipient",
     lambda _name, _n, to, r: f"bounces+12345-{_hex(r, 4)}-{_verp(to)}"),
    ("time, UUID and count", lambda _name, _n, _to, r: f"0100018f{_hex(r, 8)}-{_uuid(r)}-000000"),
    ("numbers with dots",
     lambda _name, n, to, r: f"bounce-mc.us1_12345678.{n}{_digits(r, 4)}-{_verp(to)}"),
    ("numbers and a word",
     lambda _name, _n, _to, r: f"bounce-mc.us14_71234567.{_digits(r, 7)}-{_hex(r, 10)}"),
    ("many numbers",
     lambda _name, n, _to, r: f"bounce-{n}{_digits(r, 4)}_HTML-{_digits(r, 9)}-1234567-7001234-0"),
    ("a digest and a recipient",
     lambda _name, _n, to, r: f"1axbn5a1bz1a{_digits(r, 2)}hb8wfpn-{_verp(to)}"),
    ("numbers of a campaign",
     lambda _name, n, _to, r:
     f"123-ABC-456.0.{7000 + n}.0.0.{_digits(r, 5)}.9.{_digits(r, 7)}-890"),
    ("a bulk sender's BATV",
     lambda _name, _n, _to, r: f"msprvs1=19{_digits(r, 3)}{_word(r, 6)}=bounces-244-7"),
    ("a UUID of bounces", lambda _name, _n, _to, r: f"bounce-{_uuid(r)}"),
    ("base64", lambda _name, _n, _to, r: f"v-1{_word(r, 7)}_{_word(r, 9)}"),
    ("three equal signs",
     lambda _name, _n, to, r: f"n{_digits(r, 8)}-{_hex(r, 6)}-{_verp(to, '===')}"),
    ("dots as _", lambda _name, _n, to, r:
     f"sent_{_digits(r, 8)}_{_verp(to, '_').replace('.', '_')}"),
    ("a reply tag", lambda _name, _n, _to, r: f"replies+verp-{_hex(r, 32)}"),
    ("base32", lambda _name, _n, _to, r: f"bounce.{_word(r, 16, _BASE32)}"),
    ("a random word", lambda _name, _n, _to, r: f"m-1a2b{_hex(r, 8)}"),
)  # fmt: skip


def srs0(forwarder: str, original: str, rng: Random) -> str:
    """Return a sender as a forwarder rewrites it."""
    user, _at, domain = original.partition("@")
    mark = rng.choice("=+-")
    return f"SRS0{mark}{_word(rng, 4)}={_word(rng, 2, _BASE32).upper()}={domain}={user}@{forwarder}"


def srs1(forwarder: str, first: str, original: str, rng: Random) -> str:
    """Return a sender as the second of two forwarders rewrites it."""
    user, _at, domain = original.partition("@")
    inner = f"{_word(rng, 4)}={_word(rng, 2, _BASE32).upper()}={domain}={user}"
    return f"SRS1={_word(rng, 4)}={first}=={inner}@{forwarder}"

"""What each kind of value takes, at its edges; the texts of errors are in test_config."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from greylag.app import reading
from greylag.core.address import MAX_LENGTH
from greylag.core.policy import IdentityBy, NullSender
from greylag.core.signs import Sign
from greylag.core.verdict import Verdict

PLACES = ["192.0.2.1:1", "192.0.2.1:65535", "[2001:db8::1]:10023"]
LONGEST = "a" * (MAX_LENGTH - 1) + "@"


@pytest.mark.parametrize(
    ("read", "raw", "value"),
    [
        *[(reading.count(1, 9), raw, raw) for raw in (1, 5, 9)],
        *[(reading.wait, f"{number}s", number) for number in (1, 4)],
        (reading.lasting, "1d", 86400),
        (reading.between(5, 300), "5s", 5),
        (reading.between(5, 300), "5m", 300),
        (reading.flag, True, True),
        (reading.flag, False, False),
        (reading.member_of(NullSender), "never", NullSender.NEVER),
        (reading.member_of(IdentityBy), "spf+name", IdentityBy.SPF_OR_NAME),
        (reading.off_or(86400), "off", 0),
        (reading.off_or(86400), "1d", 86400),
        (reading.signs, [], frozenset()),
        (reading.signs, ["helo", "spf", "spf"], frozenset((Sign.HELO, Sign.SPF))),
        *[(reading.separator, raw, raw) for raw in ("", "+", "-", "=")],
        (reading.hosts, [], ()),
        (reading.hosts, ["MX", "2001:DB8:0::1"], ("mx", "2001:db8::1")),
        (reading.on_failure, "defer", Verdict.DEFER),
        (reading.senders, ["A@", "b@Example.org", LONGEST], ("a@", "b@example.org", LONGEST)),
        (reading.senders, [], ()),
        (reading.level, "off", 0),
        (reading.level, "debug", 5),
        *[(reading.times, raw, raw) for raw in ("file", "always", "never")],
        (reading.path, "", ""),
        (reading.path, "/x", "/x"),
        (reading.paths, [], ()),
        (reading.paths, ["/x", "/y"], ("/x", "/y")),
        (reading.mode, "600", 0o600),
        (reading.mode, "0777", 0o777),
        (reading.places, [], ()),
        (reading.places, PLACES, tuple(PLACES)),
        (reading.place, "", ""),
        (reading.place, PLACES[2], PLACES[2]),
    ],
)
def test_what_a_setting_takes(read: Callable[[object], object], raw: object, value: object) -> None:
    assert read(raw) == value


@pytest.mark.parametrize(
    ("read", "raw"),
    [
        *[(reading.count(1, 9), raw) for raw in (0, 10, True, "5", 5.0)],
        *[(reading.wait, raw) for raw in ("0s", "5s", 3)],
        *[(reading.lasting, raw) for raw in ("23h", 86400)],
        *[(reading.between(5, 300), raw) for raw in ("4s", "301s")],
        *[(reading.flag, raw) for raw in (1, "true")],
        *[(reading.member_of(NullSender), raw) for raw in ("", "DATA", True, ["data"])],
        *[(reading.off_or(86400), raw) for raw in ("", "0s", "23h", False, 0, "OFF")],
        *[(reading.signs, raw) for raw in ("helo", ["halo"], [["helo"]], [1], True)],
        *[(reading.separator, raw) for raw in ("++", "@", "a", " ", "\0", "ä", True, ["+"])],
        *[(reading.hosts, raw) for raw in ("mx", [1], [""], ["a b"], ["ä"], ["a" * 254])],
        *[(reading.on_failure, raw) for raw in ("reject", True)],
        *[(reading.senders, raw) for raw in ("a@", [1], ["@example.org"], ["a b@"], ["ä@"])],
        *[(reading.senders, [raw]) for raw in ("a", "a\n@", "a" + LONGEST)],
        *[(reading.level, raw) for raw in (3, "loud")],
        *[(reading.times, raw) for raw in (True, "", "sometimes")],
        *[(reading.path, raw) for raw in (1, "x", "x/y", "/x\0")],
        *[(reading.paths, raw) for raw in ("/x", ["/x", ""], ["x"], ["/x\0"], [1])],
        *[(reading.mode, raw) for raw in (0o660, "66", "00660", "0888", "1777", "-660")],
        *[(reading.places, raw) for raw in ("192.0.2.1:1", [1], ["192.0.2.1"], ["x:1"])],
        *[(reading.places, [f"192.0.2.1:{port}"]) for port in ("", "0", "65536", "1x", "²")],
        *[(reading.places, [PLACES[0], raw]) for raw in ("", ":1", "192.0.2.1:000080")],
        *[(reading.place, raw) for raw in ("x:1", 1)],
    ],
)
def test_what_a_setting_does_not_take(read: Callable[[object], object], raw: object) -> None:
    with pytest.raises(ValueError, match=r"^(expected|the )"):
        read(raw)

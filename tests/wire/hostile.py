"""Hostile values by construction, for what must hold 300 or 500 of them (P13, T12, T13)."""

from __future__ import annotations

from tests.evil import EVIL

_CONTROLS = [bytes((byte,)) for byte in (*range(0x20), 0x7F)]
_HIGH = [bytes((byte,)) for byte in range(0x80, 0x100)]  # lone C1, lead and trail bytes
_ODD_TEXT = [
    chr(code).encode("utf-8", "surrogatepass")
    for code in (
        *range(0x80, 0xA0),  # C1 as UTF-8
        *(0x2028, 0x2029, 0x202A, 0x202B, 0x202C, 0x202D, 0x202E, 0x2066, 0x2067, 0x2069),
        *(0x200B, 0x200D, 0xFEFF, 0xFFFD, 0xAD, 0x34F, 0xD800, 0xDCFF, 0xDFFF, 0xE0041, 0x1F986),
    )
]
_SHAPES = [b"", b" ", b"  ", b"=", b"==", b'"', b'""', b"\\", b"\\\\", b'\\"', b"\\x", b"\\x4"]
_SHAPES += [b"a=b", b"a b", b" a", b"a ", b'"a"', b"a=1 verdict=pass", b'" verdict="pass']
_SHAPES += [
    b"%n",
    b"%s%n",
    b"%A",
    b"%(x)s",
    b"{0.__class__}",
    b"{retry_after}",
    b"{client_address}",
]
_SHAPES += [b"\x1b[31m", b"\x1b[2J", b"\x1b]0;title\x07", b"\x9b31m", b"\x1bP1;2\x1b\\", b"[...]"]
_LONG = [byte * size for byte in (b"a", b"\xff", b'"', b"\n") for size in (511, 512, 513, 70_000)]
# What would follow if a line could be ended: verbs of qmail-spp, SMTP replies, log lines.
_SECOND_LINES = [
    end + line
    for end in (b"\n", b"\r", b"\r\n", b"\0\n")
    for line in (
        *(b"A", b"N", b"O", b"D", b"E250 ok", b"R421 bye", b"LD250 ok", b"SRELAYCLIENT=", b"UX"),
        *(b"HX: y", b"Cx@example.org", b"P250 ok", b"250 ok", b"550 no", b"verdict=pass", b"."),
    )
]
VALUES = sorted({*EVIL, *_CONTROLS, *_HIGH, *_ODD_TEXT, *_SHAPES, *_LONG, *_SECOND_LINES})
VALUES += [b"a" + value + b"z" for value in VALUES if b"a" + value + b"z" not in VALUES]

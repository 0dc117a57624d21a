"""What reaches the terminal."""

from __future__ import annotations

import json
import sys
import unicodedata

import pytest

from greylag.core.accesslist import NEVER
from greylag.show.texts import clean
from tests.cli.conftest import CLIENT, EVIL, FORBIDDEN, NETWORK, NOW, RECIPIENT, SENDER, Greylag


def test_only_what_shows_itself_passes_clean() -> None:
    """T12, P13: all of Unicode, one character at a time."""
    hidden = {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"}
    everything = list(map(chr, range(sys.maxunicode + 1)))
    shown = set(clean("".join(everything)))
    assert not [char for char in shown if unicodedata.category(char) in hidden]
    assert not shown & FORBIDDEN
    assert shown >= set(map(chr, range(0x20, 0x7F)))


@pytest.mark.parametrize("text", ["", "plain", "a\\b", "Grüße aus Köln", "日本語", "[red]", "x y"])
def test_ordinary_text_is_left_alone(text: str) -> None:
    assert clean(text) == text


@pytest.mark.parametrize(
    ("text", "shown"),
    [("\x1b[31m", "\\x1b[31m"), ("a\nb", "a\\x0ab"), ("\u202e", "\\u202e"), ("\udcff", "\\udcff"),
     ("\U000e0041", "\\U000e0041"), ("\u00a0", "\\xa0"), ("\u3164", "\\u3164")],
)  # fmt: skip
def test_the_rest_is_escaped(text: str, shown: str) -> None:
    assert clean(text) == shown


def test_terminal_injection_by_comments_t12_cve_2009_4487(greylag: Greylag) -> None:
    """T12, CVE-2009-4487: `Greylag.run` checks that no output holds a control character."""
    greylag.run("allow", "add", "example.org", "--comment", EVIL)
    greylag.run("deny", "import", "-", stdin=f"192.0.2.0/24 {EVIL.replace(chr(10), '')}\n")
    for which in ("allow", "deny"):
        shown = greylag.run(which, "list").stdout
        assert "\\x1b[2J\\x1b]0;owned\\x07" in shown
        assert "[bold red]markup[/]" in shown
        assert len(shown.splitlines()) == 2
        assert "[bold red]" in greylag.json(which, "list")["entries"][0]["comment"]
    assert "[bold red]" in greylag.run("check", CLIENT, SENDER, RECIPIENT).stdout
    assert greylag.json("check", CLIENT, SENDER, RECIPIENT, code=11)["entry"]["comment"]


@pytest.mark.parametrize("network", [NETWORK, b"", b"\x1b[2", b"\n" * 5, b"\xff" * 16, b"x" * 40])
def test_terminal_injection_by_records_t12_cve_2009_4487(greylag: Greylag, network: bytes) -> None:
    """T12, T26, CVE-2009-4487: rows that no greylag wrote."""
    greylag.run("allow", "add", "example.org")
    row = (0, network, EVIL, EVIL, NOW, NOW + 300, NOW + 600, 1, 0)
    greylag.sql("INSERT INTO records VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)", row)
    shown = greylag.run("search").stdout
    assert "\\x1b[2J" in shown
    assert len(shown.splitlines()) == 2
    assert greylag.json("search")["records"][0]["sender"] == EVIL
    assert "\\x1b[2J" in greylag.run("forget", "--sender", "markup", "--dry-run").stderr
    assert greylag.json("expire", "--dry-run")["kept"] == {"waiting": 1, "passed": 0}
    assert greylag.json("forget", "--sender", "markup", "--yes")["forgotten"] == 1


@pytest.mark.parametrize("seconds", [-(2**63), -1, 0, 2**62, 2**63 - 1])
def test_times_that_no_calendar_holds(greylag: Greylag, seconds: int) -> None:
    """T26."""
    greylag.run("allow", "add", "example.org")
    row = (0, NETWORK, "user@example.org", "info@example.net", *[seconds] * 3, 2**63 - 1, -1)
    greylag.sql("INSERT INTO records VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)", row)
    greylag.sql("UPDATE entries SET created = ?, expires = ?, denied_until = ?", (seconds,) * 3)
    for arguments in (
        ("search",),
        ("allow", "list", "--all"),
        ("deny", "list", "--all"),
        ("stats",),
        ("stats", "--by", "sender-domain"),
        ("top",),
        ("whatif", "--delay", "15m"),
        ("report",),
        ("search", "--history"),
    ):
        greylag.run(*arguments)
        greylag.run(*arguments, "--json")
    greylag.run("search", "--csv")
    greylag.run("search", "--history", "--csv")
    assert greylag.run("check", CLIENT, SENDER, RECIPIENT).exit_code in (0, 10, 11)


@pytest.mark.parametrize("packed", [b"", b"\x1b[2", b"x" * 40])
def test_list_entries_that_no_greylag_wrote(greylag: Greylag, packed: bytes) -> None:
    """T12, T26."""
    greylag.run("allow", "add", "example.org")
    insert = """INSERT INTO entries (purpose, kind, network, prefix, name,
        denied_until, expires, created, comment, origin, spoofable)
        VALUES ('access', ?, ?, ?, ?, 0, ?, 0, ?, ?, 0)"""
    greylag.sql(
        insert,
        ("network", packed, 999, None, NEVER, EVIL, EVIL),
        ("sender", None, None, EVIL, NEVER, EVIL, EVIL),
    )
    shown = greylag.run("allow", "list").stdout
    assert f"unreadable range {packed.hex()}" in shown
    assert len(greylag.json("allow", "list")["entries"]) == 3


@pytest.mark.parametrize(
    "arguments",
    [(EVIL,), ("allow", EVIL), ("allow", "add", EVIL), ("allow", "remove", EVIL),
     ("--config", EVIL, "stats"),
     ("check", EVIL, EVIL, EVIL), ("search", "--client", EVIL), ("search", "--limit", EVIL),
     ("stats", "--since", EVIL), ("allow", "add", "example.org", "--expires", EVIL),
     ("deny", "import", EVIL), ("--" + EVIL,)],
)  # fmt: skip
def test_hostile_arguments_are_refused_in_visible_text(
    greylag: Greylag, arguments: tuple[str, ...]
) -> None:
    """T12: who pastes from mail may paste an escape sequence."""
    assert greylag.run(*arguments).exit_code in (2, 66, 78)


def test_hostile_addresses_are_shown_in_canonical_form(greylag: Greylag) -> None:
    """T12."""
    shown = greylag.run("check", CLIENT, EVIL, EVIL).stdout
    assert "sender          \\x1b[2j\\x1b]0;owned\\x07\\x0d\\x0a" in shown
    assert json.dumps(EVIL) not in shown

"""Organisational domains by the public suffix list."""

from __future__ import annotations

from pathlib import Path

import pytest

from greylag.core.suffixes import Suffixes

# Rules of each kind, as the list writes them.
TEXT = """// a comment
// ===BEGIN ICANN DOMAINS===
com
org
uk
co.uk
jp
kawasaki.jp
*.kawasaki.jp
!city.kawasaki.jp
*.ck
!www.ck

// with a remark
  example   what follows a blank is no rule
\u516c\u53f8.cn
cn
// ===END ICANN DOMAINS===
// ===BEGIN PRIVATE DOMAINS===
dyndns.org
*.compute.hoster.com
// ===END PRIVATE DOMAINS===
"""
WHOLE = Path("/usr/share/publicsuffix/public_suffix_list.dat")  # of the Debian package

CASES = [
    ("mail.example.org", "example.org"),
    ("example.org", "example.org"),
    ("org", None),
    ("a.b.c.example.org", "example.org"),
    ("mail.example.co.uk", "example.co.uk"),
    ("co.uk", None),
    ("example.uk", "example.uk"),
    ("a.b.kawasaki.jp", "a.b.kawasaki.jp"),
    ("b.kawasaki.jp", None),
    ("kawasaki.jp", None),
    ("a.city.kawasaki.jp", "city.kawasaki.jp"),
    ("city.kawasaki.jp", "city.kawasaki.jp"),
    ("a.www.ck", "www.ck"),
    ("a.b.ck", "a.b.ck"),
    ("b.ck", None),
    ("ck", None),
    ("me.dyndns.org", "me.dyndns.org"),
    ("dyndns.org", None),
    ("a.example.unheard", None),
    ("unheard", None),
    ("", None),
    ("a..org", ".org"),
]


@pytest.mark.parametrize(("name", "wanted"), CASES)
def test_the_organisation_of_a_name(name: str, wanted: str | None) -> None:
    assert Suffixes(TEXT).organisation_of(name) == wanted


def test_rules_in_other_scripts_are_in_the_form_of_names() -> None:
    suffixes = Suffixes(TEXT)
    assert suffixes.organisation_of("a.b.xn--55qx5d.cn") == "b.xn--55qx5d.cn"
    assert suffixes.organisation_of("xn--55qx5d.cn") is None


@pytest.mark.parametrize(
    "text",
    ["", "<html>", "com\norg\n", TEXT[:200], TEXT[200:], TEXT + TEXT, TEXT.replace("END", "end")],
    ids=["empty", "a page", "no marks", "a beginning", "an end", "twice", "other marks"],
)
def test_a_part_of_a_list_is_refused(text: str) -> None:
    """What it lacks would make of a public suffix an organisation."""
    with pytest.raises(ValueError, match="not a whole public suffix list"):
        Suffixes(text)


@pytest.mark.skipif(not WHOLE.exists(), reason=f"no {WHOLE}: the Debian package publicsuffix")
def test_the_real_list() -> None:
    suffixes = Suffixes(WHOLE.read_text())
    for name, wanted in [
        ("mail.example.co.uk", "example.co.uk"),
        ("a.b.example.com", "example.com"),
        ("city.kawasaki.jp", "city.kawasaki.jp"),
        ("x.kawasaki.jp", None),
        ("com", None),
        ("co.uk", None),
        ("github.io", None),
    ]:
        assert suffixes.organisation_of(name) == wanted


def test_no_suffix_is_ever_an_organisation() -> None:
    text = WHOLE.read_text() if WHOLE.exists() else TEXT
    suffixes = Suffixes(text)
    rules = [
        line for line in text.splitlines() if line and line[0] not in "/!* " and line.isascii()
    ]
    assert not [rule for rule in rules if suffixes.organisation_of(rule) is not None]

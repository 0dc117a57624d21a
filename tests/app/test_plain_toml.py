"""Simple TOML is read as `tomllib` reads it, or left to it."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from greylag.app.toml_file import read_plain_toml

SIMPLE = """# a comment
top = 1
[store]   # here
url = "sqlite:///var/lib/greylag/greylag.db"  # and "here"
\ttimeout=\t4
[policy]
greylist = 'suspicious\\'
names = [ "a, b" , 'c]',]
none = []
is = true
not = false

[[recipient]]
match = ["a@example.org"]
[[recipient]]
delay = "0"
"""
LEFT = (
    'a = "\\u0041"', 'a = """x"""', "a = '''x'''", "a = 1.5", "a = +1", "a = 01", "a = 1_000",
    "a = 1979-05-27", "a = { b = 1 }", "a = [1]", 'a = [\n"b"]', "[a.b]", "a.b = 1", '"a" = 1',
    "[ a ]", "a = 1\na = 2", "[a]\n[a]", "a = 1\n[a]", "[[a]]\n[a]", "[a]\n[[a]]", "a = []\n[[a]]",
    "a = 1 b", '[a] "b"', '[[a]] "b"', "a =", "= 1", "a", "[a", "[[a]", "[]", 'a = "b', 'a = ["b"',
    'a = ["b" "c"]', 'a = [,"b"]', 'a = ["b",,"c"]', 'a = "b"c', "a = 1\r\n", "a = 1\x00",
    'a = "\u00e9"', "a = inf", "a = 9" * 30, "a = \u00b2", "a = True", "a b = 1", 'a = ["b"] c',
)  # fmt: skip
PIECES = st.sampled_from(
    [*'[]="#,. \t\n\\', "'", "a", "b-", "_1", "0", "7", "true", "false", "[a]", "[[a]]", "\r", "é",
     'a = "b"', "a = 1", '"b", ', "\n"]
)  # fmt: skip


def read(text: str) -> object:
    try:
        return tomllib.loads(text)
    except ValueError:
        return None


def test_what_settings_are_made_of_is_simple() -> None:
    found = read_plain_toml(SIMPLE)
    assert found is not None
    assert found == tomllib.loads(SIMPLE)


@pytest.mark.parametrize("text", LEFT)
def test_all_else_is_left_to_others(text: str) -> None:
    assert read_plain_toml(text) is None


@given(st.lists(PIECES, max_size=30).map("".join))
@example('a = "b" # "\n[b]\n')
@example("[[a]]\n[[a]]\n")
def test_what_is_read_means_the_same_to_tomllib(text: str) -> None:
    found = read_plain_toml(text)
    if found is not None:
        assert repr(found) == repr(read(text))  # the types, too


def test_the_examples_of_the_docs_are_the_same_either_way() -> None:
    docs = Path(__file__).parents[2] / "docs"
    for page in docs.rglob("*.md"):
        for text in page.read_text().split("```toml\n")[1:]:
            found = read_plain_toml(text.partition("```")[0])
            if found is not None:
                assert found == tomllib.loads(text.partition("```")[0])

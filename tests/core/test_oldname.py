r"""Names on the old plugin's tables: one for each text of a row, and the text that it finds."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from greylag.core.address import escaped
from greylag.core.oldname import bytes_of, in_its_script, name_of, old_sender, text_of
from greylag.core.policy import Policy
from tests.evil import EVIL
from tests.strategies import PROPERTY, raw_addresses

OLD = Policy(old_tables=True)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a@example.org", "a@example.org"),
        (r"first\x20last@example.org", "first last@example.org"),
        (r"a\x5cb@example.org", r"a\b@example.org"),
        (r"a\x5cx41@example.org", r"a\x41@example.org"),
        (r"j\xc3\xb6rg@b\xc3\xbccher.example", "j\u00f6rg@b\u00fccher.example"),
        (r"\xff@example.org", r"\xff@example.org"),  # no UTF-8
        (r"a\x5cx20b@example.org", r"a\x5cx20b@example.org"),  # would be read as a blank
        (r"\x5cseveral", r"\x5cseveral"),
        (r"\several", r"\several"),
        (r"\connection", r"\connection"),
        (r"\x2\x20", r"\x2\x20"),  # no name of ours
    ],
)
def test_the_text_of_a_name(name: str, text: str) -> None:
    assert text_of(name) == text


@PROPERTY
@given(raw_addresses)
@example(b"\xff" * 300)
@example(rb"a\#" + b"0" * 40)
@example(rb"\several")
def test_each_text_is_read_as_the_name_it_was_written_for(raw: bytes) -> None:
    name = escaped(raw)
    assert name_of(text_of(name)) == name
    assert name_of(name) == name
    assert bytes_of(name) in (raw.lower(), None)


@pytest.mark.parametrize("raw", EVIL)
def test_evil_values_keep_their_names(raw: bytes) -> None:
    name = escaped(raw)
    assert name_of(text_of(name)) == name


@pytest.mark.parametrize("name", ["j\u00f6rg@example.org", "a b@example.org", "a\n@example.org"])
def test_what_is_no_name_of_ours_stands_for_no_address(name: str) -> None:
    """A row of the old program, or a damaged one."""
    assert bytes_of(name) is None


@PROPERTY
@given(st.text(st.characters(codec="utf-8"), max_size=40))
def test_what_the_old_program_wrote_is_found(text: str) -> None:
    """A text that only looks like a name of ours is the exception: it is read as that name."""
    name = escaped(text.encode())
    assert name_of(text) in (name, text)
    if "\\" not in text:
        assert name_of(text) == name
        assert text_of(name).encode() == text.encode().lower()


@pytest.mark.parametrize(
    ("sender", "name"),
    [
        (b"prvs=1234567890=user@example.org", "user@example.org"),
        (b"prvs=user/1234567890@example.org", "user@example.org"),
        (b"prvs=1=a/b@example.org", "a/b@example.org"),
        (b"prvs=1=u@a.b", "u@a.b"),
        (b"PRVS=1234567890=user@example.org", "prvs=1234567890=user@example.org"),
        (b"Prvs=user/1234567890@example.org", "prvs=user/1234567890@example.org"),
        (b"prvs=a/b/1234@example.org", "prvs=a/b/1234@example.org"),
        (b"prvs=12-34=user@example.org", "prvs=12-34=user@example.org"),
        (b"prvs=user/12-34@example.org", "prvs=user/12-34@example.org"),
        (b"prvs=1=u@ab", "prvs=1=u@ab"),  # 11 bytes
        (b"prvs=1=u@abc", "u@abc"),
        (b"prvs=1=@example.org", "prvs=1=@example.org"),
        (b"", ""),
        ("u@b\u00fccher.example".encode(), r"u@b\xc3\xbccher.example"),
    ],
)
def test_a_sender_has_the_name_that_the_old_program_gives_it(sender: bytes, name: str) -> None:
    assert old_sender(sender) == name
    assert OLD.sender_name(sender) == name


def test_a_recipient_has_no_tag_and_its_own_script() -> None:
    assert OLD.recipient_name(b"prvs=1=u@Example.org") == "prvs=1=u@example.org"
    recipient = "u@b\u00fccher.example".encode()
    assert OLD.recipient_name(recipient) == r"u@b\xc3\xbccher.example"
    assert Policy().recipient_name(recipient) == "u@xn--bcher-kva.example"


@pytest.mark.parametrize(
    ("domain", "text"),
    [
        ("example.org", "example.org"),
        ("xn--bcher-kva.example", "b\u00fccher.example"),
        ("a.xn--r8jz45g.xn--zckzah", "a.\u4f8b\u3048.\u30c6\u30b9\u30c8"),
        (r"b\xc3\xbc\x20cher.example", "b\u00fc cher.example"),
        ("xn--\u00fc.example", "xn--\u00fc.example"),
        ("xn--99999999999.example", "xn--99999999999.example"),
    ],
)
def test_a_domain_in_its_script(domain: str, text: str) -> None:
    assert in_its_script(domain) == text

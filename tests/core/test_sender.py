"""BATV senders are reduced to the plain address."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from greylag.core.address import normalise
from tests.strategies import PROPERTY, raw_addresses


@pytest.mark.parametrize(
    ("sender", "wanted"),
    [
        pytest.param(b"prvs=1234567890=user@example.org", b"user@example.org", id="tag first"),
        pytest.param(b"prvs=user/1234567890@example.org", b"user@example.org", id="user first"),
        pytest.param(b"PrVs=12AB=User@Example.ORG", b"User@Example.ORG", id="any case"),
        pytest.param(b"prvs=1=u", b"prvs=1=u", id="no domain"),
        pytest.param(b"prvs=1=u@", b"u@", id="empty domain"),
        pytest.param(b"", b"", id="null sender"),
        pytest.param(b"@", b"@", id="only an @"),
        pytest.param(b"user@example.org", b"user@example.org", id="no tag"),
        pytest.param(b"1234=user@example.org", b"1234=user@example.org", id="no prvs"),
        pytest.param(b"xprvs=1=user@example.org", b"xprvs=1=user@example.org", id="not at first"),
        pytest.param(b"prvs1=user@example.org", b"prvs1=user@example.org", id="prefix cut short"),
        pytest.param(b"prvs=user@example.org", b"prvs=user@example.org", id="neither = nor /"),
        pytest.param(b"prvs==user@example.org", b"prvs==user@example.org", id="empty tag first"),
        pytest.param(b"prvs=user/@example.org", b"prvs=user/@example.org", id="empty tag last"),
        pytest.param(b"prvs=1=@example.org", b"prvs=1=@example.org", id="empty user last"),
        pytest.param(b"prvs=/1@example.org", b"prvs=/1@example.org", id="empty user first"),
        pytest.param(b"prvs=a-b=u@example.org", b"prvs=a-b=u@example.org", id="no tag: sign"),
        pytest.param(b"prvs=u/a-b@example.org", b"prvs=u/a-b@example.org", id="no tag last: sign"),
        pytest.param(b"prvs=\xe9=u@example.org", b"prvs=\xe9=u@example.org", id="no tag: 8 bits"),
        pytest.param(b"prvs=1=a=b@example.org", b"a=b@example.org", id="user with ="),
        pytest.param(b"prvs=1=a/b@example.org", b"a/b@example.org", id="user with /, tag first"),
        pytest.param(b"prvs=a/b/1@example.org", b"a/b@example.org", id="user with /, tag last"),
        pytest.param(b"prvs=a-b=c/1@example.org", b"a-b=c@example.org", id="user with =, tag last"),
        pytest.param(b"prvs=1=u@a@example.org", b"u@a@example.org", id="the last @ counts"),
        pytest.param(b"prvs=u@a/1@example.org", b"u@a@example.org", id="and the tag before it"),
        pytest.param(b"prvs=1=prvs=2=u@example.org", b"prvs=2=u@example.org", id="one tag only"),
    ],
)
def test_normalise(sender: bytes, wanted: bytes) -> None:
    assert normalise(sender) == wanted


tags = st.from_regex(rb"\A[0-9A-Za-z]{1,10}\Z")
users = st.from_regex(rb"\A[a-z.+-]{1,20}\Z")


@PROPERTY
@given(users, tags, tags)
def test_the_tag_of_the_day_does_not_matter_r18(user: bytes, today: bytes, later: bytes) -> None:
    """R18: a sender whose tag changes from one try to the next still matches."""
    plain = user + b"@example.org"
    assert normalise(b"prvs=" + today + b"=" + plain) == plain
    assert normalise(b"prvs=" + user + b"/" + later + b"@example.org") == plain


@PROPERTY
@given(raw_addresses)
def test_what_is_not_tagged_is_left_alone(sender: bytes) -> None:
    found = normalise(sender)
    if not sender.lower().startswith(b"prvs="):
        assert found == sender
    assert found == sender or (len(found) <= len(sender) - len(b"prvs=1="))
    assert found.rpartition(b"@")[1:] == sender.rpartition(b"@")[1:]

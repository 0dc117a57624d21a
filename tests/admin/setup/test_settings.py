"""Setup's few lines in a greylag.toml that an admin has written."""

from __future__ import annotations

import tomllib

import pytest

from greylag.admin.setup.place import SetupError
from greylag.admin.setup.settings import value_of, with_settings

WANTED = {"server.socket": "/run/x/greylag.sock", "policy.greylist": "observe"}


@pytest.mark.parametrize(
    "there",
    [
        None,
        b"",
        b"[server]",
        b'# mine\n[policy]\ndelay = "2m" # short\n\n[[recipient]]\nmatch = ["a@"]\ndelay = "1m"\n',
        b'[policy]\ngreylist = "all"\ndelay = "2m"\n[server]\nsocket="/other" # theirs\n',
        b'[ server ] # head\nsocket_mode = "0666"\n',
    ],
)
def test_they_are_added_and_all_else_stays(there: bytes | None) -> None:
    made = with_settings(there, WANTED)
    expected = tomllib.loads((there or b"").decode())
    expected.setdefault("server", {})["socket"] = "/run/x/greylag.sock"
    expected.setdefault("policy", {})["greylist"] = "observe"
    assert tomllib.loads(made.decode()) == expected
    assert with_settings(made, WANTED) == made
    assert value_of(made, "policy.greylist") == "observe"
    for line in (there or b"").splitlines():
        assert line in made or b"=" in line


@pytest.mark.parametrize(
    "there",
    [
        b'policy = {greylist = "all"}\n',
        b'[policy]\ngreylist = [\n"all"\n]\n',
        b"[policy\n",
        b"policy = 3\n",
        b'[[policy]]\ngreylist = "all"\n',
        b"a = " + b"[" * 100_000,
    ],
)
def test_what_cannot_be_changed_is_an_error(there: bytes) -> None:
    with pytest.raises(SetupError, match=r"greylag\.toml"):
        with_settings(there, WANTED)


def test_the_mark_of_some_editors_stays() -> None:
    there = b'\xef\xbb\xbf[policy]\ndelay = "2m"\n'
    made = with_settings(there, WANTED)
    assert made.startswith(b"\xef\xbb\xbf[policy]\n")
    assert value_of(made, "policy.delay") == "2m"
    assert value_of(made, "policy.greylist") == "observe"

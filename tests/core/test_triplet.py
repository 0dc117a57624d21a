"""What keys of records stand for."""

from __future__ import annotations

import pytest

from greylag.core.identity import USERS, Pool, PoolKind, of_address
from greylag.core.policy import Policy
from greylag.core.triplet import (
    OF_CONNECTIONS,
    OF_SENT,
    OF_SEVERAL,
    OF_TRAPPED,
    OF_TRIPLET,
    OF_TRUST,
    SEVERAL,
    Triplet,
    connection_of,
    kind_of,
    sent_of,
    several_of,
    trapped_of,
    triplet_of,
    trust_of,
)
from greylag.core.value import replace
from tests.core.asking import KEY

CLIENT = b"\xc0\x00\x02\x11"
POOL = Pool(PoolKind.SPF, "example.org").packed


@pytest.mark.parametrize(
    ("key", "kind"),
    [
        (KEY, OF_TRIPLET),
        (replace(KEY, network=POOL), OF_TRIPLET),
        (replace(KEY, sender=""), OF_TRIPLET),
        (several_of(CLIENT, "", Policy()), OF_SEVERAL),
        (several_of(CLIENT, "a@example.org", Policy()), OF_SEVERAL),
        (connection_of(CLIENT, 24), OF_CONNECTIONS),
        (trust_of(of_address(CLIENT), "example.org"), OF_TRUST),
        (trust_of(POOL, ""), OF_TRUST),
        (trapped_of(CLIENT), OF_TRAPPED),
        (sent_of("a@example.org", "b@example.net"), OF_SENT),
        (sent_of("", ""), OF_SENT),
    ],
)
def test_what_a_key_stands_for(key: Triplet, kind: str) -> None:
    assert kind_of(key) == kind


def test_keys_of_different_kinds_never_meet() -> None:
    network = b"\xc0\x00\x02\x00"
    assert several_of(CLIENT, "a@example.org", Policy()) == (network, "a@example.org", SEVERAL)
    assert connection_of(CLIENT, 24).network == network
    assert trapped_of(CLIENT).network == of_address(CLIENT)
    assert sent_of("a@example.org", "b@example.net").network == USERS


@pytest.mark.parametrize("raw", [rb"\trusted", rb"\trapped", rb"\several", rb"\connection"])
def test_no_recipient_is_taken_for_a_key_of_another_kind(raw: bytes) -> None:
    """T2: else who mails to such a name would write records of trust."""
    key = triplet_of(CLIENT, b"", raw, Policy())
    assert kind_of(key) == OF_TRIPLET
    assert not {key.recipient} & {r"\trusted", r"\trapped", r"\several", r"\connection"}

"""Who keeps a connection where there are too many."""

from __future__ import annotations

from dataclasses import dataclass

from greylag.web.crowd import MOST, Crowd

PROXY = "192.0.2.1"


@dataclass(eq=False)
class Held:
    serving: bool = False
    ended: bool = False

    def end(self) -> None:
        self.ended = True


def entered(crowd: Crowd, number: int, host: str, serving: bool = False) -> list[Held]:
    made = [Held(serving) for _ in range(number)]
    for port, held in enumerate(made):
        crowd.enter(held, host, port)
    return made


def test_who_has_most_loses_the_oldest_that_is_idle() -> None:
    crowd = Crowd(frozenset())
    few = entered(crowd, 20, "192.0.2.7")
    served = entered(crowd, 3, "192.0.2.9", serving=True)
    many = entered(crowd, MOST - 23, "192.0.2.9")
    entered(crowd, 5, "192.0.2.8")
    assert [held.ended for held in many[:6]] == [True] * 5 + [False]
    assert not any(held.ended for held in [*few, *served, *many[6:]])


def test_what_ends_makes_room() -> None:
    crowd = Crowd(frozenset())
    held = entered(crowd, MOST, "192.0.2.9")
    for port, one in enumerate(held[:5]):
        crowd.leave(one, "192.0.2.9", port)
        crowd.leave(one, "192.0.2.9", port)  # it is told of when one was closed by us, too
    entered(crowd, 5, "192.0.2.8")
    assert not any(one.ended for one in held)
    entered(crowd, 1, "192.0.2.8")
    assert [one.ended for one in held[5:]] == [True] + [False] * (MOST - 6)


def test_all_addresses_of_an_ipv6_network_are_one_source() -> None:
    crowd = Crowd(frozenset())
    other = entered(crowd, 50, "192.0.2.7")
    many = [Held() for _ in range(MOST - 50)]
    for number, held in enumerate(many):
        crowd.enter(held, f"2001:db8::{number:x}", 9)
    entered(crowd, 1, "192.0.2.8")
    assert many[0].ended
    assert not any(held.ended for held in other)


def test_a_named_proxy_is_not_one_source() -> None:
    crowd = Crowd(frozenset({PROXY}))
    behind = entered(crowd, 150, PROXY)
    entered(crowd, MOST - 150, "192.0.2.9")
    entered(crowd, 10, "192.0.2.8")
    assert not any(held.ended for held in behind)


def test_behind_a_proxy_too_an_idle_one_goes_before_one_that_is_served() -> None:
    crowd = Crowd(frozenset({PROXY}))
    served = [Held(serving=True) for _ in range(5)]
    idle = [Held() for _ in range(MOST - 5)]
    for port, held in enumerate([*served, *idle]):
        crowd.enter(held, PROXY, port)
    crowd.enter(Held(), PROXY, MOST)
    assert idle[0].ended
    assert not any(held.ended for held in [*served, *idle[1:]])

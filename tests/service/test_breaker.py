"""While a store fails nobody waits for it: one try in each second, and news are told once."""

from __future__ import annotations

from greylag.service.breaker import RETRY_EVERY, SLOW_AFTER, WARN_EVERY, Breaker, Seldom

NOW = 1000.0


def test_a_closed_breaker_allows_everything() -> None:
    breaker = Breaker()
    assert not breaker.is_open
    assert [breaker.allows(0.0), breaker.allows(0.0), breaker.allows(NOW)] == [True] * 3


def test_an_open_breaker_allows_one_try_in_a_while() -> None:
    breaker = Breaker()
    assert breaker.failed(NOW) is True
    assert breaker.is_open
    assert breaker.allows(NOW + RETRY_EVERY - 0.01) is False
    assert breaker.allows(NOW + RETRY_EVERY) is True
    assert breaker.allows(NOW + RETRY_EVERY) is False
    assert breaker.allows(NOW + 2 * RETRY_EVERY) is True


def test_a_failed_try_puts_off_the_next() -> None:
    breaker = Breaker()
    breaker.failed(NOW)
    assert breaker.failed(NOW + 5) is False, "no news"
    assert breaker.allows(NOW + 5 + RETRY_EVERY - 0.01) is False
    assert breaker.is_open


def test_a_success_closes_it_and_is_news_once() -> None:
    breaker = Breaker()
    assert breaker.succeeded() is False
    breaker.failed(NOW)
    assert breaker.succeeded() is True
    assert not breaker.is_open
    assert breaker.succeeded() is False
    assert breaker.allows(NOW) is True
    assert breaker.failed(NOW) is True, "news again"


def test_what_a_write_has_opened_a_write_alone_closes() -> None:
    """A full disk can be read; looking there is no try to write, and allowed at any time."""
    breaker = Breaker()
    assert breaker.failed(NOW, writing=True) is True
    reads = [breaker.reads]
    ended = [breaker.succeeded()]
    assert breaker.failed(NOW + 1) is False, "no news"
    reads.append(breaker.reads)
    ended.append(breaker.succeeded())
    reads.append(breaker.reads)
    assert reads == [True, False, True]
    assert [*ended, breaker.succeeded(wrote=True)] == [False, False, True]
    breaker.failed(NOW)
    assert breaker.succeeded() is True


def test_a_slow_store_is_told_once_a_minute() -> None:
    breaker = Breaker()
    assert breaker.slow(SLOW_AFTER - 0.001, NOW) is False
    assert breaker.slow(SLOW_AFTER, NOW) is True
    assert breaker.slow(9.0, NOW + WARN_EVERY - 0.01) is False
    assert breaker.warns(NOW + WARN_EVERY - 0.01) is False, "both kinds of warning together"
    assert breaker.warns(NOW + WARN_EVERY) is True
    assert breaker.slow(9.0, NOW + WARN_EVERY) is False


def test_a_warning_may_be_the_first_thing_that_is_told() -> None:
    """A monotonic clock may be near 0 after the machine was started."""
    assert Breaker().warns(0.0) is True
    assert Seldom().allows(0.0) is True


def test_seldom_is_once_a_minute() -> None:
    seldom = Seldom()
    assert seldom.allows(NOW) is True
    assert seldom.allows(NOW + WARN_EVERY - 0.01) is False
    assert seldom.allows(NOW + WARN_EVERY) is True
    assert seldom.allows(NOW + WARN_EVERY) is False

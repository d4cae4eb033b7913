"""The dead man's switch, on simulated time."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from polyframe.clock import VirtualClock
from polyframe.counters import Count, Counters
from polyframe.errors import ConfigError, ExchangeUnavailable
from polyframe.exchange.polymarket import PolymarketExchange
from polyframe.exchange.polymarket.heartbeat import LIMIT, Heartbeat
from tests.exchange.kit import CREDENTIALS
from tests.exchange.test_exchange import LOCAL


def play(
    *answers: Any, seconds: float, interval: float = 5.0
) -> tuple[list[tuple[float, str]], dict[str, int]]:
    """Run a heartbeat for so long; return what was sent when, and the counts.

    An answer is the id that the venue gives, a response, an exception, or seconds that it takes; the
    last one is given for ever.
    """
    clock, counters = VirtualClock(), Counters()
    sent: list[tuple[float, str]] = []
    script: Iterator[Any] = iter(answers)
    last: list[Any] = []

    async def send(heartbeat_id: str) -> httpx.Response:
        sent.append((round(clock.time(), 3), heartbeat_id))
        answer = next(script, last[0] if last else None)
        last[:] = [answer]
        if isinstance(answer, Exception):
            raise answer
        if isinstance(answer, httpx.Response):
            return answer
        if isinstance(answer, float):
            await asyncio.sleep(answer)
        return httpx.Response(200, json={"heartbeat_id": str(answer)})

    async def main() -> None:
        heart = Heartbeat(send, interval, counters)
        heart.start()
        await asyncio.sleep(seconds)
        await heart.close()
        await heart.close()
        assert len(asyncio.all_tasks()) == 1

    clock.run(main())
    return sent, counters.reasons(Count.HEARTBEATS)


def wrong(expected: str) -> httpx.Response:
    """Return the venue's refusal of an id."""
    body = {"error_msg": "Invalid Heartbeat ID", "heartbeat_id": expected}
    return httpx.Response(400, json=body)


def test_each_sign_of_life_carries_the_id_of_the_last() -> None:
    """The first has none; then every five seconds the one that the venue gave (PROTOCOL §2.6)."""
    sent, counted = play("a", "b", "c", seconds=12)
    assert sent == [(0, ""), (5, "a"), (10, "b")]
    assert counted == {"sent": 3}


def test_a_wrong_id_is_corrected_at_once() -> None:
    """The venue says which one it expects: that one is sent without waiting."""
    sent, counted = play("a", wrong("x"), "b", "c", seconds=12)
    assert sent == [(0, ""), (5, "a"), (5, "x"), (10, "b")]
    assert counted == {"sent": 3, "corrected": 1}


def test_a_venue_that_is_never_content_is_not_hammered() -> None:
    """One correction at a time; then it waits for half of the time."""
    answers = [wrong(str(number)) for number in range(10)]
    sent, _ = play(*answers, seconds=7)
    assert [at for at, _ in sent] == [0, 0, 2.5, 2.5, 5, 5]


def test_a_failure_is_followed_by_the_next_one() -> None:
    """No answer, an error or a slow answer: it goes on sooner, and with the last good id."""
    sent, counted = play(
        "a", ExchangeUnavailable("no"), httpx.Response(500), 60.0, "b", "c", seconds=22
    )
    assert sent == [(0, ""), (5, "a"), (7.5, "a"), (10, "a"), (14, "a"), (19, "b")]
    assert counted["failed"] == 3
    assert counted["sent"] == 3


@pytest.mark.parametrize("failure", [60.0, ExchangeUnavailable("no"), httpx.Response(500)])
@pytest.mark.parametrize("interval", [0.5, 3.0, 5.0])
def test_one_may_be_lost(failure: Any, interval: float) -> None:
    """However one is lost, the next arrives before the venue cancels (PROTOCOL §2.6)."""
    sent, counted = play("a", failure, "b", seconds=12, interval=interval)
    assert sent[1][0] == interval
    assert sent[2][0] - sent[0][0] < LIMIT - 0.5
    assert "too_late" not in counted


def test_silence_for_too_long_is_an_error_once(caplog: pytest.LogCaptureFixture) -> None:
    """After ten seconds the venue cancels everything: that is said, until one gets through again."""
    caplog.set_level(logging.ERROR)
    down = ExchangeUnavailable("down")
    _, counted = play("a", *[down] * 6, "b", *[down] * 4, seconds=58)
    assert counted["too_late"] == 2
    assert caplog.text.count("the venue cancels all orders") == 2


def test_a_defect_does_not_end_it(caplog: pytest.LogCaptureFixture) -> None:
    """What nobody expected is told at once, and the next one is sent: else all orders would go."""
    sent, counted = play("a", RuntimeError("a mistake"), "b", seconds=12)
    assert sent == [(0, ""), (5, "a"), (7.5, "a")]
    assert counted == {"sent": 2, "failed": 1}
    assert "a mistake" in caplog.text


@pytest.mark.parametrize("value", [0, -1, 6, float("nan"), float("inf")])
def test_intervals_that_come_too_late_are_refused(value: float) -> None:
    """The venue waits about ten seconds: one sign of life has to be allowed to get lost."""
    with pytest.raises(ConfigError, match="heartbeat: expected seconds"):
        PolymarketExchange(hosts=LOCAL, credentials=CREDENTIALS, heartbeat=value)


def test_it_needs_credentials() -> None:
    """Without an account there are no orders to cancel."""
    with pytest.raises(ConfigError, match="heartbeat: it needs credentials"):
        PolymarketExchange(hosts=LOCAL, heartbeat=5)


def test_it_is_off_unless_asked_for() -> None:
    """Nobody finds all orders cancelled for a setting that was not made."""

    async def main() -> None:
        exchange = PolymarketExchange(hosts=LOCAL, credentials=CREDENTIALS)
        await exchange.open(VirtualClock(0), Counters())
        assert exchange._open_link.heart is None
        await exchange.close()

    asyncio.run(main())

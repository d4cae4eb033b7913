"""For every count of requests and of the venue's clock: something that makes it happen."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import pytest

from polyframe.clock import VirtualClock
from polyframe.counters import Count, Counters
from polyframe.errors import ExchangeUnavailable, RateLimited
from polyframe.exchange.polymarket.pacing import Pacer, RateLimits
from polyframe.exchange.polymarket.serverclock import ServerClock
from tests.exchange import test_heartbeat as heartbeat
from tests.support.produce_events import Producer

NOW = 1_790_586_000


def _paced(act: Callable[[Pacer], Awaitable[None]]) -> Producer:
    def produce() -> Counters:
        counters = Counters()

        async def main() -> None:
            await act(Pacer(RateLimits(), counters))

        VirtualClock().run(main())
        return counters

    return produce


async def _orders(pacer: Pacer) -> None:
    """Place more than a burst at once, first a little more, then much more."""
    await pacer.pass_through("clob", "POST", "/orders", 60)
    await pacer.pass_through("clob", "POST", "/order")
    with pytest.raises(RateLimited):
        await pacer.pass_through("clob", "POST", "/orders", 60)


async def _cancels(pacer: Pacer) -> None:
    await pacer.pass_through("clob", "DELETE", "/orders", 1000)
    await pacer.pass_through("clob", "DELETE", "/order")


async def _refused(pacer: Pacer) -> None:
    pacer.note_refusal("clob", "POST", "/order", None)


async def _warned(pacer: Pacer) -> None:
    pacer.note_answer("clob", "POST", "/order", {"Poly-RateLimit-Warning": "true"})


def _told(*seconds: int) -> Counters:
    """Return the counts of a clock that was told to be so many seconds off."""
    counters = Counters()
    clock = ServerClock(VirtualClock(NOW), counters)
    for told in seconds:
        clock.note(NOW + told, NOW, NOW)
    return counters


def _beating(*answers: object) -> Counters:
    """Return the counts of a heartbeat that got these answers."""
    counters = Counters()
    for reason, count in heartbeat.play(*answers, seconds=22)[1].items():
        counters.add(Count.HEARTBEATS, reason, count)
    return counters


REQUESTS: dict[tuple[Count, str], Producer] = {
    (Count.REQUESTS_PACED, "waited:<limit>"): _paced(_orders),
    (Count.REQUESTS_PACED, "refused:<limit>"): _paced(_orders),
    (Count.REQUESTS_PACED, "cancel_not_held"): _paced(_cancels),
    (Count.REQUESTS_PACED, "refused_by_venue"): _paced(_refused),
    (Count.REQUESTS_PACED, "warned_by_venue"): _paced(_warned),
    (Count.HEARTBEATS, "sent"): lambda: _beating("a"),
    (Count.HEARTBEATS, "corrected"): lambda: _beating(heartbeat.wrong("x"), "b"),
    (Count.HEARTBEATS, "failed"): lambda: _beating(ExchangeUnavailable("no")),
    (Count.HEARTBEATS, "too_late"): lambda: _beating(ExchangeUnavailable("no")),
    (Count.SERVER_CLOCK, "ahead"): lambda: _told(5),
    (Count.SERVER_CLOCK, "behind"): lambda: _told(-5),
    (Count.SERVER_CLOCK, "reset"): lambda: _told(0, 5),
}

"""Drills: reference prices, and the price to beat, against the local venue."""

from __future__ import annotations

from decimal import Decimal

from polyframe.counters import Count
from polyframe.model.reference import PriceToBeat
from polyframe.reference import ReferencePrices
from tests.drills.kit import SERIES, Drill, Probe, drill


def test_price_to_beat() -> None:
    """Exact for a market that begins while we listen, and for one joined a minute late by a feed with a memory."""
    beats: list[PriceToBeat] = []
    wanted: list[Decimal] = []

    async def act(d: Drill, s: Probe) -> None:
        beats.append(await s.env.get(ReferencePrices).wait_price_to_beat(s.market))
        wanted.append(d.strike(s.market))
        await s.take()

    done = drill(act, act, reference=True)
    assert [beat.value for beat in beats] == wanted
    assert all(beat.is_final for beat in beats)
    assert done.counters.get(Count.REFERENCE_PRICES, "chainlink_twap") > 0
    # What is under way while the drill moves its clock is of another time.
    assert done.counters.reasons(Count.REFERENCE_SKIPPED).keys() <= {"implausible_time"}
    # Minutes after the end the venue's own record says the same.
    assert done.counters.reasons(Count.REFERENCE_CHECKS) == {"agrees": 2}


def test_prices_freeze() -> None:
    """Feeds that stop without a word are given up; trading goes on, and prices are back after it."""

    async def act(d: Drill, s: Probe) -> None:
        prices = s.env.get(ReferencePrices)
        await d.until(lambda: prices.latest(SERIES) is not None)
        frozen = d.inject("prices_freeze", seconds=60)
        await d.until(lambda: d.counters.get(Count.STREAM_LOSSES, "rtds:silence") > 0)
        stale = prices.latest(SERIES)
        await s.take()
        frozen.stop()
        await d.until(lambda: prices.latest(SERIES) != stale)

    done = drill(act, reference=True)
    assert done.struck("prices_freeze") > 0
    assert done.counters.get(Count.STREAM_LOSSES, "rtds:silence") > 0
    assert done.counters.get(Count.STREAM_CONNECTS, "rtds") > 1

"""How late a signed request may be, on clocks of any speed."""

from __future__ import annotations

import asyncio

import pytest

from polyframe.clock import ScaledClock
from polyframe.counters import Counters
from polyframe.errors import AuthenticationFailed
from polyframe.exchange.polymarket import PolymarketExchange
from polyframe.venue import LocalVenue, SyntheticSource

START = 1_893_456_000


@pytest.mark.parametrize(("speed", "late", "passes"), [(1, 120, False), (600, 3_600, True)])
def test_the_allowed_lateness_is_real_time(speed: float, late: float, passes: bool) -> None:
    """A minute is allowed on the wall: two are refused at speed 1, six real seconds pass at 600."""

    async def main() -> None:
        clock = ScaledClock(speed, start=START)
        behind = ScaledClock(speed, start=START - late)
        async with LocalVenue(SyntheticSource("btc-updown-15m"), clock=clock) as venue:
            exchange = PolymarketExchange.local(venue.url, venue.account)
            await exchange.open(behind, Counters())
            try:
                await exchange.fetch_balance()
            except AuthenticationFailed:
                assert not passes
            else:
                assert passes
            finally:
                await exchange.close()

    asyncio.run(main())

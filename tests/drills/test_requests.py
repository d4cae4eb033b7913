"""Drills: what goes wrong with requests and their replies."""

from __future__ import annotations

import pytest

from polyframe.counters import Count
from polyframe.errors import OrderOutcomeUnknown
from polyframe.model.order import OrderStatus
from tests.drills.kit import Drill, Probe, drill


def test_reply_lost() -> None:
    """The strategy hears that the outcome is unknown, then that the order is live; it is not sent again."""

    async def act(d: Drill, s: Probe) -> None:
        d.inject("user_drop", seconds=0.5)
        d.inject("reply_lost", path="/order", method="POST", count=1)
        with pytest.raises(OrderOutcomeUnknown) as caught:
            await s.rest()
        lost = caught.value.order
        await d.until(lambda: s.now(lost).status is OrderStatus.LIVE)
        await s.take()

    done = drill(act)
    assert done.struck("reply_lost") == 1
    assert done.counters.get(Count.ORDERS_SENT, "unknown") == 1
    assert done.venue.stats.orders == 2

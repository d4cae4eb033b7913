"""Set-up that the tests of comparisons with the venue share."""

from __future__ import annotations

from decimal import Decimal

import pytest

from polyframe.errors import (
    OrderOutcomeUnknown,
)
from polyframe.exchange.base import PlaceAnswer
from polyframe.model.market import Outcome
from polyframe.model.order import Order, PlaceResult
from polyframe.trading.reconcile import ReconcileReport, ReconcileSettings
from tests.support.fake import (
    START,
    make_market,
)
from tests.support.stage import Stage

FIRST, SECOND = make_market(start=START), make_market(start=START + 900)
UP, TEN = Outcome.UP, Decimal(10)
PRICE = Decimal("0.50")
FEE = Decimal("0.175")
"""10 shares taken at 0.50: 10 × 0.07 × 0.25."""

ON_DEMAND = ReconcileSettings(open_interval=1e6, idle_interval=1e6)
LOST = PlaceAnswer(PlaceResult.UNKNOWN, text="read timed out")


async def buy(stage: Stage) -> Order:
    """Place ten Up at 0.50 in the open cycle."""
    return await stage.trading.handle("Recorder").buy(UP, price=PRICE, size=TEN)


async def lose(stage: Stage) -> Order:
    """Place an order whose answer is lost."""
    with pytest.raises(OrderOutcomeUnknown) as caught:
        await buy(stage)
    return caught.value.order


def now(stage: Stage, order: Order) -> Order:
    """Return an order as it is in the engine."""
    return orders_of(stage)[order.client_id]


def orders_of(stage: Stage) -> dict[str, Order]:
    """Return all orders of the engine by client id."""
    return {order.client_id: order for order in stage.trading.snapshot().orders}


def reports(stage: Stage, generation: int = START) -> list[ReconcileReport]:
    """Return the reports that the strategies of a cycle were given."""
    return [value for _, value in stage.diary.of(generation, "reconcile")]

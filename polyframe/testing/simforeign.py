"""Another program of the same account, in the same markets."""

from __future__ import annotations

import random
from collections.abc import Mapping
from decimal import Decimal
from typing import Protocol

from polyframe.exchange.base import PlaceAnswer, PreparedOrder
from polyframe.model.market import Market, Outcome
from polyframe.model.money import PRICE_UNITS, units_price
from polyframe.model.order import OrderRequest, OrderType, Side
from polyframe.testing.simvalues import SimOrder, shares


class ForeignDesk(Protocol):
    """What the other program does at the venue."""

    market: Market

    @property
    def orders(self) -> Mapping[str, SimOrder]:
        """All orders of the account in this market."""
        ...

    def accept(self, prepared: PreparedOrder, *, is_foreign: bool = False) -> PlaceAnswer:
        """Take an order."""
        ...

    def cancel(self, order_id: str, status: str = "CANCELED") -> bool:
        """Cancel an order."""
        ...

    def fill(self, order_id: str, size: Decimal | None = None) -> bool:
        """Let somebody take a resting order."""
        ...


class OtherProgram:
    """Places, cancels and fills orders that nobody here knows of; now and then it cancels ours."""

    def __init__(self, desk: ForeignDesk) -> None:
        self._desk = desk
        self._placed = 0

    def act(self, rng: random.Random, fair: int) -> None:
        """Do one thing; `fair` is the price of Up in price units."""
        draw = rng.random()
        resting = [order for order in self._desk.orders.values() if order.is_open]
        theirs = [order.order_id for order in resting if order.is_foreign]
        if draw < 0.55 or not resting:
            self._place(rng, fair)
        elif draw < 0.7 and theirs:
            self._desk.cancel(rng.choice(theirs))
        elif draw < 0.85 and theirs:
            self._desk.fill(rng.choice(theirs), None if rng.random() < 0.5 else Decimal(1))
        else:
            self._desk.cancel(rng.choice(resting).order_id)

    def _place(self, rng: random.Random, fair: int) -> None:
        market = self._desk.market
        outcome = rng.choice(list(Outcome))
        price = (fair if outcome is Outcome.UP else PRICE_UNITS - fair) // 100 * 100
        price = min(max(price + rng.randint(-3, 4) * 100, 100), PRICE_UNITS - 100)
        self._placed += 1
        request = OrderRequest(
            outcome,
            # A sell takes shares away that somebody here counts on.
            Side.SELL if rng.random() < 0.25 else Side.BUY,
            units_price(price),
            shares(rng.randint(500, 4000)),
            rng.choice((OrderType.GTC, OrderType.GTC, OrderType.FAK)),
        )
        prepared = PreparedOrder(f"x-{market.slug}-{self._placed}", market, request)
        self._desk.accept(prepared, is_foreign=True)

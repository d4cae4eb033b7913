"""Resting bids, one for each outcome at most: taken back where they are not wanted any more, and placed."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Mapping, Sequence
from decimal import Decimal
from typing import Any

from attrs import define, field, frozen

from polyframe.errors import ExchangeError, OrderError
from polyframe.model.market import Outcome
from polyframe.model.money import ZERO
from polyframe.model.order import Order, OrderRequest, Side
from polyframe.strategies.blocks.requote import Requote, RequotePolicy
from polyframe.strategy import Strategy


@frozen
class Wish:
    """A bid that is wanted.

    Attributes:
        price: USD per share.
        size: Shares.
    """

    price: Decimal
    size: Decimal


@define(eq=False)
class Bids:
    """The bids of a strategy that looks again and again at what it wants.

    Attributes:
        strategy: Whose.
        requote: How far a bid may be from what is wanted.
    """

    strategy: Strategy = field(repr=False)
    requote: RequotePolicy

    def open(self, outcome: Outcome | None = None) -> list[Order]:
        """Return the bids that may still fill (those for one outcome)."""
        return [
            order
            for order in self.strategy.trading.open_orders()
            if order.side is Side.BUY and outcome in (None, order.outcome)
        ]

    async def take_back(self, wishes: Mapping[Outcome, Wish]) -> bool:
        """Cancel what is too far from what is wanted; return whether there was any.

        If nothing is wanted one request takes back all. A cancel that failed is for the next look.

        Raises:
            StaleCycleError: The cycle is over.
        """
        trading = self.strategy.trading
        unfit = [order for order in self.open() if self._is_unfit(order, wishes)]
        cancels: list[Awaitable[Any]]
        if unfit and not wishes:
            cancels = [trading.cancel_all()]
        else:
            cancels = [trading.cancel(order) for order in unfit]
        for result in await asyncio.gather(*cancels, return_exceptions=True):
            if isinstance(result, ExchangeError | OrderError):
                self.strategy.log.info("not cancelled: %s", result)
            elif isinstance(result, BaseException):
                raise result
        return bool(unfit)

    async def place(self, requests: Sequence[OrderRequest]) -> None:
        """Place bids at once; one that is refused is for the next look.

        Raises:
            StaleCycleError: The cycle is over.
        """
        for placed in await self.strategy.trading.place_many(requests) if requests else ():
            if placed.error is not None:
                self.strategy.log.info("no bid for %s: %s", placed.request.outcome, placed.error)

    async def finish(self) -> None:
        """Take back all; for ``on_cycle_end``."""
        try:
            await self.strategy.trading.cancel_all()
        except (ExchangeError, OrderError) as error:
            text = "bids may be left until the venue closes the market: %s"
            self.strategy.log.warning(text, error)

    def _is_unfit(self, order: Order, wishes: Mapping[Outcome, Wish]) -> bool:
        strategy, wish = self.strategy, wishes.get(order.outcome)
        price, size = (None, ZERO) if wish is None else (wish.price, wish.size)
        tick, now = strategy.session.tick_size(order.outcome), strategy.clock.time()
        decided = self.requote.decide(order, price, size, tick, now)
        return decided in {Requote.REPLACE, Requote.CANCEL}

"""Batches and legs on the simulated venue, with everything that can go wrong."""

from __future__ import annotations

import random
from decimal import Decimal
from typing import Any

import pytest
from attrs import define, field

from polyframe.errors import OrderError, OrderOutcomeUnknown
from polyframe.model.events import CycleEndReason, PriceChanged
from polyframe.model.market import Outcome
from polyframe.model.order import OrderRequest, OrderStatus, OrderType, Side
from polyframe.strategy import Strategy
from polyframe.testing import Fault, assert_held, run_strategy

ON_THE_WAY = (
    Fault.PLACE_REFUSED,
    Fault.PLACE_VANISHED,
    Fault.PLACE_RAISES,
    Fault.PLACE_LOST,
    Fault.PLACE_LATE,
    Fault.PLACE_DELAYED,
    Fault.CANCEL_ERROR,
    Fault.CANCEL_RACE,
    Fault.CANCEL_LOST,
    Fault.QUERY_ERROR,
)


@define
class Tally:
    """What became of the legs of a run."""

    complete: int = 0
    missing: int = 0
    denied: int = 0
    unknown: int = 0
    broken: list[str] = field(factory=list)


@define
class Pairs(Strategy):
    """Places pairs and batches at random, and checks what `place_legs` promises."""

    rng: random.Random = field(init=False)
    busy: bool = field(init=False, default=False)

    async def on_cycle_start(self) -> None:
        self.rng = random.Random(self.market.generation)

    async def on_price(self, event: PriceChanged) -> None:
        if event.known and not self.busy and len(self.trading.orders()) < 40:
            self.busy = True
            try:
                await self.place(event)
            except OrderError:
                self.env.get(Tally).denied += 1
            self.busy = False

    async def place(self, event: PriceChanged) -> None:
        """Place something at random."""
        requests = []
        for outcome in Outcome:
            quote = self.trading.price(outcome)
            price = self.rng.choice([quote.ask, quote.bid])
            if price is None or not Decimal("0.1") < price < Decimal("0.9"):
                return
            kind = self.rng.choice([OrderType.GTC, OrderType.FAK])
            requests.append(OrderRequest(outcome, Side.BUY, price, Decimal(10), kind))
        tally = self.env.get(Tally)
        policy: Any = self.rng.choice(["cancel", "keep", "unwind", None])
        if policy is None:
            for one in await self.trading.place_many(requests):
                tally.unknown += isinstance(one.error, OrderOutcomeUnknown)
            return
        result = await self.trading.place_legs(requests, policy)
        tally.complete += result.is_complete
        tally.missing += not result.is_complete
        still = [leg.order for leg in result.legs if leg.order.is_open]
        named = " ".join(result.failures)
        if result.is_complete or policy == "keep":
            return
        # Nothing stays open, or held, that the result does not tell.
        for order in still:
            if order.client_id not in named:
                tally.broken.append(f"{order} is open after {policy}: {named}")
        if any(leg.order.status is OrderStatus.SUBMITTING for leg in result.legs):
            tally.broken.append(f"not answered: {result}")

    async def on_cycle_end(self, reason: CycleEndReason) -> None:
        await self.trading.cancel_all()


@pytest.mark.parametrize("seed", range(6))
def test_pairs_under_faults(seed: int) -> None:
    """With lost, late and refused answers to everything the books stay the venue's, order by order."""
    tally = Tally()
    result = run_strategy(
        Pairs(), cycles=2, seed=seed, faults=ON_THE_WAY, services=[tally], on_error="skip_cycle"
    )
    assert_held(result)
    assert tally.broken == []
    assert tally.complete + tally.missing + tally.denied > 0


def test_pairs_without_faults() -> None:
    """On a venue that works most pairs are complete, and none is of unknown outcome."""
    tally = Tally()
    assert_held(run_strategy(Pairs(), cycles=2, seed=1, services=[tally]))
    assert tally.complete > 0
    assert tally.unknown == 0
    assert tally.broken == []

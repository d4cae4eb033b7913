"""The guards of a strategy that wants everything, in worlds where everything goes wrong."""

from __future__ import annotations

from contextlib import suppress
from decimal import Decimal

import pytest
from attrs import define
from typing_extensions import override

from polyframe.errors import ExchangeError, OrderError, StaleCycleError
from polyframe.model.events import CycleEndReason, PriceChanged
from polyframe.model.market import Outcome
from polyframe.model.money import ZERO
from polyframe.model.order import OrderRequest, OrderType, Side
from polyframe.strategy import Strategy
from polyframe.testing import Fault, Standing
from polyframe.trading.guards import EntryGuards
from tests.strategies.kit import ONE_LIFE, hostile

GUARDS = EntryGuards(
    max_entries=3,
    max_budget=Decimal(20),
    max_unhedged=Decimal(30),
    flatten_before_end=60.0,
)


@define
class Greedy(Strategy):
    """Buys whatever it sees, in all the ways there are.

    Attributes:
        outcome: Only of this one.
    """

    outcome: Outcome | None = None

    @override
    async def on_price(self, event: PriceChanged) -> None:
        if event.ask is None or event.bid is None or self.outcome not in (None, event.outcome):
            return
        size, outcome = Decimal(10), event.outcome
        requests = [
            OrderRequest(outcome, Side.BUY, event.bid, size),
            OrderRequest(outcome, Side.BUY, event.ask, size, OrderType.FAK),
        ]
        with suppress(OrderError, StaleCycleError):
            await self.trading.place_many(requests)

    @override
    async def on_cycle_end(self, reason: CycleEndReason) -> None:
        with suppress(ExchangeError):
            await self.trading.cancel_all()


def bound(standing: Standing) -> None:
    """Assert what the guards promise, with room for buys that complete pairs: they always pass."""
    buys = standing.sent(Side.BUY)
    unpaired = {o: standing.most(o) - standing.held(o.other) for o in Outcome}
    # A trade that fails afterwards takes a partner away that was there.
    if not any(fill.status == "FAILED" for fill in standing.fills.values()):
        assert max(unpaired.values()) <= 40, unpaired
    worst = sum((order.size * order.price for order in buys if order.is_open), ZERO)
    assert worst <= Decimal(20) + Decimal(12)


@pytest.mark.parametrize("seed", [1, 3])
def test_guards_hold_whatever_goes_wrong(seed: int) -> None:
    """Lost answers, late fills, failed trades: no more is entered than is allowed, and much is refused."""
    faults = ONE_LIFE - {Fault.FOREIGN}
    result = hostile(
        Greedy(), cycles=4, seed=seed, faults=faults, bound=bound, alone=True, guards=GUARDS
    )
    refused = {reason for record in result.records for reason in record.refusals}
    assert {"guard_budget", "guard_entries", "guard_entry_window"} & refused
    assert result.orders > 10


def test_a_restart_forgets_no_entry() -> None:
    """A program that is killed and started again within a cycle goes on with what it has entered."""

    def no_more(standing: Standing) -> None:
        entries = [o for o in standing.sent(Side.BUY) if o.is_open or o.filled]
        assert len(entries) <= 3, entries
        assert standing.spent() <= 20

    guards = EntryGuards(max_entries=3, max_budget=Decimal(20))
    greedy, faults = Greedy(outcome=Outcome.UP), {Fault.KILL}
    result = hostile(
        greedy, cycles=6, faults=faults, intensity=6, bound=no_more, alone=True, guards=guards
    )
    assert result.starts > 3

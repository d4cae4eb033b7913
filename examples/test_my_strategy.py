"""A test of your own strategy, with `polyframe.testing`: a simulated venue, faults, and what must hold.

Hours of trading pass in milliseconds, and the same seed gives the same run. No network and no account.

Run it with ``pytest examples/test_my_strategy.py``. It prints that six tests passed.
"""

from decimal import Decimal

import pytest
from attrs import define, field

from polyframe import (
    Count,
    CycleEndReason,
    OrderError,
    OrderType,
    PriceChanged,
    Strategy,
    TradeChanged,
)
from polyframe.testing import Fault, assert_held, run_strategy


@define
class CheapUp(Strategy):
    """The strategy under test; yours would be imported."""

    limit: Decimal = field(default=Decimal("0.60"))
    bought: bool = field(init=False, default=False)

    @limit.validator
    def _check_limit(self, _: object, value: Decimal) -> None:
        if not 0 < value < 1:
            msg = f"limit: expected USD between 0 and 1, got {value}"
            raise ValueError(msg)

    async def on_price(self, event: PriceChanged) -> None:
        """Buy ten shares of what is first offered below the limit."""
        if self.bought or event.ask is None or event.ask > self.limit:
            return
        self.bought = True
        try:
            await self.trading.buy(
                event.outcome, price=event.ask, size=Decimal(10), order_type=OrderType.FAK
            )
        except OrderError as error:
            self.log.info("not bought: %s", error)

    async def on_cycle_end(self, reason: CycleEndReason) -> None:
        """Hold what was bought to the end."""


def test_it_buys_once_in_a_cycle_and_not_above_its_limit() -> None:
    """The rule of the strategy, on three cycles."""
    result = run_strategy(CheapUp(limit=Decimal("0.55")), cycles=3, seed=7)
    assert_held(result)
    fills = [event.fill for event in result.of(TradeChanged) if event.previous is None]
    assert fills
    assert all(fill.price <= Decimal("0.55") for fill in fills)
    assert all(record.orders <= 1 for record in result.records)


def test_the_profit_is_what_the_account_has_more() -> None:
    """The records add up to the cash."""
    result = run_strategy(CheapUp(), cycles=4, seed=3)
    profits = [record.profit for record in result.records if record.profit is not None]
    assert len(profits) == 4
    assert result.cash == Decimal(1000) + sum(profits)


@pytest.mark.parametrize("fault", [Fault.PLACE_LOST, Fault.USER_DROP, Fault.TRADE_FAILED])
def test_nothing_is_lost_when_things_go_wrong(fault: Fault) -> None:
    """Lost answers, lost events and trades that are taken back: books and cash stay right."""
    assert_held(run_strategy(CheapUp(), cycles=5, seed=11, faults=[fault], on_error="skip_cycle"))


def test_each_cycle_begins_anew() -> None:
    """Every market gets a strategy of its own: none of them finds that it has bought already."""
    result = run_strategy(CheapUp(limit=Decimal("0.99")), cycles=3, seed=5)
    assert [record.orders for record in result.records] == [1, 1, 1]
    assert result.counters.get(Count.SWITCHES, "opened") == 3

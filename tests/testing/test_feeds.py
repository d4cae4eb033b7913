"""Reference prices of simulations."""

from __future__ import annotations

from polyframe.model.reference import PriceSource
from polyframe.reference import ReferencePrices
from polyframe.strategies import Momentum
from polyframe.testing import FeedVenue, PerProcess, assert_held, run_strategy
from polyframe.testing.feeds import swings
from polyframe.testing.simulate import Plan, simulate

SERIES = "btc-updown-5m"


def test_a_swinging_price_is_the_same_for_the_same_seed() -> None:
    """It moves by tens of basis points within minutes, and one price in a hundred is missing."""
    price, again, other = swings(1), swings(1), swings(2)
    told = [price(PriceSource.TWAP, second) for second in range(2000)]
    assert told == [again(PriceSource.TWAP, second) for second in range(2000)]
    assert told != [other(PriceSource.TWAP, second) for second in range(2000)]
    known = [value for value in told if value is not None]
    assert 5 < len(told) - len(known) < 60
    assert 200 < max(known) - min(known) < 1200


def test_each_process_of_a_run_makes_its_own_service() -> None:
    """A service that opens only once does not stand in the way of a second start."""
    made: list[ReferencePrices] = []

    def make() -> ReferencePrices:
        made.append(ReferencePrices(FeedVenue(swings(1)), SERIES))
        return made[-1]

    result = run_strategy(Momentum(), series=SERIES, cycles=2, services=[PerProcess(make)])
    assert_held(result)
    assert len(made) == result.starts


def test_a_shipped_strategy_has_prices_to_trade_on_in_the_simulation() -> None:
    """The command line's simulation gives reference prices to strategies that are not its own."""
    plan = Plan(cycles=2, seed=1, faults=frozenset(), strategies=("momentum",), series=(SERIES,))
    assert simulate(plan).orders > 0

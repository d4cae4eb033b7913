"""Splits and merges in worlds where everything goes wrong: nothing is doubled, nothing is lost."""

from __future__ import annotations

import random
from collections.abc import Collection, Mapping
from decimal import Decimal

import pytest
from attrs import define, field
from hypothesis import given, settings
from hypothesis import strategies as st

from polyframe.counters import Count
from polyframe.errors import ExchangeError, OrderError
from polyframe.model.events import PriceChanged, TradeChanged
from polyframe.model.market import Outcome
from polyframe.strategies import Arbitrage
from polyframe.strategy import Strategy
from polyframe.testing import Bound, Fault, Faults, RunResult, SimVenue, bound_of, run_strategy
from polyframe.testing.faults import CONVERTING, RATES
from polyframe.testing.simulate import FORGETFUL
from polyframe.trading.limits import RiskLimits


@define
class Converter(Strategy):
    """Splits, buys, sells and merges at random."""

    seed: int = 0
    _chance: random.Random = field(init=False, factory=random.Random)

    async def on_cycle_start(self) -> None:
        self._chance = random.Random(f"{self.seed}/{self.market.generation}")

    async def on_price(self, event: PriceChanged) -> None:
        chance, trading = self._chance, self.trading
        if event.ask is None or event.bid is None or chance.random() < 0.6:
            return
        outcome = chance.choice(list(Outcome))
        size = Decimal(chance.randint(5, 15))
        try:
            match chance.randint(0, 5):
                case 0:
                    await trading.split(size)
                case 1 | 2:
                    pairs = trading.mergeable()
                    await trading.merge(pairs if chance.random() < 0.5 else Decimal(3))
                case 3 if (ask := trading.price(outcome).ask) is not None:
                    await trading.buy(outcome, price=ask, size=size)
                case 4 if (bid := trading.price(outcome).bid) is not None:
                    await trading.sell(
                        outcome, price=bid, size=min(size, trading.sellable(outcome))
                    )
                case _:
                    await trading.cancel_all()
        except (OrderError, ExchangeError):
            return

    async def on_trade(self, event: TradeChanged) -> None:
        assert event.fill.strategy


def lived(
    strategy: Strategy,
    seed: int,
    faults: Collection[Fault],
    *,
    cycles: int = 4,
    intensity: float = 1.0,
    rates: Mapping[Fault, float] = RATES,
    bound: Bound | None = None,
) -> RunResult:
    """Run a strategy at a venue that converts, and check what must hold."""
    rates = {kind: min(rate * intensity, 1.0) for kind, rate in rates.items()}
    result = run_strategy(
        strategy,
        series="btc-updown-5m",
        cycles=cycles,
        venue=SimVenue(seed, cash=Decimal(5000), faults=Faults(faults, seed, rates), converts=True),
        on_error="skip_cycle",
        risk=RiskLimits(max_run_notional=None, max_run_loss=None, max_losing_cycles=None),
        bounds={} if bound is None else {type(strategy).__name__: bound},
    )
    assert result.violations == (), str(result.violations[0])
    return result


def test_conversions_without_faults_balance() -> None:
    """Splits and merges are confirmed, and our cash is the venue's in the end."""
    result = lived(Converter(seed=1), 1, ())
    counted = result.counters.reasons(Count.CONVERSIONS)
    assert counted["confirmed"] > 5
    assert "unknown" not in counted


def test_nothing_is_doubled_or_lost_when_answers_are() -> None:
    """Lost answers, transactions that never arrive, that fail, that wait: exact all the same."""
    result = lived(Converter(seed=2), 2, CONVERTING | {Fault.QUERY_ERROR}, intensity=2.0)
    assert {kind.value for kind in result.faults} >= {kind.value for kind in CONVERTING}
    counted = result.counters.reasons(Count.CONVERSIONS)
    assert counted["unknown"] > 0
    assert counted["confirmed"] > 0
    assert counted["failed"] > 0


@pytest.mark.parametrize("kind", sorted(CONVERTING))
def test_each_way_to_go_wrong_happens_alone(kind: Fault) -> None:
    """Each kind by itself happens, and everything holds all the same."""
    result = lived(Converter(seed=2), 2, {kind}, cycles=2, intensity=2.0)
    assert result.faults[kind] > 0


@pytest.mark.parametrize("seed", [3, 4])
def test_everything_at_once_with_kills(seed: int) -> None:
    """Every fault, and a program that is killed at any instant and started again."""
    lived(Converter(seed=seed), seed, frozenset(Fault) - FORGETFUL, cycles=6)


@pytest.mark.parametrize("seed", [15, 17, 22])
def test_a_death_after_a_lost_answer_costs_no_cash(seed: int) -> None:
    """The next process counts the cash with the conversion in it or not, and cannot tell at first."""
    dangers = {Fault.KILL: 0.05, Fault.CONVERT_LOST: 0.5, Fault.TRADE_RETRYING: 0.3}
    kinds = CONVERTING | {*dangers, Fault.TRADE_FAILED}
    lived(Converter(seed=seed), seed, kinds, cycles=3, rates={**RATES, **dangers})


SURVIVED = sorted(set(Fault) - FORGETFUL)


@given(st.integers(0, 10_000), st.frozensets(st.sampled_from(SURVIVED)))
@settings(max_examples=5, deadline=None)
def test_any_world_balances(seed: int, faults: frozenset[Fault]) -> None:
    """Whatever combination of faults, the sums hold at every instant."""
    lived(Converter(seed=seed), seed, faults | CONVERTING, cycles=1, intensity=3.0)


def test_arbitrage_merges_its_pairs_through_all_of_it() -> None:
    """What it merges is confirmed, and its bound holds meanwhile."""
    faults = frozenset(Fault) - FORGETFUL
    result = lived(Arbitrage(), 5, faults, cycles=3, bound=bound_of(Arbitrage()))
    assert result.counters.reasons(Count.CONVERSIONS).get("confirmed", 0) > 0

"""Getting out: the order that takes an excess away, and selling with bounded tries."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from decimal import Decimal
from typing import Any

import pytest
from attrs import define, field
from hypothesis import given
from hypothesis import strategies as st

from polyframe.errors import ConfigError
from polyframe.exchange.base import PlaceAnswer
from polyframe.model.market import Outcome
from polyframe.model.order import OrderRequest, OrderType, PlaceResult, Side
from polyframe.model.sale import sale
from polyframe.strategies.blocks.exits import Flattened, flatten, relief
from polyframe.strategy import Strategy
from polyframe.testing import make_market
from polyframe.trading.rules import broken_rule
from tests.strategies.blocks.pairworld import DOWN, UP, mirrored_quotes
from tests.strategies.pairstage import asked, fill, quote, short, wait
from tests.support.fake import FakeExchange
from tests.support.stage import Stage, play, settle

MARKET = make_market()
CENTS = st.integers(1, 98).map(lambda cents: Decimal(cents) / 100)
SIZES = st.integers(0, 20_000_000).map(lambda millionths: Decimal(millionths) / 1_000_000)
TICKS = st.sampled_from([Decimal("0.01"), Decimal("0.001"), Decimal("0.0001")])


@given(
    outcome=st.sampled_from(list(Outcome)),
    size=SIZES,
    sellable=SIZES,
    bid=st.none() | CENTS,
    tick=TICKS,
    slippage=st.integers(0, 500).map(lambda units: Decimal(units) / 10_000),
)
def test_relief_is_legal_reduces_the_excess_and_never_turns_it_around(
    outcome: Outcome,
    size: Decimal,
    sellable: Decimal,
    bid: Decimal | None,
    tick: Decimal,
    slippage: Decimal,
) -> None:
    """It sells no more than is deliverable, buys no more than the excess, and keeps the rules."""
    ask = None if bid is None else bid + Decimal("0.01")
    quotes = mirrored_quotes(bid, ask)
    request = relief(outcome, size, quotes, sellable, tick=tick, market=MARKET, slippage=slippage)
    if request is None:
        notional = size * (quotes[outcome.other].ask or 0)
        assert bid is None or size < 5 or (sellable < 5 and notional < Decimal("1.06"))
        return
    assert 0 < request.size <= size
    top = quotes[request.outcome]
    assert broken_rule(MARKET, tick, top, request, 0.0) is None
    if request.side is Side.SELL:
        assert request.outcome is outcome
        assert request.size <= sellable
        assert request.order_type is OrderType.FAK
        assert top.bid is not None
        assert request.price <= top.bid
    else:
        assert request.outcome is outcome.other
        assert request.most_shares(top.ask) == request.size
        assert top.ask is not None
        assert request.price >= min(top.ask, 1 - tick)


def test_a_sale_keeps_its_floor() -> None:
    """Below the floor nothing is sold; above it the limit is not lower than the floor."""
    top = mirrored_quotes(Decimal("0.30"), Decimal("0.31"))[UP]
    terms: dict[str, Any] = {"tick": Decimal("0.01"), "min_size": Decimal(5)}
    terms["slippage"] = Decimal("0.05")
    low = sale(UP, Decimal(10), top, floor=Decimal("0.28"), **terms)
    assert low == OrderRequest(UP, Side.SELL, Decimal("0.28"), Decimal(10), OrderType.FAK)
    assert sale(UP, Decimal(10), top, floor=Decimal("0.31"), **terms) is None
    assert sale(UP, Decimal("4.99"), top, **terms) is None


def test_a_floor_between_two_ticks_is_kept_as_the_next_one_above() -> None:
    """The step may have grown since: a bid that lies below the next price above the floor is not met."""
    terms: dict[str, Any] = {"min_size": Decimal(5), "floor": Decimal("0.305")}
    top = mirrored_quotes(Decimal("0.307"), Decimal("0.31"))[UP]
    assert sale(UP, Decimal(10), top, tick=Decimal("0.01"), **terms) is None
    fine = sale(UP, Decimal(10), top, tick=Decimal("0.001"), **terms)
    assert fine == OrderRequest(UP, Side.SELL, Decimal("0.307"), Decimal(10), OrderType.FAK)
    terms["floor"] = Decimal("0.995")
    dear = mirrored_quotes(Decimal("0.99"), None)[UP]
    assert sale(UP, Decimal(10), dear, tick=Decimal("0.01"), **terms) is None


# ---------------------------------------------------------------------- flatten


@define
class Leaver(Strategy):
    """Buys ten Up at the start, and gets out when a minute is over."""

    terms: dict[str, Any] = field(factory=dict)

    async def on_cycle_start(self) -> None:
        await self.trading.buy(UP, price=Decimal("0.51"), size=Decimal(10))

    async def run(self) -> None:
        await self.clock.sleep(60)
        self.env.get(Results).append(await flatten(self, **self.terms))


class Results(list[Flattened]):
    """What flattening came to."""


def get_out(
    act: Callable[[Stage], Awaitable[Any]], exchange: FakeExchange | None = None, **terms: Any
) -> tuple[Flattened | None, list[str]]:
    """Play one cycle of `Leaver`."""
    results = Results()

    async def main(stage: Stage) -> list[str]:
        stage.env.provide(results)
        await stage.open_cycle()
        await act(stage)
        return short(stage)[1:]

    requests = play(main, Leaver(terms), exchange=exchange)
    return (results[0] if results else None), requests


def test_flatten_cancels_and_sells_what_is_held() -> None:
    """Six of ten were bought: the rest is cancelled, the six are sold below the bid."""

    async def act(stage: Stage) -> None:
        await fill(stage, 0, 6)
        await wait(stage, 60)
        assert stage.exchange.cancelled == [stage.exchange.placed[0].venue_id]
        await fill(stage, 1, 6)
        await wait(stage, 3)

    result, requests = get_out(act)
    assert requests == ["SELL 6 Up 0.48"]
    assert result == Flattened(
        {UP: Decimal(6), DOWN: Decimal(0)}, dict.fromkeys(Outcome, Decimal(0)), 1
    )


def test_flatten_tries_as_often_as_it_may() -> None:
    """A venue that refuses is asked `tries` times, with a pause, and the reason is told."""
    exchange = FakeExchange()
    refused = PlaceAnswer(PlaceResult.REJECTED, "not_enough_balance", "not delivered")
    exchange.answers = [PlaceAnswer(PlaceResult.LIVE), *[refused] * 9]

    async def act(stage: Stage) -> None:
        await fill(stage, 0)
        await wait(stage, 61)
        assert len(asked(stage)) == 2
        await wait(stage, 10)

    result, requests = get_out(act, exchange, tries=3)
    assert len(requests) == 3
    assert result is not None
    assert result.tries == 3
    assert result.left[UP] == 10
    assert result.sold[UP] == 0
    assert "not_enough_balance" in result.reason


def test_flatten_waits_for_a_bid_at_its_floor() -> None:
    """Below the floor nothing is sold; as soon as the bid is there, it is."""

    async def act(stage: Stage) -> None:
        await fill(stage, 0)
        await quote(stage, 30, 32)
        await wait(stage, 61)
        assert len(asked(stage)) == 1
        await quote(stage, 45, 47)
        await wait(stage, 2)
        await fill(stage, 1)
        await wait(stage, 3)

    result, requests = get_out(act, floor=Decimal("0.40"))
    assert requests == ["SELL 10 Up 0.44"]
    assert result is not None
    assert result.reason == ""


def test_flatten_has_nothing_to_do_about_dust() -> None:
    """Fewer shares than an order cannot be sold; that is no failure."""

    async def act(stage: Stage) -> None:
        await fill(stage, 0, 4)
        await wait(stage, 61)
        await settle()

    result, requests = get_out(act)
    assert requests == []
    assert result is not None
    assert result.left[UP] == 4
    assert (result.reason, result.tries) == ("", 0)


@pytest.mark.parametrize("terms", [{"tries": 0}, {"pause": 0}, {"floor": 1}, {"slippage": -1}])
def test_flatten_refuses_numbers_that_cannot_be(terms: dict[str, Any]) -> None:
    """A bad number is told before anything is cancelled or sold."""

    async def act(stage: Stage) -> None:
        strategy = Leaver()
        with pytest.raises(ConfigError, match="flatten: expected"):
            await flatten(strategy, **terms)

    get_out(act)

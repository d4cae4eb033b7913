"""Orders that take several prices at the local venue: cash here is the venue's, to the last unit."""

from __future__ import annotations

from decimal import Decimal

import pytest

from polyframe.counters import Count
from polyframe.model.market import Outcome
from polyframe.model.order import Order, OrderType, Side
from polyframe.model.trade import TradeStatus

pytest.importorskip("starlette", reason="the local venue needs the extra 'venue'")
pytest.importorskip("uvicorn", reason="the local venue needs the extra 'venue'")

from tests.trading.test_reconcile_venue import Scene, away, run

FAK = OrderType.FAK
DEEP = Decimal("0.1")


async def take(scene: Scene, outcome: Outcome, side: Side, size: str) -> Order:
    """Buy or sell at up to ten cents beyond the best price, whatever is there."""
    quote = scene.handle.price(outcome)
    assert quote.ask is not None
    assert quote.bid is not None
    if side is Side.BUY:
        return await scene.handle.buy(
            outcome, price=quote.ask + DEEP, size=Decimal(size), order_type=FAK
        )
    return await scene.handle.sell(
        outcome, price=quote.bid - DEEP, size=Decimal(size), order_type=FAK
    )


async def sell_all(scene: Scene, outcome: Outcome) -> Order:
    """Sell what is held of an outcome, down to the cent of a share that an order can name."""
    held = scene.handle.sellable(outcome)
    return await take(
        scene, outcome, Side.SELL, f"{held.quantize(Decimal('0.01'), 'ROUND_DOWN'):f}"
    )


async def settled(scene: Scene, status: TradeStatus = TradeStatus.CONFIRMED) -> None:
    """Wait until each order has its one trade, and that is settled."""
    await scene.bell.until(
        lambda: (
            {fill.status for fill in scene.handle.fills()} == {status}
            and len(scene.handle.fills()) == len(scene.handle.orders())
        )
    )


async def most_levels(scene: Scene) -> int:
    """Return how many prices the widest of the account's trades met."""
    trades = await scene.other.fetch_trades(scene.trading.market)
    return max(len(leg.parts) for trade in trades for leg in trade.legs)


def test_cash_is_exact_after_many_prices() -> None:
    """Buys and sells of both outcomes, in shares and in USD: mints, merges and plain ones."""

    async def act(scene: Scene) -> None:
        start = scene.env.account.cash
        for outcome in Outcome:
            await take(scene, outcome, Side.BUY, "500")
            quote = scene.handle.price(outcome)
            assert quote.ask is not None
            await scene.handle.market_buy(outcome, usd=Decimal("77.77"), price=quote.ask + DEEP)
            await settled(scene)
            await sell_all(scene, outcome)
            await settled(scene)
            # Exactly what the venue keeps, of which its answer shows six decimals.
            assert scene.env.account.cash == scene.venue.account.cash
            shown = await scene.other.fetch_balance()
            assert 0 <= scene.env.account.cash - shown < Decimal("0.000001")
        fills = scene.handle.fills()
        assert len(fills) == len({fill.client_id for fill in fills}) == 6
        assert await most_levels(scene) > 1
        assert scene.env.account.cash < start
        assert scene.env.counters.reasons(Count.WIRE_SKIPPED) == {}

    run(act)


def test_a_trade_that_is_only_listed_has_the_same_figures() -> None:
    """With the stream away it is found by asking, and what the stream adds later changes no cash."""

    async def act(scene: Scene) -> None:
        async with away(scene):
            await take(scene, Outcome.DOWN, Side.BUY, "700")
        await scene.bell.until(lambda: bool(scene.handle.fills()))
        cash = scene.env.account.cash
        assert cash == scene.venue.account.cash
        await settled(scene)
        assert scene.env.account.cash == cash
        assert await most_levels(scene) > 1
        await scene.agree()

    run(act)


def test_a_failed_trade_brings_every_level_back() -> None:
    """Cash is what it was before, here and at the venue."""

    async def act(scene: Scene) -> None:
        start = scene.env.account.cash
        scene.venue.faults.inject("trade_failed", count=1)
        await take(scene, Outcome.UP, Side.BUY, "700")
        assert await most_levels(scene) > 1
        await settled(scene, TradeStatus.FAILED)
        assert scene.env.account.cash == scene.venue.account.cash == start

    run(act)

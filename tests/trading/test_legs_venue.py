"""Batches and legs against the local venue, over real sockets: the books agree in the end."""

from __future__ import annotations

from decimal import Decimal

import pytest

from polyframe.errors import OrderOutcomeUnknown, OrderRejected
from polyframe.model.market import Outcome
from polyframe.model.order import OrderRequest, OrderStatus, OrderType, Side
from polyframe.model.trade import TradeStatus

pytest.importorskip("starlette", reason="the local venue needs the extra 'venue'")
pytest.importorskip("uvicorn", reason="the local venue needs the extra 'venue'")

from tests.trading.test_reconcile_venue import Scene, away, run

UP, DOWN, TEN = Outcome.UP, Outcome.DOWN, Decimal(10)
OOPS = {"error": "Internal server error"}


def bid(outcome: Outcome, price: str = "0.02", size: int = 10) -> OrderRequest:
    """Return a request that rests far below the market."""
    return OrderRequest(outcome, Side.BUY, Decimal(price), Decimal(size))


def takes(scene: Scene, order_type: OrderType = OrderType.FAK) -> OrderRequest:
    """Return a request for ten Up that are on offer."""
    return OrderRequest(UP, Side.BUY, scene.high(), TEN, order_type)


async def confirmed(scene: Scene) -> None:
    """Wait until every trade is confirmed."""
    await scene.bell.until(
        lambda: {f.status for f in scene.handle.fills()} <= {TradeStatus.CONFIRMED}
    )


def test_a_batch_with_all_kinds_of_ends() -> None:
    """A rest, a fill, a refusal for lack of money and a killed FOK, in one request."""

    async def act(scene: Scene) -> None:
        killed = OrderRequest(UP, Side.BUY, Decimal("0.02"), Decimal(100), OrderType.FOK)
        placed = await scene.handle.place_many([bid(UP), takes(scene), killed])
        assert [one.error for one in placed] == [None] * 3
        orders = [one.order for one in placed]
        assert orders[0] is not None
        assert orders[1] is not None
        assert orders[2] is not None
        await scene.until(orders[1], OrderStatus.FILLED)
        assert orders[0].status is OrderStatus.LIVE
        assert orders[2].status is OrderStatus.CANCELLED
        await confirmed(scene)
        await scene.agree()

    run(act)


def test_a_batch_whose_answer_is_lost() -> None:
    """Both are unknown at first, found at the venue, and never sent again."""

    async def act(scene: Scene) -> None:
        scene.venue.fail_next("/clob/orders", 500, OOPS, accept=True)
        async with away(scene):
            placed = await scene.handle.place_many([bid(UP), bid(DOWN)])
        for one in placed:
            assert isinstance(one.error, OrderOutcomeUnknown)
            assert one.order is not None
            await scene.until(one.order, OrderStatus.LIVE)
        assert len(await scene.other.fetch_open_orders()) == 2
        await scene.agree()

    run(act)


def test_legs_that_rest_are_complete() -> None:
    """Two rests are a pair; one cancel takes both back."""

    async def act(scene: Scene) -> None:
        result = await scene.handle.place_legs([bid(UP), bid(DOWN)])
        assert result.is_complete
        await scene.agree()
        done = await scene.handle.cancel_all()
        assert [order.status for order in done] == [OrderStatus.CANCELLED] * 2
        await scene.agree()

    run(act)


def test_legs_whose_answer_is_lost_are_found() -> None:
    """The request failed after it was carried out: the legs are looked for, and both are there."""

    async def act(scene: Scene) -> None:
        scene.venue.fail_next("/clob/orders", 500, OOPS, accept=True)
        async with away(scene):
            result = await scene.handle.place_legs([bid(UP), bid(DOWN)], missing_timeout=5.0)
        assert result.is_complete
        assert all(isinstance(leg.error, OrderOutcomeUnknown) for leg in result.legs)
        assert len(await scene.other.fetch_open_orders()) == 2
        await scene.agree()

    run(act)


def test_legs_whose_request_never_came_are_missing() -> None:
    """The request failed before it was carried out: both legs are missing, and nothing is left."""

    async def act(scene: Scene) -> None:
        scene.venue.fail_next("/clob/orders", 500, OOPS)
        result = await scene.handle.place_legs([bid(UP), bid(DOWN)], missing_timeout=5.0)
        assert [leg.order.status for leg in result.legs] == [OrderStatus.REJECTED] * 2
        assert scene.env.account.reserved == 0
        await scene.agree()

    run(act)


def test_the_other_leg_is_taken_back() -> None:
    """One leg is refused by the venue, because its market wants more: the rest is cancelled."""

    async def act(scene: Scene) -> None:
        # Here it is within the cash, there somebody else's order holds most of it.
        market = scene.trading.market
        assert market is not None
        rich = scene.other.prepare_order(market, bid(UP, "0.01", 99_000))
        await scene.other.place_order(rich)
        result = await scene.handle.place_legs([bid(UP), bid(DOWN, "0.03", 2_000)])
        (missing,) = result.missing
        assert isinstance(missing.error, OrderRejected)
        assert missing.error.code == "not_enough_balance"
        assert [order.status for order in result.cancelled] == [OrderStatus.CANCELLED]
        assert scene.env.account.reserved == 0

    run(act)


def test_what_was_bought_is_sold_back() -> None:
    """One leg was filled, the other killed: the shares are sold at the bid, or told to be left."""

    async def act(scene: Scene) -> None:
        killed = OrderRequest(DOWN, Side.BUY, Decimal("0.02"), Decimal(100), OrderType.FOK)
        result = await scene.handle.place_legs([takes(scene), killed], "unwind")
        assert [leg.is_missing for leg in result.legs] == [False, True]
        # A FAK buys for a sum of USD: at a better price it gets more shares than it asked for.
        bought = result.legs[0].filled
        sold = sum(order.filled for order in result.sold)
        assert bought >= TEN
        assert sold + result.unsold.get(UP, Decimal(0)) == bought
        assert scene.handle.position(UP).size == bought - sold
        assert not scene.handle.open_orders()
        await confirmed(scene)
        await scene.agree()

    run(act)

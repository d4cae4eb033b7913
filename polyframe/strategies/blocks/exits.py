"""Getting out: which order takes an excess away, and selling what is held before the end."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal

from attrs import frozen

from polyframe.errors import ConfigError, ExchangeError, OrderError
from polyframe.model.events import PriceChanged
from polyframe.model.grid import Grid
from polyframe.model.market import Market, Outcome
from polyframe.model.money import ZERO
from polyframe.model.order import OrderRequest, Side
from polyframe.model.sale import sale
from polyframe.strategy import Strategy


def relief(
    outcome: Outcome,
    size: Decimal,
    quotes: Mapping[Outcome, PriceChanged],
    sellable: Decimal,
    *,
    tick: Decimal,
    market: Market,
    slippage: Decimal,
) -> OrderRequest | None:
    """Return the order that takes an excess away now, at what the market gives.

    Selling Up and buying Down are the same trade in the same book (PROTOCOL §2.2). They differ in what
    the venue asks for: a sale needs shares that it has delivered, which takes some seconds after the
    buy; a buy needs cash and at least the smallest notional. So what is sellable is sold, and the other
    outcome is bought where that does not do. The buy is GTC, because such an order buys the shares that
    it names and never more; cancel what is left of it.

    ``None`` if neither is possible: fewer shares than the smallest order, no price, or an outcome that
    was just bought and whose partner is too cheap for the smallest notional.

    Args:
        outcome: Of which there are too many.
        size: By how many.
        quotes: Tops of both books.
        sellable: Shares of `outcome` that the venue has delivered and no order holds.
        tick: The price step of now.
        market: Its smallest size and notional.
        slippage: How far beyond the best price a limit may go, in USD.
    """
    shares = min(size, sellable)
    sold = sale(
        outcome, shares, quotes[outcome], tick=tick, min_size=market.min_size, slippage=slippage
    )
    if sold is not None:
        return sold
    grid, ask = Grid(tick), quotes[outcome.other].ask
    shares = grid.floor_size(size)
    if ask is None or shares < market.min_size:
        return None
    limit = grid.floor_price(ask + slippage)
    # What counts is what it will spend at least, if it finds everything at the ask.
    if ask * shares < market.min_notional:
        return None
    return OrderRequest(outcome.other, Side.BUY, limit, shares)


@frozen
class Flattened:
    """What selling came to.

    Attributes:
        sold: Shares that were sold, by outcome.
        left: Shares that are still held, by outcome.
        tries: Orders that were sent.
        reason: Why something is left, ``""`` if nothing is or what is left is dust.
    """

    sold: Mapping[Outcome, Decimal]
    left: Mapping[Outcome, Decimal]
    tries: int
    reason: str = ""


async def flatten(
    strategy: Strategy,
    *,
    outcomes: tuple[Outcome, ...] = tuple(Outcome),
    floor: Decimal = ZERO,
    slippage: Decimal = Decimal("0.01"),
    tries: int = 5,
    pause: float = 2.0,
) -> Flattened:
    """Cancel a strategy's open orders and sell what it holds, down to a floor, with bounded retries.

    Each try sells what is held at the best bid less `slippage`, by FAK. What the venue refuses (it has
    not delivered the shares yet, it restarts) or finds no buyer for is tried again after `pause`. Call
    it early enough: `tries` times `pause`, and some seconds more, before the end of the window.

    It is not for a pair of Up and Down: that pays 1 USD whoever wins, and selling both costs the spread
    and two fees.

    Args:
        strategy: Whose; from one of its hooks or tasks.
        outcomes: What is sold.
        floor: Nothing is sold for less than this, in USD.
        slippage: How far below the best bid a limit may be, in USD.
        tries: Orders for each outcome, at most.
        pause: Market seconds between two of them.

    Raises:
        ConfigError: A number that cannot be.
        StaleCycleError: The cycle is over.
    """
    if tries < 1 or not pause > 0 or slippage < 0 or not 0 <= floor < 1:
        msg = (
            "flatten: expected tries of at least 1, a pause above 0 seconds, slippage of at least 0 "
            f"and a floor from 0 to 1 USD, got {tries}, {pause}, {slippage} and {floor}"
        )
        raise ConfigError(msg)
    trading = strategy.trading
    before = {outcome: trading.position(outcome).size for outcome in outcomes}
    reason, sent = "", 0
    for _ in range(tries):
        reason = await _cancel(strategy, outcomes)
        if not reason and _is_dust(strategy, outcomes):
            break
        requests = [
            request
            for outcome in outcomes
            if (request := _sale_of(strategy, outcome, floor, slippage)) is not None
        ]
        for placed in await trading.place_many(requests):
            sent += placed.order is not None
            reason = reason or ("" if placed.error is None else str(placed.error))
        if not requests:
            reason = reason or "no known bid at or above the floor for as much as an order"
        await strategy.clock.sleep(pause)
    left = {outcome: trading.position(outcome).size for outcome in outcomes}
    is_done = _is_dust(strategy, outcomes)
    return Flattened(
        {outcome: max(before[outcome] - left[outcome], ZERO) for outcome in outcomes},
        left,
        sent,
        "" if is_done else reason or "found too few buyers",
    )


async def _cancel(strategy: Strategy, outcomes: tuple[Outcome, ...]) -> str:
    """Cancel what is open; return why that was not possible, ``""`` if it was."""
    try:
        for outcome in outcomes:
            await strategy.trading.cancel_all(outcome)
    except (ExchangeError, OrderError) as error:
        return str(error)
    return ""


def _sale_of(
    strategy: Strategy, outcome: Outcome, floor: Decimal, slippage: Decimal
) -> OrderRequest | None:
    return sale(
        outcome,
        strategy.trading.sellable(outcome),
        strategy.trading.price(outcome),
        tick=strategy.session.tick_size(outcome),
        min_size=strategy.market.min_size,
        slippage=slippage,
        floor=floor,
    )


def _is_dust(strategy: Strategy, outcomes: tuple[Outcome, ...]) -> bool:
    least = strategy.market.min_size
    return all(strategy.trading.position(outcome).size < least for outcome in outcomes)

"""What the strategies that ship promise, whatever the market does and the venue breaks.

Each bound is a function of a `Standing`; `bound_of` returns that of a strategy with its settings. They
hold over all lives of a program. What the venue takes back (a trade that is ``FAILED``) is beyond
every strategy: where it counts, the bound says so.
"""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from typing import Any

from polyframe.errors import ConfigError
from polyframe.model.market import Outcome
from polyframe.model.money import ONE, ZERO
from polyframe.model.order import Order, Side
from polyframe.model.trade import TradeStatus
from polyframe.strategies import (
    Arbitrage,
    DataRecorder,
    Grid,
    MarketMaker,
    Momentum,
    PairLock,
    Template,
    Threshold,
)
from polyframe.strategy import Strategy
from polyframe.testing.standing import Bound, Standing

FEE_RATE = Decimal("0.07")
"""A taker on crypto markets pays less than this part of what it trades for (PROTOCOL §2.9)."""


def bound_of(strategy: Strategy) -> Bound:
    """Return what a strategy that ships promises with its settings.

    Raises:
        ConfigError: It is none that ships, so nobody has said what it promises.
    """
    make = _BOUNDS.get(type(strategy))
    if make is None:
        have = ", ".join(kind.__name__ for kind in _BOUNDS)
        msg = (
            f"strategy: no bound of {type(strategy).__name__} is known, only of {have}; "
            f"give a function of a Standing"
        )
        raise ConfigError(msg)
    return make(strategy)


def _onlooker(_: Strategy) -> Bound:
    """Return the bound of a strategy that only looks on: it places no order."""

    def bound(standing: Standing) -> None:
        _must(not standing.orders and not standing.conversions, "it trades")

    return bound


def _threshold(strategy: Threshold) -> Bound:
    """One buy a cycle, of its size and price; it sells what it holds.

    A FAK spends a sum of USD, and gets more shares than it names if the price gets better on the way.
    """
    budget = strategy.size * strategy.max_price

    def bound(standing: Standing) -> None:
        buys = standing.sent(Side.BUY)
        _must(len(buys) <= 1, f"{len(buys)} entries in one cycle")
        for order in buys:
            _must(order.price <= strategy.max_price, f"it bids {order.price}")
            _must(order.size == strategy.size, f"it buys {order.size}")
            wanted = strategy.outcome or order.outcome
            _must(order.outcome is wanted, f"it buys {order.outcome}")
        _at_most(standing.spent(), budget, "USD for shares")
        for outcome in Outcome:
            if strategy.order_type.rests:
                _at_most(standing.most(outcome), strategy.size, f"shares of {outcome}")
        _sells_what_it_has(standing)

    return bound


def _momentum(strategy: Momentum) -> Bound:
    """What it buys costs its budget at most, and no share more than its price; it sells what it holds.

    So a cycle loses no more than the budget and the fees.
    """

    def bound(standing: Standing) -> None:
        _at_most(standing.spent(), strategy.budget, "USD for shares")
        for order in standing.sent(Side.BUY):
            _must(order.price <= strategy.max_price, f"it bids {order.price}")
        sales = sum((fill.size * fill.price for fill in standing.kept(Side.SELL)), ZERO)
        _at_most(standing.fees(), FEE_RATE * (strategy.budget + sales), "USD of fees")
        _sells_what_it_has(standing)

    return bound


def _marketmaker(strategy: MarketMaker) -> Bound:
    """What it buys and bids for; bids that do not meet each other; shares without a partner."""

    def bound(standing: Standing) -> None:
        _at_most(standing.spent(), strategy.budget, "USD for shares")
        _at_most(-standing.worst(), strategy.budget, "USD that it can lose")
        _must(not standing.sent(Side.SELL), "it sells")
        _must(all(order.post_only for order in standing.sent()), "a bid that may take")
        _must(standing.fees() == 0, "it pays fees")
        for outcome in Outcome:
            _at_most(standing.most(outcome), strategy.max_shares, f"shares of {outcome}")
            _at_most(len(standing.open(Side.BUY, outcome)), 1, f"bids for {outcome}")
            if not standing.failed():  # such a trade takes away what the excess was counted against
                excess = standing.most(outcome) - standing.held(outcome.other)
                _at_most(excess, strategy.max_unpaired, f"shares of {outcome} in excess")
        bids = [[order.price for order in standing.open(Side.BUY, o)] for o in Outcome]
        dearest = sum((max(prices, default=ZERO) for prices in bids), ZERO)
        _at_most(dearest, ONE - strategy.edge, "USD for a bid on each side")

    return bound


def _arbitrage(strategy: Arbitrage) -> Bound:
    """Whoever wins, whatever open bids and unconfirmed trades come to, it loses no more."""
    plan = strategy.plan

    def bound(standing: Standing) -> None:
        orders = standing.sent()
        _must(all(order.post_only and order.side is Side.BUY for order in orders), "no maker")
        sure = dict.fromkeys(standing.orders, ZERO)
        for fill in standing.kept():
            if fill.status is TradeStatus.CONFIRMED:  # nobody can take it back any more
                sure[fill.client_id] += fill.size
        for winner in Outcome:
            loss = ZERO
            for order in orders:
                if order.outcome is winner:
                    loss -= sure[order.client_id] * (ONE - order.price)
                else:
                    loss += order.price * (order.size if order.is_open else order.filled)
            _at_most(loss, plan.max_loss, f"USD lost if {winner} wins")
        for outcome in Outcome:
            buys = standing.sent(Side.BUY, outcome)
            most = sum((o.size if o.is_open else o.filled for o in buys), ZERO)  # merged ones count
            _at_most(most, plan.max_shares, f"shares of {outcome} bought")

    return bound


def _grid(strategy: Grid) -> Bound:
    """Shares without a partner, entries, and one order at a time."""
    unhedged = _unhedged_at_most(strategy.max_unhedged)

    def bound(standing: Standing) -> None:
        unhedged(standing)
        entries = [order for order in standing.sent() if order.intent.startswith("round")]
        _at_most(len(entries), strategy.max_rounds, "entries")
        _at_most(len(standing.open()), 1 + len(standing.failed()), "open orders")
        for outcome in Outcome:
            bought = sum((order.filled for order in standing.sent(Side.BUY, outcome)), ZERO)
            # Entries of one outcome, hedges of the other, and closing orders of what they left.
            most = strategy.size * strategy.max_rounds * 2
            _at_most(bought, most, f"shares of {outcome} bought")

    return bound


def _pairlock(strategy: PairLock) -> Bound:
    """Shares without a partner, rounds in which anything is filled, and one pair at a time."""
    unhedged = _unhedged_at_most(strategy.max_unhedged)

    def bound(standing: Standing) -> None:
        unhedged(standing)
        rounds = {o.intent.split()[1] for o in standing.sent() if o.intent and o.filled}
        _at_most(len(rounds), strategy.max_rounds, "rounds")
        _at_most(len(standing.open()), 2 + len(standing.failed()), "open orders")

    return bound


def _unhedged_at_most(shares: Decimal) -> Bound:
    """Return a bound of shares without a partner, whatever open orders do.

    Shares of trades that the venue has taken back (``FAILED``) come on top.
    """

    def bound(standing: Standing) -> None:
        low = high = standing.held(Outcome.UP) - standing.held(Outcome.DOWN)
        for order in standing.open():
            if _leads_up(order):
                high += order.remaining
            else:
                low -= order.remaining
        back = sum((fill.size for fill in standing.failed()), ZERO)
        _at_most(max(high, -low), shares + back, "shares without a partner")

    return bound


_BOUNDS: dict[type[Strategy], Callable[[Any], Bound]] = {
    Arbitrage: _arbitrage,
    DataRecorder: _onlooker,
    Grid: _grid,
    MarketMaker: _marketmaker,
    Momentum: _momentum,
    PairLock: _pairlock,
    Template: _onlooker,
    Threshold: _threshold,
}


def _leads_up(order: Order) -> bool:
    return (order.side is Side.BUY) is (order.outcome is Outcome.UP)


def _sells_what_it_has(standing: Standing) -> None:
    """Check that nothing was sold but what was bought, and what the venue has taken back since."""
    for outcome in Outcome:
        back = sum((fill.size for fill in standing.failed(Side.BUY, outcome)), ZERO)
        _must(standing.held(outcome) >= -back, f"it sold more {outcome} than it had")


def _at_most(value: Decimal | int, limit: Decimal | int, what: str) -> None:
    _must(value <= limit, f"{value} {what}, at most {limit}")


def _must(holds: bool, text: str) -> None:
    if not holds:
        raise AssertionError(text)

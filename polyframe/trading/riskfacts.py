"""What the risk guard has to know of a cycle, as one value."""

from __future__ import annotations

from decimal import Decimal

from attrs import define

from polyframe.model.events import PriceChanged
from polyframe.model.money import ONE, ZERO
from polyframe.model.order import OrderRequest, Side
from polyframe.trading.view import CycleView


@define
class RiskFacts:
    """What the guard has to know of one cycle at one instant, seen from one request.

    Not frozen, which would take several times as long: it is made for each order, and nobody keeps it.

    Foreign orders and their fills count like ours: the risk is the account's.

    Attributes:
        slug, series: The cycle.
        start, end: Its window in epoch seconds.
        time: Market time in epoch seconds.
        network_time: Seconds of the event loop's clock.
        open_orders: Orders that may still fill.
        committed: USD paid for shares in this cycle, bought or split off, and what open buys may still
            pay, without fees.
        position: Shares of the request's outcome: held, and what open buys may still bring.
        unpaired: Shares of the other outcome that no open sell offers, less `position`.
        sellable: Shares of the request's outcome that its strategy may sell.
        loss: USD lost by sales and fees in this cycle so far, 0 if they earned something.
        is_known: Whether the book is known.
        book_age: Market seconds since the book last changed.
        spread: Best ask less best bid in USD; an empty side counts as 0 or 1.
        has_intent: Whether an open order of the strategy has the request's intent.
        best_ask: Lowest price on offer of the request's outcome, ``None`` for an empty side.
    """

    slug: str
    series: str
    start: float
    end: float
    time: float
    network_time: float
    open_orders: int
    committed: Decimal
    position: Decimal
    unpaired: Decimal
    sellable: Decimal
    loss: Decimal
    is_known: bool
    book_age: float
    spread: Decimal
    has_intent: bool
    best_ask: Decimal | None = None


def risk_facts(
    state: CycleView,
    strategy: str,
    request: OrderRequest,
    quote: PriceChanged,
    *,
    time: float,
    network_time: float,
) -> RiskFacts:
    """Return the facts about a request of `strategy` in the cycle of `state`.

    Args:
        state: The cycle.
        strategy: Who asks.
        request: What is asked.
        quote: The latest top of the book of the request's outcome.
        time: Market time in epoch seconds.
        network_time: Seconds of the event loop's clock.
    """
    outcome = request.outcome
    position = state.held(outcome) + state.shares_to_come(Side.BUY, outcome)
    offered = state.shares_to_come(Side.SELL, outcome.other)
    unpaired = state.held(outcome.other) - offered
    bid = ZERO if quote.bid is None else quote.bid
    ask = ONE if quote.ask is None else quote.ask
    return RiskFacts(
        slug=state.market.slug,
        series=str(state.market.series),
        start=state.market.window.start,
        end=state.market.window.end,
        time=time,
        network_time=network_time,
        open_orders=state.open_count,
        committed=committed(state),
        position=position,
        unpaired=unpaired - position,
        sellable=state.sellable(outcome, strategy),
        loss=realised_loss(state),
        is_known=quote.known,
        book_age=time - quote.received,
        spread=ask - bid,
        has_intent=bool(request.intent)
        and any(
            (order.strategy, order.intent) == (strategy, request.intent)
            for order in state.open_orders()
        ),
        best_ask=quote.ask,
    )


def committed(state: CycleView) -> Decimal:
    """Return the USD paid for shares in a cycle, bought or split off, and what may still be paid.

    Without fees.
    """
    return state.bought + state.cost_to_come + state.split_off()


def realised_loss(state: CycleView) -> Decimal:
    """Return the USD that sales and fees of a cycle have cost so far, 0 if they earned something."""
    return max(state.fees - state.realised, ZERO)


def is_reducing(request: OrderRequest, facts: RiskFacts) -> bool:
    """Return whether an order can only make the worst end of its cycle less bad.

    These are a sell of shares that its strategy holds and does not offer yet, and a buy that does
    no more than complete pairs: with an Up for every Down the market pays 1 USD whoever wins, so
    each share bought for less takes something off the worst loss.
    """
    if request.side is Side.SELL:
        return request.size <= facts.sellable
    return request.most_shares(facts.best_ask) <= facts.unpaired

"""What pairs cost, which sizes are possible, and what is missing: exact, and never more than asked for."""

from __future__ import annotations

from decimal import Decimal

import pytest
from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st

from polyframe.model.market import Outcome
from polyframe.model.order import Order, OrderRequest, OrderStatus, Side
from polyframe.strategies.blocks.pairs import (
    Bid,
    PairSize,
    Unpaired,
    cents_step,
    completing_bid,
    highest_taker_price,
    pair_bids,
    pair_cost,
    pair_size,
    taker_cost,
    unpaired,
)
from polyframe.strategies.blocks.worstcase import most_unpaired
from polyframe.testing import CRYPTO_FEES, make_market
from polyframe.trading.rules import broken_rule
from tests.strategies.blocks.pairworld import DOWN, UP, an_order, quote

MARKET = make_market()
TICKS = st.sampled_from([Decimal("0.01"), Decimal("0.001"), Decimal("0.0001")])
CENTS = st.integers(1, 99).map(lambda cents: Decimal(cents) / 100)
SIZES = st.integers(0, 5000).map(lambda hundredths: Decimal(hundredths) / 100)


def decimals(low: int, high: int, places: int) -> st.SearchStrategy[Decimal]:
    """Draw a number of steps, so that all of the range comes up."""
    scale = 10**places
    return st.integers(low * scale, high * scale).map(lambda steps: Decimal(steps) / scale)


def d(text: str) -> Decimal:
    """Return a number."""
    return Decimal(text)


# ---------------------------------------------------------------------- costs


def test_a_pair_at_half_costs_a_taker_three_and_a_half_cents_more() -> None:
    """Both fees are part of what a pair costs (PROTOCOL §2.9)."""
    prices = {UP: d("0.50"), DOWN: d("0.50")}
    assert pair_cost(prices, Decimal(10), CRYPTO_FEES) == d("10.35")


def test_makers_pay_no_fee() -> None:
    """A leg that rests costs its price, and one that takes its price and fee."""
    prices = {UP: d("0.62"), DOWN: d("0.35")}
    assert pair_cost(prices, Decimal(10), CRYPTO_FEES, takers=()) == d("9.70")
    assert pair_cost(prices, Decimal(10), CRYPTO_FEES, takers=[UP]) == d("9.70") + d("0.16492")


@given(decimals(0, 2, 4), TICKS)
def test_the_highest_taker_price_is_the_highest(budget: Decimal, tick: Decimal) -> None:
    """Its cost fits the budget, that of the next tick does not; none is found only if none fits."""
    price = highest_taker_price(budget, tick, CRYPTO_FEES)
    if price is None:
        assert taker_cost(tick, CRYPTO_FEES) > budget
        return
    assert price % tick == 0
    assert taker_cost(price, CRYPTO_FEES) <= budget
    assert price == 1 - tick or taker_cost(price + tick, CRYPTO_FEES) > budget


# ---------------------------------------------------------------------- sizes


@given(
    wanted=decimals(0, 60, 3) | decimals(0, 60, 0),
    up=CENTS,
    down=CENTS,
    cash=st.none() | decimals(0, 40, 2),
    takes=st.sets(st.sampled_from(list(Outcome))),
    whole=st.sets(st.sampled_from(list(Outcome))),
)
def test_a_pair_size_is_legal_affordable_and_never_more_than_wanted(
    wanted: Decimal,
    up: Decimal,
    down: Decimal,
    cash: Decimal | None,
    takes: set[Outcome],
    whole: set[Outcome],
) -> None:
    """What it says is possible passes the market's rules; what is less than wanted has a reason."""
    prices = {UP: up, DOWN: down}
    takes |= whole  # what does not rest takes
    found = pair_size(wanted, prices, MARKET, cash=cash, takes=takes, whole_cents=whole)
    assert found.size <= wanted
    assert (found.size == wanted > 0) is (not found.reason)
    if not found.size:
        return
    assert found.size >= found.least
    for outcome, price in prices.items():
        kind = "FAK" if outcome in whole else "GTC"
        request = OrderRequest(outcome, Side.BUY, price, found.size, kind)  # type: ignore[arg-type]
        ask = price if outcome in takes else d("0.999")
        top = quote(outcome, d("0.01"), ask)
        assert broken_rule(MARKET, d("0.01"), top, request, 0.0) is None
    if cash is not None:
        assert pair_cost(prices, found.size, MARKET.fees, takes) <= cash


@given(up=CENTS, down=CENTS, whole=st.sets(st.sampled_from(list(Outcome))))
def test_the_least_size_is_the_least(up: Decimal, down: Decimal, whole: set[Outcome]) -> None:
    """Who wants the least size gets it, and who wants a step less gets nothing."""
    prices = {UP: up, DOWN: down}

    def possible(size: Decimal) -> PairSize:
        return pair_size(size, prices, MARKET, takes=whole, whole_cents=whole)

    least = possible(Decimal(1)).least
    assert possible(least).size == least
    assert possible(least - d("0.01")).size == 0


@pytest.mark.parametrize(
    ("wanted", "up", "down", "cash", "size", "least", "reason"),
    [
        ("10", "0.62", "0.35", None, "10", "5", ""),
        ("4.9", "0.62", "0.35", None, "0", "5", "min_size"),
        ("10", "0.92", "0.05", None, "0", "20", "min_notional"),
        ("10", "0.62", "0.35", "7", "6.98", "5", "cash"),
        ("10", "0.62", "0.35", "4", "0", "5", "cash"),
        ("10.005", "0.62", "0.35", None, "10", "5", "size"),
    ],
)
def test_the_reason_names_the_rule(
    wanted: str, up: str, down: str, cash: str | None, size: str, least: str, reason: str
) -> None:
    """Why it is less than wanted is said in the words of the rules that orders are denied by."""
    prices = {UP: d(up), DOWN: d(down)}
    found = pair_size(
        d(wanted), prices, MARKET, cash=None if cash is None else d(cash), takes=list(Outcome)
    )
    assert found == PairSize(d(size), d(least), reason)


def test_legs_that_spend_whole_cents_have_a_common_step() -> None:
    """At 0.35 and 0.33 sizes go by 0.2 and by 1 share: together by 1."""
    prices = {UP: d("0.35"), DOWN: d("0.33")}
    found = pair_size(d("7.4"), prices, MARKET, takes=prices, whole_cents=prices)
    assert found == PairSize(d("7"), d("5"), "cents")


@given(price=st.integers(1, 9999).map(lambda units: Decimal(units) / 10_000), steps=SIZES)
def test_a_size_is_whole_cents_exactly_at_its_steps(price: Decimal, steps: Decimal) -> None:
    """A size spends whole cents if and only if it is a multiple of the step."""
    is_whole = not price * steps % d("0.01")
    assert is_whole is (not steps % cents_step(price))


# ---------------------------------------------------------------------- what is there


def test_unpaired_shares_have_an_outcome_and_a_missing_one() -> None:
    """What is held of one outcome beyond the other is missing of the other."""
    assert unpaired({UP: Decimal(10), DOWN: Decimal(3)}, MARKET) == Unpaired(
        UP, Decimal(7), is_dust=False
    )
    few = unpaired({UP: Decimal(0), DOWN: d("4.99")}, MARKET)
    assert (few.outcome, few.missing, few.is_dust) == (DOWN, UP, True)
    assert unpaired(dict.fromkeys(Outcome, Decimal(3)), MARKET).size == 0


ORDERS = st.lists(
    st.builds(
        lambda number, outcome, side, size, filled, status: an_order(
            number,
            OrderRequest(outcome, side, Decimal("0.5"), size),
            filled=min(filled, size),
            status=status,
        ),
        st.integers(0, 99),
        st.sampled_from(list(Outcome)),
        st.sampled_from(list(Side)),
        SIZES,
        SIZES,
        st.sampled_from([OrderStatus.LIVE, OrderStatus.UNKNOWN, OrderStatus.CANCELLED]),
    ),
    max_size=5,
)


@given(SIZES, SIZES, ORDERS, st.data())
def test_most_unpaired_is_never_exceeded_and_can_be_reached(
    up: Decimal, down: Decimal, orders: list[Order], data: st.DataObject
) -> None:
    """However much of each open order is filled, no more is unpaired; and for one way it is as much."""
    over = {order.client_id for order in orders if not order.is_open}
    most = most_unpaired({UP: up, DOWN: down}, orders, over)
    ends = []
    for shares in ("drawn", "towards Up", "towards Down"):
        end = up - down
        for order in orders:
            if not order.is_open:
                continue
            towards_up = (order.side is Side.BUY) is (order.outcome is UP)
            part = order.remaining if shares == f"towards {'Up' if towards_up else 'Down'}" else 0
            if shares == "drawn":
                part = data.draw(st.decimals(0, order.remaining, places=2))
            end += part if towards_up else -part
        ends.append(abs(end))
    assert max(ends) == most


# ---------------------------------------------------------------------- completing


@given(
    budget=decimals(-1, 2, 4) | decimals(0, 1, 4),
    size=st.integers(5, 100).map(Decimal),
    ask=st.none() | CENTS,
)
def test_a_completing_bid_never_costs_more_than_the_budget(
    budget: Decimal, size: Decimal, ask: Decimal | None
) -> None:
    """One that takes has room for its fee; one that rests stays below the ask; else there is none."""
    tick, top = d("0.01"), quote(DOWN, None if ask is None else d("0.01"), ask)
    bid = completing_bid(budget, size, top, tick=tick, market=MARKET)
    if bid is None:
        assert budget < tick or (ask is not None and ask <= tick)
        return
    assert bid.price % tick == 0
    assert tick <= bid.price <= 1 - tick
    if bid.post_only:
        assert bid.price <= budget
        assert ask is None or bid.price < ask
    else:
        assert taker_cost(bid.price, MARKET.fees) <= budget
        assert ask is not None
        assert ask <= bid.price
        assert ask * size >= MARKET.min_notional


def test_an_ask_too_cheap_for_the_smallest_notional_is_not_taken() -> None:
    """Ten shares at 0.05 are half a dollar: the bid rests below instead."""
    bid = completing_bid(
        d("0.30"), Decimal(10), quote(DOWN, d("0.04"), d("0.05")), tick=d("0.01"), market=MARKET
    )
    assert bid == Bid(d("0.04"), post_only=True)


@given(up=CENTS, down=CENTS, target=CENTS, tick=TICKS)
def test_pair_bids_leave_the_target(
    up: Decimal, down: Decimal, target: Decimal, tick: Decimal
) -> None:
    """Both are on the grid, at or below the best bids, and leave the target; none only if none do."""
    bids = pair_bids({UP: up, DOWN: down}, target, tick)
    if bids is None:
        assert 1 - target < 2 * tick
        return
    assert all(price % tick == 0 and price >= tick for price in bids.values())
    assert bids[UP] <= up
    assert bids[DOWN] <= down
    assert sum(bids.values()) <= 1 - target
    joins = bids == {UP: up, DOWN: down}
    # No cent more than needed is given away.
    assert joins or sum(bids.values()) > 1 - target - tick


def test_the_dearer_bid_is_lowered_first() -> None:
    """At 0.60 and 0.39 a pair leaves one cent; two more come off the dearer one."""
    best: dict[Outcome, Decimal | None] = {UP: d("0.60"), DOWN: d("0.39")}
    assert pair_bids(best, d("0.03"), d("0.01")) == {UP: d("0.58"), DOWN: d("0.39")}
    best[DOWN] = None
    assert pair_bids(best, d("0.03"), d("0.01")) is None


def test_orders_that_are_certainly_over_cannot_fill() -> None:
    """One that has ended counts towards what may come until the venue was asked what it got."""
    order = an_order(1, OrderRequest(UP, Side.BUY, d("0.5"), Decimal(10)))
    held = dict.fromkeys(Outcome, Decimal(0))
    assert most_unpaired(held, [order]) == 10
    over = evolve(order, status=OrderStatus.EXPIRED)
    assert most_unpaired(held, [over]) == 10
    assert most_unpaired(held, [over], {over.client_id}) == 0

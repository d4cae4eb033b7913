"""The worst that buys can come to: exact, and truly the worst of all that can happen."""

from __future__ import annotations

from decimal import Decimal
from itertools import product

from attrs import evolve
from hypothesis import given, settings
from hypothesis import strategies as st

from polyframe.model.market import Outcome
from polyframe.model.money import ONE
from polyframe.model.order import Order, OrderStatus, Side
from polyframe.model.trade import Fill, TradeStatus
from polyframe.strategies.blocks.worstcase import Leg, legs_of, room_for, worst_ends

UP, DOWN = Outcome.UP, Outcome.DOWN
PRICES = st.decimals("0.01", "0.99", places=2)
AMOUNTS = st.decimals("0", "50", places=1)
LEGS = st.lists(
    st.builds(
        lambda outcome, price, least, more: Leg(outcome, price, least, least + more),
        st.sampled_from(Outcome),
        PRICES,
        AMOUNTS,
        AMOUNTS,
    ),
    max_size=6,
)


def test_a_resting_pair_risks_the_dearer_leg_alone() -> None:
    """20 Up at 0.51 and 20 Down at 0.47 that rest: at worst one fills, and loses."""
    legs = [
        Leg(UP, Decimal("0.51"), Decimal(0), Decimal(20)),
        Leg(DOWN, Decimal("0.47"), Decimal(0), Decimal(20)),
    ]
    assert worst_ends(legs) == {UP: Decimal("-9.40"), DOWN: Decimal("-10.20")}


def test_a_settled_pair_earns_what_it_leaves() -> None:
    """20 pairs at 0.98, confirmed, earn 0.40 whoever wins."""
    legs = [
        Leg(UP, Decimal("0.51"), Decimal(20), Decimal(20)),
        Leg(DOWN, Decimal("0.47"), Decimal(20), Decimal(20)),
    ]
    assert worst_ends(legs) == {UP: Decimal("0.40"), DOWN: Decimal("0.40")}


@given(LEGS)
@settings(max_examples=60, deadline=None)
def test_nothing_that_can_happen_is_worse(legs: list[Leg]) -> None:
    """Over all combinations of least and most, the ends are reached and never undercut."""
    worst = worst_ends(legs)
    found = dict.fromkeys(Outcome, Decimal(10**9))
    for got in product(*((leg.least, leg.most) for leg in legs)):
        for winner in Outcome:
            profit = sum(
                (
                    shares * ((ONE if leg.outcome is winner else 0) - leg.price)
                    for leg, shares in zip(legs, got, strict=True)
                ),
                Decimal(0),
            )
            found[winner] = min(found[winner], profit)
    assert found == worst


@given(LEGS, st.sampled_from(Outcome), PRICES, st.decimals("0", "60", places=1))
@settings(max_examples=60, deadline=None)
def test_the_room_is_as_much_as_the_loss_allows_and_no_more(
    legs: list[Leg], outcome: Outcome, price: Decimal, max_loss: Decimal
) -> None:
    """A bid of the room risks exactly the loss; one for the other outcome changes nothing of that."""
    room = room_for(outcome, price, legs, max_loss)
    assert room >= 0
    other = Leg(outcome.other, ONE - price, Decimal(0), Decimal(5))
    assert room_for(outcome, price, [*legs, other], max_loss) == room
    if room:
        end = worst_ends([*legs, Leg(outcome, price, Decimal(0), room)])[outcome.other]
        assert abs(end + max_loss) < Decimal("1e-20")


def an_order(status: OrderStatus, filled: str = "0", side: Side = Side.BUY) -> Order:
    """Return an order for 20 Up at 0.50."""
    return Order(
        "c1",
        "v1",
        900,
        "btc-updown-15m-900",
        "U",
        "me",
        UP,
        side,
        Decimal("0.50"),
        Decimal(20),
        status=status,
        filled=Decimal(filled),
    )


def a_fill(status: TradeStatus, size: str = "5") -> Fill:
    """Return a fill of it."""
    return Fill(
        "t1",
        "c1",
        "me",
        900,
        "btc-updown-15m-900",
        UP,
        Side.BUY,
        Decimal("0.50"),
        Decimal(size),
        Decimal(0),
        False,
        status,
    )


def reach(order: Order, *fills: Fill, certain: bool = False) -> tuple[Decimal, Decimal]:
    """Return least and most shares of an order."""
    (leg,) = legs_of([order], fills, {"c1"} if certain else ())
    return leg.least, leg.most


def test_what_is_matched_may_fail_until_it_is_confirmed() -> None:
    """A match counts where it hurts, a confirmed one in any case."""
    order = an_order(OrderStatus.PARTIALLY_FILLED, "5")
    assert reach(order, a_fill(TradeStatus.MATCHED)) == (Decimal(0), Decimal(20))
    assert reach(order, a_fill(TradeStatus.MINED)) == (Decimal(0), Decimal(20))
    assert reach(order, a_fill(TradeStatus.CONFIRMED)) == (Decimal(5), Decimal(20))


def test_an_order_that_has_ended_counts_whole_until_its_trades_are_certain() -> None:
    """A fill may not have been told yet: only who has read the trades since knows better."""
    order = an_order(OrderStatus.CANCELLED, "5")
    assert reach(order, a_fill(TradeStatus.CONFIRMED)) == (Decimal(5), Decimal(20))
    assert reach(order, a_fill(TradeStatus.CONFIRMED), certain=True) == (Decimal(5), Decimal(5))
    failed = evolve(an_order(OrderStatus.FILLED), matched=Decimal(20))
    assert reach(failed, a_fill(TradeStatus.FAILED, "20")) == (Decimal(0), Decimal(20))
    assert reach(failed, a_fill(TradeStatus.FAILED, "20"), certain=True) == (Decimal(0), Decimal(0))


def test_an_order_that_was_refused_comes_to_nothing() -> None:
    """It never existed at the venue: nobody need be asked about it."""
    assert reach(an_order(OrderStatus.REJECTED)) == (Decimal(0), Decimal(0))


def test_a_sell_is_a_buy_of_the_other_outcome() -> None:
    """Whoever sells Up at 0.30 has, whoever wins, what a buyer of Down at 0.70 has."""
    sale = evolve(an_order(OrderStatus.LIVE), side=Side.SELL)
    (leg,) = legs_of([sale], [a_fill(TradeStatus.CONFIRMED)])
    assert (leg.outcome, leg.price) == (sale.outcome.other, 1 - sale.price)
    assert (leg.least, leg.most) == (Decimal(5), sale.size)

"""The matching book: rules by example, and properties over random histories."""

from __future__ import annotations

from collections import defaultdict
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from polyframe.venue.matching import MakerFill, Match, MatchingBook


def book(bids: dict[int, int], asks: dict[int, int]) -> MatchingBook:
    """Return a book with this liquidity of the source."""
    matching = MatchingBook()
    assert matching.apply(bids, asks) == []
    return matching


def take(matching: MatchingBook, *, is_bid: bool, limit: int, size: int) -> list[Match]:
    """Carry out an incoming order and return what it matched."""
    plan = matching.plan(is_bid=is_bid, limit=limit, size=size)
    matching.execute(plan, is_bid=is_bid)
    return plan


def test_taker_walks_best_first_at_the_makers_prices() -> None:
    """A buy takes the cheapest ask first, pays its price, and stops at its limit."""
    matching = book({4800: 10}, {5200: 10, 5300: 20, 5400: 30})
    matches = take(matching, is_bid=True, limit=5300, size=25)
    assert matches == [Match(5200, 10, None), Match(5300, 15, None)]
    assert matching.asks() == {5300: 5, 5400: 30}


def test_planning_changes_nothing() -> None:
    """A plan alone leaves the book as it is."""
    matching = book({}, {5200: 10})
    matching.plan(is_bid=True, limit=5200, size=10)
    assert matching.asks() == {5200: 10}


def test_taken_liquidity_stays_taken_until_the_source_changes_that_level() -> None:
    """The same displayed size cannot be taken twice, and only its own level's change restores it."""
    matching = book({}, {5200: 10, 5300: 20})
    take(matching, is_bid=True, limit=5200, size=10)
    matching.apply({}, {5200: 10, 5300: 25})
    assert matching.asks() == {5300: 25}
    matching.apply({}, {5200: 11, 5300: 25})
    assert matching.asks() == {5200: 11, 5300: 25}


def test_own_orders_are_displayed_with_the_source() -> None:
    """An own order adds to the size at its price."""
    matching = book({4800: 10}, {5200: 10})
    matching.rest("a", is_bid=True, price=4800, size=5)
    matching.rest("b", is_bid=True, price=4900, size=7)
    assert matching.bids() == {4800: 15, 4900: 7}
    assert (matching.best_bid(), matching.best_ask()) == (4900, 5200)


def test_empty_sides_have_the_edge_as_their_top() -> None:
    """Without bids the best bid is 0, without asks the best ask is 1."""
    matching = MatchingBook()
    assert (matching.best_bid(), matching.best_ask()) == (0, 10_000)


@pytest.mark.parametrize("ask", [4700, 4800])
def test_resting_bid_fills_when_the_asks_touch_or_cross_it(ask: int) -> None:
    """An ask at or below the limit fills a bid at its own limit, by the crossing size only."""
    matching = book({4800: 100}, {5200: 100})
    matching.rest("a", is_bid=True, price=4800, size=50)
    assert matching.apply({4600: 10}, {ask: 30}) == [MakerFill("a", 4800, 30)]
    assert matching.asks() == {}
    assert matching.bids() == {4800: 20, 4600: 10}


def test_resting_ask_fills_when_the_bids_cross_it() -> None:
    """The same on the other side."""
    matching = book({4800: 100}, {5200: 100})
    matching.rest("a", is_bid=False, price=5200, size=50)
    # Two levels of the source, one fill: a trade names an order once.
    assert matching.apply({5300: 20, 5200: 10}, {5400: 1}) == [MakerFill("a", 5200, 30)]


def test_crossing_size_is_not_given_out_twice() -> None:
    """What filled a resting order is gone from the display until the source changes the level."""
    matching = book({4800: 1}, {5200: 1})
    matching.rest("a", is_bid=True, price=4800, size=50)
    matching.apply({}, {4800: 30})
    assert matching.apply({}, {4800: 30, 4900: 5}) == []
    assert matching.apply({}, {4800: 31}) == [MakerFill("a", 4800, 20)]


def test_a_print_must_eat_the_queue_first() -> None:
    """A trade at the limit fills only what is left of it behind the displayed size."""
    matching = book({4800: 100}, {5200: 100})
    matching.rest("a", is_bid=True, price=4800, size=50)
    assert matching.on_print(is_buy=False, price=4800, size=60) == []
    assert matching.on_print(is_buy=False, price=4800, size=60) == [MakerFill("a", 4800, 20)]


def test_a_print_through_the_limit_fills_without_a_queue() -> None:
    """A trade at a worse price than the limit must have met the order first."""
    matching = book({4800: 100}, {5200: 100})
    matching.rest("a", is_bid=True, price=4800, size=50)
    assert matching.on_print(is_buy=False, price=4700, size=60) == [MakerFill("a", 4800, 50)]


def test_a_print_of_the_other_side_or_a_better_price_fills_nothing() -> None:
    """A buy does not fill bids, and a sale above the limit does not reach it."""
    matching = book({4800: 100, 4700: 1}, {5200: 100})
    matching.rest("a", is_bid=True, price=4700, size=50)
    assert matching.on_print(is_buy=True, price=5200, size=500) == []
    assert matching.on_print(is_buy=False, price=4800, size=500) == []


def test_the_queue_shrinks_to_what_is_displayed_and_does_not_grow_again() -> None:
    """The queue is at most the display; size that comes later stands behind the order."""
    matching = book({4800: 100}, {5200: 100})
    matching.rest("a", is_bid=True, price=4800, size=50)
    matching.apply({4800: 40}, {5200: 100})
    matching.apply({4800: 90}, {5200: 100})
    resting = matching.resting("a")
    assert resting is not None
    assert resting.ahead == 40


def test_own_orders_share_a_print_by_price_then_time() -> None:
    """The better price is filled first, then the earlier order; the print is not given out twice."""
    matching = book({4700: 10}, {5200: 100})
    matching.rest("late", is_bid=True, price=4700, size=20)
    matching.rest("later", is_bid=True, price=4700, size=20)
    matching.rest("best", is_bid=True, price=4800, size=20)
    assert matching.on_print(is_buy=False, price=4700, size=55) == [
        MakerFill("best", 4800, 20),
        MakerFill("late", 4700, 20),
        MakerFill("later", 4700, 5),
    ]


def test_a_taker_meets_source_and_own_orders_in_the_order_of_the_queue() -> None:
    """At one price: the source's size that was there first, the own order, then what came later."""
    matching = book({}, {5200: 10})
    matching.rest("a", is_bid=False, price=5200, size=5)
    matching.apply({}, {5200: 30})
    assert take(matching, is_bid=True, limit=5200, size=18) == [
        Match(5200, 10, None),
        Match(5200, 5, "a"),
        Match(5200, 3, None),
    ]
    assert matching.resting("a") is None


def test_taking_shortens_the_queue_of_own_orders() -> None:
    """What an own taker takes from the source no longer stands before an own order."""
    matching = book({}, {5200: 10})
    matching.rest("a", is_bid=False, price=5200, size=5)
    take(matching, is_bid=True, limit=5200, size=4)
    resting = matching.resting("a")
    assert resting is not None
    assert resting.ahead == 6


def test_cancel_removes_the_open_rest() -> None:
    """A cancelled order is gone and says what was open; an unknown one says nothing."""
    matching = book({4800: 10}, {5200: 10})
    matching.rest("a", is_bid=True, price=4800, size=5)
    assert matching.cancel("a") == 5
    assert matching.cancel("a") is None
    assert matching.bids() == {4800: 10}


def test_impossible_inputs_are_refused() -> None:
    """A crossed source and a resting order that crosses are errors of the caller."""
    matching = book({4800: 10}, {5200: 10})
    with pytest.raises(ValueError, match="best bid 5200 must be below"):
        matching.apply({5200: 1}, {5200: 1})
    with pytest.raises(ValueError, match="crosses the book"):
        matching.rest("a", is_bid=True, price=5200, size=1)


PRICES = st.integers(40, 60).map(lambda cents: cents * 100)
SIZES = st.integers(1, 40)


@st.composite
def snapshots(draw: Any) -> tuple[dict[int, int], dict[int, int]]:
    """A book that is not crossed."""
    middle = draw(st.integers(41, 60)) * 100
    sides = st.dictionaries(PRICES, SIZES, max_size=6)
    bids = {p: s for p, s in draw(sides).items() if p < middle}
    asks = {p: s for p, s in draw(sides).items() if p >= middle}
    return bids, asks


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("snapshot"), snapshots()),
        st.tuples(st.just("order"), st.tuples(st.booleans(), PRICES, SIZES)),
        st.tuples(st.just("print"), st.tuples(st.booleans(), PRICES, SIZES)),
        st.tuples(st.just("cancel"), st.integers(0, 20)),
    ),
    max_size=40,
)


@settings(max_examples=300, deadline=None)
@given(STEPS)
def test_properties_of_any_history(steps: list[tuple[str, Any]]) -> None:
    """Never crossed, no fill beyond limit or size, no display sold twice, price-time priority."""
    matching = MatchingBook()
    source: dict[bool, dict[int, int]] = {True: {}, False: {}}
    taken: dict[tuple[bool, int], int] = defaultdict(int)
    orders: dict[str, tuple[bool, int, int]] = {}
    filled: dict[str, int] = defaultdict(int)

    def check_fill(order_id: str, price: int, size: int) -> None:
        is_bid, limit, wanted = orders[order_id]
        assert size > 0
        assert price <= limit if is_bid else price >= limit
        filled[order_id] += size
        assert filled[order_id] <= wanted

    for number, (kind, value) in enumerate(steps):
        if kind == "snapshot":
            bids, asks = value
            for side, new in ((True, bids), (False, asks)):
                for price in {*new, *source[side]}:
                    if new.get(price) != source[side].get(price):
                        taken[side, price] = 0
                source[side] = new
            fills = matching.apply(bids, asks)
            crossing: dict[bool, int] = defaultdict(int)
            for fill in fills:
                is_bid, limit, _ = orders[fill.order_id]
                check_fill(fill.order_id, fill.price, fill.size)
                assert fill.price == limit
                crossing[is_bid] += fill.size
            for is_bid, total in crossing.items():
                limits = [orders[f.order_id][1] for f in fills if orders[f.order_id][0] is is_bid]
                reach = max(limits) if is_bid else min(limits)
                displayed = sum(
                    size - taken[not is_bid, price]
                    for price, size in source[not is_bid].items()
                    if (price <= reach if is_bid else price >= reach)
                )
                assert total <= displayed
            for side in (True, False):
                shown = matching.bids() if side else matching.asks()
                own: dict[int, int] = defaultdict(int)
                for order_id, (is_bid, price, _) in orders.items():
                    if is_bid is side and (rest := matching.resting(order_id)):
                        own[price] += rest.remaining
                for price, size in source[side].items():
                    taken[side, price] = size - (shown.get(price, 0) - own[price])
        elif kind == "print":
            is_buy, price, size = value
            fills = matching.on_print(is_buy=is_buy, price=price, size=size)
            assert sum(fill.size for fill in fills) <= size
            for fill in fills:
                check_fill(fill.order_id, fill.price, fill.size)
                assert fill.price >= price if not is_buy else fill.price <= price
            ranks = [
                (orders[f.order_id][1] * (1 if is_buy else -1), int(f.order_id)) for f in fills
            ]
            assert ranks == sorted(ranks)
        elif kind == "cancel":
            matching.cancel(str(value))
        else:
            is_bid, limit, size = value
            order_id = str(number)
            orders[order_id] = (is_bid, limit, size)
            matches = take(matching, is_bid=is_bid, limit=limit, size=size)
            prices = [match.price * (1 if is_bid else -1) for match in matches]
            assert prices == sorted(prices)
            for match in matches:
                check_fill(order_id, match.price, match.size)
                if match.maker is None:
                    taken[not is_bid, match.price] += match.size
                    displayed = source[not is_bid].get(match.price, 0)
                    assert taken[not is_bid, match.price] <= displayed
                else:
                    check_fill(match.maker, match.price, match.size)
            makers = [m for m in matches if m.maker is not None]
            queue = [(m.price * (1 if is_bid else -1), int(m.maker or 0)) for m in makers]
            assert queue == sorted(queue)
            if rest := size - filled[order_id]:
                matching.rest(order_id, is_bid=is_bid, price=limit, size=rest)
        assert matching.best_bid() < matching.best_ask()
        for order_id in orders:
            resting = matching.resting(order_id)
            if resting is not None:
                assert 0 <= resting.ahead <= source[resting.is_bid].get(resting.price, 0)
                assert resting.remaining == orders[order_id][2] - filled[order_id]

"""The matching of the simulated venue."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from polyframe.testing.simbook import Match, SimBook


def book() -> SimBook:
    """Return a book with two levels of 10 shares on each side of 0.50."""
    made = SimBook()
    made.move({4900: 1000, 4800: 1000}, {5100: 1000, 5200: 1000})
    return made


def test_a_taker_gets_the_best_price_first_up_to_its_limit() -> None:
    """A buy of 25 shares up to 0.52 takes 10 at 0.51, 10 at 0.52, and the rest is left."""
    made = book()
    matches = made.plan(is_bid=True, limit=5200, size=2500)
    assert matches == [Match(5100, 1000, None), Match(5200, 1000, None)]
    assert made.plan(is_bid=True, limit=5100, size=2500) == matches[:1]
    assert made.display(is_bid=False) == {5100: 1000, 5200: 1000}
    made.carry_out(matches, is_bid=True)
    assert made.display(is_bid=False) == {}


def test_the_crowd_stands_before_own_orders_and_these_by_time() -> None:
    """At one price a taker meets the crowd first, then own orders, oldest first."""
    made = book()
    made.rest("a", is_bid=False, price=5100, size=300)
    made.rest("b", is_bid=False, price=5100, size=300)
    assert made.plan(is_bid=True, limit=5100, size=1500) == [
        Match(5100, 1000, None),
        Match(5100, 300, "a"),
        Match(5100, 200, "b"),
    ]


def test_a_moving_crowd_fills_what_it_crosses_at_the_orders_price() -> None:
    """A bid at 0.49 is filled at 0.49 when the crowd offers at 0.47, by what it offers."""
    made = book()
    made.rest("a", is_bid=True, price=4900, size=3000)
    assert made.move({4500: 1000}, {4700: 500, 4900: 700, 5000: 900}) == [
        Match(4900, 500, "a"),
        Match(4900, 700, "a"),
    ]
    resting = made.resting("a")
    assert resting is not None
    assert resting.open == 1800
    assert made.display(is_bid=False) == {5000: 900}


def test_a_filled_or_cancelled_order_is_gone() -> None:
    """A cancel says whether the order rested; a fill of more than is open is refused."""
    made = book()
    made.rest("a", is_bid=True, price=4700, size=500)
    with pytest.raises(ValueError, match="has 500 open, cannot fill 600"):
        made.fill("a", 600)
    assert made.cancel("a")
    assert not made.cancel("a")
    assert made.resting("a") is None


orders = st.lists(
    st.tuples(st.booleans(), st.integers(45, 55), st.integers(1, 30)), min_size=1, max_size=15
)


@given(orders=orders, moves=st.lists(st.integers(44, 56), max_size=8))
def test_nothing_is_made_or_lost_and_nothing_stays_crossed(
    orders: list[tuple[bool, int, int]], moves: list[int]
) -> None:
    """Whatever comes in: sizes add up, makers get their price, the book never stays crossed."""
    made = book()
    sizes: dict[str, int] = {}
    filled: dict[str, int] = {}
    limits: dict[str, tuple[bool, int]] = {}

    def check(matches: list[Match]) -> None:
        for match in matches:
            if match.maker is not None:
                filled[match.maker] += match.size
                assert match.price == limits[match.maker][1]
        bids, asks = made.display(is_bid=True), made.display(is_bid=False)
        assert max(bids, default=0) < min(asks, default=10_000)
        assert all(size > 0 for size in (*bids.values(), *asks.values()))

    for number, (is_bid, price, size) in enumerate(orders):
        name = f"o{number}"
        sizes[name], filled[name], limits[name] = size * 100, 0, (is_bid, price * 100)
        matches = made.plan(is_bid=is_bid, limit=price * 100, size=size * 100)
        made.carry_out(matches, is_bid=is_bid)
        taken = sum(match.size for match in matches)
        assert taken <= size * 100
        for match in matches:
            assert match.price <= price * 100 if is_bid else match.price >= price * 100
        filled[name] += taken
        if taken < size * 100:
            made.rest(name, is_bid=is_bid, price=price * 100, size=size * 100 - taken)
        check(matches)
        if number < len(moves):
            fair = moves[number] * 100
            check(made.move({fair - 100: 500}, {fair: 500, fair + 100: 500}))
    for name, size in sizes.items():
        resting = made.resting(name)
        assert filled[name] + (resting.open if resting else 0) == size

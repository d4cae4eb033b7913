"""The grid of prices and sizes."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from polyframe.model.grid import CENT, SIZE_STEP, TICKS, Grid

PRICES = st.decimals(Decimal("-0.5"), Decimal("1.5"), places=6)
AMOUNTS = st.decimals(Decimal(-1), Decimal(10**6), places=6)


@pytest.mark.parametrize("tick", ["0.1", "0.01", "0.005", "0.0025", "0.001", "0.0001", "0.010"])
def test_the_ticks_of_the_venue(tick: str) -> None:
    """All six ticks of PROTOCOL §2.8 make a grid; its ends are one tick from 0 and 1."""
    grid = Grid(Decimal(tick))
    assert grid.lowest == Decimal(tick)
    assert grid.highest == 1 - Decimal(tick)
    assert grid.check_price(grid.lowest) == grid.lowest
    assert grid.check_price(grid.highest) == grid.highest


@pytest.mark.parametrize("tick", ["0.02", "0", "-0.01", "1", "0.00001", "NaN", "x"])
def test_another_tick_is_refused(tick: str) -> None:
    """A tick that the venue does not have is an error of the field's name."""
    with pytest.raises(ValueError, match=r"^tick: "):
        Grid(tick)


@given(tick=st.sampled_from(TICKS), price=PRICES)
def test_a_price_passes_exactly_if_it_is_on_the_grid(tick: Decimal, price: Decimal) -> None:
    """A multiple of the tick between one tick and one less a tick passes unchanged, all else not."""
    grid = Grid(tick)
    if price in {tick * step for step in range(1, int(1 / tick))}:
        assert grid.check_price(price) == price
    else:
        with pytest.raises(ValueError, match=r"^price: "):
            grid.check_price(price)


@given(amount=AMOUNTS)
def test_sizes_and_sums_pass_exactly_if_they_have_two_decimals(amount: Decimal) -> None:
    """Nothing is rounded unasked: what has a third decimal is refused with the field's name."""
    grid = Grid(CENT)
    good = amount > 0 and amount == round(amount, 2)
    for check, name in ((grid.check_size, "size"), (grid.check_usd, "usd")):
        if good:
            assert check(amount) == amount
        else:
            with pytest.raises(ValueError, match=f"^{name}: "):
                check(amount)


@pytest.mark.parametrize("amount", ["1e15", "1e40", "NaN"])
def test_absurd_sizes_are_refused(amount: str) -> None:
    """A number that no order can have does not overflow later."""
    with pytest.raises((ValueError, ArithmeticError)):
        Grid(CENT).check_size(Decimal(amount))


@given(tick=st.sampled_from(TICKS), price=PRICES)
def test_asked_for_a_price_is_rounded_to_its_neighbours(tick: Decimal, price: Decimal) -> None:
    """Both roundings land on the grid, on their side of the price, less than a tick away."""
    grid = Grid(tick)
    low, high = grid.floor_price(price), grid.ceil_price(price)
    assert grid.check_price(low) <= grid.check_price(high)
    if grid.lowest <= price <= grid.highest:
        assert low <= price <= high
        assert high - low in {0, tick}
        assert (high == low) is not bool(price % tick)
    else:
        assert low == high == (grid.lowest if price < grid.lowest else grid.highest)


@given(amount=AMOUNTS)
def test_asked_for_sizes_and_sums_are_cut(amount: Decimal) -> None:
    """What is cut is never more than before and less than one step smaller; never below 0."""
    grid = Grid(CENT)
    for cut in (grid.floor_size(amount), grid.floor_usd(amount)):
        assert cut % SIZE_STEP == 0
        assert 0 <= max(amount, Decimal(0)) - cut < SIZE_STEP


@pytest.mark.parametrize("value", ["NaN", "sNaN", "Infinity", "-Infinity"])
@pytest.mark.parametrize(
    "method",
    [
        "check_price",
        "check_size",
        "check_usd",
        "floor_price",
        "ceil_price",
        "floor_size",
        "floor_usd",
    ],
)
def test_what_is_no_finite_number_is_named_and_refused(method: str, value: str) -> None:
    """A price that a division left undefined is an error with a name, not one of arithmetic."""
    with pytest.raises(ValueError, match="expected a finite Decimal, got"):
        getattr(Grid(Decimal("0.01")), method)(Decimal(value))

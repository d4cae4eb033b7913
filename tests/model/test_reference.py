"""The history of one reference price."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from polyframe.model.reference import (
    PriceSource,
    ReferenceHistory,
    ReferencePrice,
    settling_source,
)
from polyframe.model.series import Series

START = 1_790_586_000_000


def tick(offset_ms: int, value: str = "65000.5") -> ReferencePrice:
    """Return a price at so many milliseconds after the boundary."""
    return ReferencePrice(PriceSource.TWAP, "btc", Decimal(value), START + offset_ms)


def filled(*ticks: ReferencePrice) -> ReferenceHistory:
    """Return a history that has taken these prices."""
    history = ReferenceHistory()
    for one in ticks:
        history.add(one)
    return history


@pytest.mark.parametrize(
    ("period", "source"),
    [
        ("5m", PriceSource.TWAP),
        ("15m", PriceSource.TWAP),
        ("4h", PriceSource.TWAP),
        ("1h", PriceSource.BINANCE),
        ("1d", PriceSource.BINANCE),
    ],
)
def test_each_series_is_settled_by_its_source(period: str, source: PriceSource) -> None:
    """Short and 4-hour markets settle on the average, the others on Binance (PROTOCOL §1.5)."""
    assert settling_source(Series("btc", period)) is source


def test_the_price_of_exactly_the_boundary_is_found() -> None:
    """A price at the boundary itself is the reading, known at once and exact."""
    reading = filled(tick(-1000, "1"), tick(0, "2"), tick(1000, "3")).at(START)
    assert reading.price == tick(0, "2")
    assert reading.is_exact


def test_a_price_shortly_before_stands_in() -> None:
    """Without an exact price the last one before counts, once the exact one is overdue."""
    history = filled(tick(-900, "1"), tick(1100, "2"))
    assert history.at(START).price is None
    history.add(tick(2100, "3"))
    reading = history.at(START)
    assert reading.price == tick(-900, "1")
    assert not reading.is_exact


def test_an_exact_price_that_comes_late_is_taken() -> None:
    """A snapshot or a second feed may bring the boundary's price after newer ones."""
    history = filled(tick(-900, "1"), tick(2500, "2"), tick(0, "3"))
    assert history.at(START).price == tick(0, "3")
    assert history.latest == tick(2500, "2")


def test_a_price_from_long_before_does_not_stand_in() -> None:
    """After a gap the boundary is missed, not guessed."""
    reading = filled(tick(-2001), tick(2000)).at(START)
    assert reading.price is None
    assert reading.is_past


def test_a_boundary_that_prices_have_not_reached_is_open() -> None:
    """Before the prices have passed it, a boundary is neither known nor missed."""
    reading = filled(tick(-500)).at(START)
    assert reading.price is None
    assert not reading.is_past


def test_the_first_value_of_a_boundary_stands() -> None:
    """A second, different value for the same boundary is refused; the same one again is not."""
    history = filled(tick(0, "1"))
    assert history.add(tick(0, "1"))
    assert not history.add(tick(0, "2"))
    assert history.at(START).price == tick(0, "1")


def test_the_memory_is_bounded() -> None:
    """Boundaries of long ago are let go, the latest are kept."""
    history = ReferenceHistory()
    for number in range(1300):
        history.add(tick(number * 300_000))
    assert history.at(START).price is None
    assert history.at(START + 1299 * 300_000).is_exact


@given(st.lists(st.integers(-400_000, 700_000), max_size=60), st.randoms(use_true_random=False))
def test_the_order_of_arrival_never_makes_a_boundary_wrong(
    offsets: list[int],
    random: object,
) -> None:
    """An exact price is always found; a reading never lies after its boundary or far before it."""
    shuffled = sorted(offsets, key=lambda _: random.random())  # type: ignore[attr-defined]
    history = filled(*(tick(offset, str(abs(offset) + 1)) for offset in shuffled))
    for boundary in (0, 300_000):
        reading = history.at(START + boundary)
        if boundary in offsets:
            assert reading.is_exact
        elif reading.price is not None:
            assert -2000 <= reading.price.instant_ms - START - boundary < 0
            assert max(offsets) >= boundary + 2000

"""Levels: climbed through once, however the price gets there."""

from __future__ import annotations

from collections import Counter
from decimal import Decimal
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from polyframe.strategies.blocks.levels import Levels

LEVELS = (Decimal("0.62"), Decimal("0.65"), Decimal("0.71"))
PRICES = st.integers(1, 99).map(lambda cents: Decimal(cents) / 100)


def climbed(*prices: str) -> list[tuple[str, ...]]:
    """Return what is climbed through at each price of a walk."""
    levels = Levels(LEVELS)
    return [tuple(map(str, levels.climbed(Decimal(price)))) for price in prices]


def test_a_price_need_not_meet_a_level() -> None:
    """From below to above is a climb, also if no price was equal to the level."""
    assert climbed("0.60", "0.63") == [(), ("0.62",)]
    assert climbed("0.61", "0.62") == [(), ("0.62",)]


def test_a_jump_climbs_through_each_level_once() -> None:
    """A jump over two levels climbs through both, and staying above climbs through none."""
    assert climbed("0.60", "0.66", "0.66", "0.65") == [(), ("0.62", "0.65"), (), ()]


def test_a_price_that_is_above_from_the_start_has_not_climbed() -> None:
    """What was never seen below a level has not climbed through it."""
    assert climbed("0.80", "0.81", "0.70", "0.72") == [(), (), (), ("0.71",)]


def test_a_gap_disarms_and_an_empty_side_does_not() -> None:
    """What was seen before a gap is no first half; a side that is empty for a while is no gap."""
    levels = Levels(LEVELS)
    levels.climbed(Decimal("0.60"))
    assert levels.climbed(None) == ()
    assert levels.climbed(Decimal("0.62")) == (Decimal("0.62"),)
    levels.climbed(Decimal("0.60"))
    levels.forget()
    assert levels.climbed(Decimal("0.62")) == ()


@given(st.lists(PRICES, max_size=40))
def test_a_level_is_climbed_as_often_as_the_walk_crosses_it(walk: list[Decimal]) -> None:
    """Each level counts once for every pair of prices of which the first is below and the next not."""
    levels = Levels(LEVELS)
    counts = Counter(level for price in walk for level in levels.climbed(price))
    for level in LEVELS:
        assert counts[level] == sum(low < level <= high for low, high in pairwise(walk))

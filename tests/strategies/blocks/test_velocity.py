"""The move of a price over a window: exact, or not known."""

from __future__ import annotations

from decimal import Decimal
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from polyframe.errors import ConfigError
from polyframe.strategies.blocks.velocity import Velocity

STEPS = st.lists(
    st.tuples(st.integers(0, 9_000), st.integers(90, 110).map(Decimal)), min_size=1, max_size=60
)


def path(steps: list[tuple[int, Decimal]]) -> list[tuple[int, Decimal]]:
    """Return (instant, price) pairs from (elapsed, price) pairs."""
    now, found = 1_000_000, []
    for elapsed, value in steps:
        now += elapsed
        found.append((now, value))
    return found


def naive(told: list[tuple[int, Decimal]], window_ms: int, gap_ms: int) -> Decimal | None:
    """Reckon the move from all that was ever told."""
    latest = dict(told)  # the last price of an instant is its price
    instants = sorted(latest)
    end = instants[-1]
    base = max((at for at in instants if at <= end - window_ms), default=None)
    if base is None:
        return None
    used = [at for at in instants if at >= base]
    if any(b - a > gap_ms for a, b in pairwise(used)):
        return None
    return (latest[end] - latest[base]) / latest[base] * 10_000


def test_the_move_is_from_the_price_a_window_ago_to_the_latest() -> None:
    """100 to 101 over ten seconds are 100 basis points, also when prices in between were higher."""
    velocity = Velocity(window=10)
    for second, value in enumerate([100, 103, 104, 99, 98, 97, 99, 100, 100, 100, 101]):
        assert velocity.add(Decimal(value), second * 1000) == velocity.move
    assert velocity.move == 100


def test_nothing_is_known_before_a_whole_window_was_seen() -> None:
    """The warm-up lasts exactly a window."""
    velocity = Velocity(window=3)
    moves = [velocity.add(Decimal(100 + second), second * 1000) for second in range(4)]
    assert moves == [None, None, None, 300]


def test_a_hole_begins_anew() -> None:
    """After a gap the move is unknown until prices without a hole span a window again."""
    velocity = Velocity(window=2, max_gap=5)
    for second in (0, 1, 2, 3):
        velocity.add(Decimal(100), second * 1000)
    assert velocity.add(Decimal(200), 8_000) == 10_000  # five seconds are no hole
    assert velocity.add(Decimal(300), 13_001) is None
    assert velocity.add(Decimal(300), 14_000) is None
    assert velocity.add(Decimal(303), 15_001) == 100


def test_an_interruption_begins_anew() -> None:
    """A caller who knows of a gap that the times do not show can say so."""
    velocity = Velocity(window=1)
    velocity.add(Decimal(100), 0)
    assert velocity.add(Decimal(101), 1000) == 100
    velocity.interrupt()
    assert velocity.move is None
    assert velocity.latest_ms is None
    assert velocity.add(Decimal(101), 2000) is None


def test_an_older_price_changes_nothing() -> None:
    """Prices may come in any order: the latest instant stays the latest."""
    velocity = Velocity(window=1)
    velocity.add(Decimal(100), 0)
    velocity.add(Decimal(101), 1000)
    assert velocity.add(Decimal(50), 500) == 100
    assert velocity.latest_ms == 1000


@given(steps=STEPS, window_ms=st.integers(1, 30_000), gap_ms=st.integers(1, 8_000))
def test_it_is_what_the_whole_path_says(
    steps: list[tuple[int, Decimal]], window_ms: int, gap_ms: int
) -> None:
    """Whatever the times are, the move is that of the whole path, or unknown where that has a hole."""
    velocity = Velocity(window=window_ms / 1000, max_gap=gap_ms / 1000)
    told: list[tuple[int, Decimal]] = []
    for at, value in path(steps):
        told.append((at, value))
        assert velocity.add(value, at) == naive(told, window_ms, gap_ms)


@given(steps=STEPS)
def test_memory_is_bounded(steps: list[tuple[int, Decimal]]) -> None:
    """No more prices are kept than a window has milliseconds, and the one before it."""
    velocity = Velocity(window=0.005, max_gap=0.002)
    for at, value in path([(elapsed % 3, value) for elapsed, value in steps]):
        velocity.add(value, at)
        assert len(velocity._prices) <= 5 + 1


@pytest.mark.parametrize("settings", [{"window": 0}, {"max_gap": -1}, {"window": float("inf")}])
def test_times_that_are_none_are_refused(settings: dict[str, float]) -> None:
    """The message names the field."""
    with pytest.raises(ConfigError, match=next(iter(settings))):
        Velocity(**settings)


def test_a_price_of_nothing_is_refused() -> None:
    """No move can be reckoned from zero."""
    with pytest.raises(ValueError, match="value"):
        Velocity().add(Decimal(0), 0)

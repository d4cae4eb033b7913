"""The model of what a share is worth, against walks that were really walked."""

from __future__ import annotations

import math
import random
from decimal import Decimal
from functools import cache
from itertools import accumulate

import pytest
from hypothesis import given
from hypothesis import strategies as st

from polyframe.errors import ConfigError
from polyframe.model.series import Series
from polyframe.strategies.blocks.fairvalue import YEAR, FairValue, PriceModel

START, END = 0, 300
"""The window that is looked at, in seconds; walks begin 70 seconds earlier."""
LEAD = 70
WALKS = 1200
ANNUAL = 0.5
SECOND = ANNUAL / math.sqrt(YEAR)
BASE = 65_000.0

LEFT = (240, 60, 40, 8)


@cache
def walks() -> list[tuple[list[float], list[float]]]:
    """Return walks of one price a second from 70 seconds before the start, and their sums so far."""
    draw = random.Random("walks")
    found = []
    for _ in range(WALKS):
        moves = (draw.gauss(0.0, BASE * SECOND) for _ in range(START - LEAD, END))
        prices = list(accumulate(moves, initial=BASE))
        found.append((prices, list(accumulate(prices))))
    return found


def average(prices: list[float], sums: list[float], second: int) -> float:
    """Return the average over the 60 seconds up to `second`, as the trapezoids have it."""
    last = second + LEAD
    ends = (prices[last - 60] + prices[last]) / 2
    return (sums[last - 1] - sums[last - 60] + ends) / 60


def ranks(model: PriceModel, left: int, *, with_slope: bool = True) -> list[tuple[float, float]]:
    """Return the probability of ending at or above where each walk did end, and its last minute.

    If the model is right, these probabilities are spread evenly from 0 to 1 whatever the last
    minute was.
    """
    found = []
    for prices, sums in walks():
        now = END - left
        fair = FairValue(model, volatility=ANNUAL, half_life=1e9)
        span = 62 if model is PriceModel.SPOT and left < 60 else 2 if with_slope else 1
        for second in range(now - span + 1, now + 1):
            is_average = model is PriceModel.AVERAGE
            value = average(prices, sums, second) if is_average else prices[second + LEAD]
            fair.add(Decimal(value), second * 1000)
        settled = prices[-1] if model is PriceModel.LAST else average(prices, sums, END)
        chance = fair.up(Decimal(settled), END)
        assert chance is not None
        found.append((float(chance), prices[now + LEAD] - prices[now + LEAD - 60]))
    return found


def check_even(found: list[tuple[float, float]]) -> None:
    """Check that the ranks are spread evenly, and do not go with the last minute."""
    count = len(found)
    mean = sum(rank for rank, _ in found) / count
    spread = sum((rank - mean) ** 2 for rank, _ in found) / count
    assert abs(mean - 0.5) < 4 * math.sqrt(1 / 12 / count)
    assert abs(spread - 1 / 12) < 4 * math.sqrt(1 / 180 / count)
    size = math.sqrt(spread * sum(moved**2 for _, moved in found) / count)
    together = sum((rank - mean) * moved for rank, moved in found) / count
    assert abs(together / size) < 4 / math.sqrt(count)


@pytest.mark.parametrize("left", LEFT)
@pytest.mark.parametrize("model", PriceModel)
def test_the_model_is_right_about_walks(model: PriceModel, left: int) -> None:
    """Long before the end, at the last minute's start and within it, walks end as often as told."""
    check_even(ranks(model, left))


@pytest.mark.parametrize("left", [240, 40])
def test_an_average_alone_knows_less_and_says_so(left: int) -> None:
    """Without the price before the latest the spread is wider, and still right."""
    found = ranks(PriceModel.AVERAGE, left, with_slope=False)
    check_even([(rank, index % 2 - 0.5) for index, (rank, _) in enumerate(found)])


@pytest.mark.parametrize("model", PriceModel)
@pytest.mark.parametrize("step", [1, 2])
def test_the_variance_is_learned_from_the_walk(model: PriceModel, step: int) -> None:
    """Whatever it begins with, the estimate comes to the variance of the walk."""
    draw = random.Random(f"{model} {step}")
    fair = FairValue(model, volatility=5.0, half_life=2_000)
    price, recent = BASE, [BASE] * 61
    for second in range(20_000):
        price += draw.gauss(0.0, BASE * SECOND)
        recent = [*recent[1:], price]
        value = sum(recent) / len(recent) if model is PriceModel.AVERAGE else price
        if second % step == 0:
            fair.add(Decimal(value), second * 1000)
    assert 0.7 < math.sqrt(fair.variance) / SECOND < 1.35


def test_what_is_certain_is_certain() -> None:
    """At the end nothing is open any more, and a tie is Up's."""
    for model in PriceModel:
        fair = FairValue(model)
        for second in range(-61, 1):
            fair.add(Decimal(100), second * 1000)
        assert fair.up(Decimal(100), 0) == 1
        assert fair.up(Decimal("100.01"), 0) == 0


def test_a_part_of_the_average_that_is_over_counts() -> None:
    """With a second left, an average that stood high for a minute does not fall below the beat."""
    fair = FairValue(PriceModel.SPOT)
    for second in range(60):
        fair.add(Decimal(101), second * 1000)
    fair.add(Decimal("99.5"), 59_500)
    assert fair.up(Decimal(100), 60) == 1
    assert FairValue(PriceModel.LAST).up(Decimal(100), 60) is None


def test_a_hole_in_the_average_leaves_it_unknown() -> None:
    """In the last minute a spot model needs every price since the average began."""
    fair = FairValue(PriceModel.SPOT, max_gap=5)
    for second in (*range(10), *range(20, 30)):
        fair.add(Decimal(100), second * 1000)
        known = fair.up(Decimal(100), 65)
        assert (known is None) is (20 <= second)
    assert fair.up(Decimal(100), 200) is not None


def test_moves_over_a_gap_are_not_learned_from() -> None:
    """What happened while nobody looked says nothing of the second."""
    fair = FairValue(PriceModel.LAST, max_gap=5)
    before = fair.variance
    fair.add(Decimal(100), 0)
    fair.add(Decimal(200), 6_000)
    assert fair.variance == before
    fair.add(Decimal(100), 7_000)
    assert fair.variance > before


def test_old_prices_are_left_out() -> None:
    """A price that is not newer changes nothing."""
    fair = FairValue(PriceModel.LAST)
    fair.add(Decimal(100), 1000)
    was = fair.up(Decimal(101), 100)
    fair.add(Decimal(500), 1000)
    fair.add(Decimal(500), 500)
    assert fair.up(Decimal(101), 100) == was


@given(
    value=st.decimals("0.0001", "1000000", places=4),
    beat=st.decimals("0.0001", "1000000", places=4),
    left=st.floats(0, 100_000),
    model=st.sampled_from(PriceModel),
)
def test_the_answer_is_a_probability(
    value: Decimal, beat: Decimal, left: float, model: PriceModel
) -> None:
    """Whatever is asked, it is from 0 to 1, in steps of 0.0001, and falls as the beat rises."""
    fair = FairValue(model)
    for second in range(-61, 1):
        fair.add(value, second * 1000)
    chance, less = fair.up(beat, left), fair.up(beat * 2, left)
    assert chance is not None
    assert less is not None
    assert 0 <= less <= chance <= 1
    assert chance.as_tuple().exponent == -4


def test_a_price_from_after_the_end_tells_nothing_of_it() -> None:
    """What came later is not mistaken for the price of the end."""
    fair = FairValue(PriceModel.LAST)
    fair.add(Decimal(100), 10_001)
    assert fair.up(Decimal(100), 10) is None


def test_memory_is_bounded() -> None:
    """Prices are kept for the average's minute only."""
    fair = FairValue(PriceModel.SPOT)
    for second in range(1000):
        fair.add(Decimal(100), second * 1000)
    assert len(fair._prices) <= 62


@pytest.mark.parametrize(
    ("series", "model"),
    [("btc-updown-15m", PriceModel.AVERAGE), ("btc-updown-1h", PriceModel.LAST)],
)
def test_the_model_of_a_series_is_that_of_what_settles_it(series: str, model: PriceModel) -> None:
    """Averages settle the short windows, Binance's candles the hourly ones (PROTOCOL §1.5)."""
    assert PriceModel.of(Series.parse(series)) is model


@pytest.mark.parametrize(
    ("settings", "word"),
    [
        ({"model": "mean"}, "model"),
        ({"volatility": 0}, "volatility"),
        ({"half_life": -1}, "half_life"),
        ({"max_gap": "5"}, "max_gap"),
    ],
)
def test_settings_that_cannot_be_are_refused(settings: dict[str, object], word: str) -> None:
    """The message names the field."""
    with pytest.raises(ConfigError, match=word):
        FairValue(**settings)  # type: ignore[arg-type]


def test_a_price_of_nothing_is_refused() -> None:
    """No part of the price can be reckoned from zero."""
    with pytest.raises(ValueError, match="value"):
        FairValue().add(Decimal(-1), 0)

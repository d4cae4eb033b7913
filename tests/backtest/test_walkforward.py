"""Walk-forward: nothing of a test is known to its training."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from attrs import evolve
from hypothesis import given, settings
from hypothesis import strategies as st

from polyframe import ConfigError, Outcome, WalkForward, run_backtest, walk_forward
from polyframe.backtest.sweeps.walkforward import Split, split_markets
from polyframe.model.market import Market
from polyframe.model.series import Series
from polyframe.recording.tape import TapeMarket
from tests.backtest.kit import MODELS, START, Eager, Made, both, make_entry, wandering
from tests.backtest.sweepkit import Buyer, Odd, threads

DAY = 86_400
_LENGTHS = [Series.parse(name) for name in ("btc-updown-5m", "eth-updown-15m", "btc-updown-4h")]


def tape(series: Series, start: int) -> TapeMarket:
    """Return a market of a series whose window has `start` in it."""
    window = series.window_at(start)
    market = Market(
        slug=series.slug(window),
        series=series,
        window=window,
        condition_id=f"0x{int.from_bytes(series.slug(window).encode()) % 2**256:064x}",
        up_token=f"1{window.start}",
        down_token=f"2{window.start}",
    )
    return TapeMarket(market)


MARKETS = st.lists(
    st.builds(tape, st.sampled_from(_LENGTHS), st.integers(START, START + 2 * DAY)),
    min_size=1,
    max_size=60,
    unique_by=lambda found: found.market.slug,
)


def check(splits: Sequence[Split], markets: Sequence[TapeMarket]) -> None:
    """Check what holds for each split whatever the lengths."""
    seen: list[str] = []
    for split in splits:
        first_test = min(each.market.window.start for each in split.test)
        assert all(each.market.window.end <= first_test for each in split.train)
        assert not set(split.train) & set(split.test)
        assert split.train
        assert split.test
        assert set(split.train) | set(split.test) <= set(markets)
        seen += [each.market.slug for each in split.test]
    # Without a step of one's own each market is tested at most once.
    assert len(seen) == len(set(seen))
    order = [split.test[0].market.window for split in splits]
    assert order == sorted(order)


@settings(max_examples=60)
@given(MARKETS, st.integers(1, 9), st.integers(1, 5), st.integers(0, 3))
def test_no_market_of_a_test_is_in_its_training_by_windows(
    markets: list[TapeMarket], train: int, test: int, gap: int
) -> None:
    """All that is trained on has ended when the test begins; windows are counted."""
    try:
        splits = split_markets(markets, train=train, test=test, gap=gap)
    except ConfigError:
        return
    check(splits, markets)
    for split in splits:
        starts = sorted({each.market.window.start for each in markets})
        tested = sorted({each.market.window.start for each in split.test})
        first = starts.index(tested[0])
        assert tested == starts[first : first + test]
        allowed = starts[max(first - gap - train, 0) : first - gap]
        assert {each.market.window.start for each in split.train} <= set(allowed)


@settings(max_examples=60)
@given(MARKETS, st.integers(1, 12), st.integers(1, 6), st.integers(0, 3))
def test_no_market_of_a_test_is_in_its_training_by_time(
    markets: list[TapeMarket], train: int, test: int, gap: int
) -> None:
    """The same with lengths in hours; the gap lies between the two."""
    hours = [timedelta(hours=each) for each in (train, test, gap)]
    try:
        splits = split_markets(markets, train=hours[0], test=hours[1], gap=hours[2])
    except ConfigError:
        return
    check(splits, markets)
    for split in splits:
        window = [each.market.window.start for each in (*split.train, *split.test)]
        assert max(window) - min(window) < (train + gap + test) * 3600


def test_every_window_after_the_first_training_is_tested_once() -> None:
    """Tests follow one another without a hole; the last one may be short."""
    markets = [tape(_LENGTHS[0], START + 300 * number) for number in range(10)]
    splits = split_markets(reversed(markets), train=3, test=2)
    assert [list(split.test) for split in splits] == [
        markets[3:5],
        markets[5:7],
        markets[7:9],
        markets[9:],
    ]
    assert [list(split.train) for split in splits] == [markets[at : at + 3] for at in (0, 2, 4, 6)]
    wide = split_markets(markets, train=3, test=2, gap=1, step=4)
    assert [list(split.train) for split in wide] == [markets[:3], markets[4:7]]
    assert [list(split.test) for split in wide] == [markets[4:6], markets[8:10]]


def test_whole_days_begin_at_midnight() -> None:
    """In UTC; other lengths begin with the first market."""
    midnight = START - START % DAY
    markets = [tape(_LENGTHS[1], midnight + hour * 3600) for hour in range(10, 72)]
    days = split_markets(markets, train=timedelta(days=1), test=timedelta(days=1))
    assert [split.test[0].market.window.start for split in days] == [
        midnight + DAY,
        midnight + 2 * DAY,
    ]
    assert len(days[0].train) == 14
    hours = split_markets(markets, train=timedelta(hours=30), test=timedelta(hours=20))
    assert [split.test[0].market.window.start for split in hours] == [
        midnight + 40 * 3600,
        midnight + 60 * 3600,
    ]


def test_a_longer_market_that_ends_within_the_test_is_not_trained_on() -> None:
    """Its result would tell of the test."""
    midnight = START - START % DAY
    long = tape(_LENGTHS[2], midnight)
    short = [tape(_LENGTHS[0], midnight + 300 * number) for number in range(4)]
    (split,) = split_markets([long, *short], train=2, test=2)
    assert list(split.train) == short[:2]


@pytest.mark.parametrize(
    ("lengths", "match"),
    [
        ({"train": 0, "test": 1}, "train: expected a length above 0, got 0"),
        ({"train": 1, "test": timedelta(1)}, "test: expected all lengths as windows"),
        ({"train": 1, "test": 1, "gap": -1}, "gap: expected a length above 0"),
        ({"train": 1, "test": 1, "step": 0}, "step: expected a length above 0"),
        ({"train": 1.5, "test": 1}, "train: expected all lengths as windows"),
        ({"train": timedelta(seconds=0.5), "test": timedelta(1)}, "train: expected whole seconds"),
        (
            {"train": 9, "test": 1},
            "3 windows are not enough for one fold of train=9, gap=0, test=1",
        ),
    ],
)
def test_lengths_that_cannot_be_are_refused(lengths: dict[str, Any], match: str) -> None:
    """The error names the length."""
    with pytest.raises(ConfigError, match=match):
        split_markets([tape(_LENGTHS[0], START + 300 * n) for n in range(3)], **lengths)


def walk(data: Made, strategy: Any, variants: list[Any], **more: Any) -> WalkForward:
    """Walk on threads."""
    with threads() as executor:
        return walk_forward(strategy, variants, data=data, executor=executor, models=MODELS, **more)


def test_the_best_of_each_training_is_what_is_tested() -> None:
    """What is right in the first half is wrong in the second: the choice is told with its loss."""
    data = Made()
    for number in range(6):
        entry = make_entry(number, Outcome.UP if number < 4 else Outcome.DOWN)
        data.add(entry, (-10, both(entry, 49, 50)), (100, both(entry, 49, 50)))
    variants = [{"side": Outcome.UP}, {"side": Outcome.DOWN}]
    found = walk(data, Buyer(limit=Decimal("0.51")), variants, train=2, test=2)
    assert [fold.chosen.label for fold in found.folds if fold.chosen] == ["side=Up", "side=Up"]
    tested = [fold.tested.profit for fold in found.folds if fold.tested]
    assert tested[0] is not None
    assert tested[1] is not None
    assert tested[0] > 0 > tested[1]
    assert found.profit == sum(each for each in tested if each is not None)
    assert found.total is not None
    assert found.total.trades == 4
    rows = found.table().to_pylist()
    assert [row["side"] for row in rows] == ["Up", "Up"]
    assert [row["test_profit"] for row in rows] == [
        (each or Decimal(0)).quantize(Decimal("0.00001")) for each in tested
    ]
    text = found.text()
    assert "2 folds, the best by profit of 2 variants each" in text
    assert "4 variants were tried in training, 0 failed." in text
    trained = sum(len(fold.split.train) for fold in found.folds)
    tried = sum(len(fold.split.test) for fold in found.folds)
    assert f"USD on {trained} markets.\n" in text
    assert f"USD on {tried} markets, 4 trades.\n" in text
    assert "<td>side=Up</td>" in found._repr_html_()


def test_each_fold_is_a_run_of_its_own() -> None:
    """Training and test are what back-tests of their markets alone are."""
    data = wandering(2, cycles=5)
    found = walk(data, Eager, [{"every": 3}, {"every": 7}], train=3, test=2)
    (fold,) = found.folds
    train = run_backtest(Eager(every=3), data=Made(data.rows[:3]), models=MODELS)
    assert fold.trained.variants[0].total == train.total
    assert fold.chosen is not None
    test = run_backtest(Eager(**fold.chosen.settings), data=Made(data.rows[3:]), models=MODELS)
    assert fold.tested is not None
    assert fold.tested.total == test.total
    assert fold.trained.best().tried == 2


def test_a_fold_without_a_choice_and_a_test_that_fails_are_told() -> None:
    """The others are what they are, and the sum is not known."""
    none = walk(wandering(1), Odd, [{"number": 1}, {"number": 2}], train=1, test=1)
    assert [fold.chosen for fold in none.folds] == [None, None]
    assert none.profit is None
    assert "no variant could be chosen" in none.text()
    assert "No test came to an end." in none.text()
    told = "no variant could be chosen: LookupError: no <luck>"
    assert none.table().to_pylist()[0]["error"] == told
    assert f"after 1 of training: {told}\n" in none.text()
    assert "Chosen ones in training: 0 USD on 0 markets." in none.text()
    data = wandering(1, cycles=2)
    data.rows[1] = (evolve(data.rows[1][0], winner=None), data.rows[1][1])
    open_end = walk(data, Eager, [{"every": 3}], train=1, test=1)
    assert open_end.folds[0].tested is not None
    assert open_end.profit is None
    assert "not known" in open_end.text()
    with pytest.raises(ConfigError, match="by: expected one of"):
        walk(data, Eager, [{}], train=1, test=1, by="luck")

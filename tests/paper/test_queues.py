"""Queue models: single rules, and what they say about a market whose truth is known."""

from __future__ import annotations

import random
from decimal import Decimal
from functools import cache

import pytest
from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st

from polyframe.model.order import Side
from polyframe.paper.queues import (
    RELABEL_MS,
    CancelsBehind,
    Power2,
    ProRata,
    QueueModel,
    Touch,
)
from tests.paper.kit import NOW, PROMPT, Desk, order, total
from tests.paper.truth import (
    BUSY,
    CALM,
    PROBE,
    SHARE,
    OrderLevelMarket,
    Probe,
    Setting,
    Shown,
    Sold,
)

PROBES = 400
SETTINGS = {"calm": CALM, "busy": BUSY}
MODELS: dict[str, QueueModel] = {
    "touch": Touch(),
    "behind": CancelsBehind(),
    "pro-rata, naive about the lag": ProRata(relabel_ms=0),
    "pro-rata": ProRata(),
    "power-2": Power2(),
}

TABLE = {
    # model: calm, calm with late prints, busy, busy with late prints
    "touch": (2.83, 2.83, 1.18, 1.18),
    "behind": (0.49, 0.48, 0.90, 0.88),
    "pro-rata, naive about the lag": (1.00, 1.51, 0.99, 1.06),
    "pro-rata": (1.00, 1.01, 0.99, 0.99),
    "power-2": (0.92, 0.93, 0.97, 0.97),
}
"""Filled by the model over filled in truth; `docs/paper.md` has this table."""

COLUMNS = [("calm", 0), ("calm", 300), ("busy", 0), ("busy", 300)]


@cache
def market(setting: str, lag_ms: int) -> OrderLevelMarket:
    """Return a market that has lived; the same for all models."""
    chance = random.Random(f"{setting}/truth")
    found = OrderLevelMarket(SETTINGS[setting], lag_ms, chance)
    found.run(PROBES)
    return found


def estimate(model: QueueModel, seen: OrderLevelMarket, probe: Probe) -> int:
    """Return what `model` says that a probe got."""
    place, left = model.join(probe.ahead), PROBE
    for event in seen.seen_by(probe):
        if isinstance(event, Shown):
            if event.price == probe.price:
                place.shown(event.size, event.at_ms)
        elif event.price == probe.price:
            left -= min(left, place.traded(event.size, event.at_ms))
        elif event.price < probe.price:
            left -= min(left, event.size)
    return PROBE - left


@cache
def ratio(name: str, setting: str, lag_ms: int) -> float:
    """Return what a model fills, in terms of the truth."""
    lived = market(setting, lag_ms)
    truth = sum(probe.filled for probe in lived.probes)
    return sum(estimate(MODELS[name], lived, probe) for probe in lived.probes) / truth


@pytest.mark.parametrize("name", MODELS)
def test_each_model_is_as_good_as_the_table_says(name: str) -> None:
    """Against the truth of a market of single orders, each model fills what the table promises."""
    found = [ratio(name, *column) for column in COLUMNS]
    assert found == pytest.approx(TABLE[name], abs=0.01)


@pytest.mark.parametrize(("setting", "lag_ms"), COLUMNS)
def test_the_default_is_close_to_the_truth_and_never_above(setting: str, lag_ms: int) -> None:
    """The default fills 0.80 to 1.00 of the truth, calm or busy, with prints in time or late."""
    assert 0.80 <= ratio("power-2", setting, lag_ms) <= 1.00


def test_the_brackets_hold_the_truth_between_them() -> None:
    """In every setting the pessimist is below the truth and the optimist above."""
    for column in COLUMNS:
        assert ratio("behind", *column) < 1 < ratio("touch", *column)


def test_the_generator_is_first_in_first_out() -> None:
    """A probe gets what is sold beyond those who stood before it, and never more than its size."""
    lived = OrderLevelMarket(Setting(0.0001, 1e9, 1.0, 300, 5), 0, random.Random(1))
    lived.run(1)
    (probe,) = lived.probes
    sold = sum(
        event.size
        for event in lived.seen_by(probe)
        if isinstance(event, Sold) and event.price <= probe.price
    )
    # Nobody cancels and hardly anybody joins: the queue moves by trades only.
    assert probe.filled == min(max(sold - probe.ahead, 0), PROBE)
    assert probe.filled > 0


def test_a_trade_eats_the_queue_from_its_front() -> None:
    """A print moves the front, what gets past it is for us, and its drop is not credited again."""
    place = CancelsBehind().join(100)
    assert place.traded(70, at_ms=0) == 0
    place.shown(30, at_ms=1)
    assert place.ahead == 30
    assert place.traded(50, at_ms=2) == 20
    assert place.ahead == 0


@pytest.mark.parametrize("model", [Power2(), ProRata(), CancelsBehind()])
def test_a_late_print_relabels_the_drop(model: QueueModel) -> None:
    """A drop that turns out to be a trade moves the front as a whole, whatever was credited."""
    place = model.join(100)
    place.shown(400, at_ms=0)
    place.shown(350, at_ms=10)
    assert place.traded(50, at_ms=310) == 0
    assert place.ahead == 50


@pytest.mark.parametrize("model", [Power2(), ProRata(), CancelsBehind()])
def test_a_drop_waits_only_so_long_for_its_print(model: QueueModel) -> None:
    """A print after the time of waiting is about something else and comes on top."""
    place = model.join(100)
    place.shown(400, at_ms=0)
    place.shown(350, at_ms=10)
    credited = 100 - place.ahead
    assert place.traded(50, at_ms=11 + RELABEL_MS) == 0
    assert place.ahead == 50 - credited


def test_a_print_waits_only_so_long_for_its_drop() -> None:
    """A drop long after a print is cancelled orders: it is credited as any other."""
    place = ProRata().join(100)
    place.traded(20, at_ms=0)
    place.shown(50, at_ms=1 + RELABEL_MS)
    assert place.ahead == 40


def test_cancels_are_credited_by_model() -> None:
    """Of a cancel of 40 with 100 before and 100 behind: a half, a half, nothing."""
    left = {}
    for model in (Power2(), ProRata(), CancelsBehind()):
        place = model.join(100)
        place.shown(200, at_ms=0)
        place.shown(160, at_ms=1)
        left[model.name] = place.ahead
    assert left == {"power-2": 80, "pro-rata": 80, "behind": 100}


def test_power_2_leans_to_the_longer_part() -> None:
    """With 100 before and 300 behind, a tenth of a cancel is credited, not a quarter."""
    place = Power2().join(100)
    place.shown(400, at_ms=0)
    place.shown(300, at_ms=1)
    assert place.ahead == 90


def test_no_more_stands_before_us_than_there_is() -> None:
    """A drop to less than the front is credited by all models, and counts as credited."""
    place = CancelsBehind().join(100)
    place.shown(40, at_ms=0)
    assert place.ahead == 40
    assert place.traded(60, at_ms=1) == 0  # it was this print that made the drop
    assert place.ahead == 40


def test_touch_has_no_queue() -> None:
    """Any trade at the price reaches the order, however much stands before it."""
    place = Touch().join(1000)
    assert place.traded(1, at_ms=0) > PROBE


def test_after_a_gap_the_queue_is_what_is_still_there() -> None:
    """Nothing is credited for what went unseen, but no more stands before us than stands there."""
    place = Power2().join(100)
    place.shown(400, at_ms=0)
    place.shown(350, at_ms=1)
    ahead = place.ahead
    place.regained(300)
    assert place.ahead == ahead
    place.regained(20)
    assert place.ahead == 20
    assert place.traded(50, at_ms=2) == 30


EVENTS = st.lists(
    st.tuples(st.booleans(), st.integers(0, 500), st.integers(0, 400)), min_size=1, max_size=40
)


@given(start=st.integers(0, 500), events=EVENTS)
@pytest.mark.parametrize("model", [Power2(), ProRata(), CancelsBehind()])
def test_no_more_gets_past_the_front_than_was_sold(
    model: QueueModel, start: int, events: list[tuple[bool, int, int]]
) -> None:
    """Whatever comes: the front is within the queue, and each trade gives us at most its size."""
    place, now = model.join(start), 0
    for is_print, size, pause in events:
        now += pause
        if is_print:
            before = place.ahead
            surplus = place.traded(size, now)
            assert 0 <= surplus <= size
            assert before - size <= place.ahead <= before
        else:
            place.shown(size, now)
            assert 0 <= place.ahead <= size


@pytest.mark.parametrize("name", ["power-2", "behind", "touch"])
def test_the_matching_fills_what_the_model_says(name: str) -> None:
    """Through books and prints of the feed, real orders get exactly what the bare model gives."""
    lived = market("calm", 300)
    for probe in lived.probes[:40]:
        desk = Desk(evolve(PROMPT, queue=MODELS[name], stale_ms=10**9))
        others = {probe.price // 100: str(Decimal(probe.ahead) / SHARE)}
        desk.book(dict(others), {})
        price = str(Decimal(probe.price) / 10_000)
        joined = desk.send(order(price, PROBE // SHARE))
        for event in lived.seen_by(probe):
            desk.now = NOW + event.at_ms - probe.at_ms
            cents, size = event.price // 100, str(Decimal(event.size) / SHARE)
            if isinstance(event, Shown):
                desk.change(cents, size, is_bid=True)
            else:
                desk.print(cents, size, Side.SELL)
        filled = total(desk.fills(joined)) * SHARE
        assert filled == estimate(MODELS[name], lived, probe)

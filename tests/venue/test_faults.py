"""Faults on demand: what each does on the wire, how it ends, and that it is counted."""

from __future__ import annotations

import asyncio
import re
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from polyframe.errors import ConfigError
from polyframe.venue import VenueFault, VenueFaults
from polyframe.venue.faultkinds import OPTIONS

LASTING = ("restart", "mode", "market_hidden", "market_unhydrated", "close_late", "resolution_late")


# ------------------------------------------------------------------ bounds, chance, options


def test_a_fault_ends_after_its_strikes() -> None:
    """It strikes `count` times, is counted, and is no longer in force."""
    faults = VenueFaults()
    fault = faults.inject("market_drop", count=2)
    strikes = [faults.strike(VenueFault.MARKET_DROP) for _ in range(3)]
    assert strikes == [fault, fault, None]
    assert (fault.hits, fault.is_over, faults.active) == (2, True, [])
    assert faults.happened == {VenueFault.MARKET_DROP: 2}


def test_a_fault_ends_after_its_seconds(monkeypatch: pytest.MonkeyPatch) -> None:
    """It strikes as often as it can until its real seconds are over."""
    now = 100.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    faults = VenueFaults()
    fault = faults.inject(VenueFault.USER_DROP, seconds=5)
    fault._began = now
    assert faults.strike(VenueFault.USER_DROP) is fault
    now = 104.9
    assert faults.strike(VenueFault.USER_DROP) is fault
    now = 105.0
    assert faults.strike(VenueFault.USER_DROP) is None
    assert faults.active == []


@given(st.integers(0, 1000), st.floats(0.05, 1.0))
def test_chance_repeats_itself(seed: int, chance: float) -> None:
    """The same seed gives the same strikes and the same delays; certainty always strikes."""

    def story() -> list[float | None]:
        faults = VenueFaults()
        faults.inject("user_delay", seconds=60, chance=chance, seed=seed, delay=0.2, spread=0.5)
        found = [faults.strike(VenueFault.USER_DELAY) for _ in range(30)]
        return [None if fault is None else fault.late() for fault in found]

    assert story() == story()
    if chance == 1.0:
        assert None not in story()


def test_another_seed_gives_another_story() -> None:
    """Two seeds strike at different times."""
    stories = []
    for seed in (1, 2):
        faults = VenueFaults()
        faults.inject("user_drop", seconds=60, chance=0.5, seed=seed)
        stories.append([faults.strike(VenueFault.USER_DROP) is None for _ in range(40)])
    assert stories[0] != stories[1]


def test_delays_are_spread_around_their_median() -> None:
    """About half of many delays are below the median; without spread all are the same."""
    faults = VenueFaults()
    spread = faults.inject("market_delay", count=1, delay=0.2, spread=0.5)
    below = sum(spread.late() < 0.2 for _ in range(1000))
    assert 400 < below < 600
    fixed = faults.inject("market_delay", count=1, delay=0.2)
    assert {fixed.late() for _ in range(9)} == {0.2}


@pytest.mark.parametrize(
    ("kind", "options", "field"),
    [
        ("earthquake", {"count": 1}, "kind"),
        ("user_drop", {}, "count"),
        ("user_drop", {"count": 0}, "count"),
        ("user_drop", {"count": True}, "count"),
        ("user_drop", {"count": "3"}, "count"),
        ("user_drop", {"seconds": 0}, "seconds"),
        ("user_drop", {"seconds": 86_401}, "seconds"),
        ("user_drop", {"seconds": float("nan")}, "seconds"),
        ("user_drop", {"seconds": "5"}, "seconds"),
        ("user_drop", {"count": 1, "chance": 0}, "chance"),
        ("user_drop", {"count": 1, "chance": 1.1}, "chance"),
        ("user_drop", {"count": 1, "delay": 1}, "delay"),
        ("user_delay", {"count": 1, "delay": -1}, "delay"),
        ("user_delay", {"count": 1, "delay": 3_601}, "delay"),
        ("user_delay", {"count": 1, "spread": 4}, "spread"),
        ("http_error", {"count": 1, "status": 42}, "status"),
        ("http_error", {"count": 1, "path": 7}, "path"),
        ("http_error", {"count": 1, "headers": ["a"]}, "headers"),
        ("http_error", {"count": 1, "headers": {"a": "b\r\nc: d"}}, "headers"),
        ("mode", {"seconds": 1, "mode": "lunch"}, "mode"),
        *((kind, {"count": 1}, "seconds") for kind in LASTING),
        *((kind, {"count": 1, "seconds": 1}, "seconds") for kind in LASTING),
    ],
)
def test_what_makes_no_sense_is_refused(kind: str, options: dict[str, Any], field: str) -> None:
    """The message names the field, and nothing is in force."""
    faults = VenueFaults()
    with pytest.raises(ConfigError, match=rf"^{field}: "):
        faults.inject(kind, **options)
    assert faults.active == []


def test_there_cannot_be_any_number_of_faults() -> None:
    """After a thousand that are in force the next is refused; those that are over do not count."""
    faults = VenueFaults()
    for _ in range(1_000):
        faults.inject("user_drop", count=1)
    with pytest.raises(ConfigError, match=r"^kind: 1000 faults"):
        faults.inject("user_drop", count=1)
    faults.strike(VenueFault.USER_DROP)
    faults.inject("user_drop", count=1)


def test_faults_can_be_ended() -> None:
    """One by itself, or all of them; who waits for the end is woken."""

    async def test() -> None:
        faults = VenueFaults()
        one, two = (faults.inject("resolution_late", seconds=60) for _ in range(2))
        waiting = asyncio.create_task(one.wait_over())
        await asyncio.sleep(0)
        one.stop()
        async with asyncio.timeout(5):
            await waiting
        assert faults.active == [two]
        faults.clear()
        assert faults.active == []

    asyncio.run(test())


def test_the_first_that_fits_strikes_first() -> None:
    """Faults of one kind queue up in order of their injection, path by path."""
    faults = VenueFaults()
    order = faults.inject("http_error", count=1, path="/order", status=425)
    post = faults.inject("http_error", count=1, method="POST", status=503)
    kind = VenueFault.HTTP_ERROR
    assert faults.strike(kind, path="/clob/book", method="GET") is None
    assert faults.strike(kind, path="/clob/order", method="POST") is order
    assert faults.strike(kind, path="/clob/order", method="POST") is post


def test_every_kind_says_what_it_can_be_told() -> None:
    """Each option of a kind is a field of an injected fault."""
    for kind in VenueFault:
        bounds = {"seconds": 1} if kind.value in LASTING else {"count": 1}
        row = VenueFaults().inject(kind, **bounds).row()
        assert OPTIONS.get(kind, frozenset()) <= row.keys()


def test_the_document_lists_every_kind() -> None:
    """Each kind has a row with what it can be told, and no row is about anything else."""
    page = Path(__file__).parents[2] / "docs" / "venue-faults.md"
    rows = re.findall(
        r"^\| `(\w+)` \|[^|]*\|([^|]*)\|$", page.read_text(encoding="utf-8"), re.MULTILINE
    )
    told = {kind: set(re.findall(r"`(\w+)`", options)) for kind, options in rows}
    assert told.keys() == set(VenueFault)
    for kind, options in told.items():
        assert OPTIONS.get(VenueFault(kind), frozenset()) <= options, kind

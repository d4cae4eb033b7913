"""Finds strategies that decide by what they cannot know yet."""

from __future__ import annotations

import random
from collections.abc import Iterator

from attrs import evolve, frozen
from typing_extensions import Unpack, override

from polyframe.backtest.run import Options, markets_of, run_backtest, telling_once
from polyframe.checks import expect_count, expect_recording
from polyframe.recording.excerpt import Excerpt
from polyframe.recording.reader import Recording
from polyframe.recording.tape import TapeEvent, TapeMarket
from polyframe.report.orders import Decision
from polyframe.strategy import Strategy


@frozen
class LookAhead:
    """One cycle in which decisions depended on what came later.

    Attributes:
        slug: The market.
        cut_ms: Where its recording was cut off, in epoch milliseconds.
        whole: What was decided up to there with the whole recording.
        cut: What was decided up to there when the recording ended there.
    """

    slug: str
    cut_ms: int
    whole: tuple[Decision, ...]
    cut: tuple[Decision, ...]


class CutOff(Excerpt):
    """One market of a recording, up to an instant: later rows and the resolution do not exist.

    Args:
        recording: Where the market is.
        entry: The market.
        cut_ms: The last instant, in epoch milliseconds; ``None`` leaves all there is.
    """

    def __init__(self, recording: Recording, entry: TapeMarket, cut_ms: int | None) -> None:
        super().__init__(recording, [entry if cut_ms is None else evolve(entry, winner=None)])
        self._whole = entry
        self._cut_ms = cut_ms

    @override
    def _heard(self, market: TapeMarket) -> Iterator[TapeEvent]:
        for event in self._recording.events(self._whole):
            if self._cut_ms is not None and event.received_ms > self._cut_ms:
                return
            yield event


@telling_once()
def find_look_ahead(
    *strategies: Strategy,
    data: Recording,
    cuts: int = 3,
    seed: int | str = 0,
    **options: Unpack[Options],
) -> tuple[LookAhead, ...]:
    """Run each cycle alone, whole and cut off at random instants, and compare what was decided.

    What a strategy does up to an instant must not depend on what comes after it. Each cycle is run
    ``1 + cuts`` times. A strategy that decides by chance of its own is found, too: give it a seed.

    Args:
        strategies: As for `run_backtest`.
        data: The markets.
        cuts: Instants for each cycle.
        seed: Decides where.
        options: As for `run_backtest`.

    Returns:
        Each cut at which decisions differ; nothing if all is well.

    Raises:
        ConfigError, StrategyFailed: As `run_backtest`; nothing to try it on is no proof either.
    """
    expect_recording("data", data)
    expect_count("cuts", cuts)
    chance = random.Random(f"{seed}/look-ahead")  # noqa: S311 - not a secret
    found = []
    for entry in markets_of(data, options.get("series")):
        window = entry.market.window
        whole = run_backtest(*strategies, data=CutOff(data, entry, None), **options)
        for _ in range(cuts):
            cut_ms = chance.randrange(window.start * 1000, window.end * 1000)
            if whole.decisions and chance.random() < 0.5:
                # Where it matters most: at a decision, or just before one.
                cut_ms = chance.choice(whole.decisions).time_ms - chance.randrange(2)
            part = run_backtest(*strategies, data=CutOff(data, entry, cut_ms), **options)
            expected = tuple(d for d in whole.decisions if d.time_ms <= cut_ms)
            decided = tuple(d for d in part.decisions if d.time_ms <= cut_ms)
            if expected != decided:
                found.append(LookAhead(entry.market.slug, cut_ms, expected, decided))
    return tuple(found)

"""A market's end is asked about as soon as the venue's stream tells of it."""

from __future__ import annotations

import pytest
from typing_extensions import override

from polyframe.clock import VirtualClock
from polyframe.counters import Count, Counters
from polyframe.exchange.base import DataStream, MarketSink, TellsResolutions
from polyframe.model.events import MarketResolved, StreamState
from polyframe.model.market import Market, Outcome, Resolution
from polyframe.trading.ledger import CycleStatus
from polyframe.trading.resolution import ResolutionHint, listening
from tests.runtime.test_reference import QuietStream
from tests.support.fake import START, FakeExchange, make_market
from tests.support.stage import Stage, play

MARKET = make_market(start=START)
OTHER = make_market(start=START + 900)
END = START + 900


class Telling(FakeExchange):
    """An exchange with a stream on which resolutions are told."""

    def __init__(self) -> None:
        super().__init__()
        self.sinks: dict[str, MarketSink] = {}
        self.listeners: list[QuietStream] = []
        self.asked: list[float] = []
        self.final_at: float = END + 300

    def resolution_stream(self, market: Market, sink: MarketSink) -> DataStream:
        """Remember who listens."""
        self.sinks[market.slug] = sink
        self.listeners.append(QuietStream())
        return self.listeners[-1]

    @override
    async def fetch_resolution(self, market: Market) -> Resolution | None:
        """Know it from a certain moment on."""
        if market.slug != MARKET.slug:
            return None
        assert self._clock is not None
        self.asked.append(self._clock.time() - END)
        return Resolution(Outcome.UP, "gamma") if self._clock.time() >= self.final_at else None

    def tell(self, market: Market = MARKET) -> None:
        """Tell that `market` is resolved, to who listens for MARKET."""
        message = MarketResolved(market.condition_id, market.up_token)
        self.sinks[MARKET.slug].on_market_message(message)


def life(exchange: Telling, *, told_after: float | None, final_after: float) -> Stage:
    """Let a cycle die; its resolution is told and final so many seconds after its end."""
    exchange.final_at = END + final_after
    stages: list[Stage] = []

    async def act(stage: Stage) -> None:
        stages.append(stage)
        clock = stage.env.clock
        await stage.open_cycle()
        await clock.sleep_until(END)
        await stage.open_cycle(END)
        if told_after is not None:
            await clock.sleep_until(END + told_after)
            exchange.tell()
        await clock.sleep_until(END + 400)

    play(act, exchange=exchange)
    return stages[0]


def test_it_is_asked_about_at_once_when_it_is_told() -> None:
    """Without a word the question would come up to a minute later."""
    exchange = Telling()
    stage = life(exchange, told_after=70, final_after=69)
    assert exchange.asked[-1] == 70
    record = stage.env.ledger.get(MARKET.slug)
    assert record is not None
    assert record.status is CycleStatus.RESOLVED
    assert stage.env.counters.reasons(Count.RESOLUTIONS) == {"told": 1, "gamma": 1}


def test_what_is_told_is_not_believed() -> None:
    """The stream's word is a reason to ask; until the answer is final it is asked soon again."""
    exchange = Telling()
    life(exchange, told_after=70, final_after=78)
    after = [at for at in exchange.asked if at >= 70]
    assert after == [70, 75, 82.5]


def test_without_a_word_it_is_asked_about_all_the_same() -> None:
    """The event is known to be missing sometimes (PROTOCOL §1.5)."""
    exchange = Telling()
    stage = life(exchange, told_after=None, final_after=69)
    assert exchange.asked[:5] == pytest.approx([0, 5, 12.5, 23.75, 40.625])
    assert stage.env.counters.reasons(Count.RESOLUTIONS) == {"gamma": 1}


def test_the_listener_is_closed_with_the_question() -> None:
    """No socket outlives the resolution, nor the environment."""
    exchange = Telling()
    life(exchange, told_after=70, final_after=69)
    assert [stream.calls for stream in exchange.listeners] == [["start", "close"]]


def test_another_markets_resolution_is_no_hint() -> None:
    """Only the market that is waited for matters, and a change of the connection does not."""
    counters = Counters()
    hint = ResolutionHint(MARKET, counters)
    clock = VirtualClock(0)

    async def main() -> None:
        hint.on_market_message(MarketResolved(OTHER.condition_id, OTHER.up_token))
        hint.on_market_stream(StreamState.LOST, "closed")
        assert not await hint.pause(clock, 5)
        assert clock.time() == 5
        hint.on_market_message(MarketResolved(MARKET.condition_id, MARKET.up_token))
        hint.on_market_message(MarketResolved(MARKET.condition_id, MARKET.up_token))
        assert await hint.pause(clock, 5)
        assert not await hint.pause(clock, 5)
        assert clock.time() == 10

    clock.run(main())
    assert counters.reasons(Count.RESOLUTIONS) == {"told": 1}


def test_an_exchange_without_such_a_stream_is_only_asked() -> None:
    """The stream is an extra: without it there is nothing to open or close."""
    exchange = FakeExchange()
    assert not isinstance(exchange, TellsResolutions)
    assert isinstance(Telling(), TellsResolutions)

    async def main() -> None:
        async with listening(exchange, MARKET, Counters()) as hint:
            assert not await hint.pause(clock, 5)

    clock = VirtualClock(0)
    clock.run(main())

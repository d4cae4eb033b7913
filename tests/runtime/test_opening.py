"""The opening of an environment: one connection for the account, up before anything is traded."""

from __future__ import annotations

import asyncio
import logging

import pytest
from typing_extensions import override

from polyframe.clock import VirtualClock
from polyframe.environment import USER_STREAM_TIMEOUT, Environment
from polyframe.exchange.base import UserSink
from polyframe.model.events import StreamState
from polyframe.trader import Trader
from tests.support.fake import START, FakeExchange, FakeStream
from tests.support.stage import Diary, Recorder

SERIES = "btc-updown-15m"


class Slow(FakeExchange):
    """Its account stream comes up after so many seconds, or never."""

    def __init__(self, after: float | None = 0.0) -> None:
        super().__init__()
        self.users: list[FakeStream] = []
        self._after = after

    @override
    def user_stream(self, sink: UserSink) -> FakeStream:
        def start() -> None:
            if self._after is not None:
                loop = asyncio.get_running_loop()
                loop.call_later(self._after, stream.state, StreamState.CONNECTED)

        stream = FakeStream(sink, start)
        self.users.append(stream)
        return stream


def open_on(exchange: Slow) -> tuple[float, bool]:
    """Open an environment; return the seconds that it took and whether the stream is up then."""
    clock = VirtualClock(START)

    async def main() -> tuple[float, bool]:
        async with Environment(exchange, clock=clock) as env:
            return clock.time() - START, env.router.connected

    return clock.run(main())


def test_opening_waits_for_the_accounts_stream() -> None:
    """Nothing is traded before fills can be heard of: the opening lasts until the stream is up."""
    after = USER_STREAM_TIMEOUT / 2
    took, is_up = open_on(Slow(after))
    assert is_up
    assert took == pytest.approx(after)


def test_opening_goes_on_without_a_stream_that_does_not_come(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """After the time-out it says so and opens all the same: comparisons make up for what is missed."""
    with caplog.at_level(logging.WARNING):
        took, is_up = open_on(Slow(None))
    assert not is_up
    assert took == pytest.approx(USER_STREAM_TIMEOUT)
    assert [
        record.message for record in caplog.records if record.name == "polyframe.environment"
    ] == ["[paper] the account's stream is not up yet; it goes on trying"]


def test_the_account_has_one_connection_however_many_cycles() -> None:
    """The stream of the account is opened once, serves every cycle, and is closed with the run."""
    exchange, clock = Slow(), VirtualClock(START)

    async def main() -> None:
        async with Environment(exchange, clock=clock) as env:
            env.provide(Diary())
            trader = Trader(env)
            trader.add(Recorder(), on=SERIES)
            await trader.run(cycles=5)
            assert [False] == [stream.closed for stream in exchange.users]

    clock.run(main())
    assert [True] == [stream.closed for stream in exchange.users]
    assert len(exchange.all_streams) >= 5
    assert all(stream.closed for stream in exchange.all_streams)

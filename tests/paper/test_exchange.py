"""`PaperExchange` over an exchange in memory: orders, streams, resolutions."""

from __future__ import annotations

import asyncio
from decimal import Decimal
from pathlib import Path

import pytest

from polyframe.clock import VirtualClock
from polyframe.counters import Counters
from polyframe.errors import ConfigError, ExchangeUnavailable
from polyframe.exchange.base import DataStream, Exchange, MarketSink, TellsResolutions
from polyframe.model.events import (
    OrderReport,
    StreamState,
    TradePrint,
)
from polyframe.model.market import Market, Outcome
from polyframe.model.order import OrderType, PlaceResult, Side
from polyframe.paper import keeping
from polyframe.paper.exchange import PaperExchange
from polyframe.paper.keeping import KEY
from polyframe.trading.snapshotstore import MemoryStore
from tests.paper.kit import order
from tests.paper.scene import Sink, play, scene
from tests.support.fake import START, FakeExchange, FakeStream, snapshot


def test_it_is_an_exchange_without_real_money() -> None:
    """The name says what it is, nothing of it is live, and every account has a name of its own."""
    exchange: Exchange = PaperExchange(FakeExchange())
    assert (exchange.name, exchange.is_live, exchange.redeems) == ("paper on fake", False, True)
    assert exchange.account_name != PaperExchange(FakeExchange()).account_name


def test_an_order_takes_the_latency_and_is_told_of_on_the_stream() -> None:
    """It is answered after both latencies and the taker delay; the real venue hears of nothing."""

    async def act(clock: VirtualClock) -> None:
        async with scene(clock) as found:
            sent = clock.time()
            order_id, answer = await found.place(order("0.51", 10))
            assert answer.result is PlaceResult.MATCHED
            assert clock.time() - sent == pytest.approx(0.150, abs=0.002)
            assert found.told() == ["LIVE", "MATCHED", "MATCHED"]
            await clock.sleep(10)
            assert found.told()[3:] == ["MINED", "CONFIRMED"]
            assert found.inner.placed == []
            report = await found.exchange.fetch_order(order_id)
            assert report is not None
            assert report.status == "MATCHED"
            (trade,) = await found.exchange.fetch_trades(found.market)
            assert await found.exchange.fetch_trades(found.market, START + 900) == []
            assert trade.legs[0].price == Decimal("0.51")
            fee = found.market.fees.taker_fee(Decimal(10), Decimal("0.51"))
            assert await found.exchange.fetch_balance() == 1000 - Decimal("5.10") - fee
            assert found.user_sink.states == [(StreamState.CONNECTED, "")]

    play(act)


def test_several_orders_and_a_cancel() -> None:
    """Each order of a batch has its own answer; what rests is listed, and can be cancelled."""

    async def act(clock: VirtualClock) -> None:
        async with scene(clock) as found:
            exchange = found.exchange
            prepared = [
                exchange.prepare_order(found.market, request)
                for request in (order("0.40", 10), order("0.40", 1), order("0.51", 10))
            ]
            answers = await exchange.place_orders(prepared)
            results = [answer.result.value for answer in answers]
            assert results == ["live", "rejected", "matched"]
            (resting,) = await exchange.fetch_open_orders(found.market)
            assert resting.order_id == prepared[0].venue_id
            answer = await exchange.cancel_orders([resting.order_id, "nobody"])
            assert answer.cancelled == {resting.order_id}
            assert list(answer.refused) == ["nobody"]
            assert await exchange.fetch_open_orders() == []
            assert await exchange.fetch_order("nobody") is None
            with pytest.raises(ValueError, match="1 to 15 orders, got 0"):
                await exchange.place_orders([])

    play(act)


def test_a_trade_on_the_feed_fills_what_rests() -> None:
    """The strategy's sink hears the message first, then the account's stream tells of the fill."""

    async def act(clock: VirtualClock) -> None:
        async with scene(clock) as found:
            await found.place(order("0.49", 10))
            found.sell(4900, 104)
            assert isinstance(found.market_sink.messages[-1], TradePrint)
            assert found.told() == ["LIVE", "MATCHED", "LIVE"]
            last = found.user_sink.messages[-1]
            assert isinstance(last, OrderReport)
            assert last.size_matched == 4

    play(act)


def test_only_the_latest_stream_of_a_market_fills() -> None:
    """Two streams say everything twice; a trade is counted once all the same."""

    async def act(clock: VirtualClock) -> None:
        async with scene(clock) as found:
            old = found.stream
            second = Sink([], [])
            stream = found.exchange.market_stream(found.market, second)
            _, answer = await found.place(order("0.51", 10, order_type=OrderType.FAK))
            assert answer.code == "fak_not_filled"  # it has shown nothing yet
            stream.start()
            await clock.sleep(0.001)
            await found.place(order("0.49", 10))
            new, size = found.stream, Decimal(102)
            for each in (old, new):
                each.push(
                    TradePrint(
                        found.market.condition_id, found.market.up_token, 4900, size, Side.SELL
                    )
                )
                each.state(StreamState.CONNECTED)
            last = found.user_sink.messages[-1]
            assert isinstance(last, OrderReport)
            assert last.size_matched == 2

    play(act)


def test_a_lost_connection_makes_the_book_unknown() -> None:
    """Until the next books nothing is taken and nothing that rests is filled."""

    async def act(clock: VirtualClock) -> None:
        async with scene(clock) as found:
            found.stream.state(StreamState.LOST, "silent")
            _, answer = await found.place(order("0.51", 10, order_type=OrderType.FAK))
            assert answer.code == "fak_not_filled"
            found.stream.state(StreamState.CONNECTED)
            found.stream.push(snapshot(found.market, Outcome.UP))
            _, answer = await found.place(order("0.51", 10, order_type=OrderType.FAK))
            assert answer.result is PlaceResult.MATCHED
            assert (StreamState.LOST, "silent") in found.market_sink.states

    play(act)


def test_a_resolution_pays_and_is_passed_on() -> None:
    """Who asks the venue how a market ended makes the paper account redeem its winning shares."""

    async def act(clock: VirtualClock) -> None:
        async with scene(clock, store) as found:
            await found.place(order("0.51", 10))
            cash = await found.exchange.fetch_balance()
            assert await found.exchange.fetch_resolution(found.market) is None
            await clock.sleep_until(START + 961)
            resolution = await found.exchange.fetch_resolution(found.market)
            assert resolution is not None
            assert resolution.winner is Outcome.UP
            assert await found.exchange.fetch_balance() == cash + 10
            assert keeping.decode(store.read(KEY)).cash == cash + 10

    store = MemoryStore()
    play(act)


def test_a_sender_that_is_gone_does_not_call_the_order_back() -> None:
    """It was sent: it arrives although nobody waits for the answer."""

    async def act(clock: VirtualClock) -> None:
        async with scene(clock) as found:
            placing, other = (asyncio.create_task(found.place(order("0.40", 10))) for _ in range(2))
            await clock.sleep(0.01)
            placing.cancel()
            await asyncio.wait({placing})
            async with asyncio.timeout(1):
                assert (await other)[1].result is PlaceResult.LIVE
            assert len(await found.exchange.fetch_open_orders()) == 2

    play(act)


def test_what_is_under_way_at_the_end_is_unknown() -> None:
    """Who waits for an answer when the exchange closes is told that there is none."""

    async def act(clock: VirtualClock) -> None:
        async with scene(clock) as found:
            placing = asyncio.create_task(found.place(order("0.40", 10)))
            cancelling = asyncio.create_task(found.exchange.cancel_orders(["x"]))
            await clock.sleep(0.01)
            await found.exchange.close()
            assert (await placing)[1].result is PlaceResult.UNKNOWN
            with pytest.raises(ExchangeUnavailable):
                await cancelling
            await found.exchange.close()
            assert found.inner.closed

    play(act)


def test_the_account_stream_can_be_renewed_and_detached() -> None:
    """A resync is a loss and a new connection; a detached stream says nothing more."""

    async def act(clock: VirtualClock) -> None:
        async with scene(clock) as found:
            sink = Sink([], [])
            stream = found.exchange.user_stream(sink)
            await found.place(order("0.40", 10))
            assert sink.messages == []  # not started
            stream.start()
            await clock.sleep(0.001)
            stream.resync("test")
            await clock.sleep(0.001)
            assert [state for state, _ in sink.states] == [
                StreamState.CONNECTED,
                StreamState.LOST,
                StreamState.CONNECTED,
            ]
            stream.detach()
            stream.detach()
            await found.place(order("0.40", 10))
            assert sink.messages == []
            stream.resync("test")

    play(act)


def test_resolutions_are_told_where_the_venue_tells_them() -> None:
    """The stream of `inner` is passed on if there is one, and not promised if there is none."""

    class Telling(FakeExchange):
        def resolution_stream(self, market: Market, sink: MarketSink) -> DataStream:
            return FakeStream(sink, lambda: None)

    assert isinstance(PaperExchange(Telling()), TellsResolutions)
    assert not isinstance(PaperExchange(FakeExchange()), TellsResolutions)


def test_wrong_settings_are_named(tmp_path: Path) -> None:
    """The message has the field: cash, store."""
    with pytest.raises(ConfigError, match="cash: expected at least 0"):
        PaperExchange(FakeExchange(), cash=-1)
    with pytest.raises(ConfigError, match="cash: expected at least 0 and below 10"):
        PaperExchange(FakeExchange(), cash=Decimal("1e15"))
    with pytest.raises(ConfigError, match="cash: expected a finite decimal"):
        PaperExchange(FakeExchange(), cash="much")
    with pytest.raises(ConfigError, match=r"store: the folder .* does not exist"):
        PaperExchange(FakeExchange(), store=tmp_path / "no" / "where")


def test_it_opens_once() -> None:
    """Before it is open nothing works, and a second time is a mistake."""

    async def act(clock: VirtualClock) -> None:
        exchange = PaperExchange(FakeExchange())
        with pytest.raises(RuntimeError, match="call open"):
            await exchange.fetch_balance()
        await exchange.open(clock, Counters())
        with pytest.raises(RuntimeError, match="twice"):
            await exchange.open(clock, Counters())
        await exchange.close()

    play(act)

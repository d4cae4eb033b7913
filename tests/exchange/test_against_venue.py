"""The client against the local venue, end to end over real HTTP and WebSocket."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from decimal import Decimal

import pytest
from attrs import evolve, frozen

from polyframe.clock import ScaledClock
from polyframe.counters import Count, Counters
from polyframe.environment import Environment
from polyframe.errors import AuthenticationFailed, ExchangeUnavailable, RateLimited
from polyframe.exchange.base import PlaceAnswer
from polyframe.exchange.polymarket import (
    Credentials,
    PolymarketExchange,
    RateLimits,
    StreamSettings,
)
from polyframe.exchange.polymarket.checks import look_at_account
from polyframe.model.book import Book
from polyframe.model.events import (
    BookDelta,
    BookSnapshot,
    MarketResolved,
    OrderEventKind,
    OrderReport,
    StreamState,
    TradeReport,
)
from polyframe.model.market import Market, Outcome, Resolution
from polyframe.model.money import PRICE_UNITS, units_price
from polyframe.model.order import OrderRequest, OrderType, PlaceResult, Side
from polyframe.model.reference import PriceSource
from polyframe.model.series import Series, Window
from polyframe.model.trade import TradeStatus
from polyframe.reference import ReferencePrices
from tests.exchange.kit import Sink
from tests.exchange.servers import WatchedSink, only_this_task

pytest.importorskip("starlette", reason="the local venue needs the extra 'venue'")
pytest.importorskip("uvicorn", reason="the local venue needs the extra 'venue'")

from polyframe.venue import LocalVenue, SyntheticSource, VenueSettings

SERIES = Series.parse("btc-updown-15m")
WINDOW = Window(1790586000, 1790586900)
CONNECTED = (StreamState.CONNECTED, "")


@frozen
class Scene:
    """A venue, a client of it, and the market of the present window."""

    venue: LocalVenue
    exchange: PolymarketExchange
    counters: Counters
    market: Market

    def order(
        self,
        price: Decimal,
        size: int = 10,
        *,
        side: Side = Side.BUY,
        order_type: OrderType = OrderType.GTC,
        post_only: bool = False,
    ) -> OrderRequest:
        """Return a request for Up shares."""
        return OrderRequest(Outcome.UP, side, price, Decimal(size), order_type, post_only)

    async def place(self, request: OrderRequest) -> tuple[str, PlaceAnswer]:
        """Prepare and send one order; return its id and the answer."""
        prepared = self.exchange.prepare_order(self.market, request)
        return prepared.venue_id, await self.exchange.place_order(prepared)

    async def best_ask(self) -> Decimal:
        """Return the best ask of Up as a fresh stream shows it."""
        sink = WatchedSink()
        stream = self.exchange.market_stream(self.market, sink)
        stream.start()
        await sink.until(lambda: len(sink.messages) >= 2)
        await stream.close()
        for message in sink.messages:
            if isinstance(message, BookSnapshot) and message.token == self.market.up_token:
                return units_price(min(price for price, _ in message.asks))
        pytest.fail("no snapshot of the Up token")


@asynccontextmanager
async def _scene(
    speed: float = 4,
    settings: VenueSettings | None = None,
    streams: StreamSettings | None = None,
    start: float = WINDOW.start + 60,
) -> AsyncIterator[Scene]:
    clock, counters = ScaledClock(speed, start=start), Counters()
    source = SyntheticSource(SERIES, seed=7)
    async with LocalVenue(source, clock=clock, settings=settings) as venue:
        exchange = PolymarketExchange.local(venue.url, venue.account)
        if streams is not None:
            exchange.stream_settings = streams
        await exchange.open(clock, counters)
        try:
            market = await exchange.fetch_market(SERIES, WINDOW)
            assert market is not None
            yield Scene(venue, exchange, counters, market)
        finally:
            await exchange.close()
            assert only_this_task()


@asynccontextmanager
async def _account(scene: Scene) -> AsyncIterator[WatchedSink]:
    sink = WatchedSink()
    stream = scene.exchange.user_stream(sink)
    assert stream is not None
    stream.start()
    await sink.until(lambda: sink.states == [CONNECTED])
    try:
        yield sink
    finally:
        await stream.close()


def _kinds(sink: Sink, order_id: str) -> list[OrderEventKind]:
    return [
        message.kind
        for message in sink.messages
        if isinstance(message, OrderReport) and message.order_id == order_id
    ]


def test_markets_are_found_as_they_are_minted() -> None:
    """The market of now and of the next window are found; a hidden or not minted one is not."""

    async def main() -> None:
        async with _scene() as scene:
            assert scene.market.slug == SERIES.slug(WINDOW)
            assert scene.market.window == WINDOW
            assert scene.market.fees.rate == Decimal("0.07")
            following = SERIES.next(WINDOW)
            found = await scene.exchange.fetch_market(SERIES, following)
            assert found is not None
            assert not {found.up_token, found.down_token} & {
                scene.market.up_token,
                scene.market.down_token,
            }
            scene.venue.hide_market(found.slug)
            assert await scene.exchange.fetch_market(SERIES, following) is None
            far = Window(WINDOW.start + 900 * 200, WINDOW.end + 900 * 200)
            assert await scene.exchange.fetch_market(SERIES, far) is None
            assert scene.counters.reasons(Count.MARKET_WAITS) == {"not_found": 2}

    asyncio.run(main())


def test_a_market_that_is_not_hydrated_is_awaited() -> None:
    """A row without token ids is no market yet (PROTOCOL §1.4)."""

    async def main() -> None:
        settings = VenueSettings(mint_ahead=900 * 10, hydration=900 * 5)
        async with _scene(settings=settings) as scene:
            later = Window(WINDOW.start + 900 * 8, WINDOW.end + 900 * 8)
            assert await scene.exchange.fetch_market(SERIES, later) is None
            assert scene.counters.reasons(Count.MARKET_WAITS) == {"hydrating": 1}

    asyncio.run(main())


def test_both_books_stream_and_mirror_each_other() -> None:
    """Everything that the venue sends is understood, and both books follow as mirrors."""

    async def main() -> None:
        async with _scene(speed=20) as scene:
            sink = WatchedSink()
            stream = scene.exchange.market_stream(scene.market, sink)
            stream.start()
            await sink.until(lambda: sum(isinstance(m, BookDelta) for m in sink.messages) >= 30)
            await stream.close()
            assert scene.counters.reasons(Count.WIRE_SKIPPED) == {}
            books = {scene.market.up_token: Book(), scene.market.down_token: Book()}
            for message in sink.messages:
                if isinstance(message, BookSnapshot):
                    books[message.token].apply_snapshot(message.bids, message.asks)
                elif isinstance(message, BookDelta):
                    for change in message.changes:
                        book = books[change.token]
                        book.apply_change(change.is_bid, change.price, change.size)
                    last = {change.token: change for change in message.changes}
                    for token, change in last.items():
                        assert books[token].bid_units == change.best_bid
                        assert books[token].ask_units == change.best_ask
            up, down = books.values()
            assert up.bid_units == PRICE_UNITS - down.ask_units
            assert up.ask_units == PRICE_UNITS - down.bid_units

    asyncio.run(main())


def test_a_resting_order_lives_and_is_cancelled() -> None:
    """Placed, told on the user channel, listed, found, cancelled, told again, no longer listed."""

    async def main() -> None:
        async with _scene() as scene, _account(scene) as sink:
            order_id, answer = await scene.place(scene.order(Decimal("0.02"), post_only=True))
            assert answer == PlaceAnswer(PlaceResult.LIVE)
            await sink.until(lambda: _kinds(sink, order_id) == [OrderEventKind.PLACEMENT])
            (listed,) = await scene.exchange.fetch_open_orders(scene.market)
            assert (listed.order_id, listed.side) == (order_id, Side.BUY)
            assert (listed.price, listed.original_size) == (Decimal("0.02"), Decimal(10))
            assert listed.token == scene.market.up_token
            other = evolve(scene.market, condition_id="0x" + "0" * 64)
            assert await scene.exchange.fetch_open_orders(other) == []
            cancelled = await scene.exchange.cancel_orders([order_id, "0x" + "1" * 64])
            assert cancelled.cancelled == {order_id}
            assert list(cancelled.refused) == ["0x" + "1" * 64]
            await sink.until(lambda: OrderEventKind.CANCELLATION in _kinds(sink, order_id))
            assert await scene.exchange.fetch_open_orders() == []
            found = await scene.exchange.fetch_order(order_id)
            assert found is not None
            assert found.kind is OrderEventKind.CANCELLATION
            assert await scene.exchange.fetch_order("0x" + "1" * 64) is None
            assert scene.counters.reasons(Count.WIRE_SKIPPED) == {}

    asyncio.run(main())


def test_a_taken_offer_becomes_a_trade_that_settles() -> None:
    """A buy at the ask is matched; its trade is told until it is confirmed, and cash moves."""

    async def main() -> None:
        settings = VenueSettings(mined_after=0.5, confirmed_after=1.0)
        async with _scene(settings=settings) as scene, _account(scene) as sink:
            before = await scene.exchange.fetch_balance()
            ask = await scene.best_ask() + Decimal("0.05")
            order_id, answer = await scene.place(scene.order(ask, order_type=OrderType.FAK))
            assert answer == PlaceAnswer(PlaceResult.MATCHED)

            def reports() -> list[TradeReport]:
                return [message for message in sink.messages if isinstance(message, TradeReport)]

            await sink.until(lambda: {r.status for r in reports()} >= {TradeStatus.CONFIRMED})
            first = reports()[0]
            assert first.status is TradeStatus.MATCHED
            assert first.market == scene.market.condition_id
            (leg,) = first.legs
            assert (leg.order_id, leg.side, leg.is_taker) == (order_id, Side.BUY, True)
            assert leg.token == scene.market.up_token
            assert leg.price <= ask
            trades = await scene.exchange.fetch_trades(scene.market)
            assert {trade.trade_id for trade in trades} == {r.trade_id for r in reports()}
            cost = sum(
                leg.size * leg.price + scene.market.fees.taker_fee(leg.size, leg.price)
                for trade in trades
                for leg in trade.legs
            )
            assert before - await scene.exchange.fetch_balance() == cost > 0
            late = WINDOW.end + 10_000
            assert await scene.exchange.fetch_trades(scene.market, after=late) == []
            assert scene.counters.reasons(Count.WIRE_SKIPPED) == {}

    asyncio.run(main())


def test_refusals_have_their_codes() -> None:
    """What the venue refuses in its own words comes back as a stable code."""

    async def main() -> None:
        async with _scene() as scene:
            ask = await scene.best_ask()
            fok, fak = OrderType.FOK, OrderType.FAK
            for request, code in (
                (scene.order(Decimal("0.02"), size=100, order_type=fok), "fok_not_filled"),
                (scene.order(Decimal("0.02"), size=100, order_type=fak), "fak_not_filled"),
                (scene.order(Decimal("0.02"), order_type=fak), "min_notional"),
                (scene.order(Decimal("0.02"), size=1), "min_size"),
                (scene.order(Decimal("0.025")), "tick_size"),
                (scene.order(Decimal("0.9"), size=100_000), "not_enough_balance"),
                (scene.order(Decimal("0.9"), side=Side.SELL), "not_enough_balance"),
                (scene.order(ask + Decimal("0.1"), post_only=True), "post_only_would_cross"),
            ):
                _, answer = await scene.place(request)
                assert (answer.result, answer.code) == (PlaceResult.REJECTED, code), answer.text

    asyncio.run(main())


def test_a_lost_answer_is_found_by_its_id() -> None:
    """The order was accepted and the reply lost: unknown, and findable under the precomputed id."""

    async def main() -> None:
        async with _scene() as scene:
            scene.venue.fail_next("/order", 500, {"error": "Internal server error"}, accept=True)
            prepared = scene.exchange.prepare_order(scene.market, scene.order(Decimal("0.02")))
            assert (await scene.exchange.place_order(prepared)).result is PlaceResult.UNKNOWN
            found = await scene.exchange.fetch_order(prepared.venue_id)
            assert found is not None
            assert found.kind is OrderEventKind.PLACEMENT
            again = await scene.exchange.place_order(prepared)
            assert (again.result, again.code) == (PlaceResult.UNKNOWN, "duplicate")

    asyncio.run(main())


def test_orders_are_cancelled_by_market_and_all_at_once() -> None:
    """What rests is cancelled without naming it, and the answer says what it was."""

    async def main() -> None:
        async with _scene() as scene:
            low = scene.order(Decimal("0.01"), post_only=True)
            first, _ = await scene.place(low)
            second, _ = await scene.place(low)
            answer = await scene.exchange.cancel_market(scene.market)
            assert answer.cancelled == {first, second}
            third, _ = await scene.place(low)
            assert (await scene.exchange.cancel_all()).cancelled == {third}
            assert await scene.exchange.fetch_open_orders() == []
            assert (await scene.exchange.cancel_all()).cancelled == frozenset()

    asyncio.run(main())


@pytest.mark.parametrize("keeps_limits", [True, False])
def test_the_venues_limits_are_kept_before_it_has_to(keeps_limits: bool) -> None:
    """Ninety orders at once: held and refused here; what the venue refuses is not believed yet."""

    async def main() -> None:
        settings = VenueSettings(rate_enforced=True)
        async with _scene(settings=settings) as scene:
            limits = RateLimits() if keeps_limits else None
            hosts, credentials = scene.exchange.hosts, scene.exchange.credentials
            exchange = PolymarketExchange(hosts, credentials, rate_limits=limits)
            await exchange.open(scene.exchange._open_link.clock, scene.counters)
            request = scene.order(Decimal("0.01"), 5, post_only=True)
            batches = [
                [exchange.prepare_order(scene.market, request) for _ in range(15)] for _ in range(6)
            ]
            answers = [
                answer
                for batch in await asyncio.gather(*map(exchange.place_orders, batches))
                for answer in batch
            ]
            kinds = {(answer.result, answer.code) for answer in answers}
            refused = PlaceResult.REJECTED if keeps_limits else PlaceResult.UNKNOWN
            assert kinds == {(PlaceResult.LIVE, ""), (refused, "rate_limited")}
            held = [answer for answer in answers if "not sent" in answer.text]
            assert bool(held) is keeps_limits
            resting = await exchange.fetch_open_orders()
            assert len(resting) == sum(answer.result is PlaceResult.LIVE for answer in answers)
            assert len((await exchange.cancel_market(scene.market)).cancelled) == len(resting)
            await exchange.close()

    asyncio.run(main())


def test_the_engine_answers_public_questions() -> None:
    """Rules, books and prices of a market come from the engine itself."""

    async def main() -> None:
        async with _scene() as scene:
            data, market = scene.exchange.market_data, scene.market
            rules = await data.rules(market.condition_id)
            assert rules is not None
            assert rules.tokens == {"Up": market.up_token, "Down": market.down_token}
            assert (rules.tick_size, rules.min_size) == (market.tick_size, market.min_size)
            assert rules.fees == market.fees
            assert rules.is_accepting
            assert await data.rules("0x" + "0" * 64) is None
            books = await data.books([market.up_token, market.down_token, "1"])
            assert list(books) == [market.up_token, market.down_token]
            book = await data.book(market.up_token)
            assert book is not None
            bid, ask = max(p for p, _ in book.bids), min(p for p, _ in book.asks)
            assert 0 < bid < ask
            spread = await data.spread(market.up_token)
            assert spread is not None
            assert spread > 0
            assert await data.midpoint(market.up_token) is not None
            assert await data.tick_size(market.up_token) == market.tick_size
            assert await data.version() == 2
            assert await data.is_up()

    asyncio.run(main())


def test_a_position_is_on_record_once_it_is_settled() -> None:
    """The account's shares, trades and activity can be checked after the fact."""

    async def main() -> None:
        settings = VenueSettings(mined_after=0.1, confirmed_after=0.2)
        async with _scene(settings=settings) as scene, _account(scene) as sink:
            await scene.place(scene.order(await scene.best_ask() + Decimal("0.02")))

            def is_confirmed() -> bool:
                return any(
                    isinstance(message, TradeReport) and message.status is TradeStatus.CONFIRMED
                    for message in sink.messages
                )

            await sink.until(is_confirmed)
            records = scene.exchange.data_api
            (position,) = await records.positions([scene.market.condition_id])
            assert (position.token, position.outcome) == (scene.market.up_token, "Up")
            trades = await records.trades()
            assert sum(trade.size for trade in trades) == position.size
            activity = await records.activity([scene.market.condition_id])
            assert {item.kind for item in activity} == {"TRADE"}
            shares = await scene.exchange.fetch_shares(scene.market, Outcome.UP)
            assert shares == position.size
            report = await look_at_account(scene.exchange)
            (again,) = report.positions
            assert evolve(again, current_price=position.current_price) == position
            assert report.cash < 1000
            assert not report.is_closed_only
            assert report.open_orders == 0
            assert report.redeemable == 0
            assert report.region is None

    asyncio.run(main())


def test_the_venue_cancels_when_the_heart_stops() -> None:
    """With a heartbeat orders rest; when it ends, they are gone soon after."""

    async def main() -> None:
        settings = VenueSettings(heartbeat_timeout=0.4)
        async with _scene(settings=settings) as scene, _account(scene) as sink:
            beating = PolymarketExchange(
                scene.exchange.hosts, scene.exchange.credentials, heartbeat=0.1
            )
            await beating.open(scene.exchange._open_link.clock, scene.counters)
            order_id, _ = await scene.place(scene.order(Decimal("0.01"), post_only=True))
            await asyncio.sleep(0.8)  # twice as long as the venue waits for a sign of life
            assert len(await scene.exchange.fetch_open_orders()) == 1
            await beating.close()
            await sink.until(lambda: OrderEventKind.CANCELLATION in _kinds(sink, order_id))
            assert scene.counters.get(Count.HEARTBEATS, "sent") >= 5

    asyncio.run(main())


def test_troubles_of_the_venue_have_types() -> None:
    """A restart, a limit and an outage come back as answers for orders and errors elsewhere."""

    async def main() -> None:
        async with _scene() as scene:
            for status, expected in (
                (425, (PlaceResult.REJECTED, "restarting")),
                (429, (PlaceResult.UNKNOWN, "rate_limited")),
            ):
                scene.venue.fail_next("/order", status)
                _, answer = await scene.place(scene.order(Decimal("0.02")))
                assert (answer.result, answer.code) == expected
            scene.venue.fail_next("/data/orders", 429, headers={"Retry-After": "7"})
            with pytest.raises(RateLimited) as caught:
                await scene.exchange.fetch_open_orders()
            assert caught.value.retry_after == 7
            scene.venue.fail_next("/balance-allowance", 502)
            with pytest.raises(ExchangeUnavailable):
                await scene.exchange.fetch_balance()

    asyncio.run(main())


def test_wrong_credentials_are_refused_everywhere() -> None:
    """A wrong passphrase fails calls and orders with "auth" and keeps the account stream out."""

    async def main() -> None:
        async with _scene() as scene:
            account = scene.venue.account
            wrong = Credentials(account.api_key, account.secret, "wrong", account.address)
            exchange = PolymarketExchange(hosts=scene.exchange.hosts, credentials=wrong)
            await exchange.open(ScaledClock(1, start=WINDOW.start + 60), Counters())
            with pytest.raises(AuthenticationFailed):
                await exchange.fetch_balance()
            prepared = exchange.prepare_order(scene.market, scene.order(Decimal("0.02")))
            answer = await exchange.place_order(prepared)
            assert (answer.result, answer.code) == (PlaceResult.REJECTED, "auth")
            sink = WatchedSink()
            stream = exchange.user_stream(sink)
            assert stream is not None
            stream.start()
            await sink.until(lambda: (StreamState.LOST, "closed") in sink.states)
            await stream.close()
            await exchange.close()

    asyncio.run(main())


def test_streams_survive_what_the_venue_does_to_them() -> None:
    """Cut connections are replaced, frozen ones given up, and fresh books come on request."""

    async def main() -> None:
        streams = StreamSettings(silence=1.0, backoff_base=0.02, backoff_cap=0.05)
        async with _scene(speed=20, streams=streams) as scene, _account(scene) as account:
            sink = WatchedSink()
            stream = scene.exchange.market_stream(scene.market, sink)

            def snapshots() -> int:
                return sum(isinstance(message, BookSnapshot) for message in sink.messages)

            stream.start()
            await sink.until(lambda: snapshots() >= 2)
            sink.messages.clear()
            stream.resync("test")
            await sink.until(lambda: snapshots() >= 2)
            assert sink.states == [CONNECTED]
            scene.venue.drop_connections("all")
            await sink.until(lambda: len(sink.states) == 3)
            await account.until(lambda: len(account.states) == 3)
            frozen = scene.venue.faults.inject("market_freeze", seconds=60)
            await sink.until(lambda: (StreamState.LOST, "silence") in sink.states)
            frozen.stop()
            sink.messages.clear()
            await sink.until(lambda: snapshots() >= 2)
            await stream.close()

    asyncio.run(main())


@pytest.mark.parametrize("has_credentials", [False, True])
def test_the_price_to_beat_decides_the_market(has_credentials: bool) -> None:
    """The feeds tell the prices at both ends of a window, and the venue resolves it by them."""

    async def main() -> None:
        clock = ScaledClock(20, start=WINDOW.end - 20)
        settings = VenueSettings(resolve_after=10)
        async with LocalVenue(
            SyntheticSource(SERIES, seed=7), clock=clock, settings=settings
        ) as venue:
            local = PolymarketExchange.local(venue.url, venue.account)
            credentials = local.credentials if has_credentials else None
            exchange = PolymarketExchange(hosts=local.hosts, credentials=credentials)
            env = Environment(exchange=exchange, clock=clock)
            prices = ReferencePrices(exchange, SERIES)
            env.provide(prices)
            async with env, asyncio.timeout(20):
                assert prices.price_to_beat(_market(WINDOW)).unknown in {"missed", "waiting"}
                market = _market(SERIES.next(WINDOW))
                beat = await prices.wait_price_to_beat(market)
                assert beat.is_final
                assert (beat.source, beat.instant) == (PriceSource.TWAP, WINDOW.end)
                feeds = {"rtds": 1, "live": 1} if has_credentials else {"rtds": 1}
                connects = env.counters.reasons(Count.STREAM_CONNECTS)
                assert {name: connects.get(name) for name in feeds} == feeds
                assert not env.counters.get(Count.REFERENCE_SKIPPED)
                assert not env.counters.get(Count.WIRE_SKIPPED)
            assert only_this_task()

    asyncio.run(main())


def _market(window: Window) -> Market:
    return Market(SERIES.slug(window), SERIES, window, "0x1", "11", "12")


def test_a_resolution_is_told_to_who_listens_after_the_end() -> None:
    """A stream that is opened when trading is over hears of the resolution."""

    async def main() -> None:
        settings = VenueSettings(resolve_after=20)
        async with _scene(speed=20, settings=settings, start=WINDOW.end - 10) as scene:
            sink = WatchedSink()
            await scene.exchange._open_link.clock.sleep_until(WINDOW.end + 1)
            stream = scene.exchange.resolution_stream(scene.market, sink)
            stream.start()
            await sink.until(lambda: bool(sink.messages))
            await stream.close()
            (told,) = sink.messages
            assert isinstance(told, MarketResolved)
            found = await scene.exchange.fetch_resolution(scene.market)
            assert found is not None
            assert scene.market.outcome(told.winning_token) is found.winner

    asyncio.run(main())


def test_the_end_of_a_market() -> None:
    """After the window the market resolves: stream, Gamma and CLOB agree, and it is closed."""

    async def main() -> None:
        settings = VenueSettings(resolve_after=5)
        async with (
            _scene(speed=20, settings=settings, start=WINDOW.end - 40) as scene,
            _account(scene) as account,
        ):
            sink = WatchedSink()
            stream = scene.exchange.market_stream(scene.market, sink)
            stream.start()
            assert await scene.exchange.fetch_resolution(scene.market) is None
            # Shares of the outcome that is ahead do not become so cheap in the last seconds.
            ahead = Outcome.UP if await scene.best_ask() > Decimal("0.5") else Outcome.DOWN
            order_id, _ = await scene.place(evolve(scene.order(Decimal("0.01")), outcome=ahead))
            await account.until(lambda: OrderEventKind.CANCELLATION in _kinds(account, order_id))
            await sink.until(lambda: any(isinstance(m, MarketResolved) for m in sink.messages))
            await stream.close()
            resolution = await scene.exchange.fetch_resolution(scene.market)
            assert resolution is not None
            assert resolution.source == "gamma"
            told = [message for message in sink.messages if isinstance(message, MarketResolved)]
            assert told[0].winning_token == scene.market.token(resolution.winner)
            scene.venue.fail_next(f"/markets/slug/{scene.market.slug}", 500)
            fallback = await scene.exchange.fetch_resolution(scene.market)
            assert fallback == Resolution(resolution.winner, "clob")
            assert await scene.exchange.fetch_market(SERIES, WINDOW) is None
            assert scene.counters.reasons(Count.WIRE_SKIPPED) == {}

    asyncio.run(main())

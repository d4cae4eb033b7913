"""For every count of trading on paper: something that makes it happen."""

from __future__ import annotations

from decimal import Decimal

from polyframe.clock import VirtualClock
from polyframe.counters import Count, Counters
from polyframe.model.events import MarketMessage, StreamState, TradePrint
from polyframe.model.market import Market, Outcome
from polyframe.model.order import Side
from polyframe.trading.snapshotstore import MemoryStore
from tests.paper.kit import order
from tests.paper.scene import Scene, scene
from tests.paper.test_keeping import FullStore
from tests.support.fake import START, delta, make_market, snapshot
from tests.support.produce_events import Producer

MARKET = make_market()


def _print(units: int, size: Decimal | None, side: Side | None) -> TradePrint:
    return TradePrint(MARKET.condition_id, MARKET.up_token, units, size, side)


def _other(market: Market) -> Market:
    return make_market(market.series, market.window.end)


def _play(
    *messages: MarketMessage, is_lost: bool = False, store: MemoryStore | None = None
) -> Producer:
    """Let an order rest, then hear some messages."""

    async def act(found: Scene) -> None:
        await found.place(order("0.40", 10))
        if is_lost:
            found.stream.state(StreamState.LOST)
        for message in messages:
            found.stream.push(message)

    def produce() -> Counters:
        clock = VirtualClock(START + 60)

        async def main() -> Counters:
            async with scene(clock, store) as found:
                await act(found)
            return found.counters

        return clock.run(main())

    return produce


_WHOLE = snapshot(MARKET, Outcome.UP, ms=START * 1000)
_OLDER = snapshot(MARKET, Outcome.UP, ms=START * 1000 - 1)

PAPER: dict[tuple[Count, str], Producer] = {
    (Count.PAPER_SKIPPED, reason): producer
    for reason, producer in {
        "token": _play(snapshot(_other(MARKET), Outcome.UP)),
        "price": _play(delta(MARKET, Outcome.UP, 10_000, 5, is_bid=False)),
        "older_snapshot": _play(_WHOLE, _OLDER),
        "unknown_book": _play(delta(MARKET, Outcome.UP, 4800, 5, is_bid=True), is_lost=True),
        "print_size": _play(_print(4900, None, Side.SELL)),
        "print_side": _play(_print(5000, Decimal(10), None)),
        "print_untradable": _play(_print(4900, Decimal(10), Side.SELL), is_lost=True),
        "not_kept": _play(store=FullStore()),
    }.items()
}

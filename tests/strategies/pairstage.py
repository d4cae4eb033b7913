"""One market whose book is mirrored, and fills by hand: for tests of strategies that buy pairs."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from decimal import Decimal
from typing import Any

from polyframe.exchange.base import MarketSink
from polyframe.model.events import BookSnapshot, StreamState
from polyframe.model.market import Market, Outcome
from polyframe.model.order import OrderRequest
from polyframe.strategy import Strategy
from tests.support.fake import START, FakeExchange, FakeStream, snapshot, trade_report
from tests.support.stage import Stage, play, settle

UP, DOWN = Outcome.UP, Outcome.DOWN


class QuotedExchange(FakeExchange):
    """An exchange whose markets begin at this top of Up, in cents."""

    def __init__(self, bid: int, ask: int) -> None:
        super().__init__()
        self.first = bid, ask

    def market_stream(self, market: Market, sink: MarketSink) -> FakeStream:
        def show() -> None:
            stream.state(StreamState.CONNECTED)
            for message in mirrored_books(market, *self.first):
                stream.push(message)

        stream = super().market_stream(market, sink)
        stream._on_start = show
        return stream


def mirrored_books(market: Market, bid: int, ask: int) -> list[BookSnapshot]:
    """Return both displays of a book, given the top of Up in cents."""
    return [
        snapshot(market, UP, bid * 100, ask * 100),
        snapshot(market, DOWN, 10_000 - ask * 100, 10_000 - bid * 100),
    ]


async def quote(stage: Stage, bid: int, ask: int) -> None:
    """Show Up's top in cents, and Down's as its mirror, and let the strategy act."""
    for message in mirrored_books(stage.session.market, bid, ask):
        stage.exchange.streams[stage.session.slug].push(message)
    await settle()


async def fill(
    stage: Stage, number: int, size: int | str = 10, *, takes: bool = False, tell: bool = True
) -> None:
    """Fill the order that was placed as `number` at its limit; without `tell` only if asked."""
    prepared, exchange = stage.exchange.placed[number], stage.exchange
    report = trade_report(
        prepared.market,
        f"trade{number}-{len(exchange.trades)}",
        prepared.venue_id,
        prepared.request.outcome,
        size=Decimal(size),
        price=prepared.request.price,
        side=prepared.request.side,
        is_taker=takes,
    )
    exchange.trades.append(report)
    known = exchange.known[prepared.venue_id]
    exchange.change(prepared.venue_id, size_matched=known.size_matched + Decimal(size))
    if tell:
        assert exchange.user is not None
        exchange.user.push(report)
    await settle()


async def wait(stage: Stage, seconds: float) -> None:
    """Let market time pass."""
    await stage.env.clock.sleep(seconds)
    await settle()


def asked(stage: Stage) -> list[OrderRequest]:
    """Return what was asked of the venue so far."""
    return [prepared.request for prepared in stage.exchange.placed]


def short(stage: Stage) -> list[str]:
    """Return what was asked of the venue so far, in words."""
    return [
        f"{r.side} {r.size.normalize():f} {r.outcome} {r.price}{' post' if r.post_only else ''}"
        for r in asked(stage)
    ]


def perform(
    strategy: Strategy,
    act: Callable[[Stage], Awaitable[Any]],
    *,
    exchange: FakeExchange | None = None,
    start: float = START,
    **mount: Any,
) -> list[str]:
    """Play one cycle, whose book begins at 0.49/0.51, and return what was asked of the venue."""

    async def main(stage: Stage) -> list[str]:
        await stage.open_cycle()
        await act(stage)
        return short(stage)

    return play(main, strategy, exchange=exchange, start=start, **mount)

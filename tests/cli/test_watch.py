"""The story of a run in events, and its report in tables."""

from __future__ import annotations

import asyncio
import io
from collections.abc import Awaitable, Callable
from decimal import Decimal
from typing import Any

import pytest
from rich.console import Console

from polyframe.cli.report import print_report
from polyframe.cli.watch import Event, Watch, price, shares, signed
from polyframe.counters import Count, Counters
from polyframe.exchange.base import PlaceAnswer
from polyframe.model.events import OrderEventKind
from polyframe.model.market import Outcome
from polyframe.model.order import OrderType, PlaceResult, Side
from polyframe.model.trade import TradeStatus
from polyframe.trading.ledger import CycleRecord, CycleStatus
from tests.support.fake import START, FakeExchange, make_market, order_report, trade_report
from tests.support.stage import Recorder, Stage, play, settle

FIRST = make_market()
CANCELLATION = OrderEventKind.CANCELLATION


def story(
    act: Callable[[Stage], Awaitable[Any]],
    *,
    exchange: FakeExchange | None = None,
    more: bool = True,
) -> list[tuple[str, str]]:
    """Return the events of a run: kind and text."""
    seen: list[Event] = []

    async def main(stage: Stage) -> None:
        Watch(stage.env, stage.trader, seen.append, lambda _: more)
        await stage.open_cycle()
        await act(stage)
        await settle()

    play(main, Recorder(), exchange=exchange)
    return [(event.kind, event.text) for event in seen]


async def push(stage: Stage, *reports: Any) -> None:
    """Send account events."""
    assert stage.exchange.user is not None
    for report in reports:
        stage.exchange.user.push(report)
    await settle()


async def buy(stage: Stage, **more: Any) -> None:
    """Buy ten Up at 0.50."""
    trading = stage.trading.handle("Recorder")
    await trading.buy(Outcome.UP, price=Decimal("0.50"), size=Decimal(10), **more)
    await settle()


def test_an_order_that_is_filled() -> None:
    """Accepted, then filled with its fee; how the trade settles is no news."""
    trade = trade_report(FIRST, "t", "0xorder1")

    async def act(stage: Stage) -> None:
        await buy(stage)
        await push(stage, trade, trade_report(FIRST, "t", "0xorder1", status=TradeStatus.CONFIRMED))

    assert story(act)[:3] == [
        ("cycle", f"{FIRST.slug} begins"),
        ("order", "BUY 10 Up at 0.50 GTC accepted"),
        ("fill", "bought 10 Up at 0.50, fee 0.18 USD"),
    ]
    assert len([kind for kind, _ in story(act) if kind == "fill"]) == 1


def test_a_maker_pays_no_fee_and_a_failed_fill_is_told() -> None:
    """Both are worth a word."""

    async def act(stage: Stage) -> None:
        await buy(stage, post_only=True)
        await push(
            stage,
            trade_report(FIRST, "t", "0xorder1", is_taker=False),
            trade_report(FIRST, "t", "0xorder1", is_taker=False, status=TradeStatus.FAILED),
        )

    texts = [text for kind, text in story(act) if kind == "fill"]
    assert texts == [
        "bought 10 Up at 0.50, as maker, no fee",
        "bought 10 Up at 0.50, did not settle and is reversed",
    ]


def test_a_killed_order_gives_the_first_sentence_of_the_reason() -> None:
    """The venue's explanation after it is left out."""
    exchange = FakeExchange()
    exchange.answers = [
        PlaceAnswer(PlaceResult.REJECTED, "fak_not_filled", "no orders found. FAK orders are")
    ]

    async def act(stage: Stage) -> None:
        await buy(stage, order_type=OrderType.FAK)

    assert story(act, exchange=exchange)[1] == (
        "order",
        "BUY 10 Up at 0.50 FAK cancelled (no orders found)",
    )


@pytest.mark.parametrize("words", ["CANCELED", "CANCELLED"])
def test_a_cancelled_order_is_not_called_so_twice(words: str) -> None:
    """The venue's status is no reason; what it says beyond that is."""

    async def act(stage: Stage) -> None:
        await buy(stage, post_only=True)
        await push(stage, order_report(FIRST, "0xorder1", kind=CANCELLATION, status=words))

    assert ("order", "BUY 10 Up at 0.50 post-only cancelled") in story(act)


def test_an_order_of_somebody_else_is_told() -> None:
    """Foreign orders in the market are news, too."""

    async def act(stage: Stage) -> None:
        await push(stage, order_report(FIRST, "0xforeign", side=Side.SELL))

    assert ("order", "SELL 10 Up at 0.50 GTC accepted") in story(act)


def test_with_several_series_each_line_names_its_market() -> None:
    """An order says which market it is in, a pause which series; with one series neither does."""
    seen: list[Event] = []

    async def main(stage: Stage) -> None:
        stage.trader.add(Recorder(), on="eth-updown-5m")
        Watch(stage.env, stage.trader, seen.append, lambda series: series.asset == "btc")
        await stage.open_cycle()
        await buy(stage)
        stage.scheduler.switch(None)
        await settle()

    play(main, Recorder())
    texts = [event.text for event in seen if event.kind in {"order", "pause"}]
    assert texts[:2] == [
        f"{FIRST.slug}: BUY 10 Up at 0.50 GTC accepted",
        "btc-updown-15m: no market now: trading is paused until the next one appears",
    ]


def test_the_end_of_a_cycle_and_its_result() -> None:
    """A cycle is over, the next begins, and later the first one's result comes with its profit."""

    async def act(stage: Stage) -> None:
        await buy(stage)
        await push(stage, trade_report(FIRST, "t", "0xorder1", is_taker=False))
        await stage.open_cycle(START + 900)
        await stage.env.clock.sleep_until(START + 1_000)

    second = make_market(start=START + 900).slug
    told = [event for event in story(act) if event[0] in {"cycle", "result", "pause"}]
    assert told[:4] == [
        ("cycle", f"{FIRST.slug} begins"),
        ("cycle", f"{FIRST.slug} is over"),
        ("cycle", f"{second} begins"),
        ("result", f"{FIRST.slug}: Up wins, profit +5.00 USD"),
    ]


@pytest.mark.parametrize(("more", "pauses"), [(True, 1), (False, 0)])
def test_a_pause_is_told_only_if_another_market_is_to_follow(more: bool, pauses: int) -> None:
    """After the last cycle there is nothing to wait for."""

    async def act(stage: Stage) -> None:
        stage.scheduler.switch(None)
        await settle()

    assert [kind for kind, _ in story(act, more=more)].count("pause") == pauses


def test_a_market_without_result_is_told_at_the_end() -> None:
    """When the run ends first, the market's result stays open."""

    async def act(stage: Stage) -> None:
        await asyncio.sleep(0)

    assert story(act, more=False)[-1] == (
        "result",
        f"{FIRST.slug}: not resolved when the run ended",
    )


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("0.5", "0.50"),
        ("0.61", "0.61"),
        ("0.613", "0.613"),
        ("0.9990", "0.999"),
        ("0.52333333333333333333", "0.523333"),
        (None, "–"),
    ],
)
def test_prices_have_two_to_six_decimals(value: str | None, text: str) -> None:
    """As many as they need, at least two, and not all of a mean."""
    assert price(None if value is None else Decimal(value)) == text


def test_shares_and_profits_are_short() -> None:
    """No needless zeros, and a sign where there is something to sign."""
    assert [shares(Decimal(n)) for n in ("10", "10.50", "100", "0.25")] == [
        "10",
        "10.5",
        "100",
        "0.25",
    ]
    assert [signed(n) for n in (Decimal("1.005"), Decimal(-2), Decimal(0), None)] == [
        "+1.00",
        "-2.00",
        "0.00",
        "–",
    ]


def record(number: int, **changes: Any) -> CycleRecord:
    """Return the record of a cycle with one trade."""
    values: dict[str, Any] = {
        "series": "btc-updown-15m",
        "slug": f"btc-updown-15m-{number}",
        "generation": number,
        "status": CycleStatus.RESOLVED,
        "orders": 2,
        "fills": 1,
        "volume": Decimal(5),
        "fees": Decimal("0.175"),
        "cash_flow": Decimal("-5.175"),
        "payout": Decimal(10),
        "winner": Outcome.UP,
        "profit": Decimal("4.825"),
    }
    return CycleRecord(**(values | changes))


def report(*records: CycleRecord, width: int = 100, **counts: int) -> list[str]:
    """Return the lines of a report."""
    counters = Counters()
    for name, count in counts.items():
        counters.add(Count[name], "why", count)
    console = Console(width=width, color_system=None, file=io.StringIO())
    with console.capture() as captured:
        print_report(console, records, counters, notes=["The end."])
    return [line.rstrip() for line in captured.get().splitlines()]


def test_the_report_adds_up() -> None:
    """Totals are sums of what is exact; an open result adds nothing."""
    lines = report(
        record(1),
        record(2, profit=Decimal("-1.5"), winner=Outcome.DOWN),
        record(3, profit=None, winner=None, status=CycleStatus.UNRESOLVED),
    )
    text = "\n".join(" ".join(line.split()) for line in lines)
    assert "btc-updown-15m-1 2 1 0.18 Up won +4.82" in text
    assert "btc-updown-15m-2 2 1 0.18 Down won -1.50" in text
    assert "btc-updown-15m-3 2 1 0.18 not resolved –" in text
    assert "total 6 3 0.52 +3.32" in text
    assert lines[-1] == " The end."


def test_a_long_run_has_rows_for_its_last_cycles() -> None:
    """What is left out is counted, and in the totals."""
    lines = report(*map(record, range(53)))
    text = "\n".join(" ".join(line.split()) for line in lines)
    assert "… 3 earlier\nbtc-updown-15m-3 2 1" in text
    assert "btc-updown-15m-2 " not in text
    assert text.count("btc-updown-15m-") == 50
    assert "total 106 53" in text


def test_the_report_has_the_counters_with_their_reasons() -> None:
    """Four of them always, the others where there is something to tell."""
    lines = report(record(1), MARKET_MESSAGES=12_000, GATE_DROPPED=3, ORDERS_DENIED=1)
    text = "\n".join(" ".join(line.split()) for line in lines)
    assert "events in 12,000 market 12,000" in text
    assert "gated 3 why 3" in text
    assert "stale commands 0" in text
    assert "reconnects 0" in text
    assert "orders denied 1 why 1" in text
    assert "strategy errors" not in text


def test_a_run_without_cycles_has_a_report() -> None:
    """It says so."""
    assert " No cycle was begun." in report()


def test_a_note_is_one_line_however_long_it_is() -> None:
    """A path in it can be copied."""
    console = Console(width=40, color_system=None, file=io.StringIO())
    with console.capture() as captured:
        print_report(console, [], Counters(), notes=["x" * 100])
    assert captured.get().splitlines()[-1] == " " + "x" * 100


@pytest.mark.parametrize("width", [40, 60, 80])
def test_numbers_survive_a_narrow_terminal(width: int) -> None:
    """Names are folded where there is no room, numbers are never cut."""
    lines = report(record(1_790_586_000), width=width)
    assert max(len(line) for line in lines) <= width
    text = "\n".join(lines)
    assert "+4.82" in text or width < 60
    assert "0.18" in text or width < 60

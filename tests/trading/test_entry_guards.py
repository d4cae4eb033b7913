"""The guards of a strategy at work: through a trader, with an exchange in memory."""

from __future__ import annotations

import asyncio
from decimal import Decimal
from typing import Any

import msgspec
import pytest
from attrs import define
from typing_extensions import override

from polyframe.counters import Count
from polyframe.errors import ConfigError, OrderDenied
from polyframe.exchange.base import PlaceAnswer
from polyframe.model.conversion import ReceiptState
from polyframe.model.events import PriceChanged
from polyframe.model.market import Outcome
from polyframe.model.order import OrderRequest, OrderType, PlaceResult, Side
from polyframe.model.trade import TradeStatus
from polyframe.strategy import Strategy
from polyframe.trading.guards import EntryGuards
from polyframe.trading.handle import StrategyTrading
from tests.support.contracts import ConvertingExchange
from tests.support.fake import START, FakeExchange, make_market, snapshot, trade_report
from tests.support.stage import Recorder, Stage, play, settle

FIRST = make_market(start=START)
END = START + 900
UP, DOWN = Outcome.UP, Outcome.DOWN
TEN = Decimal(10)
FORTY, HALF = Decimal("0.40"), Decimal("0.50")


def guarded(act: Any, exchange: FakeExchange | None = None, **guards: Any) -> None:
    """Run `act` with a stage and the handle of a guarded strategy, in an open cycle."""

    async def main(stage: Stage) -> None:
        await stage.open_cycle()
        await act(stage, stage.trading.handle("Recorder"))

    play(main, exchange=exchange, guards=EntryGuards(**guards))


async def denied(stage: Stage, trading: StrategyTrading, rule: str, **order: Any) -> str:
    """Ask for an order that `rule` forbids; return the message."""
    wanted: dict[str, Any] = {"outcome": UP, "price": FORTY, "size": TEN} | order
    sent = len(stage.exchange.placed)
    with pytest.raises(OrderDenied) as caught:
        await trading.buy(**wanted)
    assert caught.value.rule == rule
    assert len(stage.exchange.placed) == sent
    return str(caught.value)


def fill(stage: Stage, number: int, outcome: Outcome = UP, side: Side = Side.BUY) -> None:
    """Let the venue tell that its order `number` (from 1) was filled with ten shares at 0.50."""
    report = trade_report(
        FIRST, f"t{number}", f"0xorder{number}", outcome, size=TEN, price=HALF, side=side
    )
    now_ms = int(stage.env.clock.time() * 1000)
    stage.env.router.on_user_message(msgspec.structs.replace(report, match_time_ms=now_ms))


def show(stage: Stage, outcome: Outcome, bid: int, ask: int) -> None:
    """Show a book, in cents."""
    stage.exchange.streams[FIRST.slug].push(snapshot(FIRST, outcome, bid * 100, ask * 100))


# ---------------------------------------------------------------------- times


def test_warm_up_counts_from_the_strategys_start() -> None:
    """For so many seconds after the strategy has started nothing is entered; then it is."""

    async def act(stage: Stage, trading: StrategyTrading) -> None:
        await stage.env.clock.sleep(9)
        text = await denied(stage, trading, "guard_warm_up")
        assert "started 9.0 s ago, warm_up is 10" in text
        await stage.env.clock.sleep(1)
        await trading.buy(UP, price=FORTY, size=TEN)

    guarded(act, warm_up=10)


def test_each_cycle_begins_anew() -> None:
    """Warm-up, entries and budget of one cycle say nothing about the next."""

    async def act(stage: Stage, trading: StrategyTrading) -> None:
        await stage.env.clock.sleep(10)
        await trading.buy(UP, price=FORTY, size=TEN)
        await denied(stage, trading, "guard_entries")
        await stage.open_cycle(END)
        following = stage.trading.handle("Recorder")
        await denied(stage, following, "guard_warm_up")
        await stage.env.clock.sleep(10)
        await following.buy(UP, price=FORTY, size=TEN)
        assert stage.trading.record() is not None

    guarded(act, warm_up=10, max_entries=1, max_budget=Decimal(4))


def test_the_memory_of_a_cycle_ends_with_it() -> None:
    """A program that trades for days does not keep what it knew of the orders of every cycle."""

    async def act(stage: Stage, trading: StrategyTrading) -> None:
        await trading.buy(UP, price=FORTY, size=TEN)
        book = stage.trading._guards
        assert book._calls
        assert book._reach
        await stage.open_cycle(END)
        assert (book._calls, book._reach, book._exempt) == ({}, {}, set())
        assert list(book._started) == ["Recorder"]

    guarded(act, max_entries=1)


def test_the_entry_window() -> None:
    """Nothing is entered before `entry_after` and after `entry_before_end`."""

    async def act(stage: Stage, trading: StrategyTrading) -> None:
        assert "entry_after is 60" in await denied(stage, trading, "guard_entry_window")
        await stage.env.clock.sleep_until(START + 60)
        await trading.buy(UP, price=FORTY, size=TEN)
        await stage.env.clock.sleep_until(END - 30)
        show(stage, UP, 40, 41)
        await settle()
        await trading.buy(UP, price=FORTY, size=TEN)
        await stage.env.clock.sleep_until(END - 29)
        assert "entry_before_end is 30" in await denied(stage, trading, "guard_entry_window")

    guarded(act, entry_after=60, entry_before_end=30)


def test_cool_down_counts_also_after_a_refusal() -> None:
    """An entry that the venue refuses is not tried again at once, ten times a second."""
    exchange = FakeExchange()
    exchange.answers = [PlaceAnswer(PlaceResult.REJECTED, "not_enough_balance", "no")]

    async def act(stage: Stage, trading: StrategyTrading) -> None:
        with pytest.raises(Exception, match="not_enough_balance"):
            await trading.buy(UP, price=FORTY, size=TEN)
        await stage.env.clock.sleep(4)
        assert "was 4.0 s ago, cool_down is 5" in await denied(stage, trading, "guard_cool_down")
        await stage.env.clock.sleep(1)
        await trading.buy(UP, price=FORTY, size=TEN)

    guarded(act, exchange, cool_down=5)


def test_orders_of_one_call_do_not_cool_each_other_down() -> None:
    """Several orders that are placed at once leave together; the next call has to wait."""
    requests = [OrderRequest(outcome, Side.BUY, FORTY, TEN) for outcome in (UP, DOWN)]

    async def act(stage: Stage, trading: StrategyTrading) -> None:
        placed = await trading.place_many(requests)
        assert [one.error for one in placed] == [None, None]
        again = await trading.place_many(requests)
        assert [getattr(one.error, "rule", "") for one in again] == ["guard_cool_down"] * 2

    guarded(act, cool_down=5)


# ---------------------------------------------------------------------- amounts


def test_entries_are_counted_while_they_are_in_flight() -> None:
    """Of several at once only as many leave as are allowed; one that comes to nothing makes room."""
    exchange = FakeExchange()
    request = OrderRequest(UP, Side.BUY, FORTY, TEN)

    async def act(stage: Stage, trading: StrategyTrading) -> None:
        placed = await trading.place_many([request] * 3)
        assert [getattr(one.error, "rule", "") for one in placed] == ["", "", "guard_entries"]
        (first, _) = trading.orders()
        await trading.cancel(first)
        await trading.buy(UP, price=FORTY, size=TEN)
        text = await denied(stage, trading, "guard_entries")
        assert "it would be entry 3, max_entries is 2" in text

    guarded(act, exchange, max_entries=2)


def test_legs_are_one_entry() -> None:
    """Both legs of a pair count once, and stand in each other's way in nothing."""
    legs = [OrderRequest(outcome, Side.BUY, FORTY, TEN) for outcome in (UP, DOWN)]

    async def act(stage: Stage, trading: StrategyTrading) -> None:
        result = await trading.place_legs(legs)
        assert not result.missing
        with pytest.raises(OrderDenied, match="leg 1 of 2: ") as caught:
            await trading.place_legs(legs)
        assert caught.value.rule == "guard_entries"
        assert len(stage.exchange.placed) == 2

    guarded(act, max_entries=1, max_unhedged=Decimal(10))


def test_prices() -> None:
    """A limit above `max_price`, and a price below `min_price` that the ask may give, are refused."""

    async def act(stage: Stage, trading: StrategyTrading) -> None:
        await denied(stage, trading, "guard_price", price=Decimal("0.61"))
        await denied(stage, trading, "guard_price", price=Decimal("0.29"))
        show(stage, UP, 20, 21)
        await settle()
        await denied(stage, trading, "guard_price", price=FORTY)  # it would pay 0.21
        show(stage, UP, 49, 51)
        await settle()
        await trading.buy(UP, price=Decimal("0.60"), size=TEN)

    guarded(act, min_price=Decimal("0.30"), max_price=Decimal("0.60"))


def test_a_wide_or_unknown_book_is_not_entered() -> None:
    """The spread has to be within the limit; an empty side counts as 0 or 1 USD."""

    async def act(stage: Stage, trading: StrategyTrading) -> None:
        await trading.buy(UP, price=FORTY, size=TEN)
        show(stage, UP, 48, 52)
        await settle()
        assert "0.04 USD between" in await denied(stage, trading, "guard_spread")
        show(stage, UP, 0, 4)
        await settle()
        assert "0.04 USD between" in await denied(stage, trading, "guard_spread")
        show(stage, UP, 0, 2)
        await settle()
        await trading.buy(UP, price=Decimal("0.01"), size=Decimal(100))

    guarded(act, max_spread=Decimal("0.03"))


def test_the_budget_counts_what_open_buys_may_spend() -> None:
    """Paid and still to pay together; a cancel makes room, a sale does not."""

    async def act(stage: Stage, trading: StrategyTrading) -> None:
        first = await trading.buy(UP, price=HALF, size=TEN)
        await trading.buy(UP, price=FORTY, size=TEN)
        text = await denied(stage, trading, "guard_budget", price=Decimal("0.30"))
        assert "it would make 12.00 USD spent, max_budget is 10" in text
        fill(stage, 1)
        await trading.sell(UP, price=HALF, size=TEN)
        fill(stage, 3, side=Side.SELL)
        assert not trading.position(UP).size
        await denied(stage, trading, "guard_budget", price=Decimal("0.30"))
        await trading.cancel(trading.orders()[1])
        await trading.buy(UP, price=Decimal("0.30"), size=TEN)
        assert first.client_id in {order.client_id for order in trading.orders()}

    guarded(act, max_budget=TEN)


def test_what_completes_pairs_passes_everything() -> None:
    """Buys of as many Down as there are Up without a partner pass; one share more is an entry."""

    async def act(stage: Stage, trading: StrategyTrading) -> None:
        await trading.buy(UP, price=HALF, size=TEN)
        fill(stage, 1)
        await stage.env.clock.sleep_until(END - 10)
        show(stage, UP, 40, 41)
        show(stage, DOWN, 59, 60)
        await settle()
        await denied(stage, trading, "guard_entry_window", outcome=DOWN, size=Decimal(11))
        await trading.buy(DOWN, price=Decimal("0.60"), size=TEN)
        # They are under way: the next would be without a partner.
        await denied(stage, trading, "guard_entry_window", outcome=DOWN, size=Decimal(5))

    guarded(
        act,
        entry_before_end=60,
        max_entries=1,
        cool_down=900,
        max_price=HALF,
        max_budget=Decimal(5),
        max_unhedged=TEN,
        max_unhedged_seconds=1,
    )


def test_a_split_has_the_times_and_the_budget_of_an_entry() -> None:
    """One half of a pair can be sold at any time, so what is split off counts as spent."""
    exchange = ConvertingExchange()

    async def act(stage: Stage, trading: StrategyTrading) -> None:
        async def denied_split(rule: str, usd: int) -> str:
            with pytest.raises(OrderDenied) as caught:
                await trading.split(Decimal(usd))
            assert caught.value.rule == rule
            return str(caught.value)

        await denied_split("guard_entry_window", 5)
        await stage.env.clock.sleep(60)
        text = await denied_split("guard_budget", 11)
        assert "it would make 11 USD spent, max_budget is 10" in text
        await trading.split(Decimal(8))
        show(stage, UP, 40, 41)
        await settle()
        await denied(stage, trading, "guard_budget", size=TEN)
        await trading.buy(UP, price=FORTY, size=Decimal(5))
        exchange.finish("0xtx1", ReceiptState.FAILED)
        await stage.env.clock.sleep(20)
        await trading.split(Decimal(8))
        other = stage.trading.handle("nobody")
        await other.buy(UP, price=FORTY, size=TEN)
        assert len(stage.exchange.placed) == 2

    guarded(act, exchange, max_budget=TEN, entry_after=60)


def test_what_completes_pairs_passes_while_others_are_merged() -> None:
    """Of 20 Up and 10 Down ten pairs are being merged: the other ten Up may get their partners."""

    async def act(stage: Stage, trading: StrategyTrading) -> None:
        for number, (outcome, size) in enumerate(((UP, 2 * TEN), (DOWN, TEN)), 1):
            order = await trading.buy(outcome, price=HALF, size=size)
            for status in (TradeStatus.MATCHED, TradeStatus.CONFIRMED):
                stage.env.router.on_user_message(
                    trade_report(
                        FIRST, f"t{number}", order.venue_id, outcome, size=size, status=status
                    )
                )
        await stage.env.clock.sleep_until(END - 10)
        show(stage, DOWN, 59, 60)
        await settle()
        await trading.merge(TEN)
        await denied(stage, trading, "guard_entry_window", outcome=DOWN, size=Decimal(11))
        await trading.buy(DOWN, price=HALF, size=TEN)

    guarded(act, ConvertingExchange(), entry_before_end=60)


def test_sales_and_cancels_pass_everything() -> None:
    """Whoever wants to leave is not held up."""

    async def act(stage: Stage, trading: StrategyTrading) -> None:
        await stage.env.clock.sleep(1)
        resting = await trading.buy(UP, price=FORTY, size=TEN)
        fill(stage, 1)
        await denied(stage, trading, "guard_entries")
        await trading.sell(UP, price=HALF, size=TEN)
        await trading.cancel_all()
        assert trading.open_orders() == []
        assert resting.client_id

    guarded(act, max_entries=1, max_unhedged_seconds=0.5, max_price=FORTY, warm_up=1)


def test_the_unhedged_clock_runs_with_the_fills() -> None:
    """It begins with the match that left shares alone, and ends when they have partners or are sold."""

    async def act(stage: Stage, trading: StrategyTrading) -> None:
        await trading.buy(UP, price=HALF, size=TEN)
        await stage.env.clock.sleep(30)
        fill(stage, 1)
        await stage.env.clock.sleep(15)
        await trading.buy(UP, price=FORTY, size=TEN)
        await stage.env.clock.sleep(10)
        show(stage, UP, 40, 41)
        await settle()
        text = await denied(stage, trading, "guard_unhedged_time")
        assert "max_unhedged_seconds is 20" in text
        await trading.sell(UP, price=HALF, size=TEN)
        fill(stage, 3, side=Side.SELL)
        await trading.buy(UP, price=FORTY, size=TEN)

    guarded(act, max_unhedged_seconds=20)


# ---------------------------------------------------------------------- whose they are


def test_guards_are_of_one_strategy() -> None:
    """Another strategy on the same series is not held up, and its shares are no partners."""

    async def act(stage: Stage, trading: StrategyTrading) -> None:
        other = stage.trading.handle("another")
        await other.buy(DOWN, price=HALF, size=Decimal(20))
        fill(stage, 1, DOWN)
        await denied(stage, trading, "guard_unhedged")
        await other.buy(UP, price=FORTY, size=Decimal(100))

    guarded(act, max_unhedged=Decimal(5))


def test_a_refusal_is_counted_in_its_cycle() -> None:
    """Why did it not trade? The cycle's record says it, by rule."""

    async def act(stage: Stage, trading: StrategyTrading) -> None:
        for _ in range(3):
            await denied(stage, trading, "guard_price", price=Decimal("0.60"))
        record = stage.trading.record()
        assert record is not None
        assert dict(record.refusals) == {"guard_price": 3}
        assert stage.env.counters.get(Count.ORDERS_DENIED, "guard_price") == 3

    guarded(act, max_price=HALF)


def test_an_order_that_does_not_leave_is_no_entry() -> None:
    """Legs that are denied together leave no trace: neither entry nor cool-down."""
    legs = [
        OrderRequest(UP, Side.BUY, FORTY, TEN),
        OrderRequest(DOWN, Side.BUY, Decimal("0.60"), TEN),
    ]

    async def act(stage: Stage, trading: StrategyTrading) -> None:
        with pytest.raises(OrderDenied, match="leg 2 of 2: "):
            await trading.place_legs(legs)
        await trading.buy(UP, price=FORTY, size=TEN)

    guarded(act, max_entries=1, cool_down=60, max_price=HALF)


def test_a_killing_order_may_buy_more_than_it_names() -> None:
    """A FAK spends its USD: what it may bring at the ask counts, not its size."""

    async def act(stage: Stage, trading: StrategyTrading) -> None:
        show(stage, UP, 39, 40)
        await settle()
        fak = {"price": HALF, "order_type": OrderType.FAK}
        text = await denied(stage, trading, "guard_unhedged", **fak)
        assert "12.5000 Up could be without a partner, max_unhedged is 12" in text
        await trading.buy(UP, price=FORTY, size=TEN, order_type=OrderType.FAK)

    guarded(act, max_unhedged=Decimal(12))


def test_a_killing_order_in_flight_counts_with_what_it_may_bring() -> None:
    """Two at once: the second is judged by all the shares that the first one's USD may buy."""
    request = OrderRequest(UP, Side.BUY, HALF, TEN, OrderType.FAK)

    async def act(stage: Stage, trading: StrategyTrading) -> None:
        show(stage, UP, 39, 40)
        await settle()
        placed = await trading.place_many([request] * 2)
        assert [getattr(one.error, "rule", "") for one in placed] == ["", "guard_unhedged"]

    guarded(act, max_unhedged=Decimal(24))


def test_orders_of_others_are_no_entries() -> None:
    """What another strategy buys is not counted, spent or waited for."""

    async def act(stage: Stage, trading: StrategyTrading) -> None:
        await stage.trading.handle("another").buy(UP, price=HALF, size=Decimal(100))
        await trading.buy(UP, price=FORTY, size=TEN)

    guarded(act, max_entries=1, max_budget=Decimal(5), cool_down=60, max_unhedged=TEN)


# ---------------------------------------------------------------------- selling


def sales(stage: Stage) -> list[tuple[Outcome, Decimal, Decimal]]:
    """Return what was to be sold: outcome, shares, limit."""
    return [
        (one.request.outcome, one.request.size, one.request.price)
        for one in stage.exchange.placed
        if one.request.side is Side.SELL
    ]


def test_flattens_before_the_end() -> None:
    """Open orders are cancelled and shares without a partner sold, below the bid; pairs stay."""

    async def act(stage: Stage, trading: StrategyTrading) -> None:
        await trading.place_many([OrderRequest(UP, Side.BUY, HALF, TEN)] * 2)
        await trading.buy(DOWN, price=HALF, size=TEN)
        await trading.buy(UP, price=FORTY, size=TEN)
        for number, outcome in ((1, UP), (2, UP), (3, DOWN)):
            fill(stage, number, outcome)
        show(stage, UP, 45, 47)
        await stage.env.clock.sleep_until(END - 31)
        assert not sales(stage)
        assert len(trading.open_orders()) == 1
        await stage.env.clock.sleep_until(END - 29.5)
        assert stage.exchange.cancelled == ["0xorder4"]
        assert sales(stage) == [(UP, TEN, Decimal("0.43"))]
        show(stage, UP, 46, 47)
        await settle()
        await denied(stage, trading, "guard_entry_window")
        fill(stage, 5, side=Side.SELL)
        await stage.env.clock.sleep_until(END - 20)
        assert len(sales(stage)) == 1
        assert trading.position(UP).size == trading.position(DOWN).size == TEN

    guarded(act, flatten_before_end=30)


def test_does_not_sell_what_gets_its_partners_at_this_moment() -> None:
    """The strategy's own hedge is at the venue: both together would leave the other side alone."""
    exchange = FakeExchange()

    async def act(stage: Stage, trading: StrategyTrading) -> None:
        await trading.buy(UP, price=HALF, size=TEN)
        fill(stage, 1)
        await stage.env.clock.sleep_until(END - 30.5)
        show(stage, UP, 45, 47)
        show(stage, DOWN, 53, 55)
        await settle()
        exchange.hold_place = asyncio.get_running_loop().create_future()
        hedge = asyncio.create_task(
            trading.buy(DOWN, price=Decimal("0.60"), size=TEN, order_type=OrderType.FAK)
        )
        await stage.env.clock.sleep_until(END - 29)
        assert sales(stage) == []
        exchange.hold_place.set_result(None)
        order = await hedge
        # Its answer says nothing of its trade, which comes now.
        stage.env.router.on_user_message(
            trade_report(FIRST, "t2", order.venue_id, DOWN, size=TEN, price=HALF)
        )
        await stage.env.clock.sleep_until(END - 10)
        assert sales(stage) == []

    guarded(act, exchange, flatten_before_end=30)


def test_sells_once_however_late_it_is_told() -> None:
    """The answer to a sale comes before its trade: shares that have partners are not sold meanwhile."""

    async def act(stage: Stage, trading: StrategyTrading) -> None:
        await trading.buy(UP, price=HALF, size=2 * TEN)
        await trading.buy(DOWN, price=HALF, size=TEN)
        for number, (outcome, size) in enumerate(((UP, 2 * TEN), (DOWN, TEN)), 1):
            report = trade_report(FIRST, f"t{number}", f"0xorder{number}", outcome, size=size)
            stage.env.router.on_user_message(report)
        show(stage, UP, 45, 47)
        await stage.env.clock.sleep_until(END - 26.5)
        assert sales(stage) == [(UP, TEN, Decimal("0.43"))]
        fill(stage, 3, side=Side.SELL)
        await stage.env.clock.sleep_until(END - 10)
        assert len(sales(stage)) == 1

    guarded(act, flatten_before_end=30)


def test_a_hedge_of_which_nothing_is_heard_keeps_no_shares_to_the_end() -> None:
    """After some seconds they are sold all the same."""
    exchange = FakeExchange()

    async def act(stage: Stage, trading: StrategyTrading) -> None:
        await trading.buy(UP, price=HALF, size=TEN)
        fill(stage, 1)
        await stage.env.clock.sleep_until(END - 30.5)
        show(stage, UP, 45, 47)
        show(stage, DOWN, 53, 55)
        await settle()
        await trading.buy(DOWN, price=Decimal("0.60"), size=TEN, order_type=OrderType.FAK)
        await stage.env.clock.sleep_until(END - 26.5)
        assert sales(stage) == []
        await stage.env.clock.sleep_until(END - 24)
        assert sales(stage)[0] == (UP, TEN, Decimal("0.43"))

    guarded(act, exchange, flatten_before_end=30)


def test_goes_on_until_it_is_sold_but_not_below_the_floor() -> None:
    """While nobody bids enough nothing is sold; a refused sale is tried again every second."""
    exchange = FakeExchange()
    refused = PlaceAnswer(PlaceResult.REJECTED, "not_enough_balance", "not settled yet")
    exchange.answers = [PlaceAnswer(PlaceResult.MATCHED), refused, refused]

    async def act(stage: Stage, trading: StrategyTrading) -> None:
        await trading.buy(UP, price=HALF, size=TEN)
        fill(stage, 1)
        show(stage, UP, 34, 36)
        await stage.env.clock.sleep_until(END - 55.5)
        assert not sales(stage)
        show(stage, UP, 36, 38)
        await stage.env.clock.sleep_until(END - 53.5)
        assert sales(stage) == [(UP, TEN, Decimal("0.35"))] * 2
        await stage.env.clock.sleep_until(END - 52.5)
        fill(stage, 4, side=Side.SELL)
        await stage.env.clock.sleep_until(END - 10)
        assert len(sales(stage)) == 3
        assert stage.env.counters.get(Count.STRATEGY_ERRORS) == 0

    guarded(
        act,
        exchange,
        flatten_before_end=60,
        flatten_slippage=Decimal("0.05"),
        flatten_floor=Decimal("0.345"),
    )


def test_flattens_what_is_unhedged_for_too_long() -> None:
    """Shares without a partner are sold when their time is over, at whatever time of the cycle."""

    async def act(stage: Stage, trading: StrategyTrading) -> None:
        await trading.buy(UP, price=HALF, size=TEN)
        await stage.env.clock.sleep(50)
        fill(stage, 1)
        await stage.env.clock.sleep(18)
        assert not sales(stage)
        await stage.env.clock.sleep(3.5)
        assert len(sales(stage)) == 1

    guarded(act, max_unhedged_seconds=20, flatten_unhedged=True)


@define
class Broken(Strategy):
    """Raises with the first price."""

    @override
    async def on_price(self, event: PriceChanged) -> None:
        msg = "a defect"
        raise ValueError(msg)


def test_flattens_what_a_strategy_left_that_failed() -> None:
    """The strategy is out for the rest of the cycle; its shares are sold all the same."""

    async def main(stage: Stage) -> None:
        await stage.open_cycle()
        trading = stage.trading.handle("Broken")
        await trading.buy(UP, price=HALF, size=TEN)
        fill(stage, 1)
        await stage.env.clock.sleep_until(END - 5)
        assert stage.env.counters.get(Count.STRATEGY_ERRORS, "on_price") == 1
        assert len(sales(stage)) > 0

    play(main, Broken(), guards=EntryGuards(flatten_before_end=30))


def test_flattening_ends_with_its_cycle() -> None:
    """After the switch nothing of it is left, and the next cycle has one of its own."""

    async def act(stage: Stage, trading: StrategyTrading) -> None:
        def tasks() -> list[str]:
            return [t.get_name() for t in stage.trader._ending if "flattening" in t.get_name()]

        assert tasks() == [f"flattening of Recorder on {FIRST.slug}"]
        following = await stage.open_cycle(END)
        assert tasks() == [f"flattening of Recorder on {following.slug}"]
        await stage.shut_down()
        assert tasks() == []

    guarded(act, flatten_before_end=30)


# ---------------------------------------------------------------------- settings


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"warm_up": 0}, "warm_up: expected market seconds above 0"),
        ({"cool_down": "5"}, "cool_down: expected market seconds above 0"),
        ({"max_entries": 0}, "max_entries: expected a whole number from 1 on"),
        ({"max_entries": 1.5}, "max_entries: expected a whole number from 1 on"),
        ({"entry_after": float("inf")}, "entry_after: expected market seconds"),
        ({"entry_before_end": True}, "entry_before_end: expected market seconds"),
        ({"max_spread": 0.03}, "max_spread: expected a Decimal, between 0 and 1"),
        ({"min_price": Decimal(1)}, "min_price: expected a Decimal, between 0 and 1"),
        ({"max_budget": Decimal("1e999999")}, "max_budget: expected a Decimal, above 0"),
        ({"max_price": Decimal("NaN")}, "max_price: expected a Decimal, between 0 and 1"),
        ({"max_unhedged": Decimal(0)}, "max_unhedged: expected a Decimal, above 0"),
        ({"max_unhedged_seconds": -1}, "max_unhedged_seconds: expected market seconds"),
        ({"max_budget": 100}, "max_budget: expected a Decimal, above 0"),
        ({"flatten_before_end": 0}, "flatten_before_end: expected market seconds"),
        ({"flatten_slippage": None}, "flatten_slippage: expected a Decimal, from 0 to below 1"),
        ({"flatten_unhedged": 1}, "flatten_unhedged: expected True or False"),
        ({"flatten_unhedged": True}, "flatten_unhedged: set max_unhedged_seconds"),
        ({"flatten_floor": HALF}, "flatten_floor: set flatten_before_end or flatten_unhedged"),
        ({"min_price": HALF, "max_price": FORTY}, "min_price: expected at most max_price"),
    ],
)
def test_bad_settings_name_the_field(settings: dict[str, Any], message: str) -> None:
    """A value that makes no sense is refused with its name and what is expected."""
    with pytest.raises(ConfigError, match=f"^{message}"):
        EntryGuards(**settings)


def test_guards_have_to_be_guards() -> None:
    """Something else is refused when the strategy is mounted, and nothing is."""

    async def main(stage: Stage) -> None:
        with pytest.raises(ConfigError, match=r"guards: expected EntryGuards\(…\), got"):
            stage.trader.add(Recorder(), on="eth-updown-15m", guards={"max_entries": 1})  # type: ignore[arg-type]
        assert [str(series) for series in stage.trader.series] == ["btc-updown-15m"]

    play(main)

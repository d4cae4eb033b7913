"""What the figures of a report are, by hand and a second time by brute force."""

from __future__ import annotations

from decimal import Decimal

from attrs import define, evolve
from hypothesis import given, settings
from hypothesis import strategies as st

from polyframe.backtest.run import run_backtest
from polyframe.model.conversion import Conversion, ConversionKind
from polyframe.model.market import Outcome
from polyframe.model.money import units_price
from polyframe.model.order import Side
from polyframe.report.orders import ReportedOrder
from polyframe.report.prices import UNKNOWN
from polyframe.report.reckoning import marked_profit, summed
from polyframe.report.values import CycleReport
from polyframe.report.walk import MARK_STEP
from polyframe.trading.positions import Booking, PositionBook
from tests.backtest.kit import MODELS, Eager, wandering
from tests.report.kit import START, converted, life, order, path, report_of

UP, DOWN, BUY, SELL = Outcome.UP, Outcome.DOWN, Side.BUY, Side.SELL
SPLIT, MERGE = ConversionKind.SPLIT, ConversionKind.MERGE
MS = START * 1000


@define
class Other(Eager):
    """A second strategy beside the first."""


def test_the_drawdown_within_a_cycle_is_what_the_bids_say() -> None:
    """Ten shares for 5 USD, worth 7, then 2, then the winner's 10: the fall is 5 USD."""
    prices = path((0, 49, 50), (60_000, 70, 71), (120_000, 20, 21))
    bought = order(MS + 10_000, BUY, "0.50", "10", ("0.50", "10"))
    report = report_of(life(bought, prices=prices))
    (cycle,) = report.cycles
    assert marked_profit(cycle) == [
        (MS + 10_000, round(Decimal("-0.1") / MARK_STEP)),
        (MS + 60_000, round(Decimal(2) / MARK_STEP)),
        (MS + 120_000, round(Decimal(-3) / MARK_STEP)),
        (MS + 900_000, round(Decimal(5) / MARK_STEP)),
    ]
    assert cycle.figures.marked_drawdown == report.total.marked_drawdown == 5
    assert report.drawdown == 0


def test_shares_of_down_are_worth_what_is_asked_for_up_less() -> None:
    """A bid for Down is the mirror of an ask for Up."""
    prices = path((0, 30, 32), (60_000, 80, 85))
    bought = order(MS + 10_000, BUY, "0.70", "10", ("0.70", "10"), outcome=DOWN)
    (cycle,) = report_of(life(bought, winner=DOWN, prices=prices)).cycles
    values = [value * MARK_STEP for _, value in marked_profit(cycle)]
    assert values == [Decimal("-0.2"), Decimal("-5.5"), Decimal(3)]


def test_while_the_book_is_not_known_the_last_price_stands() -> None:
    """An interruption is no fall."""
    prices = path((0, 49, 50))
    prices.add(MS + 60_000, UNKNOWN, UNKNOWN)
    prices.add(MS + 70_000, 5_100, 5_200)
    bought = order(MS + 10_000, BUY, "0.50", "10", ("0.50", "10"))
    (cycle,) = report_of(life(bought, prices=prices)).cycles
    assert [at - MS for at, _ in marked_profit(cycle)] == [10_000, 70_000, 900_000]
    assert cycle.figures.marked_drawdown == Decimal("0.1")


def test_without_prices_the_drawdown_within_cycles_is_not_known() -> None:
    """It is no 0 where something was held, and 0 where nothing was."""
    bought = order(MS + 10_000, BUY, "0.50", "10", ("0.50", "10"))
    held, idle = life(bought), life(start=START + 900)
    report = report_of(held, idle)
    assert [cycle.figures.marked_drawdown for cycle in report.cycles] == [None, 0]
    assert report.total.marked_drawdown is None
    assert "not recorded marked at the bids" in report.text()


def test_who_sells_a_half_of_a_split_pair_holds_the_other() -> None:
    """A split turns 1 USD into a share of each outcome: the sale of one leaves the other half."""
    sold = order(MS + 10_000, SELL, "0.60", "10", ("0.60", "10"))
    prices = path((0, 59, 61))
    for winner, profit in ((UP, Decimal(-4)), (DOWN, Decimal(6))):
        (cycle,) = report_of(life(sold, winner=winner, prices=prices)).cycles
        assert cycle.figures.profit == profit
        # Paid 10 USD, got 6, and Down could be sold at 0.39.
        assert marked_profit(cycle)[0][1] * MARK_STEP == Decimal("-0.1")
        assert marked_profit(cycle)[-1][1] * MARK_STEP == profit


def two_pairs() -> list[ReportedOrder]:
    """Return ten pairs for 9.80 USD within 20 s, and ten more a minute later."""
    return [
        order(MS + at, BUY, price, "10", (price, "10"), outcome=outcome)
        for start in (0, 60_000)
        for at, outcome, price in ((start + 10_000, UP, "0.48"), (start + 20_000, DOWN, "0.50"))
    ]


def test_merged_pairs_are_not_held_any_longer() -> None:
    """Two times ten pairs for 9.80 USD: with a merge between them never more than 9.80 was at stake."""
    merge = converted(MS + 50_000, MERGE, "10")
    merged, held = (
        report_of(life(*two_pairs(), prices=path((0, 48, 50)), conversions=conversions))
        for conversions in ([merge], [])
    )
    assert merged.total.exposure == Decimal("9.80")
    assert held.total.exposure == Decimal("19.60")
    assert (merged.total.realised, merged.total.settled) == (Decimal("0.20"), Decimal("0.20"))
    assert merged.profit == held.profit == Decimal("0.40")
    assert merged.total.seconds_in_market == 40 + 830
    (cycle,) = merged.cycles
    assert cycle.conversions == (merge,)
    # Twenty cents are earned for good when the merge is confirmed.
    assert dict(marked_profit(cycle))[MS + 50_000] * MARK_STEP == Decimal("0.20")


def test_a_split_that_was_written_down_is_at_stake() -> None:
    """Ten USD become ten pairs; Up is sold for 6, and Down is what is left of them."""
    sold = order(MS + 10_000, SELL, "0.60", "10", ("0.60", "10"))
    split = converted(MS + 5_000, SPLIT, "10")
    for winner, profit in ((UP, Decimal(-4)), (DOWN, Decimal(6))):
        (cycle,) = report_of(life(sold, winner=winner, conversions=[split])).cycles
        assert cycle.figures.profit == profit
        assert cycle.figures.exposure == 10
        assert cycle.figures.realised == 1
        assert cycle.figures.seconds_in_market == 895


def test_a_sale_in_the_second_of_its_split_comes_after_it() -> None:
    """The venue tells times of trades in whole seconds: what was split at 5.8 s may be sold "at 5 s"."""
    sold = order(MS + 5_000, SELL, "0.60", "10", ("0.60", "10"))
    split = converted(MS + 5_800, SPLIT, "10")
    for winner, settled in ((UP, Decimal(-5)), (DOWN, Decimal(5))):
        (cycle,) = report_of(life(sold, winner=winner, conversions=[split])).cycles
        assert (cycle.figures.realised, cycle.figures.settled) == (Decimal(1), settled)
        assert cycle.figures.exposure == 10
        assert round(cycle.figures.seconds_in_market) == 895


def test_what_is_sold_before_it_is_told_of_is_covered_by_what_comes() -> None:
    """As in the engine's books: shares that are sold already are no stake when they come in."""
    sold = order(MS + 5_000, SELL, "0.60", "10", ("0.60", "10"))
    bought = order(MS + 8_000, BUY, "0.40", "15", ("0.40", "15"))
    for winner, settled in ((UP, Decimal(3)), (DOWN, Decimal(-2))):
        (cycle,) = report_of(life(sold, bought, winner=winner)).cycles
        assert (cycle.figures.realised, cycle.figures.settled) == (Decimal(2), settled)
        assert cycle.figures.profit == 2 + settled
        assert cycle.figures.exposure == 2


def test_what_is_converted_after_the_window_changes_nothing_within_it() -> None:
    """A merge that is confirmed a minute after the end had its pairs held to the end."""
    merge = converted(MS + 960_000, MERGE, "20")
    late, never = (report_of(life(*two_pairs(), conversions=each)) for each in ([merge], []))
    assert late.total.exposure == never.total.exposure
    assert late.total.seconds_in_market == never.total.seconds_in_market == 890
    assert late.profit == never.profit


def test_a_strategy_merges_its_own_pairs() -> None:
    """The merge of one strategy ends nothing that another holds; who only splits is told of, too."""
    mine = [evolve(each, strategy="mine") for each in two_pairs()[:2]]
    yours = [evolve(each, strategy="yours") for each in two_pairs()[:2]]
    conversions = [
        converted(MS + 30_000, MERGE, "10", "mine"),
        converted(MS + 40_000, SPLIT, "5", "other", 2),
    ]
    parts = report_of(life(*mine, *yours, conversions=conversions)).strategies
    held = {name: part.figures.seconds_in_market for name, part in parts.items()}
    assert held == {"mine": 20, "yours": 890, "other": 860}
    assert parts["other"].figures.exposure == 5


@settings(max_examples=60)
@given(
    fills=st.lists(
        st.tuples(st.sampled_from(Outcome), st.integers(1, 99), st.integers(1, 20)), max_size=8
    ),
    merges=st.lists(st.tuples(st.integers(0, 8), st.integers(1, 40)), max_size=3),
    winner=st.sampled_from(Outcome),
)
def test_merging_changes_when_something_is_earned_and_not_how_much(
    fills: list[tuple[Outcome, int, int]], merges: list[tuple[int, int]], winner: Outcome
) -> None:
    """For any buys and merges of pairs that are there: the profit stays, what is at stake only falls."""
    orders: list[ReportedOrder] = []
    conversions: list[Conversion] = []
    held = dict.fromkeys(Outcome, 0)
    for number, (outcome, cents, size) in enumerate(fills):
        at, price = MS + 10_000 * number, f"{cents / 100:.2f}"
        orders.append(order(at, BUY, price, str(size), (price, str(size)), outcome=outcome))
        held[outcome] += size
        for after, wanted in merges:
            pairs = min(wanted, *held.values())
            if after == number and pairs:
                conversions.append(
                    converted(at + 5_000, MERGE, str(pairs), number=len(conversions))
                )
                held = {each: shares - pairs for each, shares in held.items()}
    merged = report_of(life(*orders, winner=winner, conversions=conversions)).total
    kept = report_of(life(*orders, winner=winner)).total
    assert merged.profit is not None
    assert merged.profit == kept.profit
    assert abs(merged.realised + merged.settled - merged.profit) < Decimal("1e-20")
    assert merged.exposure <= kept.exposure
    assert merged.seconds_in_market <= kept.seconds_in_market


def test_cycles_at_the_same_time_fall_together() -> None:
    """The marked drawdown of all is of their sum: what one earns makes up for the other."""
    prices = path((0, 50, 50), (60_000, 40, 40))
    loser = order(MS + 10_000, BUY, "0.50", "10", ("0.50", "10"))
    winner = order(MS + 10_000, BUY, "0.50", "10", ("0.50", "10"), outcome=DOWN)
    one, other = life(loser, prices=prices), life(winner, prices=prices)
    report = report_of(one, other)
    assert [cycle.figures.marked_drawdown for cycle in report.cycles] == [1, 6]
    assert report.total.marked_drawdown == 0
    assert summed([[(1, 5), (3, 7)], [(1, 1), (2, -4)]]) == [(1, 6), (2, 1), (3, 3)]


def test_each_strategy_has_its_own_figures() -> None:
    """Orders are told apart by who placed them, and a market that both traded counts for both."""
    mine = order(MS + 10_000, BUY, "0.50", "10", ("0.50", "10"), strategy="mine")
    yours = order(MS + 20_000, BUY, "0.60", "5", ("0.60", "5"), outcome=DOWN, strategy="yours")
    report = report_of(life(mine, yours))
    assert list(report.strategies) == ["mine", "yours"]
    good, bad = report.strategies.values()
    assert [good.figures.profit, good.hit_rate, good.drawdown] == [5, 1, 0]
    assert [bad.figures.profit, bad.hit_rate, bad.drawdown] == [-3, 0, 3]
    assert "strategy yours: trades 1, shares 5" in report.text()


MOVES = st.tuples(
    st.sampled_from([BUY, SELL, SPLIT, MERGE]),
    st.sampled_from(Outcome),
    st.integers(1, 99),
    st.integers(1, 20),
)


@settings(max_examples=60)
@given(moves=st.lists(MOVES, max_size=8), winner=st.sampled_from(Outcome))
def test_a_report_reckons_as_the_engine_does(
    moves: list[tuple[Side | ConversionKind, Outcome, int, int]], winner: Outcome
) -> None:
    """For any buys, sells, splits and merges, also of what is not there: the sums of the engine's books."""
    books = {outcome: PositionBook(outcome) for outcome in Outcome}
    orders, conversions, peak = [], [], Decimal(0)
    for number, (kind, outcome, cents, size) in enumerate(moves, 1):
        at, price, shares = MS + 1_500 * number, f"{cents / 100:.2f}", Decimal(size)
        if isinstance(kind, Side):
            orders.append(order(at, kind, price, str(size), (price, str(size)), outcome=outcome))
            moved = shares if kind is BUY else -shares
            books[outcome].book(number, Booking(moved, -moved * Decimal(price)))
        else:
            conversions.append(converted(at, kind, str(size), number=number))
            moved = shares if kind is SPLIT else -shares
            for book in books.values():
                book.book(number, Booking(moved, -moved / 2))
        peak = max(peak, sum((book.cost for book in books.values()), Decimal(0)))
    told = report_of(life(*orders, winner=winner, conversions=conversions)).total
    assert told.profit is not None
    realised = sum((book.realised for book in books.values()), Decimal(0))
    assert abs(told.realised - realised) < Decimal("1e-9")
    assert abs(told.realised + told.settled - told.profit) < Decimal("1e-9")
    assert abs(told.exposure - peak) < Decimal("1e-9")


def test_refusals_are_told_apart_by_strategy() -> None:
    """Each has its own, also one that was refused all that it wanted; the rest is in the total alone."""
    mine = order(MS + 10_000, BUY, "0.50", "10", ("0.50", "10"), strategy="mine")
    refused = {"mine": {"cash": 1}, "yours": {"tick": 2, "cash": 1}, "": {"paused": 1}}
    total = {"tick": 2, "cash": 2, "paused": 1}
    report = report_of(evolve(life(mine), refused=refused, refusals=total))
    told = {name: part.figures.refusals for name, part in report.strategies.items()}
    assert told == {"mine": {"cash": 1}, "yours": {"cash": 1, "tick": 2}}
    assert report.total.refusals == total


def test_a_profit_that_is_not_known_does_not_hide_those_that_are() -> None:
    """The total stays open while a traded market is not resolved; the rest is told."""
    bought = order(MS + 10_000, BUY, "0.50", "10", ("0.50", "10"))
    late = order(MS + 910_000, BUY, "0.50", "10", ("0.50", "10"))
    report = report_of(life(bought), life(late, winner=None, start=START + 900))
    assert report.profit is None
    assert report.known_profit == 5
    assert "net profit not known yet; 5 USD where it is known" in report.text()


def brute_force(cycle: CycleReport) -> Decimal:
    """Return the marked drawdown: at each instant everything is added up from the beginning."""
    assert cycle.path is not None
    assert cycle.winner is not None
    fills = [(level, trade.request) for trade in cycle.trades for level in trade.levels]
    fills.sort(key=lambda fill: fill[0].time_ms)
    points = list(cycle.path)
    if not fills:
        return Decimal(0)

    def worth(until: int) -> Decimal:
        total = Decimal(0)
        bid, ask = next((b, a) for t, b, a in reversed(points) if t <= until and b != UNKNOWN)
        bids = {UP: units_price(bid), DOWN: 1 - units_price(ask)}
        for level, request in fills:
            if level.time_ms <= until:
                sign = 1 if request.side is BUY else -1
                total += sign * level.size * (bids[request.outcome] - level.price) - level.fee
        return total

    times = sorted({level.time_ms for level, _ in fills} | {time_ms for time_ms, _, _ in points})
    values = [worth(at) for at in times if at >= fills[0][0].time_ms]
    assert cycle.figures.profit is not None
    peak = worst = Decimal(0)
    for value in [*values, cycle.figures.profit]:
        peak = max(peak, value)
        worst = max(worst, peak - value)
    return worst


@settings(max_examples=8)
@given(seed=st.integers(0, 10_000), every=st.integers(2, 8))
def test_the_marked_drawdown_is_what_brute_force_finds(seed: int, every: int) -> None:
    """For any run, cycle by cycle."""
    report = run_backtest(Eager(every), data=wandering(seed, cycles=2, rows=60), models=MODELS)
    for cycle in report.cycles:
        assert cycle.figures.marked_drawdown == brute_force(cycle)


@settings(max_examples=6)
@given(seed=st.integers(0, 10_000), every=st.integers(2, 8))
def test_strategies_add_up_to_the_whole(seed: int, every: int) -> None:
    """For any two strategies in the same markets: what they did is what was done."""
    data = wandering(seed, cycles=2, rows=50)
    report = run_backtest(Eager(every), Other(every + 1), data=data, models=MODELS)
    assert set(report.strategies) <= {"Eager", "Other"}
    for name in ("orders", "trades", "fills", "shares", "volume", "fees", "profit"):
        parts = [getattr(part.figures, name) for part in report.strategies.values()]
        assert sum(parts) == getattr(report.total, name), name

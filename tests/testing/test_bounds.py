"""Bounds of strategies: they are checked after every change, over all lives, and told when they break."""

from __future__ import annotations

import io
import threading
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from attrs import define, evolve
from typing_extensions import override

from polyframe.errors import ConfigError, ExchangeError, OrderError
from polyframe.model.conversion import Conversion, ConversionKind, ConversionStatus
from polyframe.model.events import PriceChanged
from polyframe.model.market import Outcome
from polyframe.model.order import (
    Order,
    OrderRequest,
    OrderStatus,
    OrderType,
    PlaceResult,
    Side,
)
from polyframe.model.trade import Fill, TradeStatus
from polyframe.recording.writer import FrameWriter
from polyframe.strategies import Arbitrage, DataRecorder, Grid, PairLock, Template, Threshold
from polyframe.strategies import __all__ as shipped
from polyframe.strategy import Strategy
from polyframe.testing import (
    Bound,
    Fault,
    Faults,
    Invariant,
    RunResult,
    SimVenue,
    Stage,
    Standing,
    assert_held,
    bound_of,
    make_market,
    play,
    run_strategy,
)
from polyframe.testing.simulate import Plan, bounds_of, figures, main, make_strategy, simulate
from polyframe.testing.simwriter import writers_in_turn
from polyframe.testing.standing import Bounds
from polyframe.trading.account import Account
from polyframe.trading.commands import ApplyPlaceAnswer, PlaceOrder
from polyframe.trading.state import CycleState

UP, DOWN = Outcome.UP, Outcome.DOWN
SERIES = "btc-updown-5m"
HERE = __name__
MARKET = make_market()


@define
class Eager(Strategy):
    """Buys ten shares of Up again and again, up to `most` orders, as far as it knows of them."""

    most: int = 3

    @override
    async def on_price(self, event: PriceChanged) -> None:
        ask = event.ask
        if event.outcome is not UP or ask is None or len(self.trading.orders()) >= self.most:
            return
        try:
            await self.trading.buy(UP, price=ask, size=Decimal(10), order_type=OrderType.FAK)
        except (OrderError, ExchangeError) as error:
            self.log.info("not bought: %s", error)


def three(standing: Standing) -> None:
    """Hold for `Eager`."""
    assert len(standing.sent()) <= 3


def two(standing: Standing) -> None:
    """Fail for `Eager`, with the third order."""
    assert len(standing.sent()) <= 2, "more than two orders"


def bare(standing: Standing) -> None:
    """Fail without a word, as an assertion does that no test framework has seen."""
    if standing.orders:
        exec("assert not standing.orders", {"standing": standing})


def broken(standing: Standing) -> None:
    """Fail because of itself."""
    raise KeyError(standing.slug)


not_a_bound = 3


# ---------------------------------------------------------------------- what is checked, and when


def run(bound: Bound, cycles: int = 2, **options: Any) -> RunResult:
    """Run `Eager` with a bound."""
    return run_strategy(Eager(), series=SERIES, cycles=cycles, bounds={"Eager": bound}, **options)


def test_a_bound_that_holds_is_checked_after_every_change() -> None:
    """Each order and each fill is a change, and each change is looked at."""
    seen: list[tuple[int, int]] = []

    def look(standing: Standing) -> None:
        seen.append((len(standing.sent()), len(standing.kept())))
        three(standing)

    result = run(look)
    assert_held(result)
    checked = result.checked["Eager"]
    assert checked.standings == len(seen) > 0
    assert checked.orders == 6
    assert checked.fills == sum(record.fills for record in result.records) > 0
    # From the order that is sent, over its fills, to the next.
    assert seen[0] == (1, 0)
    assert (1, 1) in seen
    assert all(sent <= 3 for sent, _ in seen)


def test_a_bound_that_breaks_ends_the_run_and_is_told() -> None:
    """The violation names the strategy, what it said, how it stands, the market, and the last steps."""
    result = run(two)
    violation = result.violations[0]
    assert violation.invariant is Invariant.BOUND
    assert violation.text.startswith("Eager: more than two orders")
    assert (
        " (3 orders, 2 fills, 0 failed; holds 20 Up, 0 Down; open: BUY 10 Up at 0."
        in violation.text
    )
    assert violation.slug.startswith(SERIES)
    assert "Eager places" in violation.steps[-1]
    with pytest.raises(AssertionError, match="bound: Eager: more than two orders"):
        assert_held(result)
    assert result.checked["Eager"].orders == 3


def test_a_bound_without_words_or_with_a_defect_is_told_as_well() -> None:
    """What an assertion does not say its line says; a bound that raises anything else has not held."""
    assert "Eager: " in run(bare).violations[0].text
    (text,) = {violation.text for violation in run(broken).violations[:1]}
    assert text.startswith("Eager: its bound raised KeyError(")
    assert "raise KeyError(standing.slug)" in text


def test_a_bound_holds_over_all_lives_of_a_program() -> None:
    """A process that is killed leaves its orders to the next one: both together are within the bound."""
    faults = Faults({Fault.KILL}, 5, {Fault.KILL: 0.2})
    starts = []

    def look(standing: Standing) -> None:
        starts.append((standing.slug, id(standing)))
        three(standing)

    result = run(look, 8, venue=SimVenue(5, faults=faults), on_error="skip_cycle")
    assert_held(result)
    assert result.starts > 2
    # Some cycle was looked at in two lives.
    assert len(set(starts)) > len({slug for slug, _ in starts})


def test_what_an_earlier_life_did_counts() -> None:
    """One that forgets its orders when it is started again is caught by those of the life before."""

    @define
    class Forgetful(Eager):
        @override
        async def on_price(self, event: PriceChanged) -> None:
            mine = self.most
            if self.is_resumed:
                self.most = 99
            await super().on_price(event)
            self.most = mine

    faults = Faults({Fault.KILL}, 5, {Fault.KILL: 0.2})
    result = run_strategy(
        Forgetful(),
        series=SERIES,
        cycles=8,
        venue=SimVenue(5, faults=faults),
        on_error="skip_cycle",
        bounds={"Forgetful": three},
    )
    assert result.violations[0].invariant is Invariant.BOUND
    assert "Forgetful" in result.violations[0].text
    assert result.starts > 1


@define
class Resting(Strategy):
    """Rests one bid far below the market."""

    @override
    async def on_price(self, event: PriceChanged) -> None:
        if event.known and not self.trading.orders():
            await self.trading.buy(UP, price=Decimal("0.10"), size=Decimal(10))


def test_what_happened_while_no_process_ran_is_looked_at_when_one_is_open() -> None:
    """Books that are read back may be old; once they were compared with the venue they have to do."""

    def empty(standing: Standing) -> None:
        assert standing.orders
        assert not standing.kept(), "it is filled"

    async def act(stage: Stage) -> None:
        stage.monitor.bounds = Bounds({"Resting": empty})
        stage.process.spawn(stage.trader.run(), "trader")
        await stage.clock.sleep(20)
        stage.process.kill()
        await stage._bury()
        market = stage.venue.markets[MARKET.slug]
        assert market.fill(next(iter(market.orders)))
        assert await stage._restarted()
        (violation,) = stage.monitor.violations
        assert violation.invariant is Invariant.BOUND
        assert violation.text.startswith("Resting: it is filled")
        assert violation.slug == MARKET.slug

    rates = dict.fromkeys(Fault, 0.0)
    play(act, Resting(), venue=SimVenue(faults=Faults({Fault.KILL}, rates=rates)))


def test_an_order_that_an_earlier_process_knew_to_be_over_can_do_nothing() -> None:
    """A snapshot may be older than the refusal: the books ask for the order again, it is no less over."""
    seen: list[OrderStatus] = []
    bounds = Bounds({"Mine": lambda now: seen.append(now.orders["1"].status)})

    def begin() -> CycleState:
        bounds.starting()
        state = CycleState(MARKET, Account(Decimal(1000)))
        list(bounds.opened([state]))
        request = OrderRequest(UP, Side.BUY, Decimal("0.50"), Decimal(10))
        place = PlaceOrder(MARKET.generation, "1", "v1", "Mine", MARKET.up_token, request, 0)
        return given(state, place)

    def given(state: CycleState, command: PlaceOrder | ApplyPlaceAnswer) -> CycleState:
        assert list(bounds.findings(state, state.apply(command))) == []
        return state

    first = begin()
    given(first, ApplyPlaceAnswer(MARKET.generation, "1", PlaceResult.REJECTED, "no"))
    second = begin()
    given(second, ApplyPlaceAnswer(MARKET.generation, "1", PlaceResult.UNKNOWN))
    assert second.orders["1"].is_open
    rejected = OrderStatus.REJECTED
    assert seen == [OrderStatus.SUBMITTING, rejected, rejected, rejected]
    bounds.forget(MARKET.slug)
    begin()
    assert seen[-1] is OrderStatus.SUBMITTING


def test_a_bound_of_nobody_is_refused() -> None:
    """A name that is none of the strategies would never be checked."""
    with pytest.raises(ConfigError, match="bounds: Eagre is none of the strategies Eager"):
        run_strategy(Eager(), bounds={"Eagre": three})


# ---------------------------------------------------------------------- what a standing says


def order(number: int, outcome: Outcome = UP, side: Side = Side.BUY, **values: Any) -> Order:
    """Return an order of ten shares at half a dollar."""
    plain = Order(
        client_id=str(number),
        venue_id=f"v{number}",
        generation=MARKET.generation,
        slug=MARKET.slug,
        token=MARKET.token(outcome),
        strategy="Mine",
        outcome=outcome,
        side=side,
        price=Decimal("0.50"),
        size=Decimal(10),
        status=OrderStatus.LIVE,
    )
    return evolve(plain, **values)


def decimals(*numbers: int) -> tuple[Decimal, ...]:
    """Return exact numbers."""
    return tuple(map(Decimal, numbers))


def fill(
    one: Order, size: int, status: TradeStatus = TradeStatus.MATCHED, price: str = "0.40"
) -> Fill:
    """Return a fill of an order, with a fee of a cent."""
    return Fill(
        trade_id=f"t{one.client_id}-{size}",
        client_id=one.client_id,
        strategy="Mine",
        generation=one.generation,
        slug=one.slug,
        outcome=one.outcome,
        side=one.side,
        price=Decimal(price),
        size=Decimal(size),
        fee=Decimal("0.01"),
        is_taker=True,
        status=status,
        time_ms=0,
    )


def standing(
    orders: list[Order], fills: list[Fill], conversions: list[Conversion] | None = None
) -> Standing:
    """Return how a strategy stands with these."""
    return Standing(
        MARKET,
        "Mine",
        {each.client_id: each for each in orders},
        {(each.trade_id, each.client_id): each for each in fills},
        {each.conversion_id: each for each in conversions or []},
    )


def test_open_orders_count_with_all_that_they_can_do() -> None:
    """An open buy counts with its size, a filled part at its own price, an ended one with what it got."""
    resting, ended, sale = (
        order(1, filled=Decimal(4)),
        order(2, status=OrderStatus.CANCELLED, filled=Decimal(3)),
        order(3, side=Side.SELL, status=OrderStatus.FILLED, size=Decimal(2), filled=Decimal(2)),
    )
    now = standing([resting, ended, sale], [fill(resting, 4), fill(ended, 3), fill(sale, 2)])
    assert now.slug == MARKET.slug
    assert (now.held(UP), now.most(UP), now.held(DOWN)) == decimals(5, 11, 0)
    assert now.spent() == 4 * Decimal("0.40") + 6 * Decimal("0.50") + 3 * Decimal("0.40")
    assert now.fees() == Decimal("0.03")
    assert now.cash() == -7 * Decimal("0.40") + 2 * Decimal("0.40") - Decimal("0.03")
    assert now.worst() == now.cash()
    assert (now.open(), now.open(Side.SELL)) == ([resting], [])
    assert now.sent(Side.BUY, UP) == [resting, ended]
    assert str(now) == (
        "3 orders, 3 fills, 0 failed; holds 5 Up, 0 Down; open: BUY 6 Up at 0.50; buys come to 5.8 USD"
    )


def test_a_match_that_no_trade_has_told_counts_and_a_failed_one_does_not() -> None:
    """What is matched will be a fill; what the venue took back is none."""
    one = order(1, status=OrderStatus.FILLED, filled=Decimal(10))
    now = standing([one], [fill(one, 4)])
    assert (now.held(UP), now.most(UP)) == decimals(4, 10)
    late = order(2, status=OrderStatus.CANCELLED, matched=Decimal(6))
    assert standing([late], []).most(UP) == 6
    assert standing([late], []).spent() == 3
    lost = fill(one, 4, TradeStatus.FAILED)
    now = standing([evolve(one, status=OrderStatus.CANCELLED, filled=Decimal(0))], [lost])
    assert (now.held(UP), now.spent(), now.cash()) == decimals(0, 0, 0)
    assert (now.failed(Side.BUY, UP), now.kept()) == ([lost], [])


def test_pairs_that_were_split_or_merged_count() -> None:
    """A split is a share of each for a dollar, a merge the reverse; one that is under way is neither."""
    both = [
        Conversion("s", "Mine", ConversionKind.SPLIT, Decimal(5), ConversionStatus.CONFIRMED),
        Conversion("m", "Mine", ConversionKind.MERGE, Decimal(2), ConversionStatus.CONFIRMED),
        Conversion("x", "Mine", ConversionKind.SPLIT, Decimal(9), ConversionStatus.UNKNOWN),
    ]
    now = standing([], [], both)
    assert (now.held(UP), now.held(DOWN), now.most(DOWN)) == decimals(3, 3, 3)
    assert (now.cash(), now.worst(), now.spent()) == decimals(-3, 0, 0)


def test_a_split_is_a_change() -> None:
    """A bound is asked after each step of a conversion as well."""
    seen: list[Decimal] = []

    @define
    class Splitter(Strategy):
        async def on_cycle_start(self) -> None:
            await self.trading.split(Decimal(5))

    result = run_strategy(
        Splitter(),
        series=SERIES,
        venue=SimVenue(1, converts=True),
        bounds={"Splitter": lambda now: seen.append(now.held(DOWN))},
    )
    assert_held(result)
    assert (seen[0], seen[-1]) == decimals(0, 5)


# ---------------------------------------------------------------------- the bounds of what ships


def test_all_that_ship_have_a_bound_and_nobody_else() -> None:
    """Each has one; for another strategy somebody has to say what it promises."""
    for name in shipped:
        assert callable(bound_of(make_strategy(name.lower(), 1)))
    with pytest.raises(ConfigError, match=r"no bound of Eager is known, only of Arbitrage, "):
        bound_of(Eager())


def fails(strategy: Strategy, now: Standing) -> str:
    """Return what the bound of a strategy says against a standing."""
    with pytest.raises(AssertionError) as caught:
        bound_of(strategy)(now)
    return str(caught.value)


def test_each_part_of_a_bound_can_fail() -> None:
    """What must not be is told with the number and the limit."""
    one, two = order(1), order(2)
    assert "it trades" in fails(Template(), standing([one], []))
    assert "it trades" in fails(DataRecorder(), standing([one], []))
    entry = Threshold(trigger=Decimal("0.4"))
    bound_of(entry)(standing([one], []))
    assert fails(entry, standing([one, two], [])) == "2 entries in one cycle"
    assert fails(entry, standing([order(1, price=Decimal("0.9"))], [])) == "it bids 0.9"
    assert fails(entry, standing([order(1, size=Decimal(11))], [])) == "it buys 11"
    only = evolve(entry, outcome=DOWN)
    assert fails(only, standing([one], [])) == "it buys Up"
    sale = order(3, side=Side.SELL)
    assert "sold more Up" in fails(entry, standing([sale], [fill(sale, 4)]))
    resting = evolve(entry, order_type=OrderType.GTC)
    assert "12 shares of Up, at most 10" in fails(resting, standing([one], [fill(one, 12)]))
    # At a better price a FAK may get more, for the same money.
    bound_of(entry)(standing([one], [fill(one, 12)]))
    assert "8.88 USD for shares, at most 8.5" in fails(
        entry, standing([one], [fill(one, 12, price="0.74")])
    )


def rounds(count: int, **values: Any) -> list[Order]:
    """Return orders that opened so many rounds, the first of them still open."""
    done: dict[str, Any] = {"status": OrderStatus.FILLED, "filled": Decimal(10)}
    return [
        order(n, UP if n % 2 else DOWN, intent=f"round {n} x", **(done | values))
        for n in range(1, count + 1)
    ]


def test_pair_strategies_keep_their_partners() -> None:
    """Shares without a partner count with open orders, and what the venue took back on top."""
    ones = [order(1, size=Decimal(10)), order(2, size=Decimal(6))]
    for pairs in (Grid(), PairLock()):
        assert "16 shares without a partner, at most 15" in fails(pairs, standing(ones, []))
        back = fill(ones[0], 1, TradeStatus.FAILED)
        if isinstance(pairs, PairLock):
            bound_of(pairs)(standing(ones, [back]))
    assert fails(Grid(), standing([order(1), order(2, DOWN)], [])) == "2 open orders, at most 1"
    three_legs = [order(1), order(2, DOWN), order(3, DOWN, size=Decimal(5))]
    assert fails(PairLock(), standing(three_legs, [])) == "3 open orders, at most 2"
    assert fails(Grid(), standing(rounds(7), [])) == "7 entries, at most 6"
    assert fails(PairLock(), standing(rounds(11), [])) == "11 rounds, at most 10"
    many = [
        evolve(each, intent="", outcome=UP, size=Decimal(30), filled=Decimal(30))
        for each in rounds(5)
    ]
    assert fails(Grid(), standing(many, [])) == "150 shares of Up bought, at most 120"


def test_makers_stay_makers_within_their_money() -> None:
    """Bids that may take, sales, bids that meet each other, money, shares, and losses by who wins."""
    bid = order(1, post_only=True, size=Decimal(50))
    maker = make_strategy("marketmaker", 1)
    bound_of(maker)(standing([bid], []))
    assert fails(maker, standing([evolve(bid, post_only=False)], [])) == "a bid that may take"
    assert fails(maker, standing([evolve(bid, side=Side.SELL)], [])) == "it sells"
    meet = [bid, order(2, DOWN, post_only=True)]
    assert fails(maker, standing(meet, [])) == "1.00 USD for a bid on each side, at most 0.97"
    twice = [bid, order(2, post_only=True)]
    assert fails(maker, standing(twice, [])) == "2 bids for Up, at most 1"
    much = evolve(bid, size=Decimal(61))
    assert fails(maker, standing([much], [])) == "61 shares of Up in excess, at most 60"
    assert "USD for shares" in fails(maker, standing([evolve(bid, size=Decimal(401))], []))
    dear = evolve(bid, price=Decimal("0.10"), size=Decimal(201))
    assert fails(maker, standing([dear], [])) == "201 shares of Up, at most 200"
    assert fails(maker, standing([bid], [fill(bid, 5)])) == "it pays fees"
    pairs = Arbitrage()
    assert fails(pairs, standing([evolve(bid, post_only=False)], [])) == "no maker"
    assert "25.50 USD lost if Down wins" in fails(
        pairs, standing([evolve(bid, size=Decimal(51))], [])
    )
    cheap = evolve(bid, price=Decimal("0.01"), size=Decimal(301))
    assert fails(pairs, standing([cheap], [])) == "301 shares of Up bought, at most 300"
    # A partner counts once its trade is confirmed, and not before.
    legs = [
        order(1, post_only=True, size=Decimal(60), filled=Decimal(60), status=OrderStatus.FILLED),
        order(
            2, DOWN, post_only=True, size=Decimal(60), filled=Decimal(60), status=OrderStatus.FILLED
        ),
    ]
    sure = [fill(each, 60, TradeStatus.CONFIRMED) for each in legs]
    bound_of(pairs)(standing(legs, sure))
    assert "USD lost" in fails(
        pairs, standing(legs, [sure[0], evolve(sure[1], status=TradeStatus.MINED)])
    )


def test_momentum_spends_its_budget_and_no_more() -> None:
    """What it buys, at what price, the fees on it, and sales of what is not there, however few."""
    entry = make_strategy("momentum", 1)
    one = order(1, size=Decimal(100))
    bound_of(entry)(standing([one], [fill(one, 100, price="0.5")]))
    assert "50.5" in fails(entry, standing([order(1, size=Decimal(101))], []))
    dear = evolve(fill(one, 100, price="0.5"), fee=Decimal(4))
    assert "4 USD of fees, at most 3.50" in fails(entry, standing([one], [dear]))
    assert fails(entry, standing([order(1, price=Decimal("0.91"))], [])) == "it bids 0.91"
    sale = order(2, side=Side.SELL)
    assert "sold more Up" in fails(entry, standing([sale], [fill(sale, 1)]))
    back = fill(one, 1, TradeStatus.FAILED)
    bound_of(entry)(standing([one, sale], [back, fill(sale, 1)]))


# ---------------------------------------------------------------------- the program


def test_the_simulation_checks_what_ships_and_what_is_named() -> None:
    """The line of figures tells orders, fills and looks; a bound of one's own is named by its function."""
    out = io.StringIO()
    arguments = ["--cycles", "6", "--seed", "6", "--faults", "kill", "--strategies"]
    assert main([*arguments, f"grid,{HERE}:Eager", "--bounds", f"Eager={HERE}:three"], out) == 0
    line = out.getvalue()
    plan = Plan(
        cycles=6,
        seed=6,
        faults=frozenset({Fault.KILL}),
        strategies=("grid", f"{HERE}:Eager"),
        bounds=(f"Eager={HERE}:three",),
    )
    result = simulate(plan)
    assert line == f"seed=6 {figures(result)}\n"
    one, other = result.checked["Grid"], result.checked["Eager"]
    assert min(one.standings, one.orders, other.orders, other.fills) > 0
    assert f" Grid={one.orders}/{one.fills}/{one.standings} Eager={other.orders}/" in line
    assert plan.command().endswith(f" --bounds Eager={HERE}:three")


def test_a_broken_bound_is_told_with_the_smallest_run() -> None:
    """It is made smaller like any other violation, and the command repeats it."""
    out = io.StringIO()
    names = ["--strategies", f"{HERE}:Eager,template", "--bounds", f"Eager={HERE}:two"]
    assert main(["--cycles", "8", "--seed", "2", "--faults", "barrier,user_drop", *names], out) == 1
    text = out.getvalue()
    assert "VIOLATION bound: Eager: more than two orders" in text
    smallest = next(line for line in text.splitlines() if line.startswith("smallest run: "))
    assert f"--cycles 1 --seed 2 --faults none --strategies {HERE}:Eager " in smallest
    again = io.StringIO()
    arguments = smallest.split("polyframe.testing.simulate ")[1].split()
    assert main([*arguments, "--no-shrink"], again) == 1
    assert "VIOLATION bound: Eager: more than two orders" in again.getvalue()


@pytest.mark.parametrize(
    ("bounds", "message"),
    [
        ("Eager", "bounds: expected Name=package.module:function, got 'Eager'"),
        (f"Eager={HERE}", f"bounds: expected Name=package.module:function, got 'Eager={HERE}'"),
        (f"Eager={HERE}:four", f"bounds: {HERE}:four cannot be loaded: "),
        (f"Eager={HERE}:not_a_bound", f"bounds: {HERE}:not_a_bound is no function of a Standing"),
        (f"Eagre={HERE}:three", "bounds: Eagre is none of the strategies that take part: Eager"),
    ],
)
def test_a_bound_that_makes_no_sense_is_refused(bounds: str, message: str) -> None:
    """It is told by name, before anything runs."""
    out = io.StringIO()
    assert main(["--strategies", f"{HERE}:Eager", "--bounds", bounds], out) == 2
    assert out.getvalue().startswith(message)


def test_a_bound_that_is_given_takes_the_place_of_the_one_that_ships() -> None:
    """Whoever changes the settings may promise something else; of others nothing is loaded in."""
    given = bounds_of([Template(), Eager()], [f"Template={HERE}:three", f"Absent={HERE}:two"])
    assert given == {"Template": three}


# ---------------------------------------------------------------------- strategies that write files


def test_a_strategy_that_writes_files_repeats_itself_and_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The recorder's thread is waited for: the same line each time, no thread, no file here."""
    monkeypatch.chdir(tmp_path)
    before = set(threading.enumerate())
    with writers_in_turn():
        FrameWriter()  # of a process that is killed: nobody closes it
        assert FrameWriter().close().done()
    plan = Plan(cycles=6, seed=7, strategies=("datarecorder", "hostile"))
    lines = {figures(simulate(plan)) for _ in range(2)}
    assert len(lines) == 1
    assert "DataRecorder=0/0/0 violations=0" in lines.pop()
    for thread in set(threading.enumerate()) - before:
        thread.join(10)
        assert not thread.is_alive()
    assert list(tmp_path.iterdir()) == []

"""How a cycle stands, and how it would end."""

from __future__ import annotations

from decimal import Decimal

from hypothesis import given, settings
from hypothesis import strategies as st

from polyframe.model.market import Outcome
from polyframe.model.position import Outlook, Position
from polyframe.trading.account import Account
from polyframe.trading.commands import ApplyResolution, CycleCommand
from polyframe.trading.state import CycleState
from tests.support.fake import START, FakeExchange, snapshot, trade_report
from tests.support.fake import make_market as make_real_market
from tests.support.stage import Stage, play
from tests.trading.builders import BUY, DOWN, G1, SELL, UP, Desk, dec, make_market
from tests.trading.scripts import commands, opening, scripts

BIDS = {UP: dec("0.6"), DOWN: dec("0.3")}


def desk() -> Desk:
    """Return a desk where alpha has bought 10 Up at 0.5 and sold 4 of them at 0.7, as a maker."""
    desk = Desk()
    desk.live("c1", BUY, "0.5")
    desk.trade("t1", desk.leg("v1", "10", "0.5"))
    desk.live("c2", SELL, "0.7", "4")
    desk.trade("t2", desk.leg("v2", "4", "0.7", side=SELL))
    return desk


def test_what_a_position_would_earn() -> None:
    """Worth at the price less cost; nothing held earns nothing."""
    position = Position(UP, size=dec("6"), cost=dec("3"), fees=dec("1"))
    assert position.unrealised(dec("0.6")) == dec("0.6")
    assert position.unrealised(dec("0.4")) == dec("-0.6")
    assert Position(UP).unrealised(dec("0.5")) == 0


def test_the_outlook_of_a_position() -> None:
    """Realised, marked at the bid, and both ends: six shares pay 6 or nothing."""
    outlook = desk().state.outlook(BIDS, "alpha")
    assert outlook == Outlook(
        realised=dec("0.8"),
        unrealised=dec("0.6"),
        fees=dec("0"),
        if_up=dec("0.8") + 6 - 3,
        if_down=dec("0.8") - 3,
    )


def test_fees_are_part_of_the_ends() -> None:
    """A taker's fee lowers both ends, and stands beside the rest."""
    taker = Desk()
    taker.live("c1", BUY, "0.5")
    taker.trade("t1", taker.leg("v1", "10", "0.5", taker=True))
    outlook = taker.state.outlook(BIDS)
    assert outlook.fees == dec("0.175")
    assert outlook.unrealised == 1
    assert (outlook.if_up, outlook.if_down) == (dec("4.825"), dec("-5.175"))


def test_a_pair_earns_the_same_at_both_ends() -> None:
    """With as many Up as Down it does not matter who wins."""
    pair = Desk()
    for number, outcome in enumerate(Outcome, 1):
        pair.live(f"c{number}", BUY, "0.45", outcome=outcome)
        pair.trade(f"t{number}", pair.leg(f"v{number}", "10", "0.45", outcome=outcome))
    outlook = pair.state.outlook(BIDS)
    assert outlook.if_up == outlook.if_down == 1
    assert outlook.unrealised == 0


def test_each_strategy_has_its_own() -> None:
    """What others hold is not in it; all together are the default."""
    both = desk()
    both.live("c3", BUY, "0.4", strategy="beta")
    both.trade("t3", both.leg("v3", "10", "0.4"))
    assert both.state.outlook(BIDS, "beta").if_up == 6
    assert both.state.outlook(BIDS, "alpha") == desk().state.outlook(BIDS, "alpha")
    assert both.state.outlook(BIDS).if_up == dec("3.8") + 6
    assert both.state.outlook(BIDS, "nobody") == Outlook(*[Decimal(0)] * 5)


def test_an_unknown_bid_leaves_the_mark_open() -> None:
    """Only bids of what is held are needed; without them the rest is known all the same."""
    assert desk().state.outlook({UP: dec("0.6")}).unrealised == dec("0.6")
    outlook = desk().state.outlook({DOWN: dec("0.3")})
    assert outlook.unrealised is None
    assert outlook.if_up == dec("3.8")


def test_after_the_resolution_both_ends_are_the_profit() -> None:
    """Nothing is held any more, and what was paid out is realised."""
    resolved = desk()
    resolved.resolve(DOWN)
    outlook = resolved.state.outlook()
    assert outlook.unrealised == 0
    assert outlook.if_up == outlook.if_down == resolved.state.profit() == dec("-2.2")


@settings(max_examples=100, deadline=None)
@given(scripts(commands(G1), 40), st.sampled_from(Outcome))
def test_the_end_is_what_was_foreseen(script: list[CycleCommand], winner: Outcome) -> None:
    """Whatever happened: the profit after the resolution is the figure for that winner before it."""
    state = CycleState(make_market(G1), Account(dec("40")))
    for command in [*opening(G1), *script]:
        if not isinstance(command, ApplyResolution):
            state.apply(command)
    before = state.outlook(BIDS)
    parts = [state.outlook(BIDS, name) for name in ("", "alpha", "beta")]
    for field in ("realised", "unrealised", "fees", "if_up", "if_down"):
        assert sum(getattr(part, field) for part in parts) == getattr(before, field)
    assert before.unrealised == sum(state.position(o).unrealised(BIDS[o]) for o in Outcome)
    state.apply(ApplyResolution(G1, winner, 1))
    foreseen = before.if_up if winner is UP else before.if_down
    assert state.profit() == foreseen
    after = state.outlook()
    assert after.if_up == after.if_down == foreseen
    named = [state.outlook(None, name) for name in ("", "alpha", "beta")]
    for earlier, later in zip(parts, named, strict=True):
        assert later.if_up == (earlier.if_up if winner is UP else earlier.if_down)


def test_a_strategy_reads_its_outlook() -> None:
    """The handle marks at the best bids of now, an empty side at 0, and an unknown book not at all."""
    market = make_real_market(start=START)
    exchange = FakeExchange()

    async def act(stage: Stage) -> None:
        await stage.open_cycle()
        trading = stage.trading.handle("me")
        await trading.buy(UP, price=dec("0.50"), size=dec("10"))
        stage.env.router.on_user_message(trade_report(market, "t1", "0xorder1"))
        bid = trading.price(UP).bid
        assert bid is not None
        assert trading.outlook() == Outlook(
            realised=dec("0"),
            unrealised=10 * bid - 5,
            fees=dec("0.175"),
            if_up=dec("4.825"),
            if_down=dec("-5.175"),
        )
        exchange.streams[market.slug].push(snapshot(market, UP, 0, 500))
        assert trading.price(UP).known
        assert trading.outlook().unrealised == -5
        await stage.open_cycle(START + 900)
        assert trading.outlook().unrealised is None
        assert trading.outlook().if_up == dec("4.825")

    play(act, exchange=exchange)

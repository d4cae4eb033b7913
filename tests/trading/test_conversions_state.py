"""Splits and merges in the books of a cycle: what they hold, when they move, and that it is exact."""

from __future__ import annotations

from decimal import Decimal

from attrs import evolve
from hypothesis import given, settings
from msgspec import structs

from polyframe.model.conversion import Conversion, ConversionKind, ConversionStatus, ReceiptState
from polyframe.model.events import TradeReport
from polyframe.model.market import Outcome
from polyframe.model.order import OrderRequest
from polyframe.model.trade import TradeLeg, TradeStatus
from polyframe.trading.account import Account
from polyframe.trading.commands import (
    AdjustPosition,
    Applied,
    ApplyReceipt,
    ApplyResolution,
    ApplyTradeReport,
    BeginConversion,
    CycleCommand,
    Denied,
    Ignored,
    PlaceOrder,
    Reply,
    Stale,
)
from polyframe.trading.state import CycleState
from tests.trading.builders import BUY, DOWN, G1, G2, SELL, UP, dec, decs, make_market
from tests.trading.scripts import commands, opening, scripts

SPLIT, MERGE = ConversionKind.SPLIT, ConversionKind.MERGE
CONFIRMED, FAILED = ReceiptState.CONFIRMED, ReceiptState.FAILED
SUBMITTED, UNKNOWN = ReceiptState.SUBMITTED, ReceiptState.UNKNOWN


def a_state(cash: str = "100", up: str = "0", down: str = "0") -> CycleState:
    """Return a state in which alpha holds settled shares that cost 0.48 USD each."""
    state = CycleState(make_market(G1), Account(dec(cash)))
    for outcome, shares in ((UP, dec(up)), (DOWN, dec(down))):
        if shares:
            paid = -shares * dec("0.48")
            state.apply(AdjustPosition(G1, "alpha", outcome, shares, paid, "test", 1))
    return state


def begin(
    state: CycleState, kind: ConversionKind, shares: str, name: str = "k1", strategy: str = "alpha"
) -> Reply:
    """Begin a conversion."""
    return state.apply(BeginConversion(G1, name, strategy, kind, dec(shares), 5))


def say(state: CycleState, what: ReceiptState, transaction: str = "", name: str = "k1") -> Reply:
    """Tell what the venue says of it."""
    return state.apply(ApplyReceipt(G1, name, what, transaction, "words", 9))


def figures(state: CycleState) -> tuple[Decimal, ...]:
    """Return cash that is available, that is reserved, and that there is."""
    return (state.account.available, state.reserved_cash, state.account.cash)


def rule(reply: Reply) -> str:
    """Return the rule of a denial."""
    assert isinstance(reply, Denied)
    assert reply.text
    return reply.rule


def test_a_merge_moves_nothing_until_it_is_confirmed_and_then_all_at_once() -> None:
    """Ten pairs become 10 USD and 0.40 of profit; before that only their sale is barred."""
    state = a_state(up="15", down="10")
    before = state.account.cash
    assert state.mergeable("alpha") == 10
    begin(state, MERGE, "10")
    say(state, SUBMITTED, "0xa")
    assert state.account.cash == before
    assert state.position(UP).size == 15
    assert state.sellable(UP, "alpha") == 5
    assert state.sellable(DOWN, "alpha") == 0
    assert state.mergeable("alpha") == 0
    assert not state.is_settled
    reply = say(state, CONFIRMED)
    assert isinstance(reply, Applied)
    assert reply.conversion == Conversion(
        "k1", "alpha", MERGE, dec("10"), ConversionStatus.CONFIRMED, "0xa", "words", 5, 9
    )
    assert state.account.cash == before + 10
    assert [state.position(o, "alpha").size for o in Outcome] == [5, 0]
    assert state.realised == dec("0.40")
    assert state.outlook(strategy="alpha").if_up == dec("3.00")
    assert state.is_settled


def test_a_split_holds_its_cash_and_gives_both_outcomes() -> None:
    """12 USD are held for the split; confirmed, they are 12 Up and 12 Down that can be merged again."""
    state = a_state("20")
    begin(state, SPLIT, "12")
    assert figures(state) == decs("8", "12", "20")
    say(state, CONFIRMED)
    assert figures(state) == decs("8", "0", "8")
    assert [state.position(o, "alpha").size for o in Outcome] == [12, 12]
    assert state.mergeable("alpha") == 12
    assert state.realised == 0


def test_a_conversion_that_fails_leaves_everything_as_it_was() -> None:
    """A failed split gives its cash back, a failed merge its shares."""
    state = a_state("20", "3", "3")
    image = state.image()
    for kind, name in ((SPLIT, "k1"), (MERGE, "k2")):
        begin(state, kind, "3", name)
        say(state, FAILED, name=name)
        assert state.account.reserved == 0
        assert state.sellable(UP, "alpha") == 3
        assert state.conversions[name].status is ConversionStatus.FAILED
    assert state.image().adjustments == image.adjustments


def test_an_unknown_conversion_keeps_holding_until_its_end_is_known() -> None:
    """While nobody knows whether it happened, its pairs can neither be merged again nor sold."""
    state = a_state(up="10", down="10")
    begin(state, MERGE, "6")
    say(state, UNKNOWN)
    assert state.conversions["k1"].status is ConversionStatus.UNKNOWN
    assert rule(begin(state, MERGE, "1", "k2")) == "busy"
    assert state.sellable(UP, "alpha") == 4
    say(state, CONFIRMED)
    assert state.account.cash == dec("100") - dec("9.6") + 6


def test_a_lost_question_does_not_make_a_submitted_one_unknown() -> None:
    """What was heard of a transaction stays; its id is kept when a later answer names none."""
    state = a_state(up="10", down="10")
    begin(state, MERGE, "6")
    say(state, SUBMITTED, "0xa")
    assert say(state, UNKNOWN) == Ignored("duplicate")
    assert state.conversions["k1"].status is ConversionStatus.SUBMITTED
    assert state.conversions["k1"].transaction_id == "0xa"


def test_an_end_that_is_told_twice_is_booked_once() -> None:
    """A second confirmation, or a failure after it, changes nothing."""
    state = a_state(up="10", down="10")
    begin(state, MERGE, "6")
    say(state, CONFIRMED)
    image = state.image()
    assert say(state, CONFIRMED) == Ignored("final")
    assert say(state, FAILED) == Ignored("final")
    assert state.image() == image


def test_only_settled_pairs_that_no_sell_offers_can_be_merged() -> None:
    """Matched shares are not on chain yet, and what is offered may be gone in a moment."""
    state = a_state(up="10", down="10")
    request = OrderRequest(UP, SELL, dec("0.6"), dec("7"))
    state.apply(PlaceOrder(G1, "c1", "v1", "alpha", f"U{G1}", request, 2))
    assert state.mergeable("alpha") == 3
    assert rule(begin(state, MERGE, "3.5")) == "pairs"
    fresh = a_state(down="10")
    buys = OrderRequest(UP, BUY, dec("0.5"), dec("10"))
    fresh.apply(PlaceOrder(G1, "c1", "v1", "alpha", f"U{G1}", buys, 2))
    leg = TradeLeg("v1", f"U{G1}", BUY, dec("0.5"), dec("10"), is_taker=False)
    mined = TradeReport("t1", "m", f"U{G1}", TradeStatus.MINED, (leg,))
    fresh.apply(ApplyTradeReport(G1, mined, 3))
    assert fresh.position(UP, "alpha").size == 10
    assert fresh.mergeable("alpha") == 0
    confirmed = structs.replace(mined, status=TradeStatus.CONFIRMED)
    fresh.apply(ApplyTradeReport(G1, confirmed, 4))
    assert fresh.mergeable("alpha") == 10


def test_pairs_of_another_strategy_are_not_merged() -> None:
    """Each strategy has its own pairs."""
    assert rule(begin(a_state(up="10", down="10"), MERGE, "1", strategy="beta")) == "pairs"


def test_impossible_conversions_are_denied() -> None:
    """Too little cash, nothing at all, parts finer than the chain's, a resolved market, one id twice."""
    state = a_state("5")
    assert rule(begin(state, SPLIT, "6")) == "cash"
    assert rule(begin(state, SPLIT, "0")) == "amount"
    assert rule(begin(state, SPLIT, "-1")) == "amount"
    assert rule(begin(state, SPLIT, "0.0000001")) == "amount"
    begin(state, SPLIT, "2")
    say(state, FAILED)
    assert rule(begin(state, SPLIT, "2")) == "busy"
    state.apply(ApplyResolution(G1, UP, 7))
    assert rule(begin(state, SPLIT, "2", "k2")) == "resolved"


def test_a_conversion_of_another_cycle_is_stale() -> None:
    """A merge that was meant for the last cycle is none of this one's."""
    reply = a_state().apply(BeginConversion(G2, "k1", "alpha", SPLIT, dec("1"), 5))
    assert reply == Stale("BeginConversion", G2, G1)
    assert a_state().apply(ApplyReceipt(G1, "k9", CONFIRMED)) == Ignored("unknown_order")


def test_a_merge_that_is_confirmed_after_the_resolution_is_not_paid_twice() -> None:
    """The pairs are 1 USD each, once: as cash of the merge instead of as payout."""
    state = a_state(up="15", down="10")
    begin(state, MERGE, "10")
    state.apply(ApplyResolution(G1, UP, 7))
    assert state.payout == 15
    profit = state.profit()
    say(state, CONFIRMED)
    assert state.payout == 5
    assert state.profit() == profit


def test_an_image_with_two_conversions_under_way_is_refused() -> None:
    """There is one at a time, and each has an id of its own."""
    state = a_state()
    begin(state, SPLIT, "1")
    image, one = state.image(), state.conversions["k1"]
    assert "under way" in evolve(image, conversions=(one, evolve(one, conversion_id="k2"))).flaw()
    ended = evolve(one, status=ConversionStatus.FAILED)
    assert "one id" in evolve(image, conversions=(one, ended)).flaw()


@settings(max_examples=100, deadline=None)
@given(scripts(commands(G1), 40))
def test_a_profit_is_the_same_with_and_without_merges(script: list[CycleCommand]) -> None:
    """Whatever happens, a merge or split changes when a pair is paid, never how much.

    The same life, in which every conversion fails instead, ends with the same profit: a pair is
    worth 1 USD whoever wins.
    """
    life = [*opening(G1), AdjustPosition(G1, "alpha", DOWN, dec("12"), dec("-1"), "opening", 1)]
    profits: list[Decimal | None] = []
    for ending in (CONFIRMED, FAILED):
        state = CycleState(make_market(G1), Account(dec("10000")))
        for command in [*life, *script]:
            if isinstance(command, AdjustPosition) and command not in life:
                continue  # whether there is something to give away depends on what was merged
            if isinstance(command, PlaceOrder) and command.request.side is SELL:
                continue  # likewise whether a sell can be placed
            if isinstance(command, ApplyReceipt) and command.state in (CONFIRMED, FAILED):
                command = ApplyReceipt(G1, command.conversion_id, ending)
            state.apply(command)
        if (left := state.open_conversion) is not None:
            state.apply(ApplyReceipt(G1, left.conversion_id, ending))
        state.apply(ApplyResolution(G1, UP, 99))
        profits.append(state.profit())
    assert profits[0] == profits[1]

"""The entrance: one cycle at a time, and what belongs to another one is turned away."""

from __future__ import annotations

import pytest

from polyframe.model.events import OrderEventKind, OrderReport, TradeReport
from polyframe.model.order import OrderRequest, PlaceResult
from polyframe.model.trade import TradeStatus
from polyframe.trading.account import Account
from polyframe.trading.commands import (
    AdjustPosition,
    AdoptOrder,
    Applied,
    ApplyCancelAnswer,
    ApplyOrderReport,
    ApplyPlaceAnswer,
    ApplyResolution,
    ApplyTradeReport,
    CancelOrder,
    CycleCommand,
    ExpireOrder,
    PlaceOrder,
    Query,
    Reset,
    Stale,
)
from polyframe.trading.engine import OrderEngine
from polyframe.trading.state import CycleState
from tests.trading.builders import (
    BUY,
    G1,
    G2,
    G3,
    UP,
    Desk,
    applied,
    dec,
    decs,
    make_market,
)


def engine_in(generation: int | None, cash: str = "1000") -> OrderEngine:
    """Return an engine that is in a cycle."""
    engine = OrderEngine(Account(dec(cash)))
    if generation is not None:
        engine.reset(make_market(generation))
    return engine


def desk_of(engine: OrderEngine) -> Desk:
    """Return a desk whose commands go through the engine."""
    assert engine.state is not None
    return Desk(state=engine.state, submit=engine.submit)


def every_command(generation: int) -> list[CycleCommand]:
    """Return one command of each kind."""
    token = f"U{generation}"
    return [
        PlaceOrder(
            generation, "c1", "v1", "alpha", token, OrderRequest(UP, BUY, dec("0.5"), dec("5")), 1
        ),
        CancelOrder(generation, "c1", 1),
        ApplyPlaceAnswer(generation, "c1", PlaceResult.LIVE),
        ApplyCancelAnswer(generation, "c1", cancelled=True),
        ExpireOrder(generation, "c1", "over", 1),
        ApplyOrderReport(
            generation,
            OrderReport("v1", "m", token, OrderEventKind.PLACEMENT, "LIVE"),
            1,
        ),
        ApplyTradeReport(generation, TradeReport("t1", "m", token, TradeStatus.MATCHED, ()), 1),
        AdjustPosition(generation, "alpha", UP, dec("1"), dec("0"), "test", 1),
        AdoptOrder(generation, "v9", "alpha", 1),
        ApplyResolution(generation, UP, 1),
        Query(generation),
    ]


@pytest.mark.parametrize("command", every_command(G1), ids=lambda command: type(command).__name__)
@pytest.mark.parametrize("current", [G2, None])
def test_every_command_of_another_cycle_is_stale(
    command: CycleCommand, current: int | None
) -> None:
    """It changes nothing, and is answered by a value with its name."""
    engine = engine_in(current)
    name = type(command).__name__
    assert engine.submit(command) == Stale(name, G1, current)
    assert engine.submit(command) == Stale(name, G1, current)
    if engine.state is not None:
        assert engine.state.snapshot() == CycleState(make_market(G2), engine.account).snapshot()
    assert engine.account.reserved == 0


@pytest.mark.parametrize("command", every_command(G2), ids=lambda command: type(command).__name__)
def test_a_command_of_a_cycle_to_come_is_stale_too(command: CycleCommand) -> None:
    """Only the very generation passes, not a later one."""
    engine = engine_in(G1)
    assert isinstance(engine.submit(command), Stale)


@pytest.mark.parametrize("command", every_command(G1), ids=lambda command: type(command).__name__)
def test_a_state_refuses_what_belongs_to_another_cycle(command: CycleCommand) -> None:
    """Also without an engine in front of it, as the settlement side uses it."""
    state = CycleState(make_market(G2), Account(dec("1000")))
    assert state.apply(command) == Stale(type(command).__name__, G1, G2)
    assert state.snapshot().sequence == 0


def test_a_reset_begins_a_new_world() -> None:
    """Nothing of the old cycle is left; the old state is handed out untouched."""
    engine = engine_in(G1)
    desk = desk_of(engine)
    desk.live()
    desk.trade("t1", desk.leg("v1", "4"))
    before = desk.state.snapshot()
    old = engine.reset(make_market(G2))
    assert old is desk.state
    assert old.snapshot() == before
    assert engine.generation == G2
    assert engine.state is not None
    assert engine.state.snapshot() == CycleState(make_market(G2), engine.account).snapshot()


def test_a_reset_keeps_what_the_dead_cycle_holds_until_its_state_ends_it() -> None:
    """The venue has not ended those orders: their cash is not available to the new cycle."""
    engine = engine_in(G1, "10")
    dead = desk_of(engine)
    dead.live()
    engine.reset(make_market(G2))
    assert engine.account.reserved == dec("5.175")
    fresh = desk_of(engine)
    # The same client id holds cash of its own.
    applied(fresh.place("c1", price="0.45"))
    assert not isinstance(fresh.place("c2"), Applied)
    dead.submit = dead.state.apply
    dead.cancel()
    dead.cancel_answer("c1", cancelled=True)
    assert engine.account.reserved == fresh.state.reserved_cash
    applied(fresh.place("c2"))


def test_without_a_market_no_cycle_is_open() -> None:
    """Trading is paused: every command is stale."""
    engine = engine_in(G1)
    assert engine.reset(None) is not None
    assert (engine.generation, engine.state) == (None, None)
    assert engine.submit(Query(G1)) == Stale("Query", G1, None)
    assert engine.reset(None) is None
    assert engine.reset(make_market(G2)) is None
    assert engine.generation == G2


@pytest.mark.parametrize("generation", [G1, G2])
def test_a_generation_that_is_not_newer_is_refused(generation: int) -> None:
    """A cycle begins once, also after a pause; the current state stays."""
    engine = engine_in(G2)
    state = engine.state
    with pytest.raises(ValueError, match=f"cycle {generation} .* is not newer than {G2}"):
        engine.reset(make_market(generation))
    assert engine.state is state
    engine.reset(None)
    with pytest.raises(ValueError, match="not newer"):
        engine.reset(make_market(generation))


def test_a_reset_is_a_command_too() -> None:
    """It passes whatever the current generation is."""
    engine = engine_in(None)
    assert engine.submit(Reset(G1, make_market(G1))) == Applied()
    assert engine.submit(Reset(G3, make_market(G3))) == Applied()
    assert engine.generation == G3
    with pytest.raises(ValueError, match="not newer"):
        engine.submit(Reset(G2, make_market(G2)))
    assert engine.submit(Reset(G3, None)) == Applied()
    assert engine.generation is None


def test_a_late_end_of_an_older_cycle_does_not_end_the_newer_one() -> None:
    """With no market a reset names the cycle that it ends."""
    engine = engine_in(G2)
    with pytest.raises(ValueError, match=f"cycle {G1} cannot end, the newest is {G2}"):
        engine.submit(Reset(G1, None))
    assert engine.generation == G2


def test_a_reset_for_another_market_than_it_says_cannot_be_made() -> None:
    """Generation and market agree."""
    with pytest.raises(ValueError, match="is cycle 1800, not 900"):
        Reset(G1, make_market(G2))


def test_a_query_answers_with_a_snapshot() -> None:
    """It changes nothing."""
    engine = engine_in(G1)
    desk_of(engine).live()
    assert engine.state is not None
    reply = applied(engine.submit(Query(G1)))
    assert reply.snapshot == engine.state.snapshot()
    assert reply.changes == ()


def test_two_engines_share_an_account_without_sharing_names() -> None:
    """Two series may use the same client ids at the same time."""
    account = Account(dec("20"))
    states = [CycleState(make_market(generation), account) for generation in (G1, G2)]
    for state in states:
        applied(Desk(state=state).place())
    assert account.reserved == dec("10.35")
    Desk(state=states[0]).answer("c1", "rejected")
    assert [state.reserved_cash for state in states] == list(decs("0", "5.175"))


def test_the_text_of_an_engine_tells_its_cycle() -> None:
    """The text names the market and how much there is."""
    assert "0 open of 0 orders" in repr(engine_in(G1))
    assert repr(engine_in(None)) == "<OrderEngine None>"

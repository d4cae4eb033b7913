"""A new cycle is a brand-new world: what one holds depends on nothing but its own commands."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from polyframe.trading.account import Account
from polyframe.trading.commands import CycleCommand, Reply, Snapshot, Stale
from polyframe.trading.engine import OrderEngine
from tests.trading.builders import G1, G2, G3, dec, make_market
from tests.trading.scripts import commands, opening, scripts

AMPLE = dec("1000000")

any_command = st.one_of(commands(G1), commands(G2), commands(G3))
segment = scripts(any_command, 20)


def alone(generation: int, script: list[CycleCommand]) -> tuple[Snapshot, list[Reply]]:
    """Return what an engine that never knew another cycle makes of a script."""
    engine = OrderEngine(Account(AMPLE))
    engine.reset(make_market(generation))
    replies = [engine.submit(command) for command in script]
    assert engine.state is not None
    return engine.state.snapshot(), replies


@settings(max_examples=60, deadline=None)
@given(
    segments=st.tuples(segment, segment, segment, segment),
    opened=st.booleans(),
    pause=st.booleans(),
)
def test_the_state_of_a_cycle_depends_on_its_own_commands_only(
    segments: tuple[list[CycleCommand], ...],
    opened: bool,
    pause: bool,
) -> None:
    """Commands of three cycles, mixed at will around resets, make what each alone would make.

    The ids of orders and trades are the same in every cycle, and the account is shared. Replies
    agree too; a command of another cycle is answered by `Stale` and counted.
    """
    engine = OrderEngine(Account(AMPLE))
    states, ends = [], []
    first, second, between, third = segments
    plan: list[tuple[int | None, list[CycleCommand]]] = [(G1, first), (G2, second)]
    if pause:
        plan.append((None, between))
    plan.append((G3, third))
    for generation, script in plan:
        engine.reset(None if generation is None else make_market(generation))
        if opened and generation is not None:
            script = opening(generation) + script
        replies = [engine.submit(command) for command in script]
        for command, reply in zip(script, replies, strict=True):
            name = type(command).__name__
            if command.generation != generation:
                assert reply == Stale(name, command.generation, generation)
        if generation is None:
            continue
        own = [command for command in script if command.generation == generation]
        answers = [r for c, r in zip(script, replies, strict=True) if c.generation == generation]
        snapshot, own_replies = alone(generation, own)
        assert answers == own_replies
        assert engine.state is not None
        assert engine.state.snapshot() == snapshot
        states.append(engine.state)
        ends.append(snapshot)
    # Nothing that came later has touched the states that were left behind.
    assert [state.snapshot() for state in states] == ends
    assert engine.account.reserved == sum(state.reserved_cash for state in states)


@settings(max_examples=60, deadline=None)
@given(
    script=scripts(commands(G1) | commands(G2), 30),
    at=st.integers(0, 30),
)
def test_a_dead_cycle_goes_on_alone(script: list[CycleCommand], at: int) -> None:
    """What is handed to the old state after the switch makes what no switch would have made."""
    engine = OrderEngine(Account(AMPLE))
    engine.reset(make_market(G1))
    dead = None
    script = opening(G1) + script
    for number, command in enumerate(script):
        if number == at:
            dead = engine.reset(make_market(G2))
        reply = engine.submit(command)
        if isinstance(reply, Stale) and dead is not None:
            reply = dead.apply(command)
        assert isinstance(reply, Stale) is (command.generation == G2 and dead is None)
    state = dead or engine.state
    assert state is not None
    assert state.snapshot() == alone(G1, [c for c in script if c.generation == G1])[0]

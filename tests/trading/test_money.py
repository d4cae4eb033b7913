"""Cash, shares and reservations balance exactly after any sequence of commands."""

from __future__ import annotations

from decimal import ROUND_HALF_UP, Decimal

from hypothesis import event, given, settings
from hypothesis import strategies as st

from polyframe.model.conversion import Conversion, ConversionKind, ReceiptState
from polyframe.model.market import Outcome
from polyframe.model.order import Order, OrderStatus, Side
from polyframe.model.trade import TradeStatus
from polyframe.trading.account import Account
from polyframe.trading.commands import (
    AdjustPosition,
    Applied,
    ApplyReceipt,
    ApplyResolution,
    BeginConversion,
    CycleCommand,
    Stale,
)
from polyframe.trading.engine import OrderEngine
from polyframe.trading.state import CycleState
from tests.trading.builders import DOWN, G1, G2, UP, dec, make_market
from tests.trading.scripts import commands, opening, scripts

START = dec("40")
S = OrderStatus

_FORWARD = {
    S.SUBMITTING: 0,
    S.UNKNOWN: 1,
    S.LIVE: 2,
    S.PARTIALLY_FILLED: 3,
    S.CANCELLING: 4,
    S.FILLED: 5,
    S.CANCELLED: 5,
    S.EXPIRED: 5,
    S.REJECTED: 5,
}


def may_cost(state: CycleState, order: Order) -> Decimal:
    """Return what an order can still cost in USD, worked out anew from its fills."""
    if order.is_external or order.side is Side.SELL:
        return Decimal(0)
    shares = may_trade(state, order)
    raw = shares * dec("0.07") * order.price * (1 - order.price)
    return shares * order.price + raw.quantize(dec("0.00001"), rounding=ROUND_HALF_UP)


def may_trade(state: CycleState, order: Order) -> Decimal:
    """Return the shares that an order may still trade, nothing once the market is resolved."""
    return Decimal(0) if state.winner is not None else to_come(state, order)


def to_come(state: CycleState, order: Order) -> Decimal:
    """Return the shares of an order of which fills may come, worked out anew from its fills."""
    seen = sum(f.size for f in state.fills.values() if f.client_id == order.client_id)
    if order.is_open:
        return max(order.size - seen, Decimal(0))
    missing = min(order.matched, order.size) - seen
    return missing if missing > dec("0.01") else Decimal(0)


def check_sums(state: CycleState) -> None:
    """Check what is added up as orders change against adding it up anew."""
    coming = [(order, to_come(state, order)) for order in state.orders.values()]
    for outcome in Outcome:
        for side in Side:
            parts = [n for order, n in coming if (order.side, order.outcome) == (side, outcome)]
            assert state.shares_to_come(side, outcome) == sum(parts)
    buys = [order.price * shares for order, shares in coming if order.side is Side.BUY]
    assert state.cost_to_come == sum(buys)
    assert state.open_count == len(state.open_orders())
    for order, shares in coming:
        assert state.awaits_trades(order.client_id) is (not order.is_open and shares > 0)


def check_orders(state: CycleState) -> None:
    """Check each order against its fills, and the fills against the positions."""
    for order in state.orders.values():
        good = [
            fill
            for fill in state.fills.values()
            if fill.client_id == order.client_id and fill.status is not TradeStatus.FAILED
        ]
        assert order.filled == sum(fill.size for fill in good)
        assert order.fees == sum(fill.fee for fill in good)
        assert state.reservation(order.client_id) == may_cost(state, order)
        assert (order in state.open_orders()) is order.is_open
        if order.status is S.FILLED:
            assert order.size - order.matched <= dec("0.01") or any(
                fill.client_id == order.client_id for fill in state.fills.values()
            )
    check_sums(state)
    for outcome in Outcome:
        for strategy in ("alpha", "beta"):
            position = state.position(outcome, strategy)
            merging = sum(
                one.shares
                for one in state.conversions.values()
                if (one.is_open, one.kind, one.strategy) == (True, ConversionKind.MERGE, strategy)
            )
            held = sum(
                may_trade(state, order)
                for order in state.orders.values()
                if order.side is Side.SELL
                and (order.strategy, order.outcome) == (strategy, outcome)
            )
            free = max(position.size - held - merging, Decimal(0))
            assert state.sellable(outcome, strategy) == free
            assert 0 <= state.mergeable(strategy) <= free
            assert position.size >= 0
            assert position.cost >= 0
            assert 0 <= position.settled <= position.size


def check_shares(state: CycleState, adjusted: dict[tuple[str, Outcome], Decimal]) -> None:
    """Check shares: what came in less what went out is held, or missing."""
    if state.winner is not None:
        return
    shortfalls = {key[:2]: key[2] for key in state.snapshot().shortfalls}
    assert state.shortfall == sum(shortfalls.values())
    for outcome in Outcome:
        for strategy in ("", "alpha", "beta"):
            moved = sum(
                fill.size if fill.side is Side.BUY else -fill.size
                for fill in state.fills.values()
                if (fill.strategy, fill.outcome) == (strategy, outcome)
                and fill.status is not TradeStatus.FAILED
            ) + adjusted.get((strategy, outcome), Decimal(0))
            short = shortfalls.get((strategy, outcome), Decimal(0))
            assert state.position(outcome, strategy).size - short == moved


def check_account(account: Account, states: list[CycleState]) -> None:
    """Check the account against the states of all cycles."""
    cost = sum(state.position(outcome).cost for state in states for outcome in Outcome)
    realised = sum(state.realised for state in states)
    fees = sum(state.fees for state in states)
    assert account.cash + account.claimable + cost == START + realised - fees
    held = sum(may_cost(state, order) for state in states for order in state.orders.values())
    split = sum(
        one.shares
        for state in states
        for one in state.conversions.values()
        if one.is_open and one.kind is ConversionKind.SPLIT
    )
    assert account.reserved == held + split == sum(state.reserved_cash for state in states)
    assert account.available == account.cash - account.reserved
    assert account.claimable >= 0
    for state in states:
        assert state.profit() == (None if state.winner is None else state.realised - state.fees)


def check_conversion(
    done: Conversion,
    before: Decimal,
    account: Account,
    adjusted: dict[tuple[str, Outcome], Decimal],
) -> None:
    """Check that a confirmed conversion moved pairs times 1 USD, and note what it moved."""
    event(f"{done.kind} confirmed")
    sign = 1 if done.kind is ConversionKind.SPLIT else -1
    assert account.cash == before - sign * done.shares
    for outcome in Outcome:
        key = (done.strategy, outcome)
        adjusted[key] = adjusted.get(key, Decimal(0)) + sign * done.shares


def check_progress(before: dict[str, Order], state: CycleState) -> None:
    """Check that no order went back, but for a refused cancel."""
    for client_id, old in before.items():
        new = state.orders.get(client_id)
        if new is None:
            assert old.is_external, "only a foreign order may be taken over"
            continue
        if old.status.is_final:
            assert new.status is old.status
        elif old.status is S.CANCELLING and new.status is not S.CANCELLING:
            assert new.status is not S.SUBMITTING
        else:
            assert _FORWARD[new.status] >= _FORWARD[old.status]
        assert new.matched >= old.matched


steps = scripts(
    st.one_of(commands(G1), commands(G1), commands(G2), st.just("reset"), st.just("redeem")),
    50,
)


@settings(max_examples=100, deadline=None)
@given(steps, st.booleans())
def test_money_balances_at_every_instant(
    script: list[CycleCommand | str],
    opened: bool,
) -> None:
    """Cash + cost of positions = start + realised − fees, and an order holds what it can cost.

    Through places, partial fills, cancels, refusals, lost answers, failed trades, foreign orders,
    resolutions, redemptions and a switch after which the dead cycle is still told what happens.
    """
    account = Account(START)
    engine = OrderEngine(account)
    engine.reset(make_market(G1))
    assert engine.state is not None
    states = [engine.state]
    adjusted: dict[int, dict[tuple[str, Outcome], Decimal]] = {G1: {}, G2: {}}
    pairs = AdjustPosition(G1, "alpha", DOWN, dec("12"), dec("-1"), "opening", 1)
    merge = BeginConversion(G1, "k1", "alpha", ConversionKind.MERGE, dec("7"), 1)
    for step in [pairs, *opening(G1), merge, *script] if opened else script:
        if step == "reset":
            if len(states) == 1:
                reserved = account.reserved
                engine.reset(make_market(G2))
                states.append(engine.state)
                assert account.reserved == reserved
            continue
        if step == "redeem":
            account.redeem(min(account.claimable, dec("1.5")))
            check_account(account, states)
            continue
        assert not isinstance(step, str)
        own = next((s for s in states if s.generation == step.generation), None)
        before = dict(own.orders) if own is not None else {}
        sequence = own.sequence if own is not None else 0
        figures = (account.cash, account.reserved, account.claimable)
        reply = engine.submit(step)
        if isinstance(reply, Stale) and own is not None:
            reply = own.apply(step)
        if own is None:
            assert isinstance(reply, Stale)
            continue
        event(f"{type(step).__name__} {type(reply).__name__}")
        if isinstance(reply, Applied):
            numbers = [change.sequence for change in reply.changes]
            assert numbers == list(range(sequence + 1, own.sequence + 1))
            if isinstance(step, AdjustPosition):
                book = adjusted[step.generation]
                key = (step.strategy, step.outcome)
                book[key] = book.get(key, Decimal(0)) + step.size_delta
            if isinstance(step, ApplyReceipt) and step.state is ReceiptState.CONFIRMED:
                assert reply.conversion is not None
                check_conversion(reply.conversion, figures[0], account, adjusted[step.generation])
        else:
            assert dict(own.orders) == before
            assert own.sequence == sequence
            assert (account.cash, account.reserved, account.claimable) == figures
        check_progress(before, own)
        check_orders(own)
        check_shares(own, adjusted[own.generation])
        check_account(account, states)
    for state in states:
        state.apply(ApplyResolution(state.generation, UP, 1))
        assert not state.open_orders()
    check_account(account, states)
    for state in states:
        if (left := state.open_conversion) is not None:
            failed = ReceiptState.FAILED
            state.apply(ApplyReceipt(state.generation, left.conversion_id, failed))
    assert account.reserved == 0
    account.redeem(account.claimable)
    profits = [state.profit() for state in states]
    assert account.cash == START + sum(profit for profit in profits if profit is not None)

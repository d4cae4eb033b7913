"""The books of one cycle against the venue's, and against themselves."""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping
from decimal import Decimal

from polyframe.model.conversion import ConversionKind
from polyframe.model.money import ZERO
from polyframe.model.order import Side
from polyframe.model.trade import Fill, TradeLeg, TradeStatus
from polyframe.testing.invariants import Invariant
from polyframe.testing.simmarket import SimMarket
from polyframe.trading.account import Account
from polyframe.trading.commands import CycleCommand
from polyframe.trading.image import CycleImage
from polyframe.trading.ledger import CycleRecord
from polyframe.trading.state import CycleState

AMPLE = Decimal(10**12)
"""USD of the account that a replay reserves from."""

DUST = Decimal("0.01")

LATE_PATIENCE = 1.0
"""Market seconds within which an order that is known to be late is to be cancelled."""

Finding = tuple[Invariant, str]
Owner = tuple[str, str]
"""Name of an order here, and of its strategy."""


def reserved(state: CycleState) -> Decimal:
    """Return what open buys and splits of a cycle can still cost in USD, worked out anew."""
    splitting = state.open_conversion
    held = ZERO
    if splitting is not None and splitting.kind is ConversionKind.SPLIT:
        held = splitting.shares
    if state.winner is not None:
        return held
    seen: dict[str, Decimal] = {}
    for fill in state.fills.values():
        seen[fill.client_id] = seen.get(fill.client_id, ZERO) + fill.size
    for order in state.orders.values():
        if order.side is not Side.BUY or order.is_external:
            continue
        known = seen.get(order.client_id, ZERO)
        rest = max(order.size - known, ZERO)
        if not order.is_open:
            rest = min(order.matched, order.size) - known
            rest = rest if rest > DUST else ZERO
        fee = ZERO if order.post_only else state.market.fees.taker_fee(rest, order.price)
        held += order.price * rest + fee
    return held


def replay(
    state: CycleState, base: CycleImage | None, inputs: Iterable[CycleCommand]
) -> list[Finding]:
    """Compare the books of a cycle with others that were given the same inputs.

    Args:
        state: The books.
        base: What they began with, ``None`` if with nothing.
        inputs: What they were given since.
    """
    account = Account(AMPLE)
    fresh = (
        CycleState(state.market, account) if base is None else CycleState.restored(base, account)
    )
    for command in inputs:
        fresh.apply(command)
    if fresh.snapshot() == state.snapshot():
        return []
    return [(Invariant.FUNCTION_OF_INPUTS, f"{state!r} should be {fresh!r}")]


def fills(state: CycleState, market: SimMarket) -> list[Finding]:
    """Compare the fills of a cycle with the trades of the venue, both ways."""
    findings: list[Finding] = []
    ours = {
        (fill.trade_id, state.orders[fill.client_id].venue_id): fill
        for fill in state.fills.values()
    }
    if len(ours) != len(state.fills):
        findings.append((Invariant.FILLS, f"{len(state.fills)} fills, {len(ours)} different ones"))
    for trade in market.trades:
        for leg in trade.legs:
            fill = ours.pop((trade.trade_id, leg.order_id), None)
            want = _facts(leg, market.trades.fee(leg), trade.status)
            have = fill and (
                fill.outcome is market.market.outcome(leg.token),
                fill.side,
                fill.price,
                fill.size,
                fill.is_taker,
                fill.fee,
                fill.status is TradeStatus.FAILED,
            )
            if have != want:
                text = (
                    f"{trade.trade_id} of {leg.order_id} is {trade.status.value} {leg}, not {fill}"
                )
                findings.append((Invariant.FILLS, text))
    findings += [(Invariant.FILLS, f"the venue knows nothing of {fill}") for fill in ours.values()]
    moved, payout = _cash(market)
    if not findings and (state.cash_flow, state.payout) != (moved, payout):
        text = (
            f"the cycle moved {state.cash_flow} and was paid {state.payout} USD, the venue says "
            f"{moved} and {payout}"
        )
        findings.append((Invariant.CASH, text))
    return findings


def flow(fill: Fill) -> Decimal:
    """Return the cash that a fill brings in, negative if it costs some, in USD."""
    return fill.price * fill.size * (-1 if fill.side is Side.BUY else 1) - fill.fee


def _cash(market: SimMarket) -> tuple[Decimal, Decimal]:
    """Return what the trades of a market moved, and what it paid for the shares in the end."""
    moved, shares = -market.pairs, market.pairs if market.winner is not None else ZERO
    winner = None if market.winner is None else market.market.token(market.winner)
    for trade in market.trades:
        if trade.status is not TradeStatus.FAILED:
            for leg in trade.legs:
                sign = -1 if leg.side is Side.BUY else 1
                moved += sign * leg.price * leg.size - market.trades.fee(leg)
                shares -= sign * leg.size if leg.token == winner else ZERO
    return moved, shares


def _facts(leg: TradeLeg, fee: Decimal, status: TradeStatus) -> tuple[object, ...]:
    failed = status is TradeStatus.FAILED
    return (True, leg.side, leg.price, leg.size, leg.is_taker, fee, failed)


def recovered(
    state: CycleState, market: SimMarket, since: float, asked: Container[str]
) -> list[Finding]:
    """Compare a running cycle with what the venue had when a comparison began.

    Args:
        state: The books after the comparison.
        market: The venue's.
        since: Market time at which it began.
        asked: Orders that it had to find out about.
    """
    findings: list[Finding] = []
    ours = {
        (fill.trade_id, state.orders[fill.client_id].venue_id): fill.status
        for fill in state.fills.values()
    }
    for trade in market.trades:
        for leg in trade.legs:
            status = ours.get((trade.trade_id, leg.order_id))
            if trade.time_ms < int(since * 1000) and status is None:
                findings.append((Invariant.RECOVERED, f"{trade.trade_id} is still not known"))
            if trade.settled is not None and trade.settled < since and status is not trade.status:
                text = f"{trade.trade_id} is {trade.status.value}, not {status}"
                findings.append((Invariant.RECOVERED, text))
    for order in state.open_orders():
        theirs = market.orders.get(order.venue_id)
        is_over = theirs is not None and theirs.ended is not None and theirs.ended < since
        if is_over and order.client_id in asked:
            findings.append((Invariant.RECOVERED, f"{order.client_id} is over, not {order}"))
    return findings


def orders(
    state: CycleState,
    market: SimMarket,
    placed: Mapping[str, int],
    owners: Mapping[str, Owner] | None,
) -> list[Finding]:
    """Compare the orders of a settled cycle with the venue's.

    Args:
        state: The books.
        market: The venue's.
        placed: How often each order was sent.
        owners: Whose each order is, by the venue's id; ``None`` if that may have been lost.
    """
    twice = [order_id for order_id in market.orders if placed.get(order_id, 0) > 1]
    findings = [(Invariant.ORDERS, f"{order_id} was sent more than once") for order_id in twice]
    for order_id, theirs in market.orders.items():
        order = state.order_by_venue_id(order_id)
        if order is None and (theirs.is_foreign or owners is None) and not theirs.filled:
            continue  # nobody need have told us of it
        if order is None or (order.is_external is not theirs.is_foreign and owners is not None):
            findings.append((Invariant.ORDERS, f"{order_id} is not whose it was, it is {order}"))
            continue
        request = theirs.request
        same = (order.outcome, order.side, order.price, order.size) == (
            request.outcome,
            request.side,
            request.price,
            request.size,
        )
        # A foreign order of which only a fill was told is as large as that fill.
        if not same and not order.is_external:
            findings.append((Invariant.ORDERS, f"{order} was sent as {request}"))
    if owners is not None:
        findings += owned(state, market, owners)
    still = [order.client_id for order in state.open_orders()]
    if still:
        findings.append((Invariant.ORDERS, f"still open after the end: {', '.join(still)}"))
    return findings


def owned(state: CycleState, market: SimMarket, owners: Mapping[str, Owner]) -> list[Finding]:
    """Check that what reached the venue is still its strategy's, under the same name."""
    findings: list[Finding] = []
    for order_id in market.orders:
        order, owner = state.order_by_venue_id(order_id), owners.get(order_id)
        have = None if order is None else (order.client_id, order.strategy)
        if owner is not None and have != owner:
            findings.append((Invariant.OWNERSHIP, f"{order_id} is {owner}'s, it became {have}'s"))
    return findings


def record(state: CycleState, written: CycleRecord | None) -> list[Finding]:
    """Compare the record of a settled cycle with its books."""
    if written is None:
        return [(Invariant.RECORDS, "there is no record of it")]
    have = (written.cash_flow, written.payout, written.profit, written.winner, written.fills)
    want = (state.cash_flow, state.payout, state.profit(), state.winner, len(state.fills))
    if have == want:
        return []
    return [(Invariant.RECORDS, f"the record says {have}, the books say {want}")]


def late_orders(market: SimMarket, over: float) -> list[Finding]:
    """Find the orders that were accepted after their cycle and left to themselves.

    Args:
        market: The venue's books.
        over: When the cycle ended, in market time.
    """
    return [
        (Invariant.LATE_ORDERS, f"{order.order_id} was accepted late and is not cancelled")
        for order in market.orders.values()
        if not order.cancels
        and order.told is not None
        and order.told > over
        and (order.ended is None or order.ended - order.told > LATE_PATIENCE)
    ]

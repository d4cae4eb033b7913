"""What holds for every order in every market, whatever comes: rules, not examples."""

from __future__ import annotations

from collections import defaultdict
from decimal import Decimal

from hypothesis import given, settings
from hypothesis import strategies as st

from polyframe.model.events import OrderReport
from polyframe.model.market import Outcome
from polyframe.model.order import OrderRequest, OrderType, Side
from polyframe.model.trade import TradeStatus
from polyframe.paper.models import ConstantLatency, EmpiricalLatency, PaperModels
from polyframe.paper.queues import CancelsBehind, Power2, ProRata, Touch
from polyframe.paper.values import Placed, Told
from tests.paper.kit import Desk

CENTS = st.integers(40, 60)
SHARES = st.integers(1, 60)
SIDES = st.sampled_from(Side)
OUTCOMES = st.sampled_from(Outcome)

REQUESTS = st.builds(
    lambda outcome, side, cents, size, kind, post_only: OrderRequest(
        outcome,
        side,
        Decimal(cents).scaleb(-2),
        Decimal(size),
        kind,
        post_only and kind is OrderType.GTC,
    ),
    OUTCOMES,
    SIDES,
    CENTS,
    SHARES,
    st.sampled_from([OrderType.GTC, OrderType.GTC, OrderType.FAK, OrderType.FOK]),
    st.booleans(),
)
SUMS = st.builds(
    lambda outcome, usd, cents: OrderRequest.market_buy(
        outcome, Decimal(usd), Decimal(cents).scaleb(-2)
    ),
    OUTCOMES,
    st.integers(1, 30),
    CENTS,
)
SIDE_OF_BOOK = st.dictionaries(st.integers(1, 8), SHARES, max_size=4)

STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("order"), st.one_of(REQUESTS, SUMS)),
        st.tuples(st.just("book"), st.tuples(CENTS, SIDE_OF_BOOK, SIDE_OF_BOOK, OUTCOMES)),
        st.tuples(st.just("change"), st.tuples(CENTS, st.integers(0, 60), st.booleans())),
        st.tuples(st.just("print"), st.tuples(CENTS, SHARES, SIDES, OUTCOMES)),
        st.tuples(st.just("cancel"), st.integers(1, 12)),
        st.tuples(st.just("wait"), st.integers(0, 1500)),
        st.tuples(st.just("gap"), st.none()),
    ),
    min_size=5,
    max_size=60,
)
MODELS = st.builds(
    PaperModels,
    order_latency=st.sampled_from([ConstantLatency(0), EmpiricalLatency((0, 50, 400))]),
    feed_latency=st.just(ConstantLatency(0)),
    queue=st.sampled_from([Power2(), ProRata(), CancelsBehind(), Touch()]),
    taker_delay_ms=st.sampled_from([0, 50]),
    mined=st.just(ConstantLatency(500)),
    confirmed=st.just(ConstantLatency(500)),
    failed=st.sampled_from([0.0, 0.4]),
    buys_in_shares=st.booleans(),
    seed=st.integers(0, 5),
)


def play(models: PaperModels, steps: list[tuple[str, object]], check: bool = True) -> Desk:
    """Do all steps and what follows from them, and check the account after each."""
    desk = Desk(models, cash="40")
    desk.book({49: 30, 48: 30}, {51: 30, 52: 30})
    for kind, what in steps:
        match kind, what:
            case "order", OrderRequest():
                desk.send(what)
            case "book", (int(mid), dict(bids), dict(asks), Outcome() as outcome):
                desk.book(
                    {mid - off: size for off, size in bids.items()},
                    {mid + off: size for off, size in asks.items()},
                    outcome,
                )
            case "change", (int(cents), int(size), bool(is_bid)):
                desk.change(cents, size, is_bid=is_bid)
            case "print", (int(cents), int(size), Side() as side, Outcome() as outcome):
                desk.print(cents, size, side, outcome)
            case "cancel", int(number):
                desk.venue.send_cancel(0, [f"o{number}"], desk.now)
            case "wait", int(milliseconds):
                desk.wait(milliseconds)
            case _:
                desk.venue.on_gap(desk.market.slug)
        if check:
            check_account(desk)
    desk.wait(5_000)
    return desk


def check_account(desk: Desk) -> None:
    """Cash and shares are what the trades say, nothing is spent twice, nothing is negative."""
    account = desk.venue.account
    cash, shares = Decimal(40), defaultdict[str, Decimal](Decimal)
    for trade in desk.venue.trades:
        if trade.status is not TradeStatus.FAILED:
            for leg in trade.legs:
                sign = 1 if leg.side is Side.BUY else -1
                fee = desk.market.fees.taker_fee(leg.size, leg.price) if leg.is_taker else 0
                cash -= sign * leg.price * leg.size + fee
                shares[leg.token] += sign * leg.size
    assert account.cash == cash
    assert account.shares == {token: size for token, size in shares.items() if size}
    assert account.cash >= desk.venue.held_cash >= 0
    for token, size in account.shares.items():
        assert size >= 0
        assert account.sellable(token) >= desk.venue.held_shares(token) >= 0


@settings(max_examples=150, deadline=None)
@given(models=MODELS, steps=STEPS)
def test_cash_and_shares_are_conserved(
    models: PaperModels, steps: list[tuple[str, object]]
) -> None:
    """After every step the account is the sum of its trades that did not fail, and covers its orders."""
    check_account(play(models, steps))


@settings(max_examples=150, deadline=None)
@given(models=MODELS, steps=STEPS)
def test_no_order_gets_more_or_worse_than_it_asked_for(
    models: PaperModels, steps: list[tuple[str, object]]
) -> None:
    """Its fills add up to what is reported, within its size or its USD, at its limit or better."""
    desk = play(models, steps, check=False)
    got = defaultdict[str, list[tuple[Decimal, Decimal]]](list)
    for trade in desk.venue.trades:
        for leg in trade.legs:
            got[leg.order_id].append((leg.price, leg.size))
    for order_id, order in desk.venue.orders.items():
        request = order.request
        size = sum(part for _, part in got[order_id])
        if order.spends:
            assert sum(price * part for price, part in got[order_id]) <= order.usd
        else:
            assert size <= request.size
        for price, part in got[order_id]:
            assert part > 0
            assert price <= request.price if request.side is Side.BUY else price >= request.price
        last = [
            told
            for told in desk.told
            if isinstance(told, OrderReport) and told.order_id == order_id
        ][-1]
        assert last.size_matched == size
        if request.order_type is OrderType.FOK and not order.spends:
            assert size in (0, request.size)


@settings(max_examples=100, deadline=None)
@given(models=MODELS, steps=STEPS)
def test_every_order_is_answered_once_and_ends_once(
    models: PaperModels, steps: list[tuple[str, object]]
) -> None:
    """One answer for each order, the statuses of a trade only go forward, ends are final."""
    desk = play(models, steps, check=False)
    sent = sum(1 for kind, _ in steps if kind == "order")
    answered = [told.order_id for told in desk.told if isinstance(told, Placed)]
    assert sorted(answered) == sorted(f"o{number + 1}" for number in range(sent))
    ended: set[str] = set()
    for told in desk.told:
        if isinstance(told, OrderReport):
            assert told.order_id not in ended
            if told.status != "LIVE":
                ended.add(told.order_id)
    for trade in desk.venue.trades:
        told_of = [each.status for each in desk.trades() if each.trade_id == trade.trade_id]
        assert told_of in (
            [TradeStatus.MATCHED, TradeStatus.MINED, TradeStatus.CONFIRMED],
            [TradeStatus.MATCHED, TradeStatus.FAILED],
        )


@settings(max_examples=50, deadline=None)
@given(models=MODELS, steps=STEPS)
def test_the_same_inputs_make_the_same_story(
    models: PaperModels, steps: list[tuple[str, object]]
) -> None:
    """Everything that is told is told again, in the same order."""

    def story() -> list[Told]:
        return [
            told for told in play(models, steps, check=False).told if not isinstance(told, Placed)
        ]

    assert story() == story()

"""What the venue says of an order ends the same, in whatever order and however often it comes."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from functools import partial

from attrs import frozen
from hypothesis import given, settings
from hypothesis import strategies as st

from polyframe.model.order import OrderStatus, OrderType, Side
from polyframe.model.trade import TradeStatus
from polyframe.trading.commands import Reply
from tests.trading.builders import (
    BUY,
    CANCELLATION,
    PLACEMENT,
    SELL,
    UP,
    UPDATE,
    Desk,
    applied,
    dec,
)

T = TradeStatus
Message = Callable[[Desk], Reply]


@frozen
class Part:
    """One trade of an order: its shares and price, whether it fails, and how."""

    size: Decimal
    price: str
    taker: bool
    path: tuple[TradeStatus, ...]


_PATHS = st.sampled_from(
    [
        (T.MATCHED, T.MINED, T.CONFIRMED),
        (T.MATCHED, T.RETRYING, T.MINED, T.CONFIRMED),
        (T.MATCHED, T.FAILED),
        (T.MATCHED, T.RETRYING, T.FAILED),
        (T.CONFIRMED,),
        (T.FAILED,),
        (T.MATCHED, T.MINED),
    ]
)
_PARTS = st.lists(
    st.builds(
        Part,
        st.sampled_from([dec("1"), dec("2.5"), dec("3.333333")]),
        st.sampled_from(["0.5", "0.48"]),
        st.booleans(),
        _PATHS,
    ),
    max_size=3,
)
_LIVES = st.tuples(_PARTS, st.sampled_from(["rests", "ends", "completes", "completes in dust"]))


def tell_trade(
    desk: Desk, venue_id: str, number: int, part: Part, side: Side, status: TradeStatus
) -> Reply:
    """Tell one status of one trade."""
    leg = desk.leg(venue_id, str(part.size), part.price, side, taker=part.taker)
    return desk.trade(f"t-{venue_id}-{number}", leg, status=status)


def messages(venue_id: str, parts: list[Part], end: str, *, sells: bool) -> list[Message]:
    """Return everything that the venue says in the life of one order of 10 shares."""
    side = SELL if sells else BUY
    parts = list(parts)
    matched = sum((part.size for part in parts), Decimal(0))
    said: list[Message] = [
        lambda desk: desk.answer(venue_id.replace("v", "c"), "live"),
        lambda desk: desk.report(venue_id, PLACEMENT),
    ]
    if end.startswith("completes"):
        rest = 10 - matched - (dec("0.004") if end.endswith("dust") else 0)
        parts.append(Part(rest, "0.5", taker=False, path=(T.MATCHED, T.CONFIRMED)))
        said.append(lambda desk: desk.report(venue_id, UPDATE, "MATCHED", "10"))
    elif end == "ends":
        said.append(lambda desk: desk.report(venue_id, CANCELLATION, "CANCELED", str(matched)))
    running = Decimal(0)
    for number, part in enumerate(parts):
        running += part.size
        said.append(partial(Desk.report, venue_id=venue_id, kind=UPDATE, matched=str(running)))
        said.extend(
            partial(tell_trade, venue_id=venue_id, number=number, part=part, side=side, status=step)
            for step in part.path
        )
    return said


def figures(desk: Desk) -> tuple[object, ...]:
    """Return how it ended; only times and the order of arrival are left out."""
    state = desk.state
    position = state.position(UP, "alpha")
    return (
        {
            order.client_id: (
                order.status,
                order.filled,
                order.matched,
                order.average_price,
                order.fees,
                state.reservation(order.client_id),
            )
            for order in state.orders.values()
        },
        {key: fill.status for key, fill in state.fills.items()},
        (position.size, position.settled, position.fees),
        (state.sellable(UP, "alpha"), state.shortfall, state.is_settled),
        (desk.account.cash, desk.account.reserved, state.cash_flow, state.volume),
    )


def lived(said: list[Message]) -> Desk:
    """Return a desk on which a buy and a sell have heard all of this."""
    desk = Desk()
    applied(desk.adjust("15", "-6"))
    applied(desk.place("c1", BUY))
    applied(desk.place("c2", SELL))
    for message in said:
        message(desk)
    return desk


@settings(max_examples=200, deadline=None)
@given(buys=_LIVES, sells=_LIVES, data=st.data())
def test_the_end_does_not_depend_on_the_order_of_arrival(
    buys: tuple[list[Part], str], sells: tuple[list[Part], str], data: st.DataObject
) -> None:
    """All reports of a buy and a sell, shuffled and some of them twice, end as when in order."""
    said = messages("v1", *buys, sells=False) + messages("v2", *sells, sells=True)
    expected = figures(lived(said))
    again = data.draw(st.lists(st.sampled_from(said), max_size=6))
    shuffled = data.draw(st.permutations(said + again))
    assert figures(lived(shuffled)) == expected


@settings(max_examples=100, deadline=None)
@given(buys=_LIVES, sells=_LIVES, data=st.data())
def test_the_end_is_what_the_venue_did(
    buys: tuple[list[Part], str], sells: tuple[list[Part], str], data: st.DataObject
) -> None:
    """Cash and shares are those of the trades that did not fail, worked out apart."""
    said = messages("v1", *buys, sells=False) + messages("v2", *sells, sells=True)
    desk = lived(data.draw(st.permutations(said)))
    cash, shares = dec("994"), dec("15")
    for fill in desk.state.fills.values():
        if fill.status is not T.FAILED:
            sign = 1 if fill.side is BUY else -1
            shares += sign * fill.size
            cash -= sign * fill.size * fill.price + fill.fee
    assert desk.account.cash == cash
    assert desk.state.position(UP, "alpha").size - desk.state.shortfall == shares
    for client_id, (parts, end) in (("c1", buys), ("c2", sells)):
        status = desk.status(client_id)
        rest = 10 - sum((part.size for part in parts), Decimal(0))
        if end.startswith("completes") or (end == "ends" and rest <= dec("0.01")):
            assert status is OrderStatus.FILLED
        elif end == "ends":
            assert status is OrderStatus.CANCELLED
        else:
            assert status in {OrderStatus.LIVE, OrderStatus.PARTIALLY_FILLED}
        if status.is_final:
            assert desk.state.reservation(client_id) == 0


@given(st.lists(st.sampled_from(["answer", "report"]), min_size=1, max_size=4), st.booleans())
def test_a_killed_order_holds_nothing_whichever_word_comes_first(
    words: list[str],
    cancelling: bool,
) -> None:
    """The refusal over HTTP and the event of the kill may come in any order, and often."""
    desk = Desk()
    applied(desk.place(order_type=OrderType.FAK))
    if cancelling:
        desk.cancel()
    for word in words:
        if word == "answer":
            desk.answer("c1", "rejected", "no match")
        else:
            desk.report("v1", CANCELLATION, "CANCELED_no match")
    assert desk.order("c1").status.is_final
    assert desk.order("c1").reason == "no match"
    assert desk.account.reserved == 0
    assert desk.state.is_settled

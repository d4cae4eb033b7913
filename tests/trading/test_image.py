"""A cycle's state that is written down and read back goes on as if nothing had happened."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from attrs import evolve
from hypothesis import given, settings

from polyframe.model.market import Outcome
from polyframe.model.order import OrderRequest, Side
from polyframe.trading.account import Account, Stock
from polyframe.trading.commands import Applied, CycleCommand, PlaceOrder
from polyframe.trading.engine import OrderEngine
from polyframe.trading.image import CycleImage, TrackImage
from polyframe.trading.state import CycleState
from tests.trading.builders import G1, G2, dec, make_market
from tests.trading.scripts import commands, opening, scripts


def lived(script: list[CycleCommand]) -> CycleState:
    """Return the state after the commands of a script."""
    engine = OrderEngine(Account(dec("40")))
    engine.reset(make_market(G1))
    for command in script:
        engine.submit(command)
    assert engine.state is not None
    return engine.state


def reread(image: CycleImage) -> CycleImage:
    """Return the image as it comes back from a file."""
    return msgspec.json.decode(msgspec.json.encode(image), type=CycleImage)


def restored(state: CycleState) -> CycleState:
    """Return a copy that went through a file, with an account whose cash is counted like ours."""
    account = Account(dec("0"))
    copy = CycleState.restored(reread(state.image()), account)
    account.take_stock(Stock(state.account.cash))
    return copy


LIVES = scripts(commands(G1), 25).map(lambda script: opening(G1) + script)


@settings(max_examples=200, deadline=None)
@given(LIVES, scripts(commands(G1), 15))
def test_a_restored_state_is_the_state_and_goes_on_like_it(
    before: list[CycleCommand], after: list[CycleCommand]
) -> None:
    """Read back at any point, it says the same, and the same commands have the same replies."""
    state = lived(before)
    copy = restored(state)
    assert state.image() == copy.image()
    assert state.snapshot() == copy.snapshot()
    assert state.cost_to_come == copy.cost_to_come
    assert all(
        state.shares_to_come(side, outcome) == copy.shares_to_come(side, outcome)
        for side in Side
        for outcome in Outcome
    )
    for command in after:
        assert state.apply(command) == copy.apply(command)
    assert state.snapshot() == copy.snapshot()
    assert state.account.cash == copy.account.cash
    assert state.account.reserved == copy.account.reserved
    assert state.account.claimable == copy.account.claimable


def flawed(**changes: Any) -> str:
    """Return what is said against an image of two orders and a fill with something changed."""
    state = lived(opening(G1))
    return evolve(state.image(), **changes).flaw()


def test_an_image_with_a_part_of_another_cycle_is_refused() -> None:
    """An order or fill of another generation makes the whole image unusable, by name."""
    image = lived(opening(G1)).image()
    other = (evolve(image.orders[0], generation=G2), *image.orders[1:])
    assert "order c0 is of" in flawed(orders=other)
    with pytest.raises(ValueError, match="order c0"):
        CycleState.restored(evolve(image, orders=other), Account(dec("0")))


def test_an_image_that_contradicts_itself_is_refused() -> None:
    """Two orders of one id, notes that are missing, or fills nobody tells of are named."""
    image = lived(opening(G1)).image()
    first, second, *rest = image.orders
    twice = evolve(second, client_id=first.client_id)
    assert "two orders of one id" in flawed(orders=(first, twice, *rest))
    assert "at the venue" in flawed(orders=(first, evolve(second, venue_id="v0"), *rest))
    assert "notes on 2" in flawed(tracks=image.tracks[:2])
    told = TrackImage(trades=(("t9", 7),))
    assert "fills are not those" in flawed(tracks=(told, *image.tracks[1:]))
    assert image.flaw() == ""


@settings(max_examples=100, deadline=None)
@given(scripts(commands(G1), 25))
def test_a_foreign_order_that_was_placed_here_after_the_image_is_taken_over(
    before: list[CycleCommand],
) -> None:
    """The image and the list of sent orders together make the same state as the placing did."""
    state = lived(before)
    image = reread(state.image())
    for venue_id in [order.venue_id for order in state.orders.values() if order.is_external]:
        parked = state.orders[venue_id]
        request = OrderRequest(parked.outcome, parked.side, parked.price, parked.size)
        reply = state.apply(
            PlaceOrder(G1, f"late {venue_id}", venue_id, "alpha", parked.token, request, 5)
        )
        if isinstance(reply, Applied) and reply.order is not None:
            image = image.with_sent([reply.order])
    assert image.flaw() == ""
    copy = CycleState.restored(image, Account(dec("0")))
    assert state.image().orders == copy.image().orders
    assert state.image().tracks == copy.image().tracks
    assert state.image().fills == copy.image().fills
    assert state.snapshot().positions == copy.snapshot().positions
    assert state.reserved_cash == copy.reserved_cash


def test_orders_that_left_after_the_image_are_added_once() -> None:
    """An order that the image has under either id stays as it is, a new one is being sent."""
    image = lived(opening(G1)).image()
    new = evolve(image.orders[0], client_id="c9", venue_id="v9")
    known = evolve(image.orders[0], client_id="c8")
    more = image.with_sent([new, known, image.orders[1]])
    assert (*image.orders, new) == more.orders
    state = CycleState.restored(more, Account(dec("0")))
    assert state.reservation("c9") == state.reservation("c0")

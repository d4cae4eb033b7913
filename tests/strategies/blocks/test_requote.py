"""When a resting order is worth moving."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from polyframe.errors import ConfigError
from polyframe.model.market import Outcome
from polyframe.model.order import Order, OrderStatus, Side
from polyframe.strategies.blocks.requote import Requote, RequotePolicy

TICK = Decimal("0.01")
PRICE, SIZE = Decimal("0.50"), Decimal(20)
NOW = 1000.0
RESTING = Order(
    client_id="1",
    venue_id="0x1",
    generation=0,
    slug="slug",
    token="1",
    strategy="test",
    outcome=Outcome.UP,
    side=Side.BUY,
    price=PRICE,
    size=SIZE,
    status=OrderStatus.LIVE,
    created_ms=990_000,
)


def decide(
    order: Order | None = RESTING,
    price: Decimal | None = PRICE,
    size: Decimal = SIZE,
    **policy: Any,
) -> Requote:
    """Return what the policy says now."""
    return RequotePolicy(**policy).decide(order, price, size, TICK, NOW)


def test_a_quote_that_is_near_enough_is_kept() -> None:
    """One tick and half a share are not worth two requests and the place in the queue."""
    assert decide(price=PRICE + TICK) is Requote.KEEP
    assert decide(price=PRICE - TICK, size=SIZE + Decimal("0.5")) is Requote.KEEP


def test_a_quote_that_is_too_far_is_replaced() -> None:
    """In price or in size, either way."""
    for price in (PRICE + 2 * TICK, PRICE - 2 * TICK):
        assert decide(price=price) is Requote.REPLACE
    for size in (SIZE + 1, SIZE - 1):
        assert decide(size=size) is Requote.REPLACE


def test_what_is_left_of_an_order_is_its_size() -> None:
    """A partly filled order offers less than is wanted."""
    part = attrs.evolve(RESTING, filled=Decimal(5), status=OrderStatus.PARTIALLY_FILLED)
    assert decide(part) is Requote.REPLACE
    assert decide(part, size=Decimal(15)) is Requote.KEEP


def test_an_old_quote_is_replaced_if_it_differs_at_all() -> None:
    """Age alone is no reason: an exact quote keeps its place in the queue for ever."""
    assert decide(max_age=10.0) is Requote.KEEP
    assert decide(price=PRICE + TICK, max_age=10.0) is Requote.REPLACE
    assert decide(price=PRICE + TICK, max_age=10.1) is Requote.KEEP


def test_without_an_order_one_is_placed_if_wanted() -> None:
    """An order that is over is none."""
    for order in (None, attrs.evolve(RESTING, status=OrderStatus.CANCELLED)):
        assert decide(order) is Requote.PLACE
        assert decide(order, price=None) is Requote.KEEP
        assert decide(order, size=Decimal(0)) is Requote.KEEP


def test_what_is_not_wanted_is_cancelled() -> None:
    """No price, or no size."""
    assert decide(price=None) is Requote.CANCEL
    assert decide(size=Decimal(0)) is Requote.CANCEL


@given(
    status=st.sampled_from(
        [OrderStatus.NEW, OrderStatus.SUBMITTING, OrderStatus.UNKNOWN, OrderStatus.CANCELLING]
    ),
    price=st.none() | st.just(Decimal("0.9")),
)
def test_an_order_whose_answer_is_on_the_way_is_left_alone(
    status: OrderStatus, price: Decimal | None
) -> None:
    """There is never a second order beside one that may still be live."""
    assert decide(attrs.evolve(RESTING, status=status), price=price) is Requote.KEEP


@pytest.mark.parametrize(
    ("settings", "word"),
    [
        ({"ticks": -1}, "ticks"),
        ({"ticks": 1.5}, "ticks"),
        ({"shares": 0.5}, "shares"),
        ({"shares": Decimal(-1)}, "shares"),
        ({"max_age": 0}, "max_age"),
    ],
)
def test_settings_that_cannot_be_are_refused(settings: dict[str, Any], word: str) -> None:
    """The message names the field."""
    with pytest.raises(ConfigError, match=word):
        RequotePolicy(**settings)

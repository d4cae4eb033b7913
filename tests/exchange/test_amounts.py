"""Amounts of orders."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from polyframe.exchange.polymarket.amounts import limit_amounts
from polyframe.model.order import Side

TICKS = [Decimal(text) for text in ("0.1", "0.01", "0.005", "0.0025", "0.001", "0.0001")]


@pytest.mark.parametrize(
    ("side", "size", "price", "tick", "maker", "taker"),
    [
        ("BUY", "7.25", "0.53", "0.01", 3842500, 7250000),
        ("SELL", "7.25", "0.53", "0.01", 7250000, 3842500),
        ("BUY", "21.04", "0.56", "0.01", 11782400, 21040000),
        ("BUY", "12.345", "0.333", "0.001", 4109220, 12340000),
        ("SELL", "12.345", "0.333", "0.001", 12340000, 4109220),
        ("BUY", "100.37", "0.0825", "0.0025", 8280525, 100370000),
        ("BUY", "100.37", "0.085", "0.005", 8531450, 100370000),
        ("BUY", "9.99", "0.1234", "0.0001", 1232766, 9990000),
        ("BUY", "5.55", "0.7", "0.1", 3885000, 5550000),
    ],
)
def test_the_official_clients_vectors(
    side: str, size: str, price: str, tick: str, maker: int, taker: int
) -> None:
    """Limit orders carry the amounts that the official client computes (PROTOCOL §2.8)."""
    amounts = limit_amounts(Side(side), Decimal(price), Decimal(size), Decimal(tick))
    assert amounts == (maker, taker)


@pytest.mark.parametrize(
    ("price", "tick"), [("0.535", "0.01"), ("0.53001", "0.0001"), ("0.003", "0.0025")]
)
def test_a_price_off_the_grid_is_refused(price: str, tick: str) -> None:
    """A price between two ticks is refused, not rounded."""
    with pytest.raises(ValueError, match="price: expected a multiple of the tick"):
        limit_amounts(Side.BUY, Decimal(price), Decimal(10), Decimal(tick))


@pytest.mark.parametrize("price", ["0", "1", "-0.1", "1.5", "0.999", "0.001"])
def test_a_price_outside_the_range_is_refused(price: str) -> None:
    """A price must lie between one tick and one less a tick."""
    with pytest.raises(ValueError, match=r"price: expected 0\.01 to 0\.99"):
        limit_amounts(Side.BUY, Decimal(price), Decimal(10), Decimal("0.01"))


@pytest.mark.parametrize("size", ["0", "0.009", "-5", "1e15", "1e40"])
def test_a_size_that_no_order_can_have_is_refused(size: str) -> None:
    """A size that is cut to nothing, is negative or absurd is refused."""
    with pytest.raises(ValueError, match="size: expected"):
        limit_amounts(Side.BUY, Decimal("0.5"), Decimal(size))


@given(
    tick=st.sampled_from(TICKS),
    steps=st.integers(1, 9999),
    hundredths=st.integers(1, 10**12),
    side=st.sampled_from(Side),
)
def test_amounts_are_exact(tick: Decimal, steps: int, hundredths: int, side: Side) -> None:
    """For every tick and size the two amounts stand in exactly the ratio of the price."""
    price = tick * (1 + steps % (int(1 / tick) - 1))
    size = Decimal(hundredths) / 100
    maker, taker = limit_amounts(side, price, size, tick)
    usd, shares = (maker, taker) if side is Side.BUY else (taker, maker)
    assert shares == size * 1_000_000
    assert Decimal(usd) == price * shares

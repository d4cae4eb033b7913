"""Amounts of orders."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from polyframe.exchange.polymarket.amounts import (
    limit_amounts,
    market_buy_amounts,
    market_sell_amounts,
    order_amounts,
)
from polyframe.model.grid import TICKS, Grid
from polyframe.model.market import Outcome
from polyframe.model.order import OrderRequest, OrderType, Side

UNIT = 1_000_000


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
def test_the_official_clients_limit_orders(
    side: str, size: str, price: str, tick: str, maker: int, taker: int
) -> None:
    """Limit orders carry the amounts of PROTOCOL §2.8, once the size is cut as that client does."""
    grid = Grid(Decimal(tick))
    shares = grid.floor_size(Decimal(size))
    assert limit_amounts(Side(side), Decimal(price), shares, grid.tick) == (maker, taker)


@pytest.mark.parametrize(
    ("usd", "price", "tick", "maker", "taker"),
    [
        ("10", "0.53", "0.01", 10000000, 18867900),
        ("10.019", "0.53", "0.01", 10010000, 18886700),
        ("100", "0.333", "0.001", 100000000, 300300300),
        ("1", "0.07", "0.01", 1000000, 14285700),
    ],
)
def test_the_official_clients_market_buys(
    usd: str, price: str, tick: str, maker: int, taker: int
) -> None:
    """Market buys carry the amounts of PROTOCOL §2.8, once the USD are cut as that client does."""
    grid = Grid(Decimal(tick))
    spent = grid.floor_usd(Decimal(usd))
    assert market_buy_amounts(Decimal(price), spent, grid.tick) == (maker, taker)


def test_the_official_clients_market_sell() -> None:
    """Market sells carry the amounts of PROTOCOL §2.8, once the size is cut."""
    size = Grid(Decimal("0.01")).floor_size(Decimal("7.257"))
    assert market_sell_amounts(Decimal("0.53"), size, Decimal("0.01")) == (7250000, 3842500)


@pytest.mark.parametrize(
    ("price", "tick"), [("0.535", "0.01"), ("0.53001", "0.0001"), ("0.003", "0.0025")]
)
def test_a_price_off_the_grid_is_refused(price: str, tick: str) -> None:
    """A price between two ticks is refused in every kind of order, not rounded."""
    value, step, ten = Decimal(price), Decimal(tick), Decimal(10)
    refused = "price: expected a multiple of the tick"
    with pytest.raises(ValueError, match=refused):
        limit_amounts(Side.BUY, value, ten, step)
    with pytest.raises(ValueError, match=refused):
        market_buy_amounts(value, ten, step)
    with pytest.raises(ValueError, match=refused):
        market_sell_amounts(value, ten, step)


@pytest.mark.parametrize("price", ["0", "1", "-0.1", "1.5", "0.999", "0.001"])
def test_a_price_outside_the_range_is_refused(price: str) -> None:
    """A price must lie between one tick and one less a tick."""
    with pytest.raises(ValueError, match=r"price: expected 0\.01 to 0\.99"):
        limit_amounts(Side.BUY, Decimal(price), Decimal(10), Decimal("0.01"))


@pytest.mark.parametrize("amount", ["0", "0.009", "-5", "1e15", "1e40", "12.345"])
def test_a_size_or_sum_that_no_order_can_have_is_refused(amount: str) -> None:
    """Finer than two decimals, negative or absurd: refused, not cut."""
    half, value = Decimal("0.5"), Decimal(amount)
    with pytest.raises(ValueError, match="size: expected"):
        limit_amounts(Side.BUY, half, value)
    with pytest.raises(ValueError, match="size: expected"):
        market_sell_amounts(half, value)
    with pytest.raises(ValueError, match="usd: expected"):
        market_buy_amounts(half, value)


TICK = st.sampled_from(TICKS)
STEPS = st.integers(1, 9999)
HUNDREDTHS = st.integers(1, 10**12)
DECIMALS = dict(zip(TICKS, (3, 4, 5, 6, 5, 6), strict=True))


def _price(tick: Decimal, steps: int) -> Decimal:
    return tick * (1 + steps % (int(1 / tick) - 1))


@given(tick=TICK, steps=STEPS, hundredths=HUNDREDTHS, side=st.sampled_from(Side))
def test_amounts_of_limit_orders_are_exact(
    tick: Decimal, steps: int, hundredths: int, side: Side
) -> None:
    """For every tick and size the two amounts stand in exactly the ratio of the price."""
    price, size = _price(tick, steps), Decimal(hundredths) / 100
    maker, taker = limit_amounts(side, price, size, tick)
    usd, shares = (maker, taker) if side is Side.BUY else (taker, maker)
    assert shares == size * UNIT
    assert Decimal(usd) == price * shares
    assert usd % 10 ** (6 - DECIMALS[tick]) == 0


@given(tick=TICK, steps=STEPS, hundredths=st.integers(1000, 10**12))
def test_a_market_buy_spends_its_sum_and_keeps_its_limit(
    tick: Decimal, steps: int, hundredths: int
) -> None:
    """An ask at the limit can be taken, one a finest tick above cannot; never over four decimals."""
    price, usd = _price(tick, steps), Decimal(hundredths) / 100
    maker, taker = market_buy_amounts(price, usd, tick)
    assert maker == usd * UNIT
    assert taker % 10 ** (6 - min(DECIMALS[tick], 4)) == 0
    assert price <= Decimal(maker) / Decimal(taker) < price + Decimal("0.0001")
    # No more shares of that many decimals would do.
    assert Decimal(maker) / (taker + 10 ** (6 - min(DECIMALS[tick], 4))) < price


@given(tick=TICK, steps=STEPS, hundredths=st.integers(1000, 10**12))
def test_a_market_sell_gives_its_shares_and_keeps_its_limit(
    tick: Decimal, steps: int, hundredths: int
) -> None:
    """A bid at the limit can be taken, one a finest tick below cannot; never over four decimals."""
    price, size = _price(tick, steps), Decimal(hundredths) / 100
    maker, taker = market_sell_amounts(price, size, tick)
    assert maker == size * UNIT
    assert taker % 10 ** (6 - min(DECIMALS[tick], 4)) == 0
    assert price - Decimal("0.0001") < Decimal(taker) / Decimal(maker) <= price


@given(tick=TICK, steps=STEPS, hundredths=st.integers(1, 300))
def test_a_limit_that_would_not_hold_is_refused(tick: Decimal, steps: int, hundredths: int) -> None:
    """So few USD or shares that the amounts cannot express the limit are refused, never sent."""
    price, few = _price(tick, steps), Decimal(hundredths) / 100
    for amounts, field in ((market_buy_amounts, "usd"), (market_sell_amounts, "size")):
        try:
            maker, taker = amounts(price, few, tick)
        except ValueError as exc:
            assert str(exc).startswith(f"{field}: ")  # noqa: PT017 - both ends are good ones
            continue
        assert maker > 0
        assert taker > 0
        ratio = Decimal(maker) / taker if field == "usd" else Decimal(taker) / maker
        assert abs(ratio - price) < Decimal("0.0001")


def test_too_few_usd_or_shares_are_refused_by_name() -> None:
    """One cent at a high price, or a hundredth of a share, cannot keep a fine limit."""
    with pytest.raises(ValueError, match=r"^usd: .*spend more"):
        market_buy_amounts(Decimal("0.7"), Decimal("0.01"), Decimal("0.1"))
    with pytest.raises(ValueError, match=r"^size: .*sell more"):
        market_sell_amounts(Decimal("0.0001"), Decimal("0.5"), Decimal("0.0001"))


@pytest.mark.parametrize(
    ("kind", "side", "price", "size", "expected"),
    [
        (OrderType.GTC, Side.BUY, "0.333", "7.25", (2414250, 7250000)),
        (OrderType.GTD, Side.SELL, "0.333", "7.25", (7250000, 2414250)),
        (OrderType.FAK, Side.SELL, "0.333", "7.25", (7250000, 2414200)),
        (OrderType.FOK, Side.BUY, "0.333", "10", (3330000, 10000000)),
    ],
)
def test_the_kind_of_order_decides_how_it_is_written(
    kind: OrderType, side: Side, price: str, size: str, expected: tuple[int, int]
) -> None:
    """What rests is exact, what does not has at most four decimals; both keep price and size."""
    request = OrderRequest(Outcome.UP, side, Decimal(price), Decimal(size), kind)
    assert order_amounts(request, Decimal("0.001")) == expected


def test_a_buy_in_shares_that_does_not_rest_spends_whole_cents() -> None:
    """Such a buy is for USD at the venue; what is no whole cents is refused, not rounded."""
    request = OrderRequest(Outcome.UP, Side.BUY, Decimal("0.333"), Decimal(7), OrderType.FAK)
    with pytest.raises(ValueError, match=r"^usd: expected steps of 0\.01, got 2\.331"):
        order_amounts(request, Decimal("0.001"))


@given(
    tick=TICK,
    steps=STEPS,
    hundredths=st.integers(100, 10**10),
    kind=st.sampled_from([OrderType.FAK, OrderType.FOK]),
)
def test_a_buy_for_usd_names_the_shares_that_it_buys_at_least(
    tick: Decimal, steps: int, hundredths: int, kind: OrderType
) -> None:
    """The size of a market buy is what is written into the order, but for the coarsest ticks."""
    price, usd = _price(tick, steps), Decimal(hundredths) / 100
    request = OrderRequest.market_buy(Outcome.UP, usd, price, kind)
    assert (request.usd, request.side, request.order_type) == (usd, Side.BUY, kind)
    assume(DECIMALS[tick] >= 4)
    maker, taker = order_amounts(request, tick)
    assert maker == usd * UNIT
    assert taker == request.size * UNIT

"""Orders, and the small values around them."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from attrs import evolve

from polyframe.model.market import Market, Outcome
from polyframe.model.order import Order, OrderRequest, OrderStatus, OrderType, Side
from polyframe.model.position import Position
from polyframe.model.series import Series
from polyframe.model.trade import TradeStatus

D = Decimal
ORDER = Order(
    client_id="c1",
    venue_id="0x1",
    generation=900,
    slug="btc-updown-15m-900",
    token="1",
    strategy="momentum",
    outcome=Outcome.UP,
    side=Side.BUY,
    price=D("0.53"),
    size=D(10),
)

_SERIES = Series.parse("btc-updown-15m")
MARKET = Market(
    slug="btc-updown-15m-900",
    series=_SERIES,
    window=_SERIES.window_at(900),
    condition_id="0xc",
    up_token="up",
    down_token="down",
)


class TestRequest:
    @pytest.mark.parametrize(("name", "outcome"), [("Up", Outcome.UP), ("Down", Outcome.DOWN)])
    def test_names_as_text(self, name: Any, outcome: Outcome) -> None:
        """An outcome, a side and a type given as text are those, and never their opposites."""
        side, kind = "SELL", "FAK"
        request = OrderRequest(name, side, D("0.5"), D(5), kind)  # type: ignore[arg-type]
        assert request.outcome is outcome
        assert (request.side, request.order_type) == (Side.SELL, OrderType.FAK)
        assert type(request.side) is Side
        assert MARKET.token(name) == MARKET.token(outcome) == outcome.value.lower()

    @pytest.mark.parametrize(
        ("field", "value"),
        [
            ("outcome", "UP"),
            ("outcome", None),
            ("side", "buy"),
            ("order_type", "MARKET"),
            ("expires", 1_790_586_600.5),
            ("expires", "1790586600"),
            ("expires", True),
            ("post_only", "false"),
            ("post_only", 1),
        ],
    )
    def test_what_is_none_of_its_kind(self, field: str, value: Any) -> None:
        """What is no outcome, side, type, time or truth value is refused by name, not guessed."""
        values: dict[str, Any] = {"outcome": Outcome.UP, "side": Side.BUY, "price": 1, "size": 1}
        with pytest.raises(ValueError, match=f"{field}: expected"):
            OrderRequest(**values | {field: value})

    def test_no_outcome_has_no_token(self) -> None:
        """A market names no token for what is no outcome: it might be the wrong one."""
        with pytest.raises(ValueError, match="outcome: expected"):
            MARKET.token("UP")  # type: ignore[arg-type]

    @pytest.mark.parametrize(
        ("price", "size"), [("0.53", "7.25"), (D("0.53"), D("7.25")), (0.53, 7.25)]
    )
    def test_exact(self, price: object, size: object) -> None:
        """Price and size are exact, whatever they were written as."""
        request = OrderRequest(Outcome.UP, Side.BUY, price, size)
        assert (request.price, request.size) == (D("0.53"), D("7.25"))

    @pytest.mark.parametrize("field", ["price", "size"])
    @pytest.mark.parametrize("value", ["much", None, float("nan"), True, D("1e999999"), D("sNaN")])
    def test_no_number(self, field: str, value: Any) -> None:
        """What is no number is refused by the name of its field."""
        with pytest.raises(ValueError, match=f"{field}: "):
            evolve(OrderRequest(Outcome.UP, Side.BUY, "0.5", "5"), **{field: value})

    @pytest.mark.parametrize(
        ("usd", "price"), [("1e15", "0.5"), ("-1e30", "0.5"), ("5", "1e-39"), ("1e40", "1e-40")]
    )
    def test_more_than_any_order_spends(self, usd: str, price: str) -> None:
        """A sum that would buy more shares than an order can have is refused, not reckoned with."""
        with pytest.raises(ValueError, match=r"usd: expected less than .* at a price of"):
            OrderRequest.market_buy(Outcome.UP, D(usd), D(price))


class TestOrder:
    def test_remaining(self) -> None:
        """What remains is size less fills; a fill beyond the size leaves nothing, not less."""
        assert ORDER.remaining == 10
        assert evolve(ORDER, filled=D("2.5")).remaining == D("7.5")
        assert evolve(ORDER, filled=D("10.01")).remaining == 0

    @pytest.mark.parametrize("status", OrderStatus)
    def test_open_until_final(self, status: OrderStatus) -> None:
        """Filled, cancelled, expired and rejected orders are over; a lost answer leaves one open."""
        final = status in {
            OrderStatus.FILLED,
            OrderStatus.CANCELLED,
            OrderStatus.EXPIRED,
            OrderStatus.REJECTED,
        }
        assert status.is_final is final
        assert evolve(ORDER, status=status).is_open is not final

    def test_external(self) -> None:
        """An order without a strategy is somebody else's."""
        assert not ORDER.is_external
        assert evolve(ORDER, strategy="").is_external


class TestMarket:
    series = Series("btc", "15m")
    market = Market(
        slug="btc-updown-15m-900",
        series=series,
        window=series.window_at(900),
        condition_id="0xc",
        up_token="11",
        down_token="22",
    )

    def test_tokens(self) -> None:
        """Outcomes and tokens lead to each other; a token of another market leads nowhere."""
        for outcome in Outcome:
            assert self.market.outcome(self.market.token(outcome)) is outcome
        assert self.market.token(Outcome.UP) != self.market.token(Outcome.DOWN)
        assert self.market.outcome("33") is None
        assert self.market.outcome("") is None

    def test_generation(self) -> None:
        """The generation is the start of the window, the same after a restart."""
        assert self.market.generation == 900

    def test_other(self) -> None:
        """Up and Down are each other's opposite, and Up comes first."""
        assert [outcome.other for outcome in Outcome] == [Outcome.DOWN, Outcome.UP]


def test_average_price_of_a_position() -> None:
    """The average price is the cost of a held share, and None when nothing is held."""
    assert Position(Outcome.UP).average_price is None
    assert Position(Outcome.UP, size=D(10), cost=D("5.3")).average_price == D("0.53")


@pytest.mark.parametrize("status", TradeStatus)
def test_settlement_ends(status: TradeStatus) -> None:
    """Settlement is over when a trade is confirmed or has failed."""
    assert status.is_final is (status in {TradeStatus.CONFIRMED, TradeStatus.FAILED})

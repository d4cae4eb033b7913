"""Markets, commands and a desk to give them from, for tests of the engine."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal

from polyframe.model.events import OrderChanged, OrderEventKind, OrderReport, TradeReport
from polyframe.model.fees import FeeSchedule
from polyframe.model.market import Market, Outcome
from polyframe.model.order import Order, OrderRequest, OrderStatus, OrderType, PlaceResult, Side
from polyframe.model.series import Series, Window
from polyframe.model.trade import TradeLeg, TradeStatus
from polyframe.trading.account import Account
from polyframe.trading.commands import (
    AdjustPosition,
    Applied,
    ApplyCancelAnswer,
    ApplyOrderReport,
    ApplyPlaceAnswer,
    ApplyResolution,
    ApplyTradeReport,
    CancelOrder,
    CycleCommand,
    Denied,
    Ignored,
    PlaceOrder,
    Reply,
)
from polyframe.trading.state import CycleState

UP, DOWN = Outcome.UP, Outcome.DOWN
BUY, SELL = Side.BUY, Side.SELL
PLACEMENT, UPDATE, CANCELLATION = (
    OrderEventKind.PLACEMENT,
    OrderEventKind.UPDATE,
    OrderEventKind.CANCELLATION,
)
G1, G2, G3 = 900, 1800, 2700
CRYPTO = FeeSchedule(Decimal("0.07"))


def dec(text: str) -> Decimal:
    """Return `text` as a number; shorter than the class at every call."""
    return Decimal(text)


def make_market(generation: int = G1, fees: FeeSchedule = CRYPTO) -> Market:
    """Return the market of one cycle; its tokens are ``U900`` and ``D900``."""
    return Market(
        slug=f"btc-updown-15m-{generation}",
        series=Series.parse("btc-updown-15m"),
        window=Window(generation, generation + 900),
        condition_id=f"0x{generation}",
        up_token=f"U{generation}",
        down_token=f"D{generation}",
        fees=fees,
    )


def decs(*texts: str) -> tuple[Decimal, ...]:
    """Return several numbers."""
    return tuple(Decimal(text) for text in texts)


class Desk:
    """Gives commands to one cycle's state, with short words and a clock that ticks.

    Orders ``c1`` are known to the venue as ``v1``.

    Args:
        cash: USD at the start, for an account of its own.
        submit: Where the commands go; the state itself by default.
    """

    def __init__(
        self,
        cash: str = "1000",
        *,
        state: CycleState | None = None,
        submit: Callable[[CycleCommand], Reply] | None = None,
        market: Market | None = None,
    ) -> None:
        self.state = state or CycleState(market or make_market(), Account(dec(cash)))
        self.account = self.state.account
        self.submit = submit or self.state.apply
        self.generation = self.state.generation
        self.now_ms = 0

    def _now(self) -> int:
        self.now_ms += 1
        return self.now_ms

    def order(self, client_id: str) -> Order:
        """Return an order as it is now."""
        return self.state.orders[client_id]

    def status(self, client_id: str) -> OrderStatus:
        """Return the state of an order."""
        return self.order(client_id).status

    def place(
        self,
        client_id: str = "c1",
        side: Side = BUY,
        price: str = "0.5",
        size: str = "10",
        *,
        outcome: Outcome = UP,
        strategy: str = "alpha",
        venue_id: str = "",
        order_type: OrderType = OrderType.GTC,
        post_only: bool = False,
        token: str = "",
    ) -> Reply:
        """Register an order."""
        return self.submit(
            PlaceOrder(
                self.generation,
                client_id,
                venue_id or client_id.replace("c", "v"),
                strategy,
                token or self.state.market.token(outcome),
                OrderRequest(outcome, side, dec(price), dec(size), order_type, post_only),
                self._now(),
            )
        )

    def answer(self, client_id: str, kind: str, text: str = "", code: str = "") -> Reply:
        """Apply the answer to a sent order."""
        return self.submit(
            ApplyPlaceAnswer(self.generation, client_id, PlaceResult(kind), code, text, self._now())
        )

    def live(self, client_id: str = "c1", side: Side = BUY, *args: str, **more: str) -> None:
        """Place an order that the venue accepts."""
        applied(self.place(client_id, side, *args, **more))  # type: ignore[arg-type]
        applied(self.answer(client_id, "live"))

    def cancel(self, client_id: str = "c1") -> Reply:
        """Mark an order as being cancelled."""
        return self.submit(CancelOrder(self.generation, client_id, self._now()))

    def cancel_answer(self, client_id: str, *, cancelled: bool, text: str = "") -> Reply:
        """Apply the answer to a cancel."""
        return self.submit(
            ApplyCancelAnswer(self.generation, client_id, cancelled, text, self._now())
        )

    def report(
        self,
        venue_id: str,
        kind: OrderEventKind,
        status: str = "LIVE",
        matched: str = "0",
        *,
        side: Side | None = BUY,
        price: str | None = "0.5",
        size: str | None = "10",
        token: str | None = None,
    ) -> Reply:
        """Apply what the venue says of an order."""
        market = self.state.market
        report = OrderReport(
            order_id=venue_id,
            market=market.condition_id,
            token=market.up_token if token is None else token,
            kind=kind,
            status=status,
            side=side,
            price=None if price is None else dec(price),
            original_size=None if size is None else dec(size),
            size_matched=dec(matched),
        )
        return self.submit(ApplyOrderReport(self.generation, report, self._now()))

    def leg(
        self,
        venue_id: str,
        size: str = "10",
        price: str = "0.5",
        side: Side = BUY,
        *,
        outcome: Outcome = UP,
        taker: bool = False,
        token: str = "",
    ) -> TradeLeg:
        """Return one order's part in a trade."""
        token = token or self.state.market.token(outcome)
        return TradeLeg(venue_id, token, side, dec(price), dec(size), taker)

    def trade(
        self, trade_id: str, *legs: TradeLeg, status: TradeStatus = TradeStatus.MATCHED
    ) -> Reply:
        """Apply what the venue says of a trade."""
        market = self.state.market
        report = TradeReport(
            trade_id, market.condition_id, market.up_token, status, legs, match_time_ms=7
        )
        return self.submit(ApplyTradeReport(self.generation, report, self._now()))

    def adjust(
        self, size: str, cash: str = "0", *, outcome: Outcome = UP, strategy: str = "alpha"
    ) -> Reply:
        """Move shares and cash without an order."""
        return self.submit(
            AdjustPosition(
                self.generation, strategy, outcome, dec(size), dec(cash), "test", self._now()
            )
        )

    def resolve(self, winner: Outcome = UP) -> Reply:
        """Resolve the market."""
        return self.submit(ApplyResolution(self.generation, winner, self._now()))


def applied(reply: Reply) -> Applied:
    """Return `reply`, which must be that it was applied."""
    assert isinstance(reply, Applied), reply
    return reply


def denied(reply: Reply) -> Denied:
    """Return `reply`, which must be a denial."""
    assert isinstance(reply, Denied), reply
    return reply


def ignored(reply: Reply) -> str:
    """Return the reason of `reply`, which must be that it was ignored."""
    assert isinstance(reply, Ignored), reply
    return reply.reason


def kinds(reply: Reply) -> list[str]:
    """Return what changed, as ``"order live"`` and ``"trade MATCHED"``."""
    return [
        f"order {change.order.status}"
        if isinstance(change, OrderChanged)
        else f"trade {change.fill.status}"
        for change in applied(reply).changes
    ]

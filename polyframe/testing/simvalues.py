"""What the simulated venue keeps of orders and trades, and how it behaves."""

from __future__ import annotations

from decimal import Decimal

from attrs import define, frozen

from polyframe.model.order import OrderRequest
from polyframe.model.trade import TradeLeg, TradeStatus


@frozen
class SimHabits:
    """How the simulated venue behaves. Times in market seconds, as ranges.

    Attributes:
        step: Between two moves of the crowd.
        latency: Of a request, each way.
        mined: From the match of a trade to its block.
        confirmed: From its block to its confirmation.
        resolved: From the end of the window to the resolution (PROTOCOL §1.5).
        lost_after: Until a lost reply is given up.
    """

    step: tuple[float, float] = (1.0, 6.0)
    latency: tuple[float, float] = (0.005, 0.05)
    mined: tuple[float, float] = (1.0, 12.0)
    confirmed: tuple[float, float] = (1.0, 20.0)
    resolved: tuple[float, float] = (53.0, 90.0)
    lost_after: float = 5.0


@define(eq=False)
class SimOrder:
    """An order as the venue has it; sizes in hundredths of a share, times in epoch seconds."""

    order_id: str
    request: OrderRequest
    token: str
    size: int
    filled: int = 0
    status: str = "LIVE"
    ended: float | None = None

    @property
    def is_open(self) -> bool:
        """Whether it rests."""
        return self.status == "LIVE"

    @property
    def rest(self) -> Decimal:
        """Shares not filled."""
        return shares(self.size - self.filled)


@define(eq=False)
class SimTrade:
    """A trade as the venue has it. `legs` are the account's; `settled` is when it became final."""

    trade_id: str
    token: str
    legs: tuple[TradeLeg, ...]
    time_ms: int
    status: TradeStatus = TradeStatus.MATCHED
    settled: float | None = None


def shares(hundredths: int) -> Decimal:
    """Return hundredths of a share as shares."""
    return Decimal(hundredths).scaleb(-2)

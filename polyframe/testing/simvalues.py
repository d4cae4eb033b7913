"""What the simulated venue keeps of orders and trades, and how it behaves."""

from __future__ import annotations

import random
from collections.abc import Callable
from decimal import Decimal

from attrs import define, frozen

from polyframe.clock import Clock
from polyframe.model.events import UserMessage
from polyframe.model.market import Market
from polyframe.model.order import OrderRequest
from polyframe.model.trade import TradeLeg, TradeStatus
from polyframe.testing.faults import Faults
from polyframe.testing.simaccount import SimAccount


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


@frozen
class SimWorld:
    """What the parts of one simulated market share.

    Attributes:
        market: Names and rules.
        rng: Chance of the crowd, of settlement and of the outcome.
        clock: The venue's time.
        account: Where trades are booked.
        faults: What goes wrong.
        habits: Times.
        send: Sends a message to the account's stream.
    """

    market: Market
    rng: random.Random
    clock: Clock
    account: SimAccount
    faults: Faults
    habits: SimHabits
    send: Callable[[UserMessage], None]

    def now_ms(self) -> int:
        """Return the venue's time in epoch milliseconds."""
        return int(self.clock.time() * 1000)


@define(eq=False)
class SimOrder:
    """An order as the venue has it; sizes in hundredths of a share, times in epoch seconds.

    Attributes:
        is_foreign: Whether another program of the account placed it.
        told: When its sender had the answer, or gave it up; ``None`` until then.
        ended: When it was over.
        cancels: How often its sender asked for a cancel.
    """

    order_id: str
    request: OrderRequest
    token: str
    size: int
    is_foreign: bool = False
    filled: int = 0
    status: str = "LIVE"
    told: float | None = None
    ended: float | None = None
    cancels: int = 0

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
    """A trade as the venue has it.

    Attributes:
        legs: The account's.
        number: Its place among all trades of the account.
        settled: When it became final.
    """

    trade_id: str
    token: str
    legs: tuple[TradeLeg, ...]
    time_ms: int
    number: int
    status: TradeStatus = TradeStatus.MATCHED
    settled: float | None = None


def shares(hundredths: int) -> Decimal:
    """Return hundredths of a share as shares."""
    return Decimal(hundredths).scaleb(-2)

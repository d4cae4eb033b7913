"""Strategies on Polymarket's rolling markets: every cycle is a brand-new world."""

from typing import TYPE_CHECKING, Any

from polyframe.clock import Clock, ScaledClock, VirtualClock, WallClock
from polyframe.counters import Count, Counters
from polyframe.environment import Environment
from polyframe.errors import (
    AuthenticationFailed,
    ConfigError,
    ExchangeError,
    ExchangeUnavailable,
    OrderDenied,
    OrderError,
    OrderOutcomeUnknown,
    OrderRejected,
    PolyframeError,
    RateLimited,
    StaleCycleError,
    StrategyDefinitionError,
    StrategyFailed,
)
from polyframe.exchange.base import Exchange
from polyframe.model.book import Book
from polyframe.model.events import (
    CycleEndReason,
    MarketTraded,
    OrderChanged,
    PriceChanged,
    TradeChanged,
)
from polyframe.model.fees import FeeSchedule
from polyframe.model.market import Market, Outcome, Resolution
from polyframe.model.order import Order, OrderRequest, OrderStatus, OrderType, Side
from polyframe.model.position import Position
from polyframe.model.series import Series, Window
from polyframe.model.trade import Fill, TradeStatus
from polyframe.router import SessionEventRouter
from polyframe.scheduler import MarketScheduler, ScheduleSettings
from polyframe.session import ExchangeSession
from polyframe.strategy import Strategy
from polyframe.trader import Trader, TraderSettings
from polyframe.trading.account import Account
from polyframe.trading.engine import OrderEngine
from polyframe.trading.handle import StrategyTrading
from polyframe.trading.ledger import CycleRecord, CycleStatus, Ledger
from polyframe.trading.limits import RiskLimits
from polyframe.trading.risk import RiskGuard, RiskState
from polyframe.trading.service import TradingService

if TYPE_CHECKING:
    from polyframe.exchange.polymarket import (
        Credentials,
        LocalSigner,
        PolymarketExchange,
        PolymarketHosts,
    )

__version__ = "0.1.0"

__all__ = [
    "Account",
    "AuthenticationFailed",
    "Book",
    "Clock",
    "ConfigError",
    "Count",
    "Counters",
    "Credentials",
    "CycleEndReason",
    "CycleRecord",
    "CycleStatus",
    "Environment",
    "Exchange",
    "ExchangeError",
    "ExchangeSession",
    "ExchangeUnavailable",
    "FeeSchedule",
    "Fill",
    "Ledger",
    "LocalSigner",
    "Market",
    "MarketScheduler",
    "MarketTraded",
    "Order",
    "OrderChanged",
    "OrderDenied",
    "OrderEngine",
    "OrderError",
    "OrderOutcomeUnknown",
    "OrderRejected",
    "OrderRequest",
    "OrderStatus",
    "OrderType",
    "Outcome",
    "PolyframeError",
    "PolymarketExchange",
    "PolymarketHosts",
    "Position",
    "PriceChanged",
    "RateLimited",
    "Resolution",
    "RiskGuard",
    "RiskLimits",
    "RiskState",
    "ScaledClock",
    "ScheduleSettings",
    "Series",
    "SessionEventRouter",
    "Side",
    "StaleCycleError",
    "Strategy",
    "StrategyDefinitionError",
    "StrategyFailed",
    "StrategyTrading",
    "TradeChanged",
    "TradeStatus",
    "Trader",
    "TraderSettings",
    "TradingService",
    "VirtualClock",
    "WallClock",
    "Window",
]

# The venue's client brings httpx and websockets with it: only those who name it pay for them.
_LAZY = {"Credentials", "LocalSigner", "PolymarketExchange", "PolymarketHosts"}


def __getattr__(name: str) -> Any:
    if name in _LAZY:
        from polyframe.exchange import polymarket

        return getattr(polymarket, name)
    msg = f"module {__name__!r} has no attribute {name!r}"
    raise AttributeError(msg)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})

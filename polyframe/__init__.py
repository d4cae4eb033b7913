"""Strategies on Polymarket's rolling markets: every cycle is a brand-new world."""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from polyframe.backtest.exchange import ReplayExchange
    from polyframe.backtest.lookahead import find_look_ahead
    from polyframe.backtest.run import run_backtest
    from polyframe.backtest.sweeps.result import SweepResult
    from polyframe.backtest.sweeps.samplers import Between, OptunaSampler, RandomSampler, Sampler
    from polyframe.backtest.sweeps.sweeping import sweep
    from polyframe.backtest.sweeps.variants import grid
    from polyframe.backtest.sweeps.walkforward import WalkForward, walk_forward
    from polyframe.clock import Clock, ScaledClock, VirtualClock, WallClock
    from polyframe.counters import Count, Counters
    from polyframe.environment import Environment
    from polyframe.errors import (
        AuthenticationFailed,
        CancelOnly,
        ConfigError,
        ExchangeError,
        ExchangeUnavailable,
        GeoBlocked,
        OrderDenied,
        OrderError,
        OrderOutcomeUnknown,
        OrderRejected,
        PolyframeError,
        PostOnlyMode,
        RateLimited,
        StaleCycleError,
        StrategyDefinitionError,
        StrategyFailed,
        TradingDisabled,
        VenueOverloaded,
        VenueRestarting,
    )
    from polyframe.exchange.base import Exchange, PositionContracts
    from polyframe.exchange.polymarket import (
        Credentials,
        LocalSigner,
        PolymarketExchange,
        PolymarketHosts,
        PrivateKey,
        RateLimits,
        WalletSigner,
    )
    from polyframe.exchange.polymarket.login import create_or_derive_credentials
    from polyframe.exchange.polymarket.sdk import SdkContracts
    from polyframe.model.book import Book
    from polyframe.model.conversion import (
        Conversion,
        ConversionKind,
        ConversionStatus,
        Receipt,
        ReceiptState,
    )
    from polyframe.model.events import (
        CycleEndReason,
        MarketTraded,
        OrderChanged,
        PriceChanged,
        TradeChanged,
    )
    from polyframe.model.fees import FeeSchedule
    from polyframe.model.grid import Grid
    from polyframe.model.market import Market, Outcome, Resolution
    from polyframe.model.order import Order, OrderRequest, OrderStatus, OrderType, Side
    from polyframe.model.position import Outlook, Position
    from polyframe.model.reference import PriceRecord, PriceSource, PriceToBeat, ReferencePrice
    from polyframe.model.series import Series, Window
    from polyframe.model.trade import Fill, TradeStatus
    from polyframe.paper.exchange import PaperExchange
    from polyframe.paper.models import ConstantLatency, EmpiricalLatency, PaperModels
    from polyframe.paper.queues import CancelsBehind, Power2, ProRata, Touch
    from polyframe.recording.check import TapeCheck, check_tape
    from polyframe.recording.csvfiles import CsvRecording, write_csv
    from polyframe.recording.kept import KeptRecording
    from polyframe.recording.parquet import ParquetRecording, write_market
    from polyframe.recording.pmxt import PmxtArchive
    from polyframe.recording.reader import Recording
    from polyframe.recording.recorder import Recorder, RecorderSettings
    from polyframe.recording.resolvedkit import ResolvedMarkets
    from polyframe.recording.tape import Gap, TapeEvent, TapeMarket, Timed
    from polyframe.reference import ReferencePrices, ReferenceSettings
    from polyframe.report.ledgers import ledger_report
    from polyframe.report.values import Report
    from polyframe.router import SessionEventRouter
    from polyframe.scheduler import MarketScheduler, ScheduleSettings
    from polyframe.session import ExchangeSession
    from polyframe.shared import SharedService
    from polyframe.strategy import PERSIST, Strategy
    from polyframe.trader import Trader, TraderSettings
    from polyframe.trading.account import Account
    from polyframe.trading.engine import OrderEngine
    from polyframe.trading.guards import EntryGuards
    from polyframe.trading.handle import StrategyTrading
    from polyframe.trading.ledger import CycleRecord, CycleStatus, Ledger
    from polyframe.trading.legs import Leg, LegsResult
    from polyframe.trading.limits import RiskLimits
    from polyframe.trading.opencancel import CancelReport
    from polyframe.trading.placing import Placed
    from polyframe.trading.reconcile import ReconcileReport, ReconcileSettings
    from polyframe.trading.risk import RiskGuard, RiskState
    from polyframe.trading.service import TradingService

__version__ = "0.1.0"

__all__ = [
    "PERSIST",
    "Account",
    "AuthenticationFailed",
    "Between",
    "Book",
    "CancelOnly",
    "CancelReport",
    "CancelsBehind",
    "Clock",
    "ConfigError",
    "ConstantLatency",
    "Conversion",
    "ConversionKind",
    "ConversionStatus",
    "Count",
    "Counters",
    "Credentials",
    "CsvRecording",
    "CycleEndReason",
    "CycleRecord",
    "CycleStatus",
    "EmpiricalLatency",
    "EntryGuards",
    "Environment",
    "Exchange",
    "ExchangeError",
    "ExchangeSession",
    "ExchangeUnavailable",
    "FeeSchedule",
    "Fill",
    "Gap",
    "GeoBlocked",
    "Grid",
    "KeptRecording",
    "Ledger",
    "Leg",
    "LegsResult",
    "LocalSigner",
    "Market",
    "MarketScheduler",
    "MarketTraded",
    "OptunaSampler",
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
    "Outlook",
    "PaperExchange",
    "PaperModels",
    "ParquetRecording",
    "Placed",
    "PmxtArchive",
    "PolyframeError",
    "PolymarketExchange",
    "PolymarketHosts",
    "Position",
    "PositionContracts",
    "PostOnlyMode",
    "Power2",
    "PriceChanged",
    "PriceRecord",
    "PriceSource",
    "PriceToBeat",
    "PrivateKey",
    "ProRata",
    "RandomSampler",
    "RateLimited",
    "RateLimits",
    "Receipt",
    "ReceiptState",
    "ReconcileReport",
    "ReconcileSettings",
    "Recorder",
    "RecorderSettings",
    "Recording",
    "ReferencePrice",
    "ReferencePrices",
    "ReferenceSettings",
    "ReplayExchange",
    "Report",
    "Resolution",
    "ResolvedMarkets",
    "RiskGuard",
    "RiskLimits",
    "RiskState",
    "Sampler",
    "ScaledClock",
    "ScheduleSettings",
    "SdkContracts",
    "Series",
    "SessionEventRouter",
    "SharedService",
    "Side",
    "StaleCycleError",
    "Strategy",
    "StrategyDefinitionError",
    "StrategyFailed",
    "StrategyTrading",
    "SweepResult",
    "TapeCheck",
    "TapeEvent",
    "TapeMarket",
    "Timed",
    "Touch",
    "TradeChanged",
    "TradeStatus",
    "Trader",
    "TraderSettings",
    "TradingDisabled",
    "TradingService",
    "VenueOverloaded",
    "VenueRestarting",
    "VirtualClock",
    "WalkForward",
    "WallClock",
    "WalletSigner",
    "Window",
    "check_tape",
    "create_or_derive_credentials",
    "find_look_ahead",
    "grid",
    "ledger_report",
    "run_backtest",
    "sweep",
    "walk_forward",
    "write_csv",
    "write_market",
]

# A name is loaded when it is first used: the venue's client, for one, brings httpx and websockets
# with it, and a command line that only prints its help needs none of all this.
_HOMES = {
    "backtest.exchange": ("ReplayExchange",),
    "backtest.lookahead": ("find_look_ahead",),
    "backtest.run": ("run_backtest",),
    "backtest.sweeps.result": ("SweepResult",),
    "backtest.sweeps.samplers": ("Between", "OptunaSampler", "RandomSampler", "Sampler"),
    "backtest.sweeps.sweeping": ("sweep",),
    "backtest.sweeps.variants": ("grid",),
    "backtest.sweeps.walkforward": ("WalkForward", "walk_forward"),
    "clock": (
        "Clock",
        "ScaledClock",
        "VirtualClock",
        "WallClock",
    ),
    "counters": (
        "Count",
        "Counters",
    ),
    "environment": ("Environment",),
    "errors": (
        "AuthenticationFailed",
        "CancelOnly",
        "ConfigError",
        "ExchangeError",
        "ExchangeUnavailable",
        "GeoBlocked",
        "OrderDenied",
        "OrderError",
        "OrderOutcomeUnknown",
        "OrderRejected",
        "PolyframeError",
        "PostOnlyMode",
        "RateLimited",
        "StaleCycleError",
        "StrategyDefinitionError",
        "StrategyFailed",
        "TradingDisabled",
        "VenueOverloaded",
        "VenueRestarting",
    ),
    "exchange.base": ("Exchange", "PositionContracts"),
    "exchange.polymarket": (
        "Credentials",
        "LocalSigner",
        "PolymarketExchange",
        "PolymarketHosts",
        "PrivateKey",
        "RateLimits",
        "WalletSigner",
    ),
    "exchange.polymarket.login": ("create_or_derive_credentials",),
    "exchange.polymarket.sdk": ("SdkContracts",),
    "model.book": ("Book",),
    "model.conversion": (
        "Conversion",
        "ConversionKind",
        "ConversionStatus",
        "Receipt",
        "ReceiptState",
    ),
    "model.events": (
        "CycleEndReason",
        "MarketTraded",
        "OrderChanged",
        "PriceChanged",
        "TradeChanged",
    ),
    "model.fees": ("FeeSchedule",),
    "model.grid": ("Grid",),
    "model.market": (
        "Market",
        "Outcome",
        "Resolution",
    ),
    "model.order": (
        "Order",
        "OrderRequest",
        "OrderStatus",
        "OrderType",
        "Side",
    ),
    "model.position": ("Outlook", "Position"),
    "model.reference": (
        "PriceRecord",
        "PriceSource",
        "PriceToBeat",
        "ReferencePrice",
    ),
    "model.series": (
        "Series",
        "Window",
    ),
    "model.trade": (
        "Fill",
        "TradeStatus",
    ),
    "paper.exchange": ("PaperExchange",),
    "paper.models": (
        "ConstantLatency",
        "EmpiricalLatency",
        "PaperModels",
    ),
    "paper.queues": (
        "CancelsBehind",
        "Power2",
        "ProRata",
        "Touch",
    ),
    "recording.check": (
        "TapeCheck",
        "check_tape",
    ),
    "recording.csvfiles": (
        "CsvRecording",
        "write_csv",
    ),
    "recording.kept": ("KeptRecording",),
    "recording.parquet": (
        "ParquetRecording",
        "write_market",
    ),
    "recording.pmxt": ("PmxtArchive",),
    "recording.reader": ("Recording",),
    "recording.recorder": (
        "Recorder",
        "RecorderSettings",
    ),
    "recording.resolvedkit": ("ResolvedMarkets",),
    "recording.tape": (
        "Gap",
        "TapeEvent",
        "TapeMarket",
        "Timed",
    ),
    "reference": (
        "ReferencePrices",
        "ReferenceSettings",
    ),
    "report.ledgers": ("ledger_report",),
    "report.values": ("Report",),
    "router": ("SessionEventRouter",),
    "scheduler": (
        "MarketScheduler",
        "ScheduleSettings",
    ),
    "session": ("ExchangeSession",),
    "shared": ("SharedService",),
    "strategy": ("PERSIST", "Strategy"),
    "trader": (
        "Trader",
        "TraderSettings",
    ),
    "trading.account": ("Account",),
    "trading.engine": ("OrderEngine",),
    "trading.guards": ("EntryGuards",),
    "trading.handle": ("StrategyTrading",),
    "trading.ledger": (
        "CycleRecord",
        "CycleStatus",
        "Ledger",
    ),
    "trading.legs": ("Leg", "LegsResult"),
    "trading.limits": ("RiskLimits",),
    "trading.opencancel": ("CancelReport",),
    "trading.placing": ("Placed",),
    "trading.reconcile": (
        "ReconcileReport",
        "ReconcileSettings",
    ),
    "trading.risk": (
        "RiskGuard",
        "RiskState",
    ),
    "trading.service": ("TradingService",),
}
_HOME_OF = {name: module for module, names in _HOMES.items() for name in names}


def __getattr__(name: str) -> Any:
    module = _HOME_OF.get(name)
    if module is None:
        msg = f"module {__name__!r} has no attribute {name!r}"
        raise AttributeError(msg)
    value = getattr(importlib.import_module(f"{__name__}.{module}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})

"""Strategies under test: a simulated venue, faults, and what must hold whatever happens."""

from polyframe.testing.assertions import (
    assert_books_add_up,
    assert_held,
    assert_isolated,
    assert_no_leaks,
)
from polyframe.testing.bounds import bound_of
from polyframe.testing.builders import (
    CRYPTO_FEES,
    START,
    book_delta,
    book_snapshot,
    make_market,
    order_report,
    trade_report,
)
from polyframe.testing.faults import RATES, Fault, Faults, InjectedError, parse_faults
from polyframe.testing.feeds import FeedVenue
from polyframe.testing.invariants import Invariant, Violation
from polyframe.testing.leaks import Leak, leaks_of
from polyframe.testing.monitor import Monitor
from polyframe.testing.regimes import Regime, RegimeMarkets
from polyframe.testing.run import RunResult, play, run_strategy
from polyframe.testing.simtrader import Seen
from polyframe.testing.simvalues import SimHabits, SimOrder, SimTrade
from polyframe.testing.simvenue import SimVenue
from polyframe.testing.stage import PerProcess, Stage
from polyframe.testing.standing import Bound, Checked, Standing

__all__ = [
    "CRYPTO_FEES",
    "RATES",
    "START",
    "Bound",
    "Checked",
    "Fault",
    "Faults",
    "FeedVenue",
    "InjectedError",
    "Invariant",
    "Leak",
    "Monitor",
    "PerProcess",
    "Regime",
    "RegimeMarkets",
    "RunResult",
    "Seen",
    "SimHabits",
    "SimOrder",
    "SimTrade",
    "SimVenue",
    "Stage",
    "Standing",
    "Violation",
    "assert_books_add_up",
    "assert_held",
    "assert_isolated",
    "assert_no_leaks",
    "book_delta",
    "book_snapshot",
    "bound_of",
    "leaks_of",
    "make_market",
    "order_report",
    "parse_faults",
    "play",
    "run_strategy",
    "trade_report",
]

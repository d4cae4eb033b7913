"""The router by itself: who gets what, also where sessions are not prepared in the usual way."""

from __future__ import annotations

import logging
from collections.abc import Callable

import pytest

from polyframe.clock import VirtualClock
from polyframe.counters import Count, Counters
from polyframe.model.events import OrderReport, TradeReport, UserMessage
from polyframe.model.market import Market
from polyframe.router import SessionEventRouter
from polyframe.session import ExchangeSession
from tests.support.fake import START, make_market, order_report, trade_report

MARKET, OTHER = make_market(), make_market("eth-updown-15m")


class Office:
    """A router, with sessions that write down what reaches them."""

    def __init__(self) -> None:
        self.counters = Counters()
        self.heard: list[tuple[str, str]] = []
        self.dead: list[UserMessage] = []
        self.router = SessionEventRouter(self.counters, self)

    def take(self, message: UserMessage) -> bool:
        """Take what nobody is there for."""
        self.dead.append(message)
        return False

    def session(self, market: Market = MARKET, name: str = "") -> ExchangeSession:
        """Return a session that notes under its name what passes its gate."""
        return ExchangeSession(
            market,
            clock=VirtualClock(START),
            counters=self.counters,
            user_gate=Gate(lambda what: self.heard.append((name or market.slug, what))),
        )

    def orders(self, *markets: Market) -> None:
        """Let an order event of each market come in."""
        for market in markets:
            self.router.on_user_message(order_report(market, f"0x{market.series.asset}"))


class Gate:
    """Tells of what it is given."""

    def __init__(self, tell: Callable[[str], None]) -> None:
        self._tell = tell

    def apply_order_report(self, generation: int, report: OrderReport) -> None:
        self._tell(report.order_id)

    def apply_trade_report(self, generation: int, report: TradeReport) -> None:
        self._tell(report.trade_id)


def test_a_session_that_was_not_prepared_is_live_at_once() -> None:
    """The pointer may be moved to a session that the router has not heard of."""
    office = Office()
    office.router.set_session(None, office.session())
    office.orders(MARKET)
    office.router.on_user_message(trade_report(MARKET, "t1", "0xbtc"))
    assert [(MARKET.slug, "0xbtc"), (MARKET.slug, "t1")] == office.heard
    assert [] == office.dead


def test_what_was_parked_comes_when_the_session_is_live() -> None:
    """Without a barrier around it the parked events pass in the instant of the move, in order."""
    office = Office()
    session = office.session()
    office.router.prepare(session)
    office.orders(MARKET)
    office.router.on_user_message(trade_report(MARKET, "t1", "0xbtc"))
    assert [] == office.heard
    office.router.set_session(None, session)
    assert ["0xbtc", "t1"] == [what for _, what in office.heard]


@pytest.mark.parametrize("moves", [False, True])
def test_within_a_barrier_nothing_passes_before_it_opens(moves: bool) -> None:
    """What was parked for a session that becomes live in a switch waits for the end of it."""
    office = Office()
    session = office.session()
    office.router.prepare(session)
    office.orders(MARKET)
    office.router.disable()
    if moves:
        office.router.set_session(None, session)
    assert [] == office.heard
    office.router.enable()
    assert moves is bool(office.heard)


def test_the_switch_of_one_series_leaves_what_another_has_parked() -> None:
    """A session that is prepared for later gets nothing when another series has switched."""
    office = Office()
    btc, eth = office.session(), office.session(OTHER)
    office.router.prepare(btc)
    office.router.prepare(eth)
    office.orders(MARKET, OTHER)
    office.router.disable()
    office.router.set_session(None, btc)
    office.router.enable()
    assert [(MARKET.slug, "0xbtc")] == office.heard
    office.router.set_session(None, eth)
    assert [(MARKET.slug, "0xbtc"), (OTHER.slug, "0xeth")] == office.heard


def test_forgetting_a_session_leaves_its_successor_of_the_same_market() -> None:
    """A second session of a market has its tokens; the first one takes nothing with it."""
    office = Office()
    first, second = office.session(name="first"), office.session(name="second")
    office.router.prepare(first)
    office.router.prepare(second)
    office.router.forget(first)
    office.orders(MARKET)
    office.router.set_session(None, second)
    assert [("second", "0xbtc")] == office.heard


def test_what_was_parked_for_nothing_is_counted() -> None:
    """Every event of a session that is forgotten is accounted for, and no event is invented."""
    office = Office()
    for orders in (2, 0):
        session = office.session()
        office.router.prepare(session)
        office.orders(*[MARKET] * orders)
        office.router.forget(session)
    assert {"abandoned": 2} == office.counters.reasons(Count.ROUTER_DROPPED)
    assert [] == office.heard


def test_an_event_without_asset_id_is_warned_of_once(caplog: pytest.LogCaptureFixture) -> None:
    """The counter counts each, the log says it once."""
    office = Office()
    with caplog.at_level(logging.WARNING):
        for _ in range(3):
            office.router.on_user_message(order_report(MARKET, "0xbtc", token=""))
    assert 3 == office.counters.get(Count.ROUTER_DROPPED, "no_asset")
    assert 1 == len(caplog.records)
    assert [] == office.dead

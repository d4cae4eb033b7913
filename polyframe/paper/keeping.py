"""The account of a paper exchange as a file: cash, shares, orders and trades, over restarts."""

from __future__ import annotations

from decimal import Decimal

import msgspec

from polyframe.errors import ConfigError
from polyframe.model.conversion import Receipt
from polyframe.model.market import Market
from polyframe.model.order import OrderRequest
from polyframe.model.trade import TradeLeg, TradeStatus
from polyframe.paper.core import PaperVenue
from polyframe.paper.values import PaperOrder, PaperTrade

KEY = "paper/account.json"
"""Key of the file in its store."""

_FORMAT, _VERSION = "polyframe-paper-account", 1


class _Order(msgspec.Struct, frozen=True):
    order_id: str
    slug: str
    request: OrderRequest
    created_ms: int
    status: str
    matched: int
    ahead: int | None


class _Trade(msgspec.Struct, frozen=True):
    trade_id: str
    slug: str
    token: str
    legs: tuple[TradeLeg, ...]
    match_ms: int
    mined_ms: int
    confirmed_ms: int
    fails: bool
    status: TradeStatus


class _Header(msgspec.Struct, frozen=True, kw_only=True):
    format: str = ""
    version: int = 0


class Kept(msgspec.Struct, frozen=True, kw_only=True):
    """What is kept of a paper account.

    Attributes:
        format, version: What the file is.
        account: Public name of the account.
        runs: How often it was opened; part of the ids of its orders.
        cash: USD.
        shares, arriving, worth: As in `PaperAccount`.
        markets: All that are not forgotten.
        orders, trades: Of these markets.
        trade_count: Trades so far.
        conversions: Splits and merges, by id.
    """

    format: str = _FORMAT
    version: int = _VERSION
    account: str
    runs: int
    cash: Decimal
    shares: dict[str, Decimal]
    arriving: dict[str, Decimal]
    worth: dict[str, Decimal]
    markets: list[Market]
    orders: list[_Order]
    trades: list[_Trade]
    trade_count: int
    conversions: dict[str, Receipt] = {}


def encode(venue: PaperVenue, account: str, runs: int) -> bytes:
    """Return what is kept of an account, as the content of its file."""
    return msgspec.json.encode(
        Kept(
            account=account,
            runs=runs,
            cash=venue.account.cash,
            shares=venue.account.shares,
            arriving=venue.account.arriving,
            worth=venue.account.worth,
            markets=[found.market for found in venue.markets.values()],
            orders=[_saved_order(order) for order in venue.orders.values()],
            trades=[_saved_trade(trade) for trade in venue.trades],
            trade_count=venue.trades.count,
            conversions=dict(venue.contracts.receipts),
        )
    )


def decode(data: bytes) -> Kept:
    """Return what a file holds.

    Raises:
        ConfigError: It is no file of a paper account, or of a newer version.
    """
    try:
        header = msgspec.json.decode(data, type=_Header)
        if header.format == _FORMAT and header.version > _VERSION:
            msg = f"store: {KEY} is of version {header.version}; update polyframe to use it"
            raise ConfigError(msg)
        kept = msgspec.json.decode(data, type=Kept)
        if kept.format != _FORMAT:
            msg = f"format {kept.format!r}"
            raise ValueError(msg)
    except (msgspec.DecodeError, ValueError) as error:
        if isinstance(error, ConfigError):
            raise
        msg = (
            f"store: {KEY} is no paper account that can be read ({error}); "
            "move it away to begin with a new account"
        )
        raise ConfigError(msg) from error
    return kept


def restore(venue: PaperVenue, kept: Kept) -> None:
    """Give a fresh venue what was kept.

    Places in the queue are what they were; how long the queues are now, the next book tells.
    """
    account = venue.account
    account.cash = kept.cash
    account.shares.update(kept.shares)
    account.arriving.update(kept.arriving)
    account.worth.update(kept.worth)
    markets = {market.slug: market for market in kept.markets}
    for market in kept.markets:
        venue.add_market(market)
        venue.on_gap(market.slug)
    for saved in kept.orders:
        place = None if saved.ahead is None else venue.models.queue.join(saved.ahead)
        order = PaperOrder(
            saved.order_id,
            markets[saved.slug],
            saved.request,
            saved.created_ms,
            saved.status,
            saved.matched,
            place,
        )
        venue.restore(order)
    venue.contracts.restore(kept.conversions)
    venue.trades.count = kept.trade_count
    for trade in kept.trades:
        venue.trades.restore(
            PaperTrade(
                trade.trade_id,
                markets[trade.slug],
                trade.token,
                trade.legs,
                trade.match_ms,
                trade.mined_ms,
                trade.confirmed_ms,
                trade.fails,
                trade.status,
            )
        )


def _saved_order(order: PaperOrder) -> _Order:
    return _Order(
        order.order_id,
        order.market.slug,
        order.request,
        order.created_ms,
        order.status,
        order.matched,
        None if order.place is None else order.place.ahead,
    )


def _saved_trade(trade: PaperTrade) -> _Trade:
    return _Trade(
        trade.trade_id,
        trade.market.slug,
        trade.token,
        trade.legs,
        trade.match_ms,
        trade.mined_ms,
        trade.confirmed_ms,
        trade.fails,
        trade.status,
    )

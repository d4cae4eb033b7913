"""The blotter: orders and trades of all accounts, what they moved, and who is told of it."""

from __future__ import annotations

import secrets
import uuid
from collections import Counter, defaultdict, deque
from collections.abc import Callable, Iterable
from decimal import Decimal
from itertools import groupby
from typing import Any

from attrs import define, field

from polyframe.clock import Clock
from polyframe.model.market import Outcome
from polyframe.model.money import ZERO
from polyframe.model.order import Side
from polyframe.model.trade import TradeStatus
from polyframe.venue.account import VenueAccount
from polyframe.venue.faultkinds import VenueFault
from polyframe.venue.faults import VenueFaults
from polyframe.venue.hub import Hub
from polyframe.venue.live import LiveMarket
from polyframe.venue.matching import MakerFill, Match
from polyframe.venue.portfolio import Redemption
from polyframe.venue.records import (
    CANCELED,
    MATCHED,
    MakerLeg,
    Move,
    Party,
    VenueOrder,
    VenueTrade,
    strangers,
)
from polyframe.venue.settings import VenueSettings, VenueStats
from polyframe.venue.tasks import TaskSet
from polyframe.venue.values import (
    Print,
    VenueMarket,
    notional,
    own_price,
    size_shares,
    up_terms,
    usd,
)

_UNSETTLED = (VenueFault.TRADE_FAILED, VenueFault.TRADE_RETRYING, VenueFault.TRADE_LATE)


@define(eq=False)
class _Journal:
    """What one account has open, and what it had."""

    open: dict[str, VenueOrder] = field(factory=dict)
    ended: deque[str] = field(factory=deque)
    trades: dict[str, VenueTrade] = field(factory=dict)
    redemptions: deque[Redemption] = field(factory=deque)


class Blotter:
    """All orders and trades, and the only place that moves cash and shares of the accounts.

    Args:
        hub: Where user events go.
        clock: The venue's time.
        tasks: Owner of the settlement of trades.
        settings: How long settlement takes, what makers get back, how much is remembered.
        stats: Where trades and fills are counted.
        faults: Which trades are not settled as they should be.
    """

    def __init__(
        self,
        hub: Hub,
        clock: Clock,
        tasks: TaskSet,
        settings: VenueSettings,
        stats: VenueStats,
        faults: VenueFaults,
    ) -> None:
        self.orders: dict[str, VenueOrder] = {}
        self._hub = hub
        self._clock = clock
        self._tasks = tasks
        self._settings = settings
        self._stats = stats
        self._faults = faults
        self._journals: defaultdict[VenueAccount, _Journal] = defaultdict(_Journal)
        self._open_in: Counter[str] = Counter()
        self.on_loss: Callable[[VenueAccount], None] | None = None
        """Takes an account from which something was taken back: its orders may lack cover."""

    # ------------------------------------------------------------------ orders

    def open(self, order: VenueOrder, live: LiveMarket) -> None:
        """Take an order in and report its placement."""
        self.orders[order.order_id] = order
        self._journals[order.account].open[order.order_id] = order
        self._open_in[order.market.condition_id] += 1
        self._tell(order, "PLACEMENT", live)

    def kill(self, order: VenueOrder, live: LiveMarket, text: str) -> None:
        """Take in an order that died at once and report why (§5.3)."""
        self.orders[order.order_id] = order
        order.status = CANCELED
        self._remember(order)
        message = order.killed_event(text, live.now_ms())
        self._hub.to_user(order.account, order.market.condition_id, message)

    def end(self, order: VenueOrder, live: LiveMarket, status: str) -> None:
        """Cancel what is open of an order and report it."""
        live.book.cancel(order.order_id)
        self._close(order, status)
        self._tell(order, "CANCELLATION", live)

    def _close(self, order: VenueOrder, status: str) -> None:
        order.status = status
        del self._journals[order.account].open[order.order_id]
        self._open_in[order.market.condition_id] -= 1
        self._remember(order)

    def _remember(self, order: VenueOrder) -> None:
        ended = self._journals[order.account].ended
        ended.append(order.order_id)
        if len(ended) > self._settings.history:
            del self.orders[ended.popleft()]

    def order(self, account: VenueAccount, order_id: str) -> VenueOrder | None:
        """Return an order of `account`; for all others it does not exist."""
        order = self.orders.get(order_id)
        return order if order is not None and order.account is account else None

    def open_orders(
        self, account: VenueAccount, condition_id: str = "", token: str = "", api_key: str = ""
    ) -> list[VenueOrder]:
        """Return the open orders of an account, of one market, token or key if given."""
        return [
            order
            for order in self._journals[account].open.values()
            if condition_id in {"", order.market.condition_id}
            and token in {"", order.token}
            and api_key in {"", order.api_key}
        ]

    def open_count(self, account: VenueAccount) -> int:
        """Return how many orders of an account are open."""
        return len(self._journals[account].open)

    def open_in(self, market: VenueMarket) -> list[VenueOrder]:
        """Return the open orders of all accounts in `market`."""
        if not self.in_use(market):
            return []
        return [
            order
            for journal in self._journals.values()
            for order in journal.open.values()
            if order.market.condition_id == market.condition_id
        ]

    def in_use(self, market: VenueMarket) -> bool:
        """Return whether an order is open in `market`."""
        return self._open_in[market.condition_id] > 0

    # ------------------------------------------------------------------ money

    def reserved_cash(self, account: VenueAccount) -> Decimal:
        """Return the USD that open buys of `account` hold."""
        return sum((o.reserved_cash for o in self._journals[account].open.values()), ZERO)

    def reserved_shares(self, account: VenueAccount, token: str) -> Decimal:
        """Return the shares of `token` that open sells of `account` hold."""
        return sum((o.reserved_shares for o in self.open_orders(account, token=token)), ZERO)

    def _fill(self, order: VenueOrder, trade: VenueTrade, price: int, size: int) -> None:
        """Book one fill; who took pays the fee: a buyer on top, a seller out of the proceeds.

        Makers pay nothing and earn a share of the fee that their part brought.
        """
        fee = order.market.market.fees.taker_fee(size_shares(size), usd(price))
        rebate = ZERO
        is_taker = trade.taker.order_id == order.order_id
        if not is_taker:
            fee, rebate = ZERO, fee * self._settings.rebate
        sign = 1 if order.side is Side.BUY else -1
        cash = -sign * notional(price, size) - fee
        shares = sign * size_shares(size)
        move = Move(order.account, order.token, shares, cash, fee, rebate, is_taker)
        move.account.move(move.token, move.shares, move.cash)
        move.account.rebates += rebate
        trade.moves.append(move)
        order.matched += size
        if trade.trade_id not in order.trades[-1:]:
            order.trades.append(trade.trade_id)
        if order.remaining == 0:
            self._close(order, MATCHED)
        self._stats.fills += 1

    def redeem(self, account: VenueAccount, live: LiveMarket, outcome: Outcome, pays: bool) -> None:
        """Turn the shares of an outcome that is decided into cash, or into nothing."""
        token = live.market.market.token(outcome)
        shares = account.held(token)
        if not shares:
            return
        cash = shares if pays else ZERO
        account.move(token, -shares, cash)
        redemptions = self._journals[account].redemptions
        transaction = "0x" + secrets.token_hex(32)
        redemptions.append(
            Redemption(live.market, outcome, shares, cash, live.now_ms(), transaction)
        )
        if len(redemptions) > self._settings.history:
            redemptions.popleft()

    def convert(
        self, account: VenueAccount, live: LiveMarket, kind: str, shares: Decimal, transaction: str
    ) -> None:
        """Turn cash into pairs, or for negative `shares` pairs into cash; sells may lack cover then."""
        redemptions = self._journals[account].redemptions
        for outcome in Outcome:
            cash = -shares / 2
            account.move(live.market.market.token(outcome), shares, cash)
            redemptions.append(
                Redemption(
                    live.market, outcome, -shares, cash, live.now_ms(), transaction, kind=kind
                )
            )
            if len(redemptions) > self._settings.history:
                redemptions.popleft()
        if self.on_loss is not None:
            self.on_loss(account)

    def on_chain(self, account: VenueAccount, token: str) -> Decimal:
        """Return the shares that the chain has of an account: trades count once they are mined."""
        waiting = (
            move.shares
            for trade in self._journals[account].trades.values()
            if not trade.transaction and trade.status is not TradeStatus.FAILED
            for move in trade.moves
            if move.account is account and move.token == token
        )
        return account.held(token) - sum(waiting, ZERO)

    def redemptions_of(self, account: VenueAccount) -> Iterable[Redemption]:
        """Return the redemptions of `account`, the oldest first."""
        return list(self._journals[account].redemptions)

    def pay_rebates(self, accounts: Iterable[VenueAccount]) -> None:
        """Pay what makers have earned since the last time (§2.9)."""
        for account in accounts:
            account.cash += account.rebates
            account.rebates = ZERO

    # ------------------------------------------------------------------ trades

    def trades_of(self, account: VenueAccount) -> Iterable[VenueTrade]:
        """Return the trades of `account`, the latest first."""
        return reversed(self._journals[account].trades.values())

    def took(self, order: VenueOrder, live: LiveMarket, matches: list[Match]) -> VenueTrade:
        """Book and return one trade of an incoming order: what it matched, best price first."""
        size = sum(match.size for match in matches)
        is_bid, _ = up_terms(order.outcome, order.side, order.price)
        hit = Side.SELL if is_bid else Side.BUY
        resting: list[tuple[VenueOrder, int, int]] = []
        makers: list[MakerLeg] = []
        for match in matches:
            if match.maker is None:
                makers.extend(strangers(Outcome.UP, hit, match.price, match.size))
            else:
                maker = self.orders[match.maker]
                resting.append((maker, match.price, match.size))
                makers.append(_leg(maker, match.price, match.size))
        levels = [
            (own_price(order.outcome, up_price), sum(match.size for match in group))
            for up_price, group in groupby(matches, key=lambda match: match.price)
        ]
        trade = self._record(
            live,
            taker=order.party,
            outcome=order.outcome,
            side=order.side,
            price=sum((notional(*level) for level in levels), ZERO) / size_shares(size),
            size=size,
            makers=makers,
        )
        for price, part in levels:
            self._fill(order, trade, price, part)
        for maker, up_price, part in resting:
            self._fill(maker, trade, own_price(maker.outcome, up_price), part)
        self._announce(trade, [order, *(maker for maker, _, _ in resting)], live)
        for price, part in levels:
            live.note_trade(order.outcome, order.side, price, part)
        return trade

    def made(self, live: LiveMarket, fills: list[MakerFill], cause: Print | None) -> None:
        """Book fills of resting orders by the source; `cause` is the print that made them."""
        filled = sum(fill.size for fill in fills)
        for (up_price, is_bid), group in groupby(fills, key=self._level_of):
            parts = [(self.orders[fill.order_id], fill.size) for fill in group]
            taker_side, maker_side = (Side.SELL, Side.BUY) if is_bid else (Side.BUY, Side.SELL)
            makers = [_leg(order, up_price, size) for order, size in parts]
            if cause is not None and cause.price == up_price and cause.size > filled:
                others = cause.size - filled
                makers.extend(strangers(Outcome.UP, maker_side, up_price, others))
            size = sum(leg.size for leg in makers)
            trade = self._record(
                live,
                taker=Party.stranger(),
                outcome=Outcome.UP,
                side=taker_side,
                price=usd(up_price),
                size=size,
                makers=makers,
            )
            for order, part in parts:
                self._fill(order, trade, own_price(order.outcome, up_price), part)
            self._announce(trade, [order for order, _ in parts], live)
            if cause is None:
                live.note_trade(Outcome.UP, taker_side, up_price, size)

    def _level_of(self, fill: MakerFill) -> tuple[int, bool]:
        order = self.orders[fill.order_id]
        return fill.price, up_terms(order.outcome, order.side, order.price)[0]

    def _record(self, live: LiveMarket, **facts: Any) -> VenueTrade:
        now = live.now_ms()
        trade = VenueTrade(
            trade_id=str(uuid.uuid4()), market=live.market, match_ms=now, update_ms=now, **facts
        )
        for account in trade.accounts:
            trades = self._journals[account].trades
            trades[trade.trade_id] = trade
            if len(trades) > self._settings.history:
                del trades[next(iter(trades))]
        self._stats.trades += 1
        return trade

    def _announce(self, trade: VenueTrade, orders: list[VenueOrder], live: LiveMarket) -> None:
        self._report(trade, live.now_ms())
        for order in orders:
            self._tell(order, "UPDATE", live)
        self._tasks.spawn(self._settle(trade, live), f"venue-settle-{trade.trade_id}")

    def _report(self, trade: VenueTrade, time_ms: int) -> None:
        for account in trade.accounts:
            message = trade.event(account, time_ms)
            self._hub.to_user(account, trade.market.condition_id, message)

    async def _settle(self, trade: VenueTrade, live: LiveMarket) -> None:
        fate = self._faults.strike(*_UNSETTLED)
        kind = None if fate is None else fate.kind
        mined = self._clock.time() + self._settings.mined_after
        confirmed = mined + self._settings.confirmed_after - self._settings.mined_after
        if fate is not None and kind is VenueFault.TRADE_LATE:
            late = fate.late()
            mined, confirmed = mined + late, confirmed + late
        await self._clock.sleep_until(mined)
        if kind in {VenueFault.TRADE_FAILED, VenueFault.TRADE_RETRYING}:
            self._change(trade, TradeStatus.RETRYING, live)
            await self._clock.sleep_until(confirmed)
        if kind is VenueFault.TRADE_FAILED:
            if _take_back(trade):
                self._change(trade, TradeStatus.FAILED, live)
                for account in trade.accounts:
                    if self.on_loss is not None:
                        self.on_loss(account)
            return
        trade.transaction = "0x" + secrets.token_hex(32)
        self._change(trade, TradeStatus.MINED, live)
        await self._clock.sleep_until(confirmed)
        self._change(trade, TradeStatus.CONFIRMED, live)

    def _change(self, trade: VenueTrade, status: TradeStatus, live: LiveMarket) -> None:
        trade.status = status
        trade.update_ms = live.now_ms()
        self._report(trade, trade.update_ms)

    def _tell(self, order: VenueOrder, kind: str, live: LiveMarket) -> None:
        message = order.event(kind, live.now_ms())
        self._hub.to_user(order.account, order.market.condition_id, message)


def _take_back(trade: VenueTrade) -> bool:
    """Reverse what a trade moved; false if somebody has already spent what came of it."""
    done: list[Move] = []
    try:
        for move in trade.moves:
            move.account.move(move.token, -move.shares, -move.cash)
            done.append(move)
    except ValueError:
        for move in done:
            move.account.move(move.token, move.shares, move.cash)
        return False
    for move in trade.moves:
        move.account.rebates -= move.rebate
    return True


def _leg(order: VenueOrder, up_price: int, size: int) -> MakerLeg:
    price = own_price(order.outcome, up_price)
    return MakerLeg(order.party, order.outcome, order.side, price, size)

"""Trades of a paper account: booked at the match, settled later, or taken back."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from functools import partial

from polyframe.model.market import Market
from polyframe.model.order import Side
from polyframe.model.trade import TradeLeg, TradeStatus
from polyframe.paper.account import PaperAccount
from polyframe.paper.models import Chance, PaperModels
from polyframe.paper.schedule import Schedule
from polyframe.paper.values import Outbox, PaperTrade, signed


class PaperTrades:
    """All trades, and the only place that moves cash and shares for them.

    MATCHED is followed by MINED, when what was bought can be sold, and CONFIRMED; or by FAILED, which
    takes back what the match moved (PROTOCOL §5.4, §9).

    Args:
        models: How long settlement takes, and how often it fails.
        account: Whose trades they are.
        chance: Makes a source of chance by name.
        schedule: Where settlement waits for its time.
        outbox: Where reports go.
        on_loss: Called after a trade was taken back: open orders may lack cover.

    Attributes:
        count: Trades so far; makes their ids.
    """

    def __init__(
        self,
        models: PaperModels,
        account: PaperAccount,
        chance: Callable[[str], Chance],
        schedule: Schedule,
        outbox: Outbox,
        on_loss: Callable[[int], None],
    ) -> None:
        self.count = 0
        self._models = models
        self._account = account
        self._settlement, self._failed = chance("settlement"), chance("failed")
        self._schedule = schedule
        self._outbox = outbox
        self._on_loss = on_loss
        self._trades: dict[str, PaperTrade] = {}

    def __iter__(self) -> Iterator[PaperTrade]:
        """Iterate over the trades in the order of their matches."""
        return iter(self._trades.values())

    def book(self, market: Market, token: str, legs: Iterable[TradeLeg], now_ms: int) -> None:
        """Move what a new trade moves, report it, and let it settle.

        Args:
            market: Its market.
            token: Token of the taker's side.
            legs: Our orders in it.
            now_ms: When it was matched.
        """
        mined_ms = now_ms + self._models.mined.sample_ms(self._settlement)
        self.count += 1
        trade = PaperTrade(
            trade_id=f"paper-trade-{self.count}",
            market=market,
            token=token,
            legs=tuple(legs),
            match_ms=now_ms,
            mined_ms=mined_ms,
            confirmed_ms=mined_ms + self._models.confirmed.sample_ms(self._settlement),
            fails=self._failed.random() < self._models.failed,
        )
        for leg in trade.legs:
            self._account.move(leg.token, signed(leg), trade.cash(leg))
            if leg.side is Side.BUY:
                self._account.expect(leg.token, leg.size)
        self._outbox.append(trade.report(now_ms))
        self.restore(trade)

    def restore(self, trade: PaperTrade) -> None:
        """Keep a trade and go on with its settlement."""
        self._trades[trade.trade_id] = trade
        if not trade.status.is_final:
            is_mined = trade.status is TradeStatus.MINED
            due_ms = trade.confirmed_ms if is_mined else trade.mined_ms
            self._schedule.at(due_ms, partial(self._settle, trade))

    def of(self, market: Market | None, after_ms: int) -> Iterator[PaperTrade]:
        """Yield the trades (of one market) since a time."""
        for trade in self:
            if trade.match_ms >= after_ms and (market is None or market.slug == trade.market.slug):
                yield trade

    def are_final(self, market: Market) -> bool:
        """Return whether settlement of a market's trades is over."""
        return all(trade.status.is_final for trade in self.of(market, 0))

    def forget(self, market: Market) -> None:
        """Drop the trades of a market."""
        for trade in list(self.of(market, 0)):
            del self._trades[trade.trade_id]

    def _settle(self, trade: PaperTrade, now_ms: int) -> None:
        if trade.status is TradeStatus.MINED:
            trade.status = TradeStatus.CONFIRMED
        elif trade.fails and self._take_back(trade):
            trade.status = TradeStatus.FAILED
        else:
            trade.status = TradeStatus.MINED
            for leg in trade.legs:
                if leg.side is Side.BUY:
                    self._account.expect(leg.token, -leg.size)
            self._schedule.at(trade.confirmed_ms, partial(self._settle, trade))
        self._outbox.append(trade.report(now_ms))
        if trade.status is TradeStatus.FAILED:
            self._on_loss(now_ms)

    def _take_back(self, trade: PaperTrade) -> bool:
        """Reverse what a trade moved; false if the cash that came of it is spent: then it is settled.

        Shares that came of it are still there, as they cannot be sold before it is mined.
        """
        account = self._account
        cash = account.cash
        for leg in trade.legs:
            after, _ = account.after(leg.token, -signed(leg), -trade.cash(leg))
            cash += after - account.cash
        if cash < 0:
            return False
        for leg in trade.legs:
            account.move(leg.token, -signed(leg), -trade.cash(leg))
            if leg.side is Side.BUY:
                account.expect(leg.token, -leg.size)
        return True

"""What an account holds and what it did, worked out from its trades (PROTOCOL §7)."""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Decimal

from attrs import define, frozen

from polyframe.model.market import Outcome
from polyframe.model.money import ZERO
from polyframe.model.order import Side
from polyframe.venue.account import VenueAccount
from polyframe.venue.records import Move, VenueTrade
from polyframe.venue.values import VenueMarket


@frozen
class Fill:
    """One account's part in a trade that is on the chain.

    Attributes:
        trade: The trade.
        move: What it moved.
    """

    trade: VenueTrade
    move: Move

    @property
    def side(self) -> Side:
        """What the account did."""
        return Side.BUY if self.move.shares > 0 else Side.SELL

    @property
    def size(self) -> Decimal:
        """Shares."""
        return abs(self.move.shares)

    @property
    def value(self) -> Decimal:
        """USD without the fee."""
        return abs(self.move.cash + self.move.fee)

    @property
    def outcome(self) -> Outcome:
        """Outcome of its token."""
        market = self.trade.market.market
        return Outcome.UP if self.move.token == market.up_token else Outcome.DOWN


@frozen
class Redemption:
    """Shares of a market turned into cash, or for a split the other way: `shares` is negative then."""

    market: VenueMarket
    outcome: Outcome
    shares: Decimal
    cash: Decimal
    time_ms: int
    transaction: str
    kind: str = "REDEEM"

    @property
    def token(self) -> str:
        """Token id of the shares."""
        return self.market.market.token(self.outcome)


@define(eq=False)
class Holding:
    """One token of an account.

    Attributes:
        market, outcome: What it is.
        size: Shares held, as far as they are on the chain.
        cost: USD that these cost without fees, at the average of all buys.
        bought: Shares ever bought.
        spent: USD that they cost without fees.
        fees: USD of fees for buying.
        realized: USD made by selling and redeeming.
        first_s, last_s: Epoch seconds of the first and the last change.
    """

    market: VenueMarket
    outcome: Outcome
    size: Decimal = ZERO
    cost: Decimal = ZERO
    bought: Decimal = ZERO
    spent: Decimal = ZERO
    fees: Decimal = ZERO
    realized: Decimal = ZERO
    first_s: int = 0
    last_s: int = 0

    @property
    def token(self) -> str:
        """Token id."""
        return self.market.market.token(self.outcome)

    @property
    def average(self) -> Decimal:
        """USD that a share was bought for on average, 0 if none was."""
        return self.spent / self.bought if self.bought else ZERO

    def buy(self, shares: Decimal, usd: Decimal, fee: Decimal) -> None:
        """Take a buy in."""
        self.size += shares
        self.cost += usd
        self.bought += shares
        self.spent += usd
        self.fees += fee

    def part_with(self, shares: Decimal, usd: Decimal) -> None:
        """Take a sale or a redemption in."""
        cost = self.cost * shares / self.size if self.size >= shares and self.size else self.cost
        self.size = max(self.size - shares, ZERO)
        self.cost -= cost
        self.realized += usd - cost

    def at(self, seconds: int) -> None:
        """Note when it changed."""
        self.first_s = self.first_s or seconds
        self.last_s = seconds


def fills(account: VenueAccount, trades: Iterable[VenueTrade]) -> list[Fill]:
    """Return the parts of `account` in the trades that are mined, in the order given."""
    return [
        Fill(trade, move)
        for trade in trades
        if trade.transaction
        for move in trade.moves
        if move.account is account
    ]


def holdings(parts: Iterable[Fill], redemptions: Iterable[Redemption]) -> list[Holding]:
    """Return what comes of fills and redemptions, each the oldest first."""
    found: dict[str, Holding] = {}
    # At one instant trades come first: a market ends after its last one.
    events: list[Fill | Redemption] = [*parts, *redemptions]
    for event in sorted(events, key=_time_ms):
        if isinstance(event, Redemption):
            _convert(found, event)
            continue
        fill, token = event, event.move.token
        holding = found.setdefault(token, Holding(fill.trade.market, fill.outcome))
        if fill.side is Side.BUY:
            holding.buy(fill.size, fill.value, fill.move.fee)
        else:
            holding.part_with(fill.size, fill.value - fill.move.fee)
        holding.at(fill.trade.match_ms // 1000)
    return list(found.values())


def _convert(found: dict[str, Holding], done: Redemption) -> None:
    holding = found.setdefault(done.token, Holding(done.market, done.outcome))
    if done.shares < 0:
        holding.buy(-done.shares, -done.cash, ZERO)
    else:
        holding.part_with(done.shares, done.cash)
    holding.at(done.time_ms // 1000)


def _time_ms(event: Fill | Redemption) -> int:
    return event.time_ms if isinstance(event, Redemption) else event.trade.match_ms

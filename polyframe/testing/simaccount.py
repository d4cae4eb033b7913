"""The account at the simulated venue: what the venue's books say."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from itertools import count

from attrs import define, field

from polyframe.model.market import Market
from polyframe.model.money import ZERO
from polyframe.model.order import Side
from polyframe.model.trade import TradeLeg


@define(eq=False)
class SimAccount:
    """Cash and shares; every leg of a trade moves both at the match.

    Attributes:
        cash: USD, payouts included.
        shares: Shares by token, from the match on.
        delivered: Shares by token that are on chain: only these can be sold (PROTOCOL §9).
        held_cash: USD that open buys ask for.
        held_shares: Shares by token that open sells ask for.
        winners: Tokens that won; a share of them is worth 1 USD in cash.
        moved: USD that each token has moved so far.
        numbers: Numbers all trades.
    """

    cash: Decimal
    shares: dict[str, Decimal] = field(factory=dict)
    delivered: dict[str, Decimal] = field(factory=dict)
    held_cash: Decimal = ZERO
    held_shares: dict[str, Decimal] = field(factory=dict)
    winners: set[str] = field(factory=set)
    moved: dict[str, Decimal] = field(factory=dict)
    numbers: Iterator[int] = field(factory=count)

    def covers(self, side: Side, token: str, price: Decimal, size: Decimal) -> bool:
        """Return whether an order may be accepted."""
        if side is Side.BUY:
            return price * size <= self.cash - self.held_cash
        free = self.delivered.get(token, ZERO) - self.held_shares.get(token, ZERO)
        return size <= free

    def hold(self, side: Side, token: str, price: Decimal, size: Decimal) -> None:
        """Hold what an open order asks for; a negative size lets go."""
        if side is Side.BUY:
            self.held_cash += price * size
        else:
            _add(self.held_shares, token, size)

    def book(self, leg: TradeLeg, fee: Decimal, *, undo: bool = False) -> None:
        """Move shares and cash for one leg of a trade, or take the move back."""
        sign = -1 if undo else 1
        buys = leg.side is Side.BUY
        self._move(leg.token, sign * ((-leg.price if buys else leg.price) * leg.size - fee))
        shares = sign * (leg.size if buys else -leg.size)
        _add(self.shares, leg.token, shares)
        if not buys:
            # What is sold leaves at the match; what is bought arrives when it is mined.
            _add(self.delivered, leg.token, shares)
        if leg.token in self.winners:
            self._move(leg.token, shares)

    def deliver(self, leg: TradeLeg) -> None:
        """Note that the shares of a buy are on chain."""
        if leg.side is Side.BUY:
            _add(self.delivered, leg.token, leg.size)

    def pay_out(self, token: str) -> None:
        """Pay 1 USD for every share of the winning `token`."""
        self.winners.add(token)
        self._move(token, self.shares.get(token, ZERO))

    def convert(self, market: Market, pairs: Decimal) -> bool:
        """Turn cash into pairs, or for a negative number pairs into cash; false if it cannot be.

        Only what is on chain and not on offer can be given.
        """
        tokens = (market.up_token, market.down_token)
        if self.winners & set(tokens) or self.cash - self.held_cash < pairs:
            return False
        if any(
            self.delivered.get(token, ZERO) - self.held_shares.get(token, ZERO) < -pairs
            for token in tokens
        ):
            return False
        for token in tokens:
            self._move(token, -pairs / 2)
            _add(self.shares, token, pairs)
            _add(self.delivered, token, pairs)
        return True

    def forget(self, market: Market) -> None:
        """Drop what is kept of a market in which nothing can happen any more."""
        for token in (market.up_token, market.down_token):
            self.winners.discard(token)
            for amounts in (self.shares, self.delivered, self.held_shares, self.moved):
                amounts.pop(token, None)

    def _move(self, token: str, amount: Decimal) -> None:
        self.cash += amount
        _add(self.moved, token, amount)


def _add(amounts: dict[str, Decimal], token: str, amount: Decimal) -> None:
    amounts[token] = amounts.get(token, ZERO) + amount

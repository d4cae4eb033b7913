"""Cash and shares of a paper account. What is reserved follows from its open orders."""

from __future__ import annotations

from decimal import Decimal

from attrs import define, field

from polyframe.errors import ConfigError
from polyframe.model.grid import LARGEST
from polyframe.model.market import Market, Outcome
from polyframe.model.money import ONE, ZERO, decimal


def start_cash(value: object) -> Decimal:
    """Return the USD that an account begins with.

    Raises:
        ConfigError: No amount of at least 0, or one that no cent could be added to exactly.
    """
    try:
        cash = decimal(value, "cash")
    except ValueError as error:
        raise ConfigError(str(error)) from error
    if not 0 <= cash < LARGEST:
        msg = f"cash: expected at least 0 and below {LARGEST} USD, got {cash}"
        raise ConfigError(msg)
    return cash


@define(eq=False)
class PaperAccount:
    """Both sides of every trade are booked at the match; FAILED takes them back.

    Attributes:
        cash: USD.
        shares: Shares by token, from the match on.
        arriving: The part of `shares` that is not on chain yet: it cannot be sold (PROTOCOL §9).
        worth: What a share of a resolved token was paid out at: late changes of such shares are
            changes of cash.
    """

    cash: Decimal
    shares: dict[str, Decimal] = field(factory=dict)
    arriving: dict[str, Decimal] = field(factory=dict)
    worth: dict[str, Decimal] = field(factory=dict)

    def sellable(self, token: str) -> Decimal:
        """Return the shares of a token that are on chain."""
        return self.shares.get(token, ZERO) - self.arriving.get(token, ZERO)

    def after(self, token: str, change: Decimal, cash: Decimal) -> tuple[Decimal, Decimal]:
        """Return the cash and the shares of a token as they would be after a change of both."""
        if token in self.worth:
            return self.cash + cash + change * self.worth[token], ZERO
        return self.cash + cash, self.shares.get(token, ZERO) + change

    def move(self, token: str, change: Decimal, cash: Decimal) -> None:
        """Change the shares of a token and the cash."""
        self.cash, left = self.after(token, change, cash)
        _set(self.shares, token, left)

    def expect(self, token: str, change: Decimal) -> None:
        """Change what of a token is on its way; a resolved token has nothing to wait for."""
        if token not in self.worth:
            _set(self.arriving, token, self.arriving.get(token, ZERO) + change)

    def pay_out(self, market: Market, winner: Outcome) -> None:
        """Turn the shares of a resolved market into cash, or into nothing."""
        for outcome in Outcome:
            token, worth = market.token(outcome), ONE if outcome is winner else ZERO
            self.cash += worth * self.shares.pop(token, ZERO)
            self.arriving.pop(token, None)
            self.worth[token] = worth

    def forget(self, market: Market) -> None:
        """Drop what is kept of a market in which nothing can happen any more."""
        for token in (market.up_token, market.down_token):
            for amounts in (self.shares, self.arriving, self.worth):
                amounts.pop(token, None)


def _set(amounts: dict[str, Decimal], token: str, amount: Decimal) -> None:
    if amount:
        amounts[token] = amount
    else:
        amounts.pop(token, None)

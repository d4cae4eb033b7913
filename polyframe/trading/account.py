"""The cash of the account: the only trading state that outlives a cycle."""

from __future__ import annotations

from decimal import Decimal

from attrs import frozen
from typing_extensions import override

from polyframe.model.money import ZERO
from polyframe.model.trade import Fill, TradeStatus


@frozen
class Stock:
    """A count of the cash.

    Attributes:
        cash: USD.
        trades: Ids of the trades of the last hours that are in it.
        old_ms: Trades matched before this instant, in epoch milliseconds, are in it all the same.
    """

    cash: Decimal
    trades: frozenset[str] = frozenset()
    old_ms: int = 0


class Account:
    """Cash, what orders hold of it, and what resolved markets still owe.

    The venue's facts are booked whatever our numbers say: a fill that costs more than there is
    leaves `cash` below zero, visibly. Only *asking* for cash (`reserve`) is refused.

    Args:
        cash: USD at the start.
    """

    def __init__(self, cash: Decimal) -> None:
        self._cash = cash
        self._claimable = ZERO
        self._reservations: dict[str, Decimal] = {}
        self._reserved = ZERO
        self._stock = Stock(cash)
        self._presumed = ZERO
        self._doubted = ZERO

    def take_stock(self, stock: Stock) -> None:
        """Take over the venue's count of the cash; what was in doubt is certain then."""
        self._cash = stock.cash
        self._stock = stock
        self._presumed = self._doubted = ZERO

    def presume(self, amount: Decimal) -> None:
        """Take it that the count contains `amount` USD that were just booked: they are no cash twice.

        Args:
            amount: What was booked, negative if it was paid.
        """
        self._presumed += amount
        self._cash -= amount

    def doubt(self, amount: Decimal) -> None:
        """Hold `amount` USD that may not be there, until the cash is counted again.

        Raises:
            ValueError: `amount` is negative.
        """
        _check_amount("doubt", amount)
        self._doubted += amount

    def is_counted(self, fill: Fill) -> bool:
        """Return whether the venue's count contains the money of a fill."""
        if fill.trade_id in self._stock.trades:
            return True
        return fill.status is not TradeStatus.FAILED and 0 < fill.time_ms < self._stock.old_ms

    @property
    def cash(self) -> Decimal:
        """USD held, reserved or not."""
        return self._cash

    @property
    def reserved(self) -> Decimal:
        """USD that orders hold."""
        return self._reserved

    @property
    def presumed(self) -> Decimal:
        """USD that were booked since the count and are taken as contained in it, see `presume`."""
        return self._presumed

    @property
    def is_certain(self) -> bool:
        """Whether it is known what the count contains."""
        return not (self._presumed or self._doubted)

    @property
    def available(self) -> Decimal:
        """USD that a new order may use."""
        return self._cash - self._reserved - self._doubted

    @property
    def claimable(self) -> Decimal:
        """USD that resolved markets pay and that were not redeemed yet."""
        return self._claimable

    def reservation(self, key: str) -> Decimal:
        """Return the USD held under `key`, 0 if none."""
        return self._reservations.get(key, ZERO)

    def reserve(self, key: str, amount: Decimal) -> bool:
        """Hold `amount` USD under a new key.

        Returns:
            False if less is available; nothing changes then.

        Raises:
            ValueError: `amount` is negative, or `key` holds cash already.
        """
        _check_amount("reserve", amount)
        if key in self._reservations:
            msg = f"reserve: {key!r} holds {self._reservations[key]} USD already; release it first"
            raise ValueError(msg)
        if amount > self.available:
            return False
        self._set(key, amount)
        return True

    def extend(self, key: str, amount: Decimal) -> None:
        """Hold `amount` USD more under `key`, whatever is available.

        For what the venue has done already, such as a match that has yet to be reported.

        Raises:
            ValueError: `amount` is negative.
        """
        _check_amount("extend", amount)
        self._set(key, self.reservation(key) + amount)

    def release(self, key: str, amount: Decimal | None = None) -> Decimal:
        """Give back `amount` USD of what `key` holds, all of it by default.

        Returns:
            The USD given back; 0 if the key holds nothing and no amount was named.

        Raises:
            ValueError: `amount` is negative, or more than the key holds.
        """
        held = self.reservation(key)
        freed = held if amount is None else amount
        _check_amount("release", freed)
        if freed > held:
            msg = f"release: {key!r} holds {held} USD, cannot give back {freed}"
            raise ValueError(msg)
        self._set(key, held - freed)
        return freed

    def spend(self, amount: Decimal) -> None:
        """Pay `amount` USD.

        Raises:
            ValueError: `amount` is negative.
        """
        _check_amount("spend", amount)
        self._cash -= amount

    def receive(self, amount: Decimal) -> None:
        """Take in `amount` USD.

        Raises:
            ValueError: `amount` is negative.
        """
        _check_amount("receive", amount)
        self._cash += amount

    def add_claim(self, amount: Decimal) -> None:
        """Note that a resolved market pays `amount` USD, to be redeemed later.

        Raises:
            ValueError: `amount` is negative.
        """
        _check_amount("add_claim", amount)
        self._claimable += amount

    def revoke_claim(self, amount: Decimal) -> None:
        """Take back `amount` USD of claims: a trade failed after its market was resolved.

        What is redeemed already is taken from the cash.

        Raises:
            ValueError: `amount` is negative.
        """
        _check_amount("revoke_claim", amount)
        from_claims = min(amount, self._claimable)
        self._claimable -= from_claims
        self._cash -= amount - from_claims

    def redeem(self, amount: Decimal) -> None:
        """Turn `amount` USD of claims into cash.

        Raises:
            ValueError: `amount` is negative, or more than is claimable.
        """
        _check_amount("redeem", amount)
        if amount > self._claimable:
            msg = f"redeem: {self._claimable} USD are claimable, cannot redeem {amount}"
            raise ValueError(msg)
        self._claimable -= amount
        self._cash += amount

    def _set(self, key: str, amount: Decimal) -> None:
        self._reserved += amount - self._reservations.pop(key, ZERO)
        if amount:
            self._reservations[key] = amount

    @override
    def __repr__(self) -> str:
        return f"Account(cash={self._cash}, reserved={self._reserved}, claimable={self._claimable})"


def _check_amount(what: str, amount: Decimal) -> None:
    if not amount >= 0:
        msg = f"{what}: expected an amount of at least 0 USD, got {amount}"
        raise ValueError(msg)

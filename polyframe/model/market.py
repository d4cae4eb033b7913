"""One market of a rolling series: the thing that is born and dies with a cycle."""

from __future__ import annotations

from decimal import Decimal
from enum import StrEnum

from attrs import field, frozen

from polyframe.model.fees import NO_FEES, FeeSchedule
from polyframe.model.series import Series, Window


class Outcome(StrEnum):
    """What a share pays on. The order of the members is the order of delivery: Up, then Down."""

    UP = "Up"
    DOWN = "Down"

    @property
    def other(self) -> Outcome:
        """The opposite outcome."""
        return Outcome.DOWN if self is Outcome.UP else Outcome.UP


def known_outcome(value: Outcome) -> Outcome:
    """Return an outcome, also for its name as text: ``"Up"`` must never pass for what is not Up.

    Raises:
        ValueError: It is none.
    """
    if type(value) is Outcome:
        return value
    if value not in tuple(Outcome):
        msg = f"outcome: expected Outcome.UP or Outcome.DOWN, got {value!r}"
        raise ValueError(msg)
    return Outcome(value)


@frozen
class Market:
    """One market: names, tokens and trading rules.

    Attributes:
        slug: Name of the market, for example ``btc-updown-15m-1790586000``.
        series: The family that it belongs to.
        window: Start and end of trading that counts, in epoch seconds.
        condition_id: The venue's key of the market (``market`` on the wire).
        up_token: Token id of the Up share.
        down_token: Token id of the Down share.
        tick_size: Smallest price step in USD when the market was read; it may get finer later.
        min_size: Smallest order in shares.
        min_notional: Smallest marketable buy in USD.
        fees: Taker fee schedule.
        neg_risk: Selects the exchange contract that orders are signed for.
        question: The market's question as people read it.
    """

    slug: str
    series: Series
    window: Window
    condition_id: str
    up_token: str
    down_token: str
    tick_size: Decimal = Decimal("0.01")
    min_size: Decimal = Decimal(5)
    min_notional: Decimal = Decimal(1)
    fees: FeeSchedule = NO_FEES
    neg_risk: bool = False
    question: str = field(default="", repr=False)

    @property
    def generation(self) -> int:
        """Number of the cycle: its start in epoch seconds, so it survives a restart."""
        return self.window.start

    def token(self, outcome: Outcome) -> str:
        """Return the token id of `outcome`.

        Raises:
            ValueError: `outcome` is none.
        """
        return self.up_token if known_outcome(outcome) is Outcome.UP else self.down_token

    def outcome(self, token: str) -> Outcome | None:
        """Return the outcome that `token` stands for, ``None`` for a token of another market."""
        if token == self.up_token:
            return Outcome.UP
        if token == self.down_token:
            return Outcome.DOWN
        return None


@frozen
class Resolution:
    """How a market ended.

    Attributes:
        winner: The outcome that pays 1 USD a share.
        source: What said so, for example ``"gamma"`` or ``"clob"``.
    """

    winner: Outcome
    source: str

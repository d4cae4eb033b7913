"""The whole trading state of a cycle as a value that can be written down and read back.

It holds what cannot be worked out from the rest: orders, what is known of them besides, fills, and
moves of shares and cash that no fill explains. Positions, cash flow, reservations and payout follow.
"""

from __future__ import annotations

from decimal import Decimal

import msgspec
from attrs import evolve, field, frozen

from polyframe.model.conversion import Conversion
from polyframe.model.market import Market, Outcome
from polyframe.model.order import Order
from polyframe.model.trade import Fill
from polyframe.trading.lifecycle import OrderTrack


class TrackImage(msgspec.Struct, frozen=True, gc=False):
    """What is known of an order besides its value; see `OrderTrack`."""

    proven: bool = False
    said_matched: bool = False
    size_known: bool = True
    seen: Decimal = Decimal(0)
    trades: tuple[tuple[str, int | None], ...] = ()

    @classmethod
    def of(cls, track: OrderTrack) -> TrackImage:
        """Return the image of `track`, which may go on changing."""
        return cls(
            track.proven,
            track.said_matched,
            track.size_known,
            track.seen,
            tuple(track.trades.items()),
        )

    def track(self) -> OrderTrack:
        """Return a track of its own that is as the image says."""
        return OrderTrack(
            self.proven, self.said_matched, self.size_known, self.seen, dict(self.trades)
        )


@frozen
class Adjustment:
    """A move of shares and cash of one strategy that came of no fill."""

    number: int
    strategy: str
    outcome: Outcome
    shares: Decimal
    cash: Decimal


@frozen
class CycleImage:
    """The trading state of one cycle at one instant.

    Attributes:
        market: Its market.
        sequence: Number of the last change.
        orders: All orders in order of birth.
        tracks: What is known of them besides, in the same order.
        fills: All fills in order of first sight.
        adjustments: Moves that no fill explains.
        refusals: Refused orders and cancels by reason.
        winner: The outcome that won, ``None`` until resolved.
        conversions: Splits and merges in order of birth; what confirmed ones moved is among the
            adjustments.
    """

    market: Market
    sequence: int = 0
    orders: tuple[Order, ...] = ()
    tracks: tuple[TrackImage, ...] = ()
    fills: tuple[Fill, ...] = ()
    adjustments: tuple[Adjustment, ...] = ()
    refusals: dict[str, int] = field(factory=dict, hash=False)
    winner: Outcome | None = None
    conversions: tuple[Conversion, ...] = ()

    def flaw(self) -> str:
        """Return what is wrong with the image in itself, ``""`` if it is of one piece.

        Nothing of another cycle may be in it, and every fill needs its order (SYSTEM K5).
        """
        slug, generation = self.market.slug, self.market.generation
        for what, parts in (("order", self.orders), ("fill", self.fills)):
            for part in parts:
                if (part.slug, part.generation) != (slug, generation):
                    return (
                        f"{what} {part.client_id} is of {part.slug}, generation {part.generation}"
                    )
        if len(self.tracks) != len(self.orders):
            return f"{len(self.orders)} orders, but notes on {len(self.tracks)}"
        ids = [order.client_id for order in self.orders]
        if len(set(ids)) != len(ids):
            return "two orders of one id"
        if len({order.venue_id for order in self.orders}) != len(ids):
            return "two orders of one id at the venue"
        noted = {
            (trade_id, client_id)
            for client_id, track in zip(ids, self.tracks, strict=True)
            for trade_id, _ in track.trades
        }
        known = [(fill.trade_id, fill.client_id) for fill in self.fills]
        if len(set(known)) != len(known) or set(known) != noted:
            return "its fills are not those that its orders tell of"
        if sum(conversion.is_open for conversion in self.conversions) > 1:
            return "two conversions under way"
        if len({one.conversion_id for one in self.conversions}) != len(self.conversions):
            return "two conversions of one id"
        return ""

    def with_sent(self, orders: list[Order]) -> CycleImage:
        """Return the image with orders that left after it was taken.

        One that is in it already, under either id, stays as it is. If it is in it as a foreign one,
        it was placed here after all: what was known of it then belongs to it now.
        """
        ours = [order for order in self.orders if not order.is_external]
        have = {name for order in ours for name in (order.client_id, order.venue_id)}
        new = [o for o in orders if o.client_id not in have and o.venue_id not in have]
        owners = {order.venue_id: order for order in new}
        known = {o.client_id: track for o, track in zip(self.orders, self.tracks, strict=True)}
        kept = [order for order in self.orders if order.client_id not in owners]
        return evolve(
            self,
            orders=(*kept, *new),
            tracks=(
                *(known[order.client_id] for order in kept),
                *(_taken_over(known.get(order.venue_id)) for order in new),
            ),
            fills=tuple(
                evolve(fill, client_id=owner.client_id, strategy=owner.strategy)
                if (owner := owners.get(fill.client_id)) is not None
                else fill
                for fill in self.fills
            ),
        )


def _taken_over(track: TrackImage | None) -> TrackImage:
    """Return what is known of an order that was sent, from what was of a foreign one of its id."""
    return TrackImage() if track is None else msgspec.structs.replace(track, size_known=True)

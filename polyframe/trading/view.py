"""What can be read of a cycle's trading state."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import ROUND_DOWN, Decimal
from types import MappingProxyType
from typing import Self

from typing_extensions import override

from polyframe.model.conversion import MICRO, Conversion, ConversionKind, ConversionStatus
from polyframe.model.market import Market, Outcome
from polyframe.model.money import ZERO
from polyframe.model.order import Order, Side
from polyframe.model.position import Outlook, Position
from polyframe.model.trade import Fill
from polyframe.trading.account import Account
from polyframe.trading.commands import Snapshot
from polyframe.trading.conversionbook import ConversionBook
from polyframe.trading.image import Adjustment, CycleImage, TrackImage
from polyframe.trading.orders import OrderTable
from polyframe.trading.positions import Booking, Holdings


class CycleView:
    """Orders, fills, positions and cash flow of one cycle.

    Args:
        market: The market of the cycle; its token ids and fees are used.
        account: Cash and reservations, shared with other cycles.

    Attributes:
        generation: The cycle: its start in epoch seconds.
        orders: All orders by client id, in order of birth. A foreign order's client id is its id
            at the venue, and its strategy is ``""``.
        fills: All fills by (trade id, client id), in order of first sight, failed ones included.
        conversions: All splits and merges by our id, in order of birth.
        sequence: Number of the last change.
        refusals: How often an order or cancel of this cycle was refused, by reason; see
            `note_refusal`.
    """

    def __init__(self, market: Market, account: Account) -> None:
        self.market = market
        self.generation = market.generation
        self.account = account
        self.sequence = 0
        self._refusals: dict[str, int] = {}
        self.refusals: Mapping[str, int] = MappingProxyType(self._refusals)
        self._holdings = Holdings(account)
        self._table = OrderTable(market, account, self._holdings)
        self.orders: Mapping[str, Order] = self._table.orders
        self.fills: Mapping[tuple[str, str], Fill] = self._table.fills
        self._conversions = ConversionBook(market, account, self._holdings)
        self.conversions: Mapping[str, Conversion] = self._conversions.conversions

    def note_refusal(self, reason: str) -> None:
        """Count a refused order or cancel: why did this cycle not trade?"""
        self._refusals[reason] = self._refusals.get(reason, 0) + 1

    def order_by_venue_id(self, venue_id: str) -> Order | None:
        """Return the order that the venue calls `venue_id`, ``None`` if it is not known here."""
        return self._table.by_venue_id(venue_id)

    def open_orders(self) -> tuple[Order, ...]:
        """Return the orders that may still fill, foreign ones included."""
        return self._table.open_orders()

    def awaits_trades(self, client_id: str) -> bool:
        """Return whether an order is over and matched shares of it wait for their trade."""
        return self._table.awaits_trades(client_id)

    def shares_to_come(self, side: Side, outcome: Outcome) -> Decimal:
        """Return the shares of `outcome` that orders may still buy or sell, foreign ones included."""
        return self._table.shares_to_come(side, outcome)

    def to_come(self, client_id: str) -> tuple[Decimal, Decimal]:
        """Return the shares that one order may still trade, and the USD that buying them may cost.

        Without fees; matches whose trades are not told yet are among them.
        """
        return self._table.to_come(client_id)

    @property
    def cost_to_come(self) -> Decimal:
        """USD that buys may still pay for shares, without fees, foreign ones included."""
        return self._table.cost_to_come

    @property
    def open_count(self) -> int:
        """How many orders may still fill, foreign ones included."""
        return self._table.open_count

    def position(self, outcome: Outcome, strategy: str | None = None) -> Position:
        """Return what a strategy holds, by default all of them and nobody (``""``) together.

        After the resolution nothing is held, and the payout is part of what is realised.
        """
        if strategy is None:
            return self._holdings.total(outcome)
        return self._holdings.position(strategy, outcome)

    def held(self, outcome: Outcome, strategy: str | None = None) -> Decimal:
        """Return the size of `position` alone, which is asked for before every order."""
        return self._holdings.held(outcome, strategy)

    def outlook(
        self, bids: Mapping[Outcome, Decimal] | None = None, strategy: str | None = None
    ) -> Outlook:
        """Return how a strategy stands and would end, by default all of them and nobody together.

        Args:
            bids: Best bids in USD, as far as they are known.
            strategy: Whose positions.
        """
        return self._holdings.outlook(strategy, bids or {})

    def sellable(self, outcome: Outcome, strategy: str) -> Decimal:
        """Return the shares of a strategy that no open sell and no merge under way holds.

        Shares count from the match on. The venue delivers them some seconds later and refuses a sell
        until then (PROTOCOL §9); `Position.settled` tells how many are safe.
        """
        return max(self._holdings.held(outcome, strategy) - self._given(outcome, strategy), ZERO)

    def mergeable(self, strategy: str) -> Decimal:
        """Return the pairs that a strategy can merge now, in shares of either outcome.

        Their trades are confirmed (before that the chain has none of them, or may lose them again),
        and neither an open sell nor a merge under way holds them.
        """
        return max(
            min(
                self._holdings.position(strategy, outcome).settled - self._given(outcome, strategy)
                for outcome in Outcome
            ).quantize(MICRO, ROUND_DOWN),
            ZERO,
        )

    def settled(self, outcome: Outcome) -> Decimal:
        """Return the shares whose trades are confirmed, less all that was sold: the account's in all.

        That is what the chain has once no trade is under way, unless something was split or merged
        that is not booked. After the resolution it is as before it.
        """
        return self._holdings.settled(outcome)

    @property
    def trades_under_way(self) -> bool:
        """Whether matched shares wait for their trade, or a trade for its settlement."""
        return self._table.in_motion

    def _given(self, outcome: Outcome, strategy: str) -> Decimal:
        """Return the shares of a strategy that are about to be sold or merged."""
        return self.shares_on_offer(outcome, strategy) + self.merging(strategy)

    def shares_on_offer(self, outcome: Outcome, strategy: str) -> Decimal:
        """Return the shares of a strategy that its sells may still give away."""
        return self._table.shares_held(outcome, strategy)

    def merging(self, strategy: str) -> Decimal:
        """Return the shares of either outcome that a merge under way holds of a strategy."""
        return self._conversions.shares_held(strategy)

    def split_off(self, strategy: str | None = None) -> Decimal:
        """Return the USD that a strategy has split into pairs or may have, by default all of them."""
        if not self.conversions:
            return ZERO
        return sum(
            (
                one.shares
                for one in self.conversions.values()
                if one.kind is ConversionKind.SPLIT
                and one.status is not ConversionStatus.FAILED
                and strategy in (None, one.strategy)
            ),
            ZERO,
        )

    @property
    def open_conversion(self) -> Conversion | None:
        """The split or merge that is under way, ``None`` if there is none."""
        return self._conversions.open

    @property
    def shortfall(self) -> Decimal:
        """Shares sold beyond what was held, over all positions; above 0 is worth an alarm."""
        return sum((shares for _, _, shares in self._holdings.shortfalls()), ZERO)

    def reservation(self, client_id: str) -> Decimal:
        """Return the USD that an order holds of the account's cash, 0 if none."""
        return self._table.cash_held(client_id)

    @property
    def reserved_cash(self) -> Decimal:
        """USD that orders and splits of this cycle hold of the account's cash."""
        return self._table.all_cash_held + self._conversions.cash_held

    @property
    def winner(self) -> Outcome | None:
        """The outcome that won, ``None`` until resolved."""
        return self._holdings.winner

    @property
    def payout(self) -> Decimal:
        """USD that the market pays for the winning shares held, 1 each.

        Shares that were sold beyond what was held (somebody else sold ours) are taken off.
        """
        return self._holdings.payout

    @property
    def cash_flow(self) -> Decimal:
        """Sum of all cash moves of this cycle in USD, payout not included."""
        return self._holdings.cash_flow

    @property
    def fees(self) -> Decimal:
        """USD paid in fees."""
        return self._holdings.fees

    @property
    def realised(self) -> Decimal:
        """Profit of what was sold or paid out in USD, without fees."""
        return self._holdings.realised

    @property
    def volume(self) -> Decimal:
        """USD traded, both sides; failed trades do not count."""
        return self._table.volume

    @property
    def bought(self) -> Decimal:
        """USD paid for shares, without fees; failed trades do not count."""
        return self._table.bought

    def profit(self) -> Decimal | None:
        """Return what the cycle earned in USD after fees, ``None`` until it is resolved."""
        return None if self.winner is None else self.cash_flow + self.payout

    @property
    def is_settled(self) -> bool:
        """Whether no order or conversion is open, no match unreported and every fill final."""
        return self._table.is_settled and self._conversions.open is None

    @property
    def in_motion(self) -> bool:
        """Whether matched shares wait for their trade, or a trade or conversion for its end."""
        return self.trades_under_way or self._conversions.open is not None

    def snapshot(self) -> Snapshot:
        """Return everything as one value."""
        return Snapshot(
            generation=self.generation,
            slug=self.market.slug,
            orders=tuple(self.orders.values()),
            open_orders=self.open_orders(),
            positions=self._holdings.positions(),
            shortfalls=self._holdings.shortfalls(),
            fills=tuple(self.fills.values()),
            reserved=self.reserved_cash,
            cash_flow=self.cash_flow,
            fees=self.fees,
            volume=self.volume,
            realised=self.realised,
            winner=self.winner,
            payout=self.payout,
            sequence=self.sequence,
            conversions=tuple(self.conversions.values()),
        )

    def image(self) -> CycleImage:
        """Return everything that has to be written down to be the same after a restart."""
        booked = self._table.booking_numbers()
        return CycleImage(
            market=self.market,
            sequence=self.sequence,
            orders=tuple(self.orders.values()),
            tracks=tuple(TrackImage.of(self._table.tracks[name]) for name in self.orders),
            fills=tuple(self.fills.values()),
            adjustments=tuple(
                Adjustment(number, strategy, outcome, booking.shares, booking.cash)
                for number, strategy, outcome, booking in self._holdings.bookings()
                if number not in booked
            ),
            refusals=dict(self.refusals),
            winner=self.winner,
            conversions=tuple(self.conversions.values()),
        )

    @classmethod
    def restored(cls, image: CycleImage, account: Account) -> Self:
        """Return the state that `image` was taken of, with what it holds of the account's cash.

        Its cash flow moves the account's cash once more, and what it may still cost is reserved
        whether or not it is there: the caller takes stock of the cash afterwards.

        Raises:
            ValueError: The image is not of one piece.
        """
        if flaw := image.flaw():
            msg = f"image: {flaw}"
            raise ValueError(msg)
        state = cls(image.market, account)
        state.sequence = image.sequence
        state._refusals.update(image.refusals)
        tracks = (track.track() for track in image.tracks)
        state._table.restore(zip(image.orders, tracks, strict=True), image.fills)
        adjusted = (
            (a.number, a.strategy, a.outcome, Booking(a.shares, a.cash, settled=True))
            for a in image.adjustments
        )
        state._holdings.restore((*state._table.booked(), *adjusted))
        state._conversions.restore(image.conversions)
        if image.winner is not None:
            state._holdings.resolve(image.winner)
        state._table.hold_restored()
        state._conversions.hold_restored()
        return state

    def forsake(self) -> None:
        """Give back the cash that its orders hold: they are of no market that we know."""
        self._table.forsake()
        self._conversions.forsake()

    @override
    def __repr__(self) -> str:
        return (
            f"<{type(self).__name__} {self.market.slug} {len(self.open_orders())} open of "
            f"{len(self.orders)} orders, {len(self.fills)} fills>"
        )

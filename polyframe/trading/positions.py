"""The books of positions: shares and cash in order, and what follows from them.

A position is never changed by hand. It is what its bookings add up to, so that taking one of them
back (a trade that failed on chain after half of its shares were sold) leaves exactly what would be
there had it never happened.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from decimal import Decimal
from types import MappingProxyType

from attrs import evolve, frozen

from polyframe.model.market import Outcome
from polyframe.model.money import ZERO
from polyframe.model.position import Outlook, Position
from polyframe.trading.account import Account

_STEP = Decimal("1e-12")


def exact(amount: Decimal) -> Decimal:
    """Return `amount` with at most 12 decimals, so that sums of amounts never round.

    Prices of the venue have four decimals and sizes six, so only a divided amount (the cost of a
    part of a position, the mean price of a taker) is touched at all.
    """
    exponent = amount.as_tuple().exponent
    return amount.quantize(_STEP) if isinstance(exponent, int) and exponent < -12 else amount


@frozen
class Booking:
    """One move of shares and cash.

    Attributes:
        shares: Gained, negative if given away.
        cash: USD gained, negative if paid; without the fee.
        fee: USD paid on top.
        settled: Whether the shares are confirmed on chain.
    """

    shares: Decimal
    cash: Decimal
    fee: Decimal = ZERO
    settled: bool = False


class PositionBook:
    """Bookings of one strategy in one outcome, by their number within the cycle.

    Shares are sold at mean cost. What is sold beyond what is held counts as `shortfall`: it is
    covered by the next shares that come in, at their price. So a sell that is reported before the
    buy that it lives on, or whose buy fails, never makes a position negative, and the end does not
    depend on the order of arrival.

    Attributes:
        outcome: Whose shares.
        bookings: All of them by number.
        size: Shares held.
        cost: What they cost in USD, without fees.
        fees: USD paid.
        realised: Profit of shares sold in USD, without fees.
        shortfall: Shares sold beyond what was held, 0 while anything is held.
    """

    __slots__ = (
        "_bookings",
        "_last",
        "_settled",
        "bookings",
        "cost",
        "fees",
        "outcome",
        "realised",
        "shortfall",
        "size",
    )

    def __init__(self, outcome: Outcome) -> None:
        self.outcome = outcome
        self._bookings: dict[int, Booking] = {}
        self.bookings: Mapping[int, Booking] = MappingProxyType(self._bookings)
        self._clear()

    def book(self, number: int, booking: Booking) -> None:
        """Add a booking at its place in the order of numbers."""
        self._bookings[number] = booking
        if number > self._last:
            self._add(number, booking)
        else:
            self._replay()

    def take(self, number: int) -> Booking:
        """Remove a booking as if it had never been there, and return it."""
        booking = self._bookings.pop(number)
        self._replay()
        return booking

    def settle(self, number: int) -> None:
        """Note that the shares of a booking are confirmed on chain."""
        booking = self._bookings[number]
        self._bookings[number] = evolve(booking, settled=True)
        if booking.shares > 0 and not booking.settled:
            self._settled += booking.shares

    def position(self) -> Position:
        """Return the position as a value."""
        return Position(
            outcome=self.outcome,
            size=self.size,
            settled=max(self._settled, ZERO),
            cost=self.cost,
            fees=self.fees,
            realised=self.realised,
        )

    @property
    def settled(self) -> Decimal:
        """Shares confirmed on chain less all shares sold; below 0 if more were sold than arrived."""
        return self._settled

    def paid_out(self, payout: Decimal) -> Position:
        """Return the position after its shares turned into `payout` USD."""
        return Position(
            outcome=self.outcome, fees=self.fees, realised=self.realised - self.cost + payout
        )

    def _clear(self) -> None:
        self.size = self.cost = self.fees = self.realised = self.shortfall = ZERO
        # Shares confirmed less all shares sold: what is sold is taken from the settled ones first,
        # because the venue delivers no others.
        self._settled = ZERO
        self._last = 0

    def _replay(self) -> None:
        self._clear()
        for number in sorted(self._bookings):
            self._add(number, self._bookings[number])

    def _add(self, number: int, booking: Booking) -> None:
        self._last = number
        self.fees += booking.fee
        if booking.shares > 0:
            self._gain(booking.shares, booking.cash)
            if booking.settled:
                self._settled += booking.shares
        else:
            self._give(-booking.shares, booking.cash)
            self._settled += booking.shares

    def _gain(self, shares: Decimal, cash: Decimal) -> None:
        covering = min(self.shortfall, shares)
        paid = max(-cash, ZERO)
        spent = paid if covering == shares else exact(paid * covering / shares)
        self.shortfall -= covering
        self.size += shares - covering
        self.cost += paid - spent
        # Shares that came with cash instead of costing some: profit, not a negative cost.
        self.realised += max(cash, ZERO) - spent

    def _give(self, shares: Decimal, cash: Decimal) -> None:
        sold = min(self.size, shares)
        removed = self.cost if sold == self.size else exact(self.cost * sold / self.size)
        self.size -= sold
        self.cost -= removed
        self.shortfall += shares - sold
        self.realised += cash - removed


class Holdings:
    """All positions of one cycle, the cash that moved for them, and what the market pays in the end.

    Everything is booked as if before the resolution, and the payout is worked out anew afterwards
    (`pay_out`): a fill that is reported, or that fails, after the end changes it exactly.

    Args:
        account: Where cash and claims go.

    Attributes:
        winner: The outcome that won, ``None`` until resolved.
        payout: USD that the market pays: 1 for each winning share held. Shares that were sold
            beyond what was held (somebody else sold ours) are taken off, down to 0.
        cash_flow: Sum of all cash moves in USD, payout not included.
    """

    def __init__(self, account: Account) -> None:
        self._account = account
        self._books: dict[tuple[str, Outcome], PositionBook] = {}
        self._paid: dict[tuple[str, Outcome], Decimal] = {}
        self._number = 0
        self.winner: Outcome | None = None
        self.payout = ZERO
        self.cash_flow = ZERO

    def book(self, strategy: str, outcome: Outcome, booking: Booking) -> int:
        """Book a move of shares and cash and return its number."""
        self._number += 1
        self._book(strategy, outcome).book(self._number, booking)
        self._move_cash(booking.cash - booking.fee)
        return self._number

    def restore(self, bookings: Iterable[tuple[int, str, Outcome, Booking]]) -> None:
        """Book what was booked before under the same numbers; only as long as nothing is booked."""
        for number, strategy, outcome, booking in sorted(bookings, key=lambda row: row[0]):
            self._number = number
            self._book(strategy, outcome).book(number, booking)
            self._move_cash(booking.cash - booking.fee)

    def bookings(self) -> list[tuple[int, str, Outcome, Booking]]:
        """Return all bookings by number, with their strategies and outcomes."""
        found = [
            (number, strategy, outcome, booking)
            for (strategy, outcome), book in self._books.items()
            for number, booking in book.bookings.items()
        ]
        return sorted(found, key=lambda row: row[0])

    def take_back(self, strategy: str, outcome: Outcome, number: int) -> None:
        """Undo a booking as if it had never been there."""
        booking = self._book(strategy, outcome).take(number)
        self._move_cash(booking.fee - booking.cash)

    def settle(self, strategy: str, outcome: Outcome, number: int) -> None:
        """Note that the shares of a booking are confirmed on chain."""
        self._book(strategy, outcome).settle(number)

    def hand_over(self, outcome: Outcome, number: int, old: str, new: str) -> None:
        """Move a booking from one strategy to another; no cash moves, but each one's payout may."""
        self._book(new, outcome).book(number, self._book(old, outcome).take(number))

    def resolve(self, winner: Outcome) -> None:
        """Turn all positions into what they pay."""
        self.winner = winner
        self.pay_out()

    def pay_out(self) -> None:
        """Work out anew what a resolved market pays; after each command, not in the middle of one.

        A trade may take shares from one position and give them to another: what was paid for them
        stays paid.
        """
        if self.winner is None or not self._books:
            return
        self._paid = self._paid_if(self.winner)
        payout = sum(self._paid.values(), ZERO)
        if payout >= self.payout:
            self._account.add_claim(payout - self.payout)
        else:
            self._account.revoke_claim(self.payout - payout)
        self.payout = payout

    def position(self, strategy: str, outcome: Outcome) -> Position:
        """Return what one strategy holds."""
        book = self._books.get((strategy, outcome))
        if book is None:
            return Position(outcome)
        if self.winner is not None:
            return book.paid_out(self._paid.get((strategy, outcome), ZERO))
        return book.position()

    def held(self, outcome: Outcome, strategy: str | None = None) -> Decimal:
        """Return the shares of `outcome` that a strategy holds, by default all and nobody together.

        None after the resolution.
        """
        if self.winner is not None or not self._books:
            return ZERO
        if strategy is None:
            return sum((book.size for (_, of), book in self._books.items() if of is outcome), ZERO)
        book = self._books.get((strategy, outcome))
        return ZERO if book is None else book.size

    @property
    def fees(self) -> Decimal:
        """USD paid in fees."""
        if not self._books:
            return ZERO
        return sum((book.fees for book in self._books.values()), ZERO)

    @property
    def realised(self) -> Decimal:
        """Profit of what was sold or paid out in USD, without fees."""
        if not self._books:
            return ZERO
        if self.winner is None:
            return sum((book.realised for book in self._books.values()), ZERO)
        return sum((position.realised for _, position in self.positions()), ZERO)

    def positions(self) -> tuple[tuple[str, Position], ...]:
        """Return all positions that ever came to be, with their strategies, sorted by both."""
        return tuple(
            (key[0], self.position(*key))
            for key in sorted(self._books)
            if self._books[key].bookings
        )

    def settled(self, outcome: Outcome) -> Decimal:
        """Return the shares that are confirmed on chain less those sold, also after the resolution."""
        books = (book for (_, of), book in self._books.items() if of is outcome)
        return sum((book.settled for book in books), ZERO)

    def total(self, outcome: Outcome) -> Position:
        """Return what all strategies and nobody (``""``) hold together."""
        parts = [part for _, part in self.positions() if part.outcome is outcome]
        return Position(
            outcome=outcome,
            size=sum((part.size for part in parts), ZERO),
            settled=sum((part.settled for part in parts), ZERO),
            cost=sum((part.cost for part in parts), ZERO),
            fees=sum((part.fees for part in parts), ZERO),
            realised=sum((part.realised for part in parts), ZERO),
        )

    def outlook(self, strategy: str | None, bids: Mapping[Outcome, Decimal]) -> Outlook:
        """Return how a strategy (all and nobody together with ``None``) stands.

        Args:
            strategy: Whose positions.
            bids: Best bids in USD, as far as they are known.
        """
        parts = [part for name, part in self.positions() if strategy in (None, name)]
        realised = sum((part.realised for part in parts), ZERO)
        fees = sum((part.fees for part in parts), ZERO)
        held = [part for part in parts if part.size]
        unrealised = None
        if all(part.outcome in bids for part in held):
            unrealised = sum((part.unrealised(bids[part.outcome]) for part in held), ZERO)
        ends = dict.fromkeys(Outcome, realised - fees - sum((p.cost for p in parts), ZERO))
        if self.winner is None:
            for outcome in Outcome:
                paid = self._paid_if(outcome).items()
                ends[outcome] += sum(
                    (usd for (name, _), usd in paid if strategy in (None, name)), ZERO
                )
        return Outlook(realised, unrealised, fees, ends[Outcome.UP], ends[Outcome.DOWN])

    def shortfalls(self) -> tuple[tuple[str, Outcome, Decimal], ...]:
        """Return shares sold beyond what was held, where there are any."""
        return tuple(
            (*key, self._books[key].shortfall)
            for key in sorted(self._books)
            if self._books[key].shortfall
        )

    def _book(self, strategy: str, outcome: Outcome) -> PositionBook:
        key = (strategy, outcome)
        if key not in self._books:
            self._books[key] = PositionBook(outcome)
        return self._books[key]

    def _move_cash(self, amount: Decimal) -> None:
        self.cash_flow += amount
        if amount > 0:
            self._account.receive(amount)
        else:
            self._account.spend(-amount)

    def _paid_if(self, winner: Outcome) -> dict[tuple[str, Outcome], Decimal]:
        """Return the USD that each position would be paid if `winner` won."""
        winning = [key for key in sorted(self._books) if key[1] is winner]
        held = sum((self._books[key].size for key in winning), ZERO)
        paid = {}
        for key in winning:
            book = self._books[key]
            missing = min(book.shortfall, held)
            held -= missing
            paid[key] = book.size - missing
        return paid

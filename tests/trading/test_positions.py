"""The books of positions: what any set of bookings adds up to, in any order."""

from __future__ import annotations

from decimal import Decimal
from fractions import Fraction

from hypothesis import given
from hypothesis import strategies as st

from polyframe.model.market import Outcome
from polyframe.trading.positions import Booking, PositionBook, exact
from tests.trading.builders import dec

_shares = st.decimals("-20", "20", places=6)
_prices = st.sampled_from([dec("0.01"), dec("0.3337"), dec("0.5"), dec("0.99")])


@st.composite
def bookings(draw: st.DrawFn) -> Booking:
    """Return a buy or a sell, as fills make them."""
    shares, price = draw(_shares), draw(_prices)
    fee = draw(st.sampled_from([dec("0"), dec("0.00123")]))
    return Booking(shares, -shares * price, fee, settled=draw(st.booleans()))


def booked(entries: list[tuple[int, Booking]]) -> PositionBook:
    """Return a book with these entries, booked in the order given."""
    book = PositionBook(Outcome.UP)
    for number, booking in entries:
        book.book(number, booking)
    return book


def figures(book: PositionBook) -> tuple[object, ...]:
    """Return everything that a book tells."""
    return (book.position(), book.shortfall)


@given(st.lists(bookings(), max_size=12))
def test_cash_and_cost_always_balance(entries: list[Booking]) -> None:
    """Exactly: cost = realised + what was paid, whatever was sold and at which mean cost."""
    book = PositionBook(Outcome.UP)
    cash = shares = fees = Decimal(0)
    for number, booking in enumerate(entries, 1):
        book.book(number, booking)
        cash += booking.cash
        shares += booking.shares
        fees += booking.fee
        position = book.position()
        assert cash + position.cost == position.realised
        assert position.fees == fees
        assert position.size - book.shortfall == shares
        assert position.size >= 0
        assert book.shortfall >= 0
        assert not (position.size and book.shortfall)
        assert position.cost >= 0
        assert 0 <= position.settled <= position.size
        if not position.size:
            assert position.cost == 0


@given(st.lists(bookings(), max_size=10), st.data())
def test_a_booking_taken_back_was_never_there(entries: list[Booking], data: st.DataObject) -> None:
    """Any set of bookings taken back in any order leaves what the others alone make."""
    numbered = list(enumerate(entries, 1))
    book = booked(numbered)
    gone = (
        data.draw(st.lists(st.sampled_from(numbered), unique_by=lambda entry: entry[0]))
        if (numbered)
        else []
    )
    for number, booking in gone:
        assert book.take(number) is booking
    kept = [entry for entry in numbered if entry not in gone]
    assert figures(book) == figures(booked(kept))


@given(st.lists(bookings(), max_size=8), st.randoms(use_true_random=False))
def test_numbers_decide_not_the_order_of_booking(entries: list[Booking], random: object) -> None:
    """An entry that is handed over late takes its place among the others."""
    numbered = list(enumerate(entries, 1))
    shuffled = numbered.copy()
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    assert figures(booked(shuffled)) == figures(booked(numbered))


@given(st.lists(bookings(), min_size=1, max_size=8), st.data())
def test_settling_later_is_settling_at_once(entries: list[Booking], data: st.DataObject) -> None:
    """A confirmation that comes after other bookings ends where an early one would."""
    at = data.draw(st.integers(1, len(entries)))
    late = booked(
        [
            (
                number,
                Booking(
                    entry.shares, entry.cash, entry.fee, settled=number != at and entry.settled
                ),
            )
            for number, entry in enumerate(entries, 1)
        ]
    )
    late.settle(at)
    late.settle(at)
    early = booked(
        [
            (
                number,
                Booking(entry.shares, entry.cash, entry.fee, settled=number == at or entry.settled),
            )
            for number, entry in enumerate(entries, 1)
        ]
    )
    assert figures(late) == figures(early)


@given(st.lists(st.tuples(st.decimals("0.000001", "99", places=6), _prices), min_size=1))
def test_mean_cost_is_the_mean(buys: list[tuple[Decimal, Decimal]]) -> None:
    """Selling half of what was bought takes half of its cost, to 12 decimals."""
    book = booked(
        [(n, Booking(shares, -shares * price)) for n, (shares, price) in enumerate(buys, 1)]
    )
    cost, half = book.cost, book.size / 2
    book.book(len(buys) + 1, Booking(-half, Decimal(0)))
    assert abs(Fraction(book.cost) - Fraction(cost) / 2) <= Fraction(1, 10**12)


def test_amounts_have_at_most_twelve_decimals() -> None:
    """Longer ones are rounded, all others are left as they are written."""
    assert str(exact(dec("2.40"))) == "2.40"
    assert exact(dec("1") / 3) == dec("0.333333333333")
    assert str(exact(dec("0.123456789012"))) == "0.123456789012"

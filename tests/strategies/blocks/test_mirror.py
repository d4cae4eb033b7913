"""Two displays of one book: what counts is the worse of both."""

from __future__ import annotations

from decimal import Decimal

from hypothesis import given
from hypothesis import strategies as st

from polyframe.model.market import Outcome
from polyframe.strategies.blocks.mirror import Mirror, mirrored
from tests.strategies.blocks.pairworld import DOWN, UP, mirrored_quotes, quote

CENTS = st.integers(1, 98).map(lambda cents: Decimal(cents) / 100)


@given(bid=CENTS, spread=st.integers(1, 5))
def test_displays_that_agree_say_what_they_show(bid: Decimal, spread: int) -> None:
    """In a consistent book the prices are those displayed."""
    ask = min(bid + Decimal(spread) / 100, Decimal("0.99"))
    mirror = Mirror(mirrored_quotes(bid, ask))
    assert (mirror.bid(UP), mirror.ask(UP)) == (bid, ask)
    assert (mirror.bid(DOWN), mirror.ask(DOWN)) == (1 - ask, 1 - bid)
    assert mirror.gap == 0


@given(up_bid=CENTS, down_bid=CENTS)
def test_of_two_displays_the_worse_counts(up_bid: Decimal, down_bid: Decimal) -> None:
    """An ask is at least what either display says, a bid at most; the gap is how far they are apart."""
    cent = Decimal("0.01")
    up, down = quote(UP, up_bid, up_bid + cent), quote(DOWN, down_bid, down_bid + cent)
    mirror = Mirror({UP: up, DOWN: down})
    ask, bid, gap = mirror.ask(UP), mirror.bid(UP), mirror.gap
    assert ask == max(up_bid + cent, mirrored(down_bid))
    assert bid == min(up_bid, mirrored(down_bid + cent))
    assert gap is not None
    assert (gap == 0) is (ask - bid == cent)


def test_an_unknown_display_makes_everything_unknown() -> None:
    """What one display alone says is not believed."""
    for dark in Outcome:
        quotes = mirrored_quotes(Decimal("0.4"), Decimal("0.5"))
        quotes[dark] = quote(dark, None, None)
        mirror = Mirror.of(quotes.__getitem__)
        prices = [side(outcome) for side in (mirror.ask, mirror.bid) for outcome in Outcome]
        assert prices == [None] * 4
        assert mirror.gap is None


def test_a_stale_side_shows_a_pair_for_less_than_a_dollar() -> None:
    """Up has risen and Down's display has not heard of it: asks of 0.95 together are no bargain."""
    mirror = Mirror(
        {
            UP: quote(UP, Decimal("0.50"), Decimal("0.51")),
            DOWN: quote(DOWN, Decimal("0.43"), Decimal("0.44")),
        }
    )
    assert mirror.gap == Decimal("0.06")
    up, down = mirror.ask(UP), mirror.ask(DOWN)
    assert up is not None
    assert down is not None
    assert up + down >= 1

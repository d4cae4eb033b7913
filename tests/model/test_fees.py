"""What the venue charges for a fill."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from polyframe.model.fees import NO_FEES, FeeSchedule

D = Decimal
CRYPTO = FeeSchedule(rate=D("0.07"))

prices = st.integers(1, 9999).map(lambda units: D(units) / 10_000)
sizes = st.decimals(D("0.01"), 10_000, places=2)


@pytest.mark.parametrize(("price", "fee"), [("0.50", "1.75"), ("0.10", "0.63")])
def test_examples(price: str, fee: str) -> None:
    """The examples of PROTOCOL §2.9: 100 shares on a crypto market."""
    assert CRYPTO.taker_fee(D(100), D(price)) == D(fee)


def test_cheap_shares() -> None:
    """At one cent 100 shares cost 0.0693, which the venue's own table shows as 0.07."""
    assert CRYPTO.taker_fee(D(100), D("0.01")) == D("0.0693")


def test_rounding() -> None:
    """Fees have five decimals, and the half goes up."""
    assert CRYPTO.taker_fee(D("7.25"), D("0.53")) == D("0.12642")  # 0.126417…
    assert FeeSchedule(rate=D("0.0001")).taker_fee(D("0.6"), D("0.5")) == D("0.00002")  # 0.000015


def test_too_small() -> None:
    """Less than 0.00001 USD is no fee, even where rounding would make it one."""
    assert CRYPTO.taker_fee(D("0.01"), D("0.0135")) == 0  # 0.0000093…
    assert CRYPTO.taker_fee(D("0.01"), D("0.0145")) == D("0.00001")  # 0.0000100…


def test_exponent() -> None:
    """Other markets raise p·(1−p) to a higher power."""
    assert FeeSchedule(rate=D("0.02"), exponent=2).taker_fee(D(100), D("0.5")) == D("0.125")


def test_no_fees() -> None:
    """Where fees are off nothing is charged."""
    assert NO_FEES.taker_fee(D(100), D("0.5")) == 0
    assert FeeSchedule() == NO_FEES


def test_numbers_of_the_wire() -> None:
    """Rate and exponent may come as text or as JSON numbers."""
    assert FeeSchedule(rate="0.07", exponent="1") == FeeSchedule(rate=0.07, exponent=1.0) == CRYPTO


@pytest.mark.parametrize(
    ("rate", "exponent", "field"),
    [("-0.07", 1, "rate"), ("x", 1, "rate"), (None, 1, "rate"), ("0.07", "1.5", "exponent"),
     ("0.07", -1, "exponent"), ("0.07", None, "exponent")],
)  # fmt: skip
def test_wrong_schedule(rate: object, exponent: object, field: str) -> None:
    """A schedule that cannot be is refused by the name of its field."""
    with pytest.raises(ValueError, match=f"{field}: "):
        FeeSchedule(rate=rate, exponent=exponent)


@given(sizes, prices)
def test_worst_at_one_half(size: Decimal, price: Decimal) -> None:
    """A fee is never negative, never above that at 0.50, and the same for p and 1 − p."""
    fee = CRYPTO.taker_fee(size, price)
    assert 0 <= fee <= CRYPTO.taker_fee(size, D("0.5"))
    assert fee == CRYPTO.taker_fee(size, 1 - price)

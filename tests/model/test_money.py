"""Exact numbers."""

from __future__ import annotations

from contextlib import suppress
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from polyframe.model import money
from polyframe.model.money import PRICE_UNITS, decimal, price_units, size_decimal, units_price

D = Decimal

not_numbers = ["", " ", "abc", "1_000", "0x10", "1,5", "--1", "nan", "NaN", "sNaN", "inf", "-Infinity",
               "1e999999", "1e-999999"]  # fmt: skip


class TestDecimal:
    @pytest.mark.parametrize(
        ("value", "number"),
        [
            ("0.53", D("0.53")),
            (".48", D("0.48")),
            (" 7 ", D(7)),
            ("1e-4", D("0.0001")),
            (7, D(7)),
            (D("0.1"), D("0.1")),
            (0.1, D("0.1")),
            (1e-07, D("0.0000001")),
            (163939.58, D("163939.58")),
        ],
    )
    def test_exact(self, value: object, number: Decimal) -> None:
        """Text, integers, decimals and the shortest text of floats come through exactly."""
        assert decimal(value) == number

    @pytest.mark.parametrize(
        "value",
        [*not_numbers, float("nan"), float("inf"), 1e300, 10**41, None, True, [], b"1"]
        + [D(text) for text in ("NaN", "sNaN", "-Infinity", "1e41", "-1e999999")],
    )
    def test_anything_else(self, value: object) -> None:
        """What is not a finite number is refused with the name of the field."""
        with pytest.raises(ValueError, match="max_loss: expected a"):
            decimal(value, "max_loss")

    @given(st.floats(allow_nan=False, allow_infinity=False, min_value=-1e15, max_value=1e15))
    def test_float_round_trip(self, number: float) -> None:
        """A float means its shortest text, so it leads back to the same float."""
        assert float(decimal(number)) == number

    @given(st.text(max_size=20))
    def test_hostile_text(self, text: str) -> None:
        """Whatever text comes, the answer is a finite number or a ValueError, and stays the same."""
        for _ in range(2):
            with suppress(ValueError):
                assert decimal(text).is_finite()


class TestPriceUnits:
    @pytest.mark.parametrize(
        ("text", "units"),
        [("0", 0), ("1", 10_000), ("0.5", 5000), (".48", 4800), ("0.0001", 1), ("0.9999", 9999),
         ("0.50000", 5000), ("1.0", 10_000), ("5e-1", 5000)],
    )  # fmt: skip
    def test_texts(self, text: str, units: int) -> None:
        """A price text becomes whole units of 1e-4 USD, however it is written."""
        assert price_units(text) == units

    @pytest.mark.parametrize("text", [*not_numbers, "0.00001", "0.50005", "-0.01", "1.0001", "53"])
    def test_anything_else(self, text: str) -> None:
        """A price off the grid or outside 0 to 1 is refused, the second time as well."""
        for _ in range(2):
            with pytest.raises(ValueError, match="price"):
                price_units(text)

    @given(st.integers(0, PRICE_UNITS))
    def test_round_trip(self, units: int) -> None:
        """Units and prices lead to each other."""
        price = units_price(units)
        assert price * PRICE_UNITS == units
        assert price_units(str(price)) == units
        assert price_units(f"{price:f}") == units

    @pytest.mark.parametrize("units", [-1, 10_001])
    def test_no_price(self, units: int) -> None:
        """Units that stand for no price do not become one."""
        with pytest.raises(ValueError, match="price"):
            units_price(units)

    def test_plain_text(self) -> None:
        """Prices print as people write them."""
        assert [str(units_price(units)) for units in (0, 1, 1000, 5300, 10_000)] == [
            "0", "0.0001", "0.1", "0.53", "1",
        ]  # fmt: skip


class TestSize:
    @pytest.mark.parametrize("text", ["0", "5", "33343.4", "219.217767", ".5"])
    def test_texts(self, text: str) -> None:
        """A size text becomes exactly that number."""
        assert size_decimal(text) == D(text)

    @pytest.mark.parametrize("text", [*not_numbers, "-1", "-0.000001"])
    def test_anything_else(self, text: str) -> None:
        """A size that is no number, or negative, is refused."""
        with pytest.raises(ValueError, match="size"):
            size_decimal(text)


def test_memo_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Texts are remembered up to a limit; beyond it the answers are the same."""
    monkeypatch.setattr(money, "_MEMO_LIMIT", 10)
    monkeypatch.setattr(money, "_DECIMALS", money._DecimalMemo())
    prices, sizes = money._UnitsMemo(), money._SizeMemo()
    for units in range(1, 50):
        assert prices[f"0.00{units:02}"] == units
        assert sizes[f"{units}.5"] == D(f"{units}.5")
    assert len(money._DECIMALS) == len(prices) == len(sizes) == 10

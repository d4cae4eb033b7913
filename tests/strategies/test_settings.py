"""Settings of what ships: what is no number, or none that can be reckoned with, is refused by name."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import attrs
import pytest

from polyframe import strategies
from polyframe.errors import ConfigError
from polyframe.strategy import Strategy

NOT_TO_RECKON_WITH = ("NaN", "sNaN", "Infinity", "-Infinity", "1e999999", "-1e999999", "1e-999999")

SHIPPED: list[type[Strategy]] = [
    getattr(strategies, name)
    for name in strategies.__all__
    if name != "Template"  # made to be copied: it says no more than its copy would
]

AMOUNTS = [
    (kind, str(each.alias), "tuple" in str(each.type))
    for kind in SHIPPED
    for each in attrs.fields(kind)
    if each.init and "Decimal" in str(each.type)
]


def test_there_are_amounts() -> None:
    """What follows speaks of most that ships."""
    assert len(AMOUNTS) > 35
    assert len({kind for kind, _, _ in AMOUNTS}) >= 6


@pytest.mark.parametrize("text", NOT_TO_RECKON_WITH)
@pytest.mark.parametrize(("kind", "name", "is_list"), AMOUNTS)
def test_what_cannot_be_reckoned_with_is_refused(
    kind: type[Strategy], name: str, is_list: bool, text: str
) -> None:
    """In every setting that is an amount, by an error that names it; no decimal error, no surprise."""
    value: Any = Decimal(text)
    if is_list:
        value = (Decimal("0.5"), value)
    with pytest.raises(ConfigError, match=f"^{name}: expected "):
        kind(**{name: value})

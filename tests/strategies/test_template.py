"""The strategy to copy: every hook is there, and nothing comes of it."""

from __future__ import annotations

import inspect
from decimal import Decimal

import pytest

from polyframe.errors import ConfigError
from polyframe.model.market import Outcome
from polyframe.strategies import Template, template
from polyframe.strategy import Strategy, overrides
from polyframe.testing import Standing
from tests.strategies.kit import hostile, regime_reports


def test_shows_every_hook() -> None:
    """Whatever can be called is there, and says when."""
    hooks = [
        name
        for name, value in vars(Strategy).items()
        if inspect.iscoroutinefunction(value) and (name == "run" or name.startswith("on_"))
    ]
    assert len(hooks) >= 9
    for name in hooks:
        assert overrides(Template(), name), name
        assert (getattr(Template, name).__doc__ or "").startswith("Called "), name


def test_places_no_orders() -> None:
    """In no kind of market, and whatever goes wrong."""
    assert hostile(Template(), cycles=4, alone=True).orders == 0
    for report in regime_reports(Template(), cycles=1).values():
        assert not report.decisions


def test_a_copy_trades_once_it_wants_to() -> None:
    """The file stands on its own: under another name, and with a rule, it is a strategy that trades."""
    source = inspect.getsource(template).replace("Template", "Mine")
    source = source.replace("return False", "return event.outcome is Outcome.DOWN")
    names: dict[str, object] = {"__name__": "mine"}
    exec(compile(source, "mine.py", "exec"), names)
    mine = names["Mine"]
    assert isinstance(mine, type)
    assert issubclass(mine, Strategy)
    result = hostile(mine(), cycles=6, alone=True, bound=once)
    assert result.orders > 0


def once(standing: Standing) -> None:
    """It buys what it wants, as much as it is set to."""
    assert {order.outcome for order in standing.sent()} <= {Outcome.DOWN}
    assert all(order.size == 10 for order in standing.sent())


def test_its_setting_is_validated() -> None:
    """It shows how a wrong value is refused."""
    with pytest.raises(ConfigError, match=r"^size: expected a Decimal above 0, got 10"):
        Template(size=10)  # type: ignore[arg-type]
    assert Template().size == Decimal(10)

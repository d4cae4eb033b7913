"""What --strategy can name."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path

import pytest

from polyframe.cli.loading import SHIPPED, load_strategy
from polyframe.errors import ConfigError, StrategyDefinitionError
from polyframe.strategies import Threshold

MODULE = """
from decimal import Decimal
from attrs import define
from polyframe import Strategy
import neighbour

@define
class Mine(Strategy):
    size: int = neighbour.SIZE

@define
class Needs(Strategy):
    size: int

@define
class Leaks(Strategy):
    seen = []

ready = Needs(7)
number = 7
"""


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Give a file with strategies and a module beside it; leave no trace in this process."""
    (tmp_path / "mine.py").write_text(MODULE)
    (tmp_path / "neighbour.py").write_text("SIZE = 3\n")
    monkeypatch.setattr(sys, "path", sys.path.copy())
    before = set(sys.modules)
    yield tmp_path / "mine.py"
    for name in set(sys.modules) - before:
        del sys.modules[name]


def test_names_that_ship() -> None:
    """A plain name stands for a strategy that ships, with its defaults."""
    assert load_strategy("threshold") == Threshold()
    assert Threshold().trigger == Decimal("0.60")
    for name, kind in SHIPPED.items():
        assert type(load_strategy(name)) is kind


def test_a_class_in_a_file(module: Path) -> None:
    """The file may import its neighbours, as with ``python file.py``."""
    strategy = load_strategy(f"{module}:Mine")
    assert (type(strategy).__name__, vars(type(strategy))["__module__"]) == (
        "Mine",
        "_polyframe_strategy_mine",
    )
    assert getattr(strategy, "size") == 3  # noqa: B009 - the class is not known here


def test_an_object_in_a_file(module: Path) -> None:
    """An object brings its own settings."""
    assert getattr(load_strategy(f"{module}:ready"), "size") == 7  # noqa: B009


def test_a_class_in_a_module_of_the_current_directory(
    module: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A module name is looked up where the command was started, too."""
    monkeypatch.chdir(module.parent)
    assert type(load_strategy("mine:Mine")).__name__ == "Mine"


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("Nobody", "has no Nobody; strategies there: Leaks, Mine, Needs$"),
        ("number", "is no subclass of polyframe.Strategy"),
        ("Needs", "cannot be made without settings .*give its fields defaults"),
        ("", "expected a name that ships"),
    ],
)
def test_what_is_no_strategy_is_explained(module: Path, name: str, message: str) -> None:
    """The message says what is wrong with the name."""
    with pytest.raises(ConfigError, match=message):
        load_strategy(f"{module}:{name}")


def test_a_class_that_leaks_is_refused_here(module: Path) -> None:
    """A strategy that would share state between cycles does not get as far as the venue."""
    with pytest.raises(StrategyDefinitionError, match="seen"):
        load_strategy(f"{module}:Leaks")


def test_a_module_that_lacks_something_says_what(
    module: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A missing import *of* the module is not a missing module."""
    module.write_text("import nowhere_at_all\n")
    monkeypatch.chdir(module.parent)
    with pytest.raises(ModuleNotFoundError, match="nowhere_at_all"):
        load_strategy("mine:Mine")

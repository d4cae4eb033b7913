"""What --strategy can name."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path

import pytest

from polyframe.cli.loading import SHIPPED, load_strategy, load_variants, read_texts
from polyframe.errors import ConfigError, StrategyDefinitionError
from polyframe.strategies import Threshold

MODULE = """
from decimal import Decimal
from attrs import define, field
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

@define
class Checked(Strategy):
    size: int = field(default=-1)

    @size.validator
    def _check(self, _, value):
        if value <= 0:
            raise ValueError("size: above 0, please")

@define
class Strict(Strategy):
    size: int = field()
    more: int = 0

    @size.validator
    def _check(self, _, value):
        if value <= 0:
            raise ValueError("size: above 0, please")

ready = Needs(7)
number = 7
"""


@pytest.fixture
def module(tmp_path: Path) -> Iterator[Path]:
    """Give a file with strategies and a module beside it; forget what came as package.module."""
    (tmp_path / "mine.py").write_text(MODULE)
    (tmp_path / "neighbour.py").write_text("SIZE = 3\n")
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
    monkeypatch.delitem(sys.modules, module.stem, raising=False)  # of another test, as it may be
    assert type(load_strategy("mine:Mine")).__name__ == "Mine"


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("Nobody", "has no Nobody; strategies there: Checked, Leaks, Mine, Needs, Strict$"),
        ("number", "is no polyframe.Strategy"),
        ("Needs", "cannot be made without settings .*give its fields defaults"),
        ("", "expected a name that ships"),
    ],
)
def test_what_is_no_strategy_is_explained(module: Path, name: str, message: str) -> None:
    """The message says what is wrong with the name."""
    with pytest.raises(ConfigError, match=message):
        load_strategy(f"{module}:{name}")


def test_a_check_that_cannot_compare_is_told_as_what_it_is(tmp_path: Path) -> None:
    """No setting is missing: nobody is told to give defaults to fields that have them."""
    (tmp_path / "wrong.py").write_text(
        "from attrs import define\n"
        "from polyframe import Strategy\n"
        "@define\n"
        "class Wrong(Strategy):\n"
        "    size: int = 3\n"
        "    def __attrs_post_init__(self):\n"
        "        assert self.size > 'x'\n"
    )
    for texts in ({}, {"size": ["4"]}):
        with pytest.raises(ConfigError, match=r":Wrong cannot be made: '>' not supported [^;]*$"):
            load_strategy(f"{tmp_path / 'wrong.py'}:Wrong", texts)


def test_a_class_that_leaks_is_refused_here(module: Path) -> None:
    """A strategy that would share state between cycles does not get as far as the venue."""
    with pytest.raises(StrategyDefinitionError, match="seen"):
        load_strategy(f"{module}:Leaks")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("import nowhere_at_all\n", r"ModuleNotFoundError: .*nowhere_at_all.*mine\.py, line 1\)"),
        ("def x(:\n", r"SyntaxError: .*\(mine\.py, line 1\)"),
        ("\n1 / 0\n", r"ZeroDivisionError: .*mine\.py, line 2\)"),
        ("import sys\nsys.exit(3)\n", r"SystemExit: 3 .*mine\.py, line 2\)"),
    ],
)
@pytest.mark.parametrize("as_file", [True, False])
def test_a_module_that_cannot_be_imported_says_why(
    module: Path, monkeypatch: pytest.MonkeyPatch, text: str, message: str, *, as_file: bool
) -> None:
    """It is a sentence with the line in question; a missing import *of* it is no missing module."""
    module.write_text(text)
    monkeypatch.chdir(module.parent)
    with pytest.raises(ConfigError, match="mine.* cannot be imported: " + message):
        load_strategy(f"{module}:Mine" if as_file else "mine:Mine")


def test_a_mistake_in_a_setting_stays_what_it_is(module: Path) -> None:
    """An error of polyframe's own while a file is imported names the field already."""
    module.write_text("from polyframe.strategies import Threshold\nmine = Threshold(trigger=7)\n")
    with pytest.raises(ConfigError, match=r"^trigger: expected"):
        load_strategy(f"{module}:mine")


def test_a_file_without_a_class_names_those_that_it_has(module: Path) -> None:
    """Whoever gives only the file is told what can be added to it."""
    with pytest.raises(
        ConfigError, match=r"name the class as well, .*; there is: .*mine\.py:Mine,"
    ):
        load_strategy(str(module))


def test_settings_are_read_as_the_class_declares_them(module: Path) -> None:
    """Also those without a default, and those of an object; a check of the class's own is told."""
    for name in ("Mine", "Needs", "ready"):
        assert getattr(load_strategy(f"{module}:{name}", {"size": ["5"]}), "size") == 5  # noqa: B009
    with pytest.raises(ConfigError, match="size: expected int, got 'x'"):
        load_strategy(f"{module}:Needs", {"size": ["x"]})
    with pytest.raises(ConfigError, match="set: size has 2 values"):
        load_strategy(f"{module}:Needs", {"size": ["1", "2"]})
    with pytest.raises(ConfigError, match=r"^set: size: above 0, please"):
        load_strategy(f"{module}:Checked", {"size": ["0"]})
    with pytest.raises(ConfigError, match=r"Checked cannot be made: size: above 0, please"):
        load_strategy(f"{module}:Checked")


def test_a_template_of_a_sweep_takes_the_first_value_that_can_be(module: Path) -> None:
    """A setting without a default has one of those to try; if none can be, that is said."""
    template, values = load_variants(f"{module}:Strict", {"size": ["0", "3"], "more": ["1"]})
    assert (getattr(template, "size"), getattr(template, "more")) == (3, 0)  # noqa: B009
    assert values == {"size": [0, 3], "more": [1]}
    with pytest.raises(ConfigError, match=r"^set: size: above 0, please"):
        load_variants(f"{module}:Strict", {"size": ["0", "-1"]})
    template, values = load_variants(f"{module}:ready", {"size": ["1", "2"]})
    assert getattr(template, "size") == 7  # noqa: B009


@pytest.mark.parametrize(
    ("options", "text"), [(["size"], "'size'"), (["=1"], "'=1'"), (["a=1", "a=2"], "'a=2'")]
)
def test_what_is_no_setting_is_refused(options: list[str], text: str) -> None:
    """The form is name=value, and each name comes once."""
    with pytest.raises(
        ConfigError, match=f"limit: expected name=value, each name once, got {text}"
    ):
        read_texts(options, "limit")


def test_a_file_hides_no_package_of_its_name(module: Path) -> None:
    """What is installed is found before what is beside a strategy, also after it was loaded."""
    (module.parent / "this.py").write_text(module.read_text())
    assert type(load_strategy(f"{module.parent / 'this.py'}:Mine")).__name__ == "Mine"
    found = importlib.util.find_spec("this")
    assert found is not None
    assert found.origin is not None
    assert not found.origin.startswith(str(module.parent))


@pytest.mark.parametrize("neighbour", ["this.py", "this/__init__.py"])
def test_a_neighbour_that_would_be_hidden_is_refused(module: Path, neighbour: str) -> None:
    """A file that imports one of two modules of a name is not given the wrong one."""
    (module.parent / neighbour).parent.mkdir(exist_ok=True)
    (module.parent / neighbour).write_text("SIZE = 5\n")
    load_strategy(f"{module}:Mine")  # it does not import that
    module.write_text("def late():\n    from this import SIZE\n" + MODULE)
    with pytest.raises(
        ConfigError, match=r"imports this, and there are two: .*; rename the former"
    ):
        load_strategy(f"{module}:Mine")


def test_a_module_here_that_would_be_hidden_is_refused(
    module: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As package.module:Name it would be the installed one; the file can be named instead."""
    (module.parent / "this.py").write_text(MODULE)
    monkeypatch.chdir(module.parent)
    with pytest.raises(
        ConfigError, match=r"there are two modules this: this\.py and the installed"
    ):
        load_strategy("this:Mine")
    assert type(load_strategy("this.py:Mine")).__name__ == "Mine"

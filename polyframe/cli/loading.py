"""Finding the strategy that the command line names."""

from __future__ import annotations

import importlib
import importlib.util
import sys
import traceback
from pathlib import Path
from types import ModuleType

from polyframe import strategies
from polyframe.errors import ConfigError, PolyframeError
from polyframe.strategy import Strategy, check_definition

SHIPPED: dict[str, type[Strategy]] = {
    name.lower(): getattr(strategies, name) for name in strategies.__all__
}
"""Strategies that can be named without a module: the class's name in lower case."""

_FORMS = (
    f"a name that ships ({', '.join(SHIPPED)}), path/to/file.py:ClassName or "
    "package.module:ClassName"
)


def load_strategy(text: str) -> Strategy:
    """Return the strategy that `text` names, with its default settings.

    `text` is a name that ships, ``path/to/file.py:Name`` or ``package.module:Name``, where ``Name`` is
    a strategy class or a strategy object with settings of its own. As with ``python file.py``, a file
    may import its neighbours; modules are also looked for in the current directory.

    Raises:
        ConfigError: Nothing of that name, no strategy, or a module that cannot be imported.
        StrategyDefinitionError: The class would leak state between cycles.
    """
    if text in SHIPPED:
        return SHIPPED[text]()
    place, colon, name = text.rpartition(":")
    if text.endswith(".py") and Path(text).is_file():
        have = ", ".join(f"{text}:{found}" for found in _strategies_in(_load_file(Path(text))))
        msg = f"strategy: name the class as well, {text}:ClassName; there is: {have or 'none'}"
        raise ConfigError(msg)
    if not colon or not place or not name:
        msg = f"strategy: expected {_FORMS}, got {text!r}"
        raise ConfigError(msg)
    module = _load_file(Path(place)) if place.endswith(".py") else _load_module(place)
    found = getattr(module, name, None)
    if found is None:
        have = ", ".join(_strategies_in(module)) or "none"
        msg = f"strategy: {place} has no {name}; strategies there: {have}"
        raise ConfigError(msg)
    strategy = _make(found, f"{place}:{name}")
    check_definition(strategy)
    return strategy


def check_prices(strategy: Strategy, way: str) -> None:
    """Refuse a strategy that could not trade without reference prices.

    Args:
        strategy: What is to run where there are none.
        way: What to do instead, for the message.

    Raises:
        ConfigError: It follows reference prices.
    """
    if isinstance(strategy, strategies.Momentum):
        name = type(strategy).__name__
        msg = f"strategy: {name} follows reference prices, and none were recorded; {way}"
        raise ConfigError(msg)


def _make(found: object, label: str) -> Strategy:
    if isinstance(found, Strategy):
        return found
    if not (isinstance(found, type) and issubclass(found, Strategy)) or found is Strategy:
        msg = f"strategy: {label} is no subclass of polyframe.Strategy"
        raise ConfigError(msg)
    try:
        return found()
    except TypeError as error:
        msg = (
            f"strategy: {label} cannot be made without settings ({error}); give its fields defaults, "
            "or name an object instead of the class"
        )
        raise ConfigError(msg) from error


def _load_file(path: Path) -> ModuleType:
    if not path.is_file():
        msg = f"strategy: there is no file {path}"
        raise ConfigError(msg)
    folder = str(path.resolve().parent)
    if folder not in sys.path:
        sys.path.insert(0, folder)
    # A name of its own: a file called like a package must not hide that package.
    name = f"_polyframe_strategy_{path.stem}"
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        msg = f"strategy: {path} cannot be imported"
        raise ConfigError(msg)
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except PolyframeError:
        raise
    except Exception as error:
        raise _broken(str(path), error) from error
    return module


def _load_module(name: str) -> ModuleType:
    if "" not in sys.path:
        sys.path.insert(0, "")
    try:
        return importlib.import_module(name)
    except PolyframeError:
        raise
    except Exception as error:
        missing = error.name if isinstance(error, ModuleNotFoundError) else None
        if missing is None or not f"{name}.".startswith(f"{missing}."):
            raise _broken(name, error) from error  # it is there, and something in it is wrong
        msg = f"strategy: there is no module {name} (a file needs its .py: {name}.py:ClassName)"
        raise ConfigError(msg) from error


def _broken(place: str, error: Exception) -> ConfigError:
    """Return what to say of a module of the user's that raised while it was imported."""
    where = ""
    if not isinstance(error, SyntaxError):  # which says it itself
        last = traceback.extract_tb(error.__traceback__)[-1]
        where = f" ({last.filename}, line {last.lineno})"
    return ConfigError(
        f"strategy: {place} cannot be imported: {type(error).__name__}: {error}{where}"
    )


def _strategies_in(module: ModuleType) -> list[str]:
    return sorted(
        name
        for name, value in vars(module).items()
        if isinstance(value, type) and issubclass(value, Strategy) and value is not Strategy
    )

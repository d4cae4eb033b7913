"""Finding the strategy that the command line names."""

from __future__ import annotations

import importlib
import importlib.util
import sys
from pathlib import Path
from types import ModuleType

from polyframe import strategies
from polyframe.errors import ConfigError
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
        ConfigError: Nothing of that name, or no strategy.
        StrategyDefinitionError: The class would leak state between cycles.
        Exception: Whatever the module raises when it is imported.
    """
    if text in SHIPPED:
        return SHIPPED[text]()
    place, colon, name = text.rpartition(":")
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
    spec.loader.exec_module(module)
    return module


def _load_module(name: str) -> ModuleType:
    if "" not in sys.path:
        sys.path.insert(0, "")
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name is None or not (name == error.name or name.startswith(error.name + ".")):
            raise  # the module is there, something that it imports is not
        msg = f"strategy: there is no module {name} (a file needs its .py: {name}.py:ClassName)"
        raise ConfigError(msg) from error


def _strategies_in(module: ModuleType) -> list[str]:
    return sorted(
        name
        for name, value in vars(module).items()
        if isinstance(value, type) and issubclass(value, Strategy) and value is not Strategy
    )

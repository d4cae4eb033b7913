"""Finding the strategy that the command line names, and giving it its settings."""

from __future__ import annotations

import ast
import importlib
import importlib.util
import itertools
import sys
import traceback
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import attrs

from polyframe import strategies
from polyframe.errors import ConfigError, PolyframeError
from polyframe.strategies.blocks.fairvalue import PriceModel
from polyframe.strategy import Strategy
from polyframe.templates import (
    NEIGHBOURHOODS,
    import_file,
    make_template,
    read_settings,
    required_settings,
)

SHIPPED: dict[str, type[Strategy]] = {
    name.lower(): getattr(strategies, name) for name in strategies.__all__
}
"""Strategies that can be named without a module: the class's name in lower case."""

Texts = Mapping[str, Sequence[str]]
"""The values of settings as texts, by name."""

_FORMS = (
    f"a name that ships ({', '.join(SHIPPED)}), path/to/file.py:ClassName or "
    "package.module:ClassName"
)


def read_texts(options: Sequence[str], option: str = "set") -> dict[str, list[str]]:
    """Return what ``--set name=value,value`` says, by name.

    Raises:
        ConfigError: It is not of that form, or a name comes twice; the `option` is named.
    """
    texts: dict[str, list[str]] = {}
    for text in options:
        name, equals, told = text.partition("=")
        if not equals or not name or name in texts:
            msg = f"{option}: expected name=value, each name once, got {text!r}"
            raise ConfigError(msg)
        texts[name] = told.split(",")
    return texts


def read_values(kind: type, texts: Texts) -> dict[str, list[Any]]:
    """Return the values of each setting, read as the class `kind` declares it.

    Raises:
        ConfigError: No such setting, or no value of its type.
    """
    return {name: read_settings(kind, name, told) for name, told in texts.items()}


def read_value_each(kind: type, texts: Texts, option: str = "set") -> dict[str, Any]:
    """Return the one value of each setting.

    Raises:
        ConfigError: As `read_values`; also several values of one.
    """
    values = read_values(kind, texts)
    for name, found in values.items():
        if len(found) != 1:
            hint = "; polyframe sweep tries several" if option == "set" else "; name one"
            msg = f"{option}: {name} has {len(found)} values{hint}"
            raise ConfigError(msg)
    return {name: value for name, (value,) in values.items()}


def load_strategy(text: str, texts: Texts | None = None) -> Strategy:
    """Return the strategy that `text` names, with settings.

    `text` is a name that ships, ``path/to/file.py:Name`` or ``package.module:Name``, where ``Name`` is
    a strategy class or a strategy object with settings of its own. A file may import its neighbours;
    modules are also looked for in the current directory. What is installed comes before both, and two
    of one name are refused.

    Args:
        text: The name.
        texts: Settings that differ from the class's defaults, or the object's.

    Raises:
        ConfigError: Nothing of that name, no strategy, a module that cannot be imported, or a setting
            that is missing or cannot be.
        StrategyDefinitionError: The class would leak state between cycles.
    """
    found, label = _find(text)
    kind = found if isinstance(found, type) else type(found)
    wanted = texts or {}
    settings = read_value_each(kind, wanted) if issubclass(kind, Strategy) else {}
    return _make(found, label, settings)


def load_variants(text: str, texts: Texts) -> tuple[Strategy, dict[str, list[Any]]]:
    """Return a template of the strategy that `text` names, and the values to try of each setting.

    Raises:
        ConfigError, StrategyDefinitionError: As `load_strategy`.
    """
    found, label = _find(text)
    if not (isinstance(found, type) and issubclass(found, Strategy)):
        template = _make(found, label, {})
        return template, read_values(type(template), texts)
    values = read_values(found, texts)
    # What has no default needs some value in the template, too: the first that it takes.
    needed = [name for name in required_settings(found) if name in values]
    failure: ConfigError | None = None
    for chosen in itertools.product(*(values[name] for name in needed)):
        try:
            return _make(found, label, dict(zip(needed, chosen, strict=True))), values
        except ConfigError as error:
            failure = failure or error
    raise failure or ConfigError(f"set: expected at least one value of {', '.join(needed)}")


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


def fit_local(strategy: Strategy) -> Strategy:
    """Return `strategy` as it can live on the made-up prices of a venue on this machine."""
    kinds = strategies.Momentum | strategies.MarketMaker
    if isinstance(strategy, kinds) and strategy.model is None:
        # They are no averages, unlike those that the real venue settles by.
        return attrs.evolve(strategy, model=PriceModel.LAST)
    return strategy


def _find(text: str) -> tuple[object, str]:
    """Return what `text` names, and how to call it in a message."""
    if text in SHIPPED:
        return SHIPPED[text], text
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
    return found, f"{place}:{name}"


def _make(found: object, label: str, settings: Mapping[str, Any]) -> Strategy:
    missing: list[str] = []
    if isinstance(found, type) and issubclass(found, Strategy):
        missing = [name for name in required_settings(found) if name not in settings]
    way = f"say {' '.join(f'--set {name}=…' for name in missing)}" if missing else "name an object"
    try:
        return make_template(found, label, way, **settings)
    except PolyframeError:
        raise
    except Exception as error:
        # A check of the user's own: it says what is wrong with which setting.
        what = "set: " if settings else f"strategy: {label} cannot be made: "
        msg = f"{what}{str(error) or type(error).__name__}"
        raise ConfigError(msg) from error


def _load_file(path: Path) -> ModuleType:
    if not path.is_file():
        msg = f"strategy: there is no file {path}"
        raise ConfigError(msg)
    _check_neighbours(path)
    try:
        return import_file(path, f"_polyframe_strategy_{path.stem}")
    except PolyframeError:
        raise
    except (Exception, SystemExit) as error:
        raise _broken(str(path), error) from error


def _check_neighbours(path: Path) -> None:
    """Refuse a file whose import of a neighbour would get something else that is installed.

    Raises:
        ConfigError: There are two of one name; both places are named.
    """
    try:
        tree = ast.parse(path.read_bytes())
    except (SyntaxError, ValueError):
        return  # its import says it, with the line
    for name in sorted(_imported(tree) - {path.stem, "polyframe"}):
        own, other = _at(path.parent, name), _elsewhere(path.parent, name)
        if own is not None and other is not None:
            msg = (
                f"strategy: {path} imports {name}, and there are two: {own} and the installed "
                f"{other}; rename the former"
            )
            raise ConfigError(msg)


def _imported(tree: ast.AST) -> set[str]:
    """Return the outermost names of all modules that a file imports."""
    names: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names.update(alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module is not None and node.level == 0:
            names.add(node.module.partition(".")[0])
    return names


def _at(folder: Path, name: str) -> Path | None:
    """Return the module or package of that name in a folder."""
    places = (folder / f"{name}.py", folder / name / "__init__.py")
    return next((place for place in places if place.is_file()), None)


def _elsewhere(folder: Path, name: str) -> str | None:
    """Return where else a module of that name comes from, ``None`` if it does not."""
    try:
        spec = importlib.util.find_spec(name)
    except (ImportError, ValueError):
        return None
    if spec is None or spec.origin is None:
        return None
    # What another file brought along is no more installed than what this one does.
    for place in (folder, *map(Path, NEIGHBOURHOODS)):
        own = _at(place, name)
        if own is not None and own.resolve() == Path(spec.origin).resolve():
            return None
    return spec.origin


def _load_module(name: str) -> ModuleType:
    outermost, here = name.partition(".")[0], Path()
    own, other = _at(here, outermost), _elsewhere(here, outermost)
    if own is not None and other is not None and outermost != "polyframe":
        msg = (
            f"strategy: there are two modules {outermost}: {own} and the installed {other}; name "
            "the file, path/to/file.py:ClassName, or rename it"
        )
        raise ConfigError(msg)
    if "" not in sys.path:
        sys.path.append("")
    try:
        return importlib.import_module(name)
    except PolyframeError:
        raise
    except SystemExit as error:
        raise _broken(name, error) from error
    except Exception as error:
        missing = error.name if isinstance(error, ModuleNotFoundError) else None
        if missing is None or not f"{name}.".startswith(f"{missing}."):
            raise _broken(name, error) from error  # it is there, and something in it is wrong
        msg = f"strategy: there is no module {name} (a file needs its .py: {name}.py:ClassName)"
        raise ConfigError(msg) from error


def _broken(place: str, error: Exception | SystemExit) -> ConfigError:
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

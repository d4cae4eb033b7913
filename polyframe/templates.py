"""Templates of strategies: made of a class and settings, which may be texts, and of files with classes."""

from __future__ import annotations

import importlib.util
import inspect
import sys
import types
import typing
from collections.abc import Sequence
from decimal import Decimal, InvalidOperation
from enum import Enum
from math import isnan
from pathlib import Path
from types import ModuleType
from typing import Any, Union

import attrs

from polyframe.definition import check_definition
from polyframe.errors import ConfigError
from polyframe.model.money import is_sane
from polyframe.strategy import Strategy


def make_template(
    found: object, label: str, way: str, *, field: str = "strategy", **settings: Any
) -> Strategy:
    """Return the template that a class or an object stands for.

    Args:
        found: A strategy class, or an object, which brings settings of its own.
        label: What the caller calls it, for the message.
        way: What to do if the class wants more settings, for the message.
        field: Which option of the caller's it is, for the message.
        settings: Those that differ from the class's defaults, or from the object's.

    Raises:
        ConfigError: No strategy, a class that wants settings which are not given, or one whose own
            checks raise a TypeError.
        StrategyDefinitionError: The class would leak state between cycles.
    """
    template = found
    if isinstance(found, type) and issubclass(found, Strategy) and found is not Strategy:
        try:
            template = found(**settings)
        except TypeError as error:
            msg = f"{field}: {label} cannot be made: {error}"
            if set(required_settings(found)) - settings.keys():
                msg = (
                    f"{field}: {label} cannot be made without settings ({error}); give its fields "
                    f"defaults, or {way}"
                )
            raise ConfigError(msg) from error
    elif isinstance(found, Strategy) and settings:
        template = attrs.evolve(found, **settings)
    if not isinstance(template, Strategy):
        msg = f"{field}: {label} is no polyframe.Strategy; name a class of your own, or an object"
        raise ConfigError(msg)
    check_definition(template)
    return template


NEIGHBOURHOODS: list[str] = []
"""Folders that are on ``sys.path`` only because a file was imported from there."""


def import_file(path: Path, name: str) -> ModuleType:
    """Import a file under a name of its own, so that a file called like a package hides none.

    It may import its neighbours, as with ``python file.py``; but what is installed comes before them.

    Raises:
        ConfigError: It is no file of Python.
        Exception: Whatever the file raises.
    """
    folder = str(path.resolve().parent)
    if folder not in sys.path:
        sys.path.append(folder)
        NEIGHBOURHOODS.append(folder)
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        msg = f"strategy: {path} cannot be imported"
        raise ConfigError(msg)
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module


# ---------------------------------------------------------------------- settings


def required_settings(kind: type) -> list[str]:
    """Return the names of the settings of an attrs class that have no default."""
    return [
        str(each.alias)
        for each in attrs.fields(kind)
        if each.init and each.default is attrs.NOTHING
    ]


def read_settings(kind: type, name: str, texts: Sequence[str]) -> list[Any]:
    """Return the values of a setting that were given as text, as on a command line.

    Args:
        kind: The attrs class that declares the setting.
        name: Of the setting.
        texts: One for each value.

    Raises:
        ConfigError: There is no such setting, or a text is no value of its type.
    """
    expected = _types(kind, name)
    return [_read(name, text, expected) for text in texts]


def check_setting(kind: type, name: str, value: object) -> None:
    """Refuse a value of another type than the setting's: it would fail in each cycle.

    A field with a converter takes what the converter takes.

    Raises:
        ConfigError: There is no such setting, a float where it is a Decimal, or for example a Decimal
            that is not a number.
    """
    expected, attribute = _types(kind, name), _attribute(kind, name)
    if isinstance(value, Decimal) and not is_sane(value):
        msg = f"{name}: expected a finite number of an ordinary size, got {value!r}"
        raise ConfigError(msg)
    if expected is None or attribute.converter is not None or isinstance(value, expected):
        return
    if float in expected and isinstance(value, int):
        return
    names = " or ".join(each.__name__ for each in expected)
    hint = f"; write Decimal({str(value)!r})" if Decimal in expected else ""
    msg = f"{name}: expected {names}, got {value!r}{hint}"
    raise ConfigError(msg)


def _attribute(kind: type, name: str) -> attrs.Attribute[Any]:
    found: dict[str | None, attrs.Attribute[Any]] = {
        each.alias: each for each in attrs.fields(kind) if each.init
    }
    if name not in found:
        have = ", ".join(str(each) for each in found) or "none"
        msg = f"{name}: {kind.__name__} has no such setting; it has: {have}"
        raise ConfigError(msg)
    return found[name]


def _types(kind: type, name: str) -> tuple[Any, ...] | None:
    """Return the types that a setting may have, ``None`` if that cannot be told."""
    attribute = _attribute(kind, name)
    hint: Any = attribute.type
    if isinstance(hint, str):
        try:
            hint = typing.get_type_hints(kind)[attribute.name]
        except Exception:  # noqa: BLE001 - names that exist for type checkers only
            return None
    parts = typing.get_args(hint) if typing.get_origin(hint) in _UNIONS else (hint,)
    if not all(isinstance(part, type) and not typing.get_args(part) for part in parts):
        return None
    return tuple(parts)


_UNIONS = (Union, types.UnionType)


def _read(name: str, text: str, expected: tuple[Any, ...] | None) -> Any:
    if expected is None:
        msg = f"{name}: a setting of this type cannot be given as text; write a program"
        raise ConfigError(msg)
    if types.NoneType in expected and text.lower() in {"none", ""}:
        return None
    for kind in expected:
        try:
            return _parse(kind, text)
        except (ValueError, InvalidOperation, KeyError):
            continue
    names = " or ".join(each.__name__ for each in expected)
    hint = "; a finite number such as 0.55" if Decimal in expected else ""
    msg = f"{name}: expected {names}, got {text!r}{hint}"
    raise ConfigError(msg)


def _parse(kind: Any, text: str) -> Any:
    if kind is bool:
        return {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}[
            text.lower()
        ]
    if inspect.isclass(kind) and issubclass(kind, Enum):
        named = {each.name.lower(): each for each in kind} | {
            str(each.value): each for each in kind
        }
        return named.get(text) or named[text.lower()]
    if kind in {int, float, str, Decimal}:
        value = kind(text)
        if isnan(value) if kind is float else kind is Decimal and not is_sane(value):
            raise ValueError(text)
        return value
    raise ValueError(text)

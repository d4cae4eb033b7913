"""Which settings a sweep tries, as values that are checked before anything runs."""

from __future__ import annotations

import inspect
import itertools
import types
import typing
from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal, InvalidOperation
from enum import Enum
from typing import Any, Union

import attrs
from attrs import field, frozen

from polyframe.errors import ConfigError
from polyframe.strategy import Strategy, check_definition

Settings = Mapping[str, Any]


@frozen
class Variant:
    """One set of settings.

    Attributes:
        settings: Those that are varied, by name.
        strategy: The template with these settings, ``None`` if it cannot be made.
        error: Why not.
    """

    settings: Settings = field(hash=False)
    strategy: Strategy | None = field(default=None, eq=False)
    error: Exception | None = field(default=None, eq=False)


def grid(**values: Iterable[Any]) -> tuple[dict[str, Any], ...]:
    """Return every combination of settings; the last name changes fastest.

    Args:
        values: The values to try, by the name of the setting: ``grid(trigger=[…], size=[…])``.

    Raises:
        ConfigError: A setting without values, or a text where a list was meant.
    """
    lists = {}
    for name, found in values.items():
        if isinstance(found, str | bytes) or not isinstance(found, Iterable):
            msg = f"{name}: expected a list of values to try, got {found!r}"
            raise ConfigError(msg)
        lists[name] = list(found)
        if not lists[name]:
            msg = f"{name}: expected at least one value to try"
            raise ConfigError(msg)
    return tuple(
        dict(zip(lists, chosen, strict=True)) for chosen in itertools.product(*lists.values())
    )


def template_of(strategy: type[Strategy] | Strategy) -> Strategy:
    """Return the template whose settings are varied.

    Raises:
        ConfigError: No strategy, or a class that cannot be made without settings.
        StrategyDefinitionError: The class would leak state between cycles.
    """
    if isinstance(strategy, type) and issubclass(strategy, Strategy):
        kind = strategy
        try:
            strategy = kind()
        except TypeError as error:
            msg = (
                f"strategy: {kind.__name__} cannot be made without settings ({error}); give "
                "its fields defaults, or pass an object"
            )
            raise ConfigError(msg) from error
    if not isinstance(strategy, Strategy):
        msg = f"strategy: expected a Strategy class or object, got {strategy!r}"
        raise ConfigError(msg)
    check_definition(strategy)
    return strategy


def make_variants(
    template: Strategy, settings: Iterable[Settings | Strategy]
) -> tuple[Variant, ...]:
    """Return the variants in order, each once.

    Args:
        template: Says what the settings are that are not varied.
        settings: Settings by name, or strategies of the template's class.

    Raises:
        ConfigError: No variant at all, a setting that the strategy does not have, or a value of
            another type than the setting's.
    """
    variants: dict[str, Variant] = {}
    for chosen in settings:
        if isinstance(chosen, Strategy):
            variant = _of_strategy(template, chosen)
        else:
            variant = _of_settings(template, chosen)
        variants.setdefault(label(variant.settings), variant)
    if not variants:
        msg = "variants: expected at least one, for example grid(trigger=[…])"
        raise ConfigError(msg)
    return tuple(variants.values())


def label(settings: Settings) -> str:
    """Return settings as people write them: ``trigger=0.6, size=5``."""
    return ", ".join(f"{name}={text(value)}" for name, value in settings.items()) or "defaults"


def text(value: object) -> str:
    """Return one value as people write it."""
    if isinstance(value, Enum):
        return str(value.value)
    return str(value) if isinstance(value, Decimal | str | int | float) else repr(value)


def read_settings(kind: type[Strategy], name: str, texts: Sequence[str]) -> list[Any]:
    """Return the values of a setting that were given as text, as on a command line.

    Raises:
        ConfigError: There is no such setting, or a text is no value of its type.
    """
    expected = _types(kind, name)
    return [_read(name, text, expected) for text in texts]


def _of_strategy(template: Strategy, strategy: Strategy) -> Variant:
    if type(strategy) is not type(template):
        msg = f"variants: expected {type(template).__name__} objects, got {strategy!r}"
        raise ConfigError(msg)
    check_definition(strategy)
    settings = {
        found.alias: getattr(strategy, found.name)
        for found in attrs.fields(type(strategy))
        if found.init and found.alias is not None
    }
    return Variant(settings, strategy)


def _of_settings(template: Strategy, settings: Settings) -> Variant:
    if not isinstance(settings, Mapping):
        msg = f"variants: expected settings by name or strategies, got {settings!r}"
        raise ConfigError(msg)
    for name, value in settings.items():
        _check_type(type(template), name, value)
    try:
        strategy = attrs.evolve(template, **settings)
        check_definition(strategy)
    except Exception as error:  # noqa: BLE001 - a combination that cannot be is a failed variant
        return Variant(dict(settings), None, error)
    return Variant(dict(settings), strategy)


def _attribute(kind: type[Strategy], name: str) -> attrs.Attribute[Any]:
    found: dict[str | None, attrs.Attribute[Any]] = {
        each.alias: each for each in attrs.fields(kind) if each.init
    }
    if name not in found:
        have = ", ".join(str(each) for each in found) or "none"
        msg = f"{name}: {kind.__name__} has no such setting; it has: {have}"
        raise ConfigError(msg)
    return found[name]


def _types(kind: type[Strategy], name: str) -> tuple[Any, ...] | None:
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


def _check_type(kind: type[Strategy], name: str, value: object) -> None:
    """Refuse a float where the strategy says Decimal: it would fail in each cycle.

    A field with a converter takes what the converter takes.
    """
    expected, attribute = _types(kind, name), _attribute(kind, name)
    if expected is None or attribute.converter is not None or isinstance(value, expected):
        return
    if float in expected and isinstance(value, int):
        return
    names = " or ".join(each.__name__ for each in expected)
    hint = f"; write Decimal({str(value)!r})" if Decimal in expected else ""
    msg = f"{name}: expected {names}, got {value!r}{hint}"
    raise ConfigError(msg)


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
    msg = f"{name}: expected {names}, got {text!r}"
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
        if isinstance(value, float | Decimal) and value != value:  # noqa: PLR0124 - not a number
            raise ValueError(text)
        return value
    raise ValueError(text)

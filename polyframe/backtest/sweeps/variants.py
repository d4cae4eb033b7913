"""Which settings a sweep tries, as values that are checked before anything runs."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping
from decimal import Decimal
from enum import Enum
from typing import Any

import attrs
from attrs import field, frozen

from polyframe.checks import expect_list
from polyframe.definition import check_definition
from polyframe.errors import ConfigError
from polyframe.strategy import Strategy
from polyframe.templates import check_setting, make_template

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
    name = strategy.__name__ if isinstance(strategy, type) else repr(strategy)
    return make_template(strategy, name, "pass an object")


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
    expect_list("variants", settings, "a list, for example grid(trigger=[…])")
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
        check_setting(type(template), name, value)
    try:
        strategy = attrs.evolve(template, **settings)
        check_definition(strategy)
    except Exception as error:  # noqa: BLE001 - a combination that cannot be is a failed variant
        return Variant(dict(settings), None, error)
    return Variant(dict(settings), strategy)

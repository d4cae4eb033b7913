"""What a strategy class has to be like, so that nothing of one cycle can reach the next."""

from __future__ import annotations

import inspect
import logging
import re
from datetime import date, time, timedelta
from decimal import Decimal
from difflib import get_close_matches
from enum import Enum
from fractions import Fraction
from math import isnan
from types import FunctionType
from typing import Any

import attrs

from polyframe.errors import StrategyDefinitionError
from polyframe.persisted import decode_fields, encode_fields, persistent_fields
from polyframe.strategy import Strategy, fresh

_CONSTANTS: tuple[type, ...] = (
    *(str, bytes, int, float, complex, Decimal, Fraction, Enum, timedelta, date, time),
    *(re.Pattern, logging.Logger, type, FunctionType),
)
"""Types whose values cannot carry anything from one cycle into the next."""


def check_definition(template: Strategy) -> None:
    """Refuse a strategy class that would carry state from one cycle into the next.

    Raises:
        StrategyDefinitionError: A class without its own ``@define``, mutable class attributes, a
            shared mutable default, or a setting that cannot be copied.
    """
    if isinstance(template, type):
        msg = f"expected a strategy object, got the class {template.__name__}: call it"
        raise StrategyDefinitionError(msg)
    if not isinstance(template, Strategy):
        msg = f"expected a Strategy, got {type(template).__name__}"
        raise StrategyDefinitionError(msg)
    for klass in type(template).__mro__:
        if klass is Strategy:
            break
        _check_class(klass)
    for attribute in attrs.fields(type(template)):
        default: Any = attribute.default
        if attribute.init or isinstance(default, attrs.Factory):  # type: ignore[arg-type]
            continue  # settings are copied for each cycle, factories make a new one
        if not _is_constant(default):
            msg = (
                f"{type(template).__name__}.{attribute.name}: its default is one "
                f"{type(default).__name__} shared by all cycles; use "
                f"field(factory={type(default).__name__})"
            )
            raise StrategyDefinitionError(msg)
    _check_copy(template)
    _check_persistent(template)


def _check_copy(template: Strategy) -> None:
    """Check that a fresh instance has the settings of the template."""
    kind = type(template)
    try:
        copied = fresh(template)
    except StrategyDefinitionError:
        raise
    except Exception as error:
        msg = f"{kind.__name__}: a copy of it cannot be made from its own settings: {error}"
        raise StrategyDefinitionError(msg) from error
    try:
        copied._context = None  # noqa: SLF001
    except attrs.exceptions.FrozenInstanceError:
        msg = f"{kind.__name__}: a frozen class cannot run; use @define without frozen=True"
        raise StrategyDefinitionError(msg) from None
    for attribute in attrs.fields(kind):
        if not attribute.init:
            continue
        was, now = getattr(template, attribute.name), getattr(copied, attribute.name)
        if was.is_nan() if isinstance(was, Decimal) else isinstance(was, float) and isnan(was):
            msg = (
                f"{kind.__name__}.{attribute.name}: {was!r} is not a number, and no comparison with "
                "it holds; give it a number, or None for none"
            )
            raise StrategyDefinitionError(msg)
        has_equality = vars(object)["__eq__"] is not getattr(type(was), "__eq__", None)
        if has_equality and was != now:
            msg = (
                f"{kind.__name__}.{attribute.name}: {was!r} becomes {now!r} in a fresh copy; a "
                "converter or __attrs_post_init__ must leave a converted value as it is"
            )
            raise StrategyDefinitionError(msg)


def _check_persistent(template: Strategy) -> None:
    """Check that what is marked with `PERSIST` is state, and can be written and read back."""
    kind, marked = type(template).__name__, persistent_fields(template)
    if not marked:
        return
    for attribute in marked:
        if attribute.init:
            msg = (
                f"{kind}.{attribute.name}: PERSIST is for state; a setting comes from the program "
                "each time: add init=False, or leave the mark out"
            )
            raise StrategyDefinitionError(msg)
    try:
        decode_fields(fresh(template), encode_fields(template))
    except NameError as error:
        msg = f"{kind}: the types of its PERSIST fields must be known to its module: {error}"
        raise StrategyDefinitionError(msg) from error
    except Exception as error:
        msg = (
            f"{kind}: its PERSIST fields cannot be written down and read back: {error}; use "
            "numbers, Decimal, text, enums, attrs classes, and lists, sets or dicts of them"
        )
        raise StrategyDefinitionError(msg) from error


def _check_class(klass: type) -> None:
    if issubclass(klass, Strategy) and "__attrs_attrs__" not in vars(klass):
        msg = f"{klass.__name__}: decorate it with @define (from attrs), or its fields are shared"
        raise StrategyDefinitionError(msg)
    for name, value in vars(klass).items():
        if not name.startswith("__") and not _is_code(value) and not _is_constant(value):
            msg = (
                f"{klass.__name__}.{name}: a mutable class attribute is shared by all cycles; make "
                f"it a field: {name}: {type(value).__name__} = "
                f"field(init=False, factory={type(value).__name__})"
            )
            raise StrategyDefinitionError(msg)
    for hook in _HOOKS:
        own = vars(klass).get(hook)
        if own is None:
            continue
        names = list(inspect.signature(getattr(Strategy, hook)).parameters)
        if not inspect.iscoroutinefunction(own) or not _takes(own, len(names)):
            msg = f"{klass.__name__}.{hook}: write it as 'async def {hook}({', '.join(names)})'"
            raise StrategyDefinitionError(msg)
    for name, value in vars(klass).items():
        if not name.startswith("on_") or name in _HOOKS or not inspect.isfunction(value):
            continue
        # Nobody would call it, and a strategy that never does anything looks like a quiet market.
        if meant := get_close_matches(name, _HOOKS, 1, _ALIKE):
            msg = (
                f"{klass.__name__}.{name}: no hook has this name; is {meant[0]} meant? "
                "A method of your own needs a name that is less like it"
            )
            raise StrategyDefinitionError(msg)


def _takes(function: Any, arguments: int) -> bool:
    """Return whether `function` can be called with that many positional arguments."""
    try:
        inspect.signature(function).bind(*[None] * arguments)
    except TypeError:
        return False
    return True


def _is_code(value: Any) -> bool:
    """Return whether a class attribute is behaviour rather than data."""
    return (
        isinstance(value, type | property | staticmethod | classmethod)
        or inspect.isroutine(value)
        or inspect.isdatadescriptor(value)
    )


def _is_constant(value: Any) -> bool:
    """Return whether a value cannot change, so that cycles may share it."""
    if value is None or value is attrs.NOTHING or isinstance(value, _CONSTANTS):
        return True
    if isinstance(value, tuple | frozenset):
        return all(_is_constant(item) for item in value)
    return attrs.has(type(value)) and _is_frozen(value)


def _is_frozen(value: Any) -> bool:
    """Return whether an attrs object refuses changes, and holds constants only."""
    fields = attrs.fields(type(value))
    if not all(_is_constant(getattr(value, a.name)) for a in fields):
        return False
    try:
        for attribute in fields[:1]:
            setattr(value, attribute.name, getattr(value, attribute.name))
    except attrs.exceptions.FrozenInstanceError:
        return True
    return not fields


_ALIKE = 0.85
"""From this likeness on a name is a hook's with a mistake in it: ``on_prices``, ``on_cycle_started``."""

_HOOKS = (
    "on_cycle_start",
    "on_price",
    "on_book",
    "on_market_trade",
    "on_order",
    "on_trade",
    "on_reconcile",
    "run",
    "on_cycle_end",
)

"""What a strategy class has to be like, so that nothing of one cycle can reach the next."""

from __future__ import annotations

import dis
import inspect
import logging
import re
from collections.abc import Iterator, MutableMapping, MutableSequence, MutableSet
from datetime import date, time, timedelta
from decimal import Decimal
from difflib import get_close_matches
from enum import Enum
from fractions import Fraction
from math import isnan
from types import CodeType, FunctionType
from typing import Any
from weakref import WeakSet

import attrs

from polyframe.errors import StrategyDefinitionError
from polyframe.persisted import decode_fields, encode_fields, persistent_fields
from polyframe.strategy import Strategy, fresh

_CONSTANTS: tuple[type, ...] = (
    *(str, bytes, int, float, complex, Decimal, Fraction, Enum, timedelta, date, time),
    *(re.Pattern, logging.Logger, type, FunctionType),
)
"""Types whose values cannot carry anything from one cycle into the next."""

log = logging.getLogger(__name__)

_told: WeakSet[type] = WeakSet()
"""Classes that were looked through for methods that nobody calls."""


def check_definition(template: Strategy) -> None:
    """Refuse a strategy class that would carry state from one cycle into the next.

    Raises:
        StrategyDefinitionError: A class without its own ``@define``, mutable class attributes, a
            shared mutable default, a setting that cannot be copied, a hook that nobody would call, or
            a method that sets what is no field.
    """
    if isinstance(template, type):
        msg = f"expected a strategy object, got the class {template.__name__}: call it"
        raise StrategyDefinitionError(msg)
    if not isinstance(template, Strategy):
        msg = f"expected a Strategy, got {type(template).__name__}"
        raise StrategyDefinitionError(msg)
    mro = type(template).__mro__
    classes = [klass for klass in mro if klass not in (Strategy, object)]
    for klass in classes:
        _check_class(klass)
    for klass in mro[mro.index(Strategy) + 1 :]:
        _check_hidden(template, klass)
    if not hasattr(template, "__dict__"):
        for klass in classes:
            _check_assigned(type(template), klass)
    _tell_uncalled(type(template), classes)
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
    copied = _check_copy(template)
    for attribute in attrs.fields(type(template)):
        made: Any = getattr(template, attribute.name, None)
        # A list that the factory did not make is everybody's.
        if not attribute.init and _is_container(made) and made is getattr(copied, attribute.name):
            msg = (
                f"{type(template).__name__}.{attribute.name}: its factory gives the same "
                f"{type(made).__name__} to all cycles; let it make a new one, or give what lives "
                "longer than a cycle to env.provide()"
            )
            raise StrategyDefinitionError(msg)
    _check_persistent(template)


def _check_copy(template: Strategy) -> Strategy:
    """Check that a fresh instance has the settings of the template, and return it."""
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
    return copied


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
        is_internal = name.startswith("__") or name == "_abc_impl"  # what an abstract class has
        if not is_internal and not _is_code(value) and not _is_constant(value):
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
        if not _is_hooklike(name) or not inspect.isfunction(value):
            continue
        # Nobody would call it, and a strategy that never does anything looks like a quiet market.
        if meant := get_close_matches(_snake(name), _HOOKS, 1, _ALIKE):
            msg = (
                f"{klass.__name__}.{name}: no hook has this name; is {meant[0]} meant? "
                "A method of your own needs a name that is less like it"
            )
            raise StrategyDefinitionError(msg)


def _check_hidden(template: Strategy, klass: type) -> None:
    """Check that no class behind `Strategy` has a hook: there `Strategy`'s own, empty one is found first."""
    for hook in _HOOKS:
        if hook in vars(klass):
            name = type(template).__name__
            msg = (
                f"{name}: {klass.__name__}.{hook} would never be called, as Strategy comes before it; "
                f"write 'class {name}({klass.__name__}, Strategy)'"
            )
            raise StrategyDefinitionError(msg)


def _check_assigned(kind: type, klass: type) -> None:
    """Check that what methods of `klass` set on ``self`` can be set, which a hook would find out late."""
    if "__setattr__" in vars(klass) and not vars(klass).get("__attrs_own_setattr__"):
        return  # it knows what to do with any name
    for method, function in vars(klass).items():
        is_own = not method.startswith("__") or method == "__attrs_post_init__"
        if not is_own or not isinstance(function, FunctionType):
            continue
        for name in _assigned(function.__code__):
            found: Any = inspect.getattr_static(kind, name, attrs.NOTHING)
            if inspect.isdatadescriptor(found):
                continue
            why = "it is" if found is attrs.NOTHING else "it has no type, so it is"
            value = 0 if found is attrs.NOTHING else found
            typed = "int | None" if value is None else type(value).__name__
            msg = (
                f"{klass.__name__}.{name}: {method}() sets it, but {why} no field; declare it in the "
                f"class, for example: {name}: {typed} = field(init=False, default={value!r})"
            )
            raise StrategyDefinitionError(msg)


def _assigned(code: CodeType) -> Iterator[str]:
    """Return the names that a method sets on its first argument, also by ``+=`` and its like."""
    if not code.co_argcount:
        return
    own = code.co_varnames[0]
    steps = list(dis.get_instructions(code))
    for at, step in enumerate(steps):
        if step.opname != "STORE_ATTR":
            continue
        whose = at - 1
        if steps[whose].opname == "SWAP":  # what is there already was read before
            reads = (i for i in range(at) if steps[i].opname == "LOAD_ATTR")
            read = max((i for i in reads if steps[i].argval == step.argval), default=0)
            whose = read - 2 if steps[read - 1].opname == "COPY" else read - 1
        loaded = steps[whose].argval  # two names where one instruction loads both
        if own == (loaded[-1] if isinstance(loaded, tuple) and loaded else loaded):
            yield step.argval


def _tell_uncalled(kind: type, classes: list[type]) -> None:
    """Log the methods that look like hooks and are none, if nothing in the strategy calls them."""
    if kind in _told:
        return
    _told.add(kind)
    functions = [
        (name, value)
        for klass in classes
        for name, value in vars(klass).items()
        if isinstance(value, FunctionType)
    ]
    called = {name for _, value in functions for name in _names(value.__code__)}
    for name, _ in functions:
        if _is_hooklike(name) and name not in called:
            log.warning(
                "%s.%s: no hook has this name, and nothing in the strategy calls it; hooks are %s",
                kind.__name__,
                name,
                ", ".join(_HOOKS),
            )


def _names(code: CodeType) -> Iterator[str]:
    yield from code.co_names
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _names(constant)


def _is_hooklike(name: str) -> bool:
    """Return whether somebody who writes a method of this name expects it to be called."""
    return name not in _HOOKS and _snake(name).startswith("on_")


def _snake(name: str) -> str:
    return re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name).lower()


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


def _is_container(value: Any) -> bool:
    return isinstance(value, MutableSequence | MutableMapping | MutableSet)


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

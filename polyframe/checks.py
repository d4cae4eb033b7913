"""Checks of settings and arguments: each names the field, what it expects, and what it got."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from decimal import Decimal
from math import inf
from numbers import Integral
from typing import Any

from attrs import Attribute

from polyframe.errors import ConfigError
from polyframe.model.money import is_sane

Check = Callable[[Any, "Attribute[Any]", Any], None]


def expect(name: str, value: object, expected: str, *, is_right: bool) -> None:
    """Refuse an argument that is not right. A class where an object was meant never is.

    Args:
        name: Of the argument.
        value: What was given.
        expected: What the message says is expected, for example ``"Counters()"``.
        is_right: Whether `value` is that.

    Raises:
        ConfigError: It is not.
    """
    if not is_right or isinstance(value, type):
        msg = f"{name}: expected {expected}, got {value!r}"
        raise ConfigError(msg)


def expect_count(name: str, value: object, *, or_none: bool | str = False) -> None:
    """Refuse what is no whole number from 1 on.

    Args:
        name: Of the argument.
        value: What was given.
        or_none: As for `amount`.

    Raises:
        ConfigError: It is none.
    """
    # Those of numpy, and members of enumerations, are whole numbers as well.
    given: Any = value
    is_whole = not isinstance(given, bool) and isinstance(given, Integral) and int(given) >= 1
    is_right = is_whole or (or_none is not False and value is None)
    expect(name, value, f"a whole number from 1 on{_told(or_none)}", is_right=is_right)


def expect_list(name: str, value: object, expected: str) -> None:
    """Refuse what is no list, nor anything else that can be gone through; a text or a mapping is none.

    Raises:
        ConfigError: It is none.
    """
    # What has `__getitem__` only can be gone through as well.
    can_be = isinstance(value, Iterable) or hasattr(value, "__getitem__")
    is_list = can_be and not isinstance(value, str | bytes | Mapping)
    expect(name, value, expected, is_right=is_list)


def expect_some_seconds(name: str, value: object) -> None:
    """Refuse what is no finite number of seconds above 0.

    Raises:
        ConfigError: It is none.
    """
    given: Any = value
    is_right = is_number(given) and 0 < given < inf
    expect(name, value, "seconds above 0", is_right=is_right)


def expect_path(name: str, value: object, expected: str = "the name of a folder") -> None:
    """Refuse what names no file or folder.

    Raises:
        ConfigError: It does not.
    """
    is_path = isinstance(value, str) or hasattr(value, "__fspath__")
    expect(name, value, expected, is_right=is_path and value != "")


def expect_recording(name: str, value: object) -> None:
    """Refuse what is no recording, such as the name of its folder.

    Raises:
        ConfigError: It is none.
    """
    is_right = hasattr(value, "markets")
    expect(name, value, "a recording, such as ParquetRecording(folder)", is_right=is_right)


def must(expected: str, holds: Callable[[Any], bool]) -> Check:
    """Return a validator of whatever `holds` is true of.

    Args:
        expected: What the message says is expected, for example ``"seconds above 0"``.
        holds: Says whether a value is that.
    """

    def check(_: object, attribute: Attribute[Any], value: Any) -> None:
        if not holds(value):
            msg = f"{attribute.name}: expected {expected}, got {value!r}"
            raise ConfigError(msg)

    return check


def amount(
    expected: str, holds: Callable[[Decimal], bool], *, or_none: bool | str = False
) -> Check:
    """Return a validator of a ``Decimal`` that can be reckoned with.

    Args:
        expected: What the message says of the number, for example ``"above 0"``.
        holds: Says whether a number is that.
        or_none: Whether ``None`` passes; a text says what it means, for example ``"for no limit"``.
    """

    def is_right(value: Any) -> bool:
        return isinstance(value, Decimal) and is_sane(value) and holds(value)

    return _or_none(f"a Decimal, {expected}", is_right, or_none)


def number(expected: str, holds: Callable[[float], bool], *, or_none: bool | str = False) -> Check:
    """Return a validator of a finite number that is no money: seconds, a volatility.

    Args:
        expected: What the message says is expected, for example ``"seconds above 0"``.
        holds: Says whether a number is that.
        or_none: As for `amount`.
    """

    def is_right(value: Any) -> bool:
        return is_number(value) and -inf < value < inf and holds(value)

    return _or_none(expected, is_right, or_none)


def count(*, or_none: bool | str = False) -> Check:
    """Return a validator of a whole number from 1 on; `or_none` as for `amount`."""
    return _or_none("a whole number from 1 on", _is_count, or_none)


def _or_none(expected: str, is_right: Callable[[Any], bool], or_none: bool | str) -> Check:
    if or_none is False:
        return must(expected, is_right)
    told = f"{expected}{_told(or_none)}"
    return must(told, lambda value: value is None or is_right(value))


def _told(or_none: bool | str) -> str:
    return f", or None {or_none}" if isinstance(or_none, str) else ", or None" if or_none else ""


def _is_count(value: Any) -> bool:
    return type(value) is int and value >= 1


def is_number(value: Any) -> bool:
    """Return whether a value is a number of seconds or the like; ``True`` is none."""
    return isinstance(value, int | float) and not isinstance(value, bool)


def one_of(*words: str) -> Check:
    """Return a validator of a word."""
    return must(
        f"one of {', '.join(words)}", lambda value: isinstance(value, str) and value in words
    )


def instance(of: type, *, or_none: bool | str = False) -> Check:
    """Return a validator of a value of one class; `or_none` as for `amount`."""
    return _or_none(of.__name__, lambda value: isinstance(value, of), or_none)


flag = must("True or False", lambda value: isinstance(value, bool))
positive = amount("above 0", lambda value: value > 0)
not_negative = amount("at least 0", lambda value: value >= 0)
a_price = amount("between 0 and 1", lambda value: 0 < value < 1)
seconds = number("seconds, at least 0", lambda value: value >= 0)
some_seconds = number("seconds above 0", lambda value: value > 0)
a_wait = must("at least 0 seconds", lambda value: is_number(value) and value >= 0)
a_time = must("seconds above 0, inf for no end", lambda value: is_number(value) and value > 0)
duration_ms = must(
    "whole milliseconds of at least 0", lambda value: type(value) is int and value >= 0
)

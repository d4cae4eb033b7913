"""Validators of settings: each names the field, what it expects, and what it got."""

from __future__ import annotations

import re
from collections.abc import Callable
from decimal import Decimal
from math import inf
from pathlib import Path
from typing import Any

from attrs import Attribute

from polyframe.errors import ConfigError
from polyframe.model.money import is_sane

Check = Callable[[Any, "Attribute[Any]", Any], None]


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


def amount(expected: str, holds: Callable[[Decimal], bool], *, or_none: bool = False) -> Check:
    """Return a validator of a ``Decimal`` that can be reckoned with, or ``None`` if that is allowed.

    Args:
        expected: What the message says of the number, for example ``"above 0"``.
        holds: Says whether a number is that.
        or_none: Whether ``None`` passes.
    """

    def is_right(value: Any) -> bool:
        if value is None:
            return or_none
        return isinstance(value, Decimal) and is_sane(value) and holds(value)

    return must(f"a Decimal, {expected}{', or None' if or_none else ''}", is_right)


def number(expected: str, holds: Callable[[float], bool]) -> Check:
    """Return a validator of a finite number that is no money: seconds, a volatility.

    Args:
        expected: What the message says is expected, for example ``"seconds above 0"``.
        holds: Says whether a number is that.
    """
    return must(expected, lambda value: _is_number(value) and -inf < value < inf and holds(value))


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def one_of(*words: str) -> Check:
    """Return a validator of a word."""
    return must(f"one of {', '.join(words)}", lambda value: value in words)


def instance(of: type) -> Check:
    """Return a validator of a value of one class."""
    return must(of.__name__, lambda value: isinstance(value, of))


def local_path(name: str, path: str | Path, advice: str = "name a path of this machine") -> Path:
    """Return a path that is to be written to.

    Raises:
        ConfigError: It is a URL, which would become a folder of that name here.
    """
    found = Path(path)
    # A path has lost one of the two slashes; one letter is a drive of Windows.
    if found.parts and _SCHEME.fullmatch(found.parts[0]):
        msg = f"{name}: {path} is a URL, and cannot be written to; {advice}"
        raise ConfigError(msg)
    return found


_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+:")

flag = must("True or False", lambda value: isinstance(value, bool))
positive = amount("above 0", lambda value: value > 0)
not_negative = amount("at least 0", lambda value: value >= 0)
a_price = amount("between 0 and 1", lambda value: 0 < value < 1)
seconds = number("seconds, at least 0", lambda value: value >= 0)
some_seconds = number("seconds above 0", lambda value: value > 0)
a_time = must("seconds above 0, inf for no end", lambda value: _is_number(value) and value > 0)

"""The decimal context in which money is reckoned with, whatever a program sets for itself.

A context of `decimal` belongs to a task, and one task may hand the very same object on to those that it
starts: who changes it, changes it for all. So the framework has one that refuses to be changed, and
everything that it runs, hooks of strategies included, begins in it.
"""

from __future__ import annotations

from contextlib import ContextDecorator
from decimal import (
    ROUND_HALF_EVEN,
    Context,
    DivisionByZero,
    InvalidOperation,
    Overflow,
    getcontext,
    setcontext,
)
from types import MappingProxyType
from typing import Any, NoReturn, Self

from typing_extensions import override

from polyframe.errors import ConfigError

_TRAPS = [InvalidOperation, DivisionByZero, Overflow]
_DIGITS = 28


class _Fixed(Context):
    """A context that cannot be changed where it stands; a copy of it (``localcontext``) can."""

    @override
    def __setattr__(self, name: str, value: Any) -> NoReturn:
        raise _refusal(f"{name} = {value!r}")

    @override
    def __getattribute__(self, name: str) -> Any:
        found = super().__getattribute__(name)
        return MappingProxyType(dict(found)) if name == "traps" else found

    @override
    def __reduce__(self) -> Any:
        return self.copy().__reduce__()  # also of `deepcopy`: who copies it wants one of his own

    @override
    def clear_traps(self) -> NoReturn:
        raise _refusal("clear_traps()")


def _refusal(change: str) -> ConfigError:
    return ConfigError(
        f"decimal context: {change} would change how polyframe reckons with money; change a copy, for "
        "a calculation of your own: with decimal.localcontext() as context: ..."
    )


EXACT: Context = _Fixed(
    prec=_DIGITS,
    rounding=ROUND_HALF_EVEN,
    Emin=-999_999,
    Emax=999_999,
    capitals=1,
    clamp=0,
    flags=[],
    traps=_TRAPS,
)
"""28 digits, halves to even, and an error for what is no number: the default of `decimal`."""


class exactly(ContextDecorator):  # noqa: N801 - it is used like a function
    """Reckon in `EXACT` within a block, or a function; tasks that begin there do so for good."""

    __slots__ = ("_before",)

    def __enter__(self) -> None:
        self._before = getcontext()
        setcontext(EXACT)

    def __exit__(self, *_: object) -> None:
        setcontext(self._before)

    def _recreate_cm(self) -> Self:
        return type(self)()


def check_exact(call: str) -> None:
    """Refuse to move money where a context of the caller's own could round it.

    Args:
        call: What was called, for the message.

    Raises:
        ConfigError: The present context has fewer digits, another rounding or other traps.
    """
    context = getcontext()
    if context is not EXACT and not _is_exact(context):
        msg = (
            f"{call}: it was called in a decimal context of your own, {context}, in which money would "
            "be rounded or what is no number pass; leave the 'with decimal.localcontext()' block first"
        )
        raise ConfigError(msg)


def _is_exact(context: Context) -> bool:
    return (
        context.prec >= _DIGITS
        and context.rounding == ROUND_HALF_EVEN
        and context.clamp == 0
        and context.Emax >= EXACT.Emax
        and context.Emin <= EXACT.Emin
        and {signal for signal, is_on in context.traps.items() if is_on} == set(_TRAPS)
    )

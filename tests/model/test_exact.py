"""The decimal context that money is reckoned with in."""

from __future__ import annotations

import asyncio
import decimal
import pickle
from collections.abc import Callable
from copy import deepcopy
from decimal import Context, Decimal, Inexact, getcontext, localcontext, setcontext

import pytest

from polyframe.errors import ConfigError
from polyframe.model.exact import EXACT, check_exact, exactly

WEAK = [
    Context(prec=27),
    Context(rounding=decimal.ROUND_DOWN),
    Context(Emax=100),
    Context(Emin=-100),
    Context(clamp=1),
    Context(traps=[]),
    Context(traps=[decimal.InvalidOperation, decimal.DivisionByZero, decimal.Overflow, Inexact]),
]


def _more_traps() -> None:
    getcontext().traps[Inexact] = True


def _fewer_digits() -> None:
    getcontext().prec = 6


def _other_rounding() -> None:
    getcontext().rounding = decimal.ROUND_UP


def _no_traps() -> None:
    getcontext().clear_traps()


@pytest.mark.parametrize("change", [_fewer_digits, _other_rounding, _no_traps])
def test_it_cannot_be_changed_where_it_stands(change: Callable[[], None]) -> None:
    """The error says what to do instead, and nothing is different."""
    with exactly():
        with pytest.raises(
            ConfigError, match=r"decimal context: .* with decimal\.localcontext\(\)"
        ):
            change()
        check_exact("afterwards")
        assert Decimal(1) / 3 == Decimal("0." + "3" * 28)


def test_its_traps_cannot_be_changed_either() -> None:
    """They are shown, read only."""
    with exactly():
        assert getcontext().traps[decimal.InvalidOperation]
        with pytest.raises(TypeError):
            _more_traps()
        assert Decimal(1) / 3


def test_a_copy_is_ones_own() -> None:
    """``localcontext`` gives a context that can be changed, for as long as its block."""
    with exactly():
        with localcontext() as context:
            context.prec = 3
            assert str(Decimal(1) / 3) == "0.333"
        assert getcontext() is EXACT
    assert getcontext() is not EXACT


def test_it_may_travel() -> None:
    """Pickled, as what is sent to another process may be, it is the same, and that one's own."""
    for copied in (pickle.loads(pickle.dumps(EXACT)), deepcopy(EXACT)):
        assert repr(copied) == repr(EXACT)
        copied.prec = 3
        assert EXACT.prec == 28


@pytest.mark.parametrize("context", WEAK, ids=str)
def test_a_context_that_may_round_is_refused(context: Context) -> None:
    """Fewer digits, another rounding, a narrower range, other traps: by the name of the call."""
    with (
        localcontext(context),
        pytest.raises(ConfigError, match=r"^buy: .* in a decimal context of your own, Context\("),
    ):
        check_exact("buy")


@pytest.mark.parametrize("context", [Context(), Context(prec=50), decimal.DefaultContext])
def test_a_context_that_is_as_exact_is_good_enough(context: Context) -> None:
    """More digits do no harm."""
    with localcontext(context):
        check_exact("buy")


def test_a_function_can_be_exact() -> None:
    """As a decorator it is good for every call, also for one within another."""

    @exactly()
    def depth(left: int) -> list[bool]:
        return [getcontext() is EXACT, *(depth(left - 1) if left else ()), getcontext() is EXACT]

    before = getcontext()
    assert all(depth(3))
    assert getcontext() is before


def test_tasks_that_begin_within_it_have_it_for_good() -> None:
    """Also after the block is over, and whatever their caller does with its own context then."""

    async def main() -> None:
        gate = asyncio.Event()

        async def later() -> bool:
            await gate.wait()
            return getcontext() is EXACT

        with exactly():
            task = asyncio.create_task(later())
        setcontext(Context(prec=2))
        gate.set()
        assert await task

    with localcontext():
        asyncio.run(main())

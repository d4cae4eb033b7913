"""Where a monitor listens: the few functions through which everything goes."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable, Iterator
from contextlib import contextmanager
from itertools import islice
from typing import Any, Protocol

from polyframe.model.trade import Fill
from polyframe.trading.account import Account, Stock
from polyframe.trading.commands import CycleCommand, Reply
from polyframe.trading.comparison import Comparison
from polyframe.trading.image import CycleImage
from polyframe.trading.reconcile import ReconcileReport
from polyframe.trading.state import CycleState

_Apply = Callable[[CycleState, CycleCommand], Reply]
_Restore = Callable[[CycleImage, Account], CycleState]
_Count = Callable[[Account, Stock], None]
_Compare = Callable[[Comparison, str], Awaitable[ReconcileReport]]


class Listener(Protocol):
    """Who is told."""

    def is_watched(self, account: Account) -> bool:
        """Return whether to tell of books of this account."""
        ...

    def on_input(self, state: CycleState, command: CycleCommand, reply: Reply) -> None:
        """Books were given a command."""
        ...

    def on_fills(self, state: CycleState, fills: Iterable[Fill]) -> None:
        """Books have new fills."""
        ...

    def on_restored(self, state: CycleState, image: CycleImage) -> None:
        """Books were read back."""
        ...

    def on_counted(self) -> None:
        """The cash was counted."""
        ...

    async def on_comparison(
        self, comparison: Comparison, compare: Callable[[], Awaitable[ReconcileReport]]
    ) -> ReconcileReport:
        """Make a comparison with the venue by calling `compare`."""
        ...

    def on_unhandled(self, context: dict[str, Any]) -> None:
        """An exception was caught by nobody."""
        ...

    def on_log(self, record: logging.LogRecord) -> None:
        """Something was logged as a warning or worse."""
        ...


@contextmanager
def tapped(listener: Listener) -> Iterator[None]:
    """Tell `listener` of everything from now on."""
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(lambda _, context: listener.on_unhandled(context))
    handler = _LogHandler(listener)
    logger = logging.getLogger("polyframe")
    logger.addHandler(handler)
    taps: list[tuple[type, str, Any]] = [
        (CycleState, "apply", _applying(listener, CycleState.apply)),
        (CycleState, "restored", _restoring(listener, CycleState.restored)),
        (Account, "take_stock", _counting(listener, Account.take_stock)),
        (Comparison, "run", _comparing(listener, Comparison.run)),
    ]
    originals = [(owner, name, owner.__dict__.get(name)) for owner, name, _ in taps]
    try:
        for owner, name, tap in taps:
            setattr(owner, name, tap)
        yield
    finally:
        for owner, name, original in originals:
            if original is None:
                delattr(owner, name)  # it was inherited
            else:
                setattr(owner, name, original)
        logger.removeHandler(handler)


def _applying(listener: Listener, original: _Apply) -> _Apply:
    def apply(state: CycleState, command: CycleCommand) -> Reply:
        known = len(state.fills)
        reply = original(state, command)
        if listener.is_watched(state.account):
            listener.on_input(state, command, reply)
            if len(state.fills) > known:
                listener.on_fills(state, islice(state.fills.values(), known, None))
        return reply

    return apply


def _restoring(listener: Listener, original: _Restore) -> Any:
    def restored(image: CycleImage, account: Account) -> CycleState:
        state = original(image, account)
        if listener.is_watched(account):
            listener.on_restored(state, image)
        return state

    return staticmethod(restored)


def _counting(listener: Listener, original: _Count) -> _Count:
    def take_stock(account: Account, stock: Stock) -> None:
        original(account, stock)
        if listener.is_watched(account):
            listener.on_counted()

    return take_stock


def _comparing(listener: Listener, original: _Compare) -> _Compare:
    async def run(comparison: Comparison, trigger: str) -> ReconcileReport:
        return await listener.on_comparison(comparison, lambda: original(comparison, trigger))

    return run


class _LogHandler(logging.Handler):
    def __init__(self, listener: Listener) -> None:
        super().__init__(logging.WARNING)
        self._listener = listener

    def emit(self, record: logging.LogRecord) -> None:
        self._listener.on_log(record)

"""What a strategy's handle does with calls that cannot be meant so."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from decimal import Decimal
from typing import Any

import pytest

from polyframe.errors import PolyframeError
from polyframe.model.market import Outcome
from polyframe.model.order import OrderRequest, OrderStatus, Side
from polyframe.trading.handle import StrategyTrading
from tests.support.fake import FakeExchange
from tests.support.stage import Stage, play

BID = OrderRequest(Outcome.UP, Side.BUY, Decimal("0.4"), Decimal(10))
ASK: Any = "Up"
NEITHER: Any = "sideways"

COMMANDS: dict[str, Callable[[StrategyTrading], Coroutine[Any, Any, object]]] = {
    "place": lambda trading: trading.place(BID),
    "place_many": lambda trading: trading.place_many([BID]),
    "place_legs": lambda trading: trading.place_legs([BID, BID]),
    "cancel": lambda trading: trading.cancel("any"),
    "cancel_all": lambda trading: trading.cancel_all(),
    "cancel_exchange_open_orders": lambda trading: trading.cancel_exchange_open_orders(),
    "reconcile": lambda trading: trading.reconcile(),
    "merge": lambda trading: trading.merge(),
    "split": lambda trading: trading.split(Decimal(1)),
    "wait_conversion": lambda trading: trading.wait_conversion("any"),
}


def test_commands_of_another_thread_are_refused_and_change_nothing() -> None:
    """Nothing is locked, so a thread that would trade is told how to do it instead."""
    exchange = FakeExchange()

    async def act(stage: Stage) -> None:
        await stage.open_cycle()
        trading = stage.trading.handle("me")

        def elsewhere() -> list[str]:
            said = []
            for command in COMMANDS.values():
                with pytest.raises(PolyframeError) as raised:
                    asyncio.run(command(trading))
                said.append(str(raised.value))
            return said

        said = await asyncio.to_thread(elsewhere)
        for name, text in zip(COMMANDS, said, strict=True):
            assert text.startswith(f"{name}: called from another thread than the event loop's")
            assert "to_thread" in text
        assert not exchange.placed
        assert not trading.orders()

    play(act, exchange=exchange)


def test_an_outcome_as_text_is_that_one_or_refused() -> None:
    """``cancel_all("Up")`` cancels what rests on Up, and nobody holds shares of what is no outcome."""

    async def act(stage: Stage) -> None:
        await stage.open_cycle()
        trading = stage.trading.handle("me")
        await trading.place(BID)
        with pytest.raises(ValueError, match=r"outcome: expected Outcome\.UP or"):
            await trading.cancel_all(NEITHER)
        for ask in (trading.position, trading.sellable):
            with pytest.raises(ValueError, match=r"outcome: expected Outcome\.UP or"):
                ask(NEITHER)
        assert trading.position(ASK) == trading.position(Outcome.UP)
        (order,) = await trading.cancel_all(ASK)
        assert OrderStatus.CANCELLED is order.status

    play(act)


def test_a_cancel_of_nothing_says_what_it_wants() -> None:
    """A strategy that has no order yet, and cancels it, is told what was given."""

    async def act(stage: Stage) -> None:
        await stage.open_cycle()
        nothing: Any = None
        with pytest.raises(
            TypeError, match="cancel: expected an order, or its client id, got None"
        ):
            await stage.trading.handle("me").cancel(nothing)

    play(act)

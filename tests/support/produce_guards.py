"""For every refusal of a strategy's guards: something that makes it happen."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import suppress
from decimal import Decimal
from functools import partial
from typing import Any

from polyframe.counters import Count, Counters
from polyframe.errors import OrderError
from polyframe.model.order import OrderRequest, Side
from polyframe.trading.guards import EntryGuards
from tests.support.fake import trade_report
from tests.support.produce_events import FIRST, UP, Producer
from tests.support.stage import Stage, play

BUY = OrderRequest(UP, Side.BUY, Decimal("0.40"), Decimal(10))


async def place(stage: Stage) -> None:
    """Place the order, whatever becomes of it."""
    with suppress(OrderError):
        await stage.trading.handle("Recorder").place(BUY)


async def _nothing(_: Stage) -> None:
    """Do nothing before."""


async def _hold_alone(stage: Stage) -> None:
    await place(stage)
    stage.env.router.on_user_message(trade_report(FIRST, "t1", "0xorder1"))
    await stage.env.clock.sleep(10)


def guarded(act: Callable[[Stage], Awaitable[None]], **guards: Any) -> Counters:
    """Return the counters after `act` and one more order, in an open cycle."""

    async def main(stage: Stage) -> Counters:
        await stage.open_cycle()
        await act(stage)
        await place(stage)
        return stage.env.counters

    return play(main, guards=EntryGuards(**guards))


_RULES: dict[str, Producer] = {
    "guard_warm_up": partial(guarded, _nothing, warm_up=5.0),
    "guard_cool_down": partial(guarded, place, cool_down=5.0),
    "guard_entries": partial(guarded, place, max_entries=1),
    "guard_entry_window": partial(guarded, _nothing, entry_after=5.0),
    "guard_spread": partial(guarded, _nothing, max_spread=Decimal("0.001")),
    "guard_price": partial(guarded, _nothing, max_price=Decimal("0.30")),
    "guard_unhedged": partial(guarded, place, max_unhedged=Decimal(15)),
    "guard_unhedged_time": partial(guarded, _hold_alone, max_unhedged_seconds=5.0),
    "guard_budget": partial(guarded, place, max_budget=Decimal(7)),
}

GUARDS = {(Count.ORDERS_DENIED, rule): producer for rule, producer in _RULES.items()}

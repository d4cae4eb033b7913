"""One run on a terminal: shown while it goes on, and reported at its end, however that comes."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from typing import Any

from attrs import define, field
from rich.console import Console

from polyframe.cli.report import print_report
from polyframe.cli.screen import Scene, View
from polyframe.cli.stopping import Stopper
from polyframe.cli.watch import Watch, never_found
from polyframe.environment import Environment
from polyframe.model.series import Series
from polyframe.trader import Trader

log = logging.getLogger(__name__)


@define(eq=False)
class Show:
    """What commands that trade have in common.

    Attributes:
        stopper: Turns signals into the end of the run.
        console: Standard output.
        view: Shows the run on it.
        credits: The last lines of the report.
        keeps_account: Whether the account outlives the run: then the report tells its cash, and names
            orders that are open at the end.
        notes: Lines before `credits`: what was out of the ordinary.
        env: Of the run, as soon as there is one.
    """

    stopper: Stopper
    console: Console
    view: View
    credits: list[str] = field(factory=list)
    keeps_account: bool = False
    notes: list[str] = field(init=False, factory=list)
    env: Environment | None = field(init=False, default=None)
    _trader: Trader | None = field(init=False, default=None)

    async def main(self, play: Coroutine[Any, Any, None]) -> int:
        """Run `play`, report, and return the exit code."""
        task = asyncio.current_task()
        if task is not None:
            self.stopper.bind(task)
        self.stopper.last_words = self._give_up
        try:
            await play
        except asyncio.CancelledError:
            if self.stopper.signal is None:
                raise
        if self.stopper.signal is not None:
            self.notes.append(f"Stopped by {self.stopper.signal.name}.")
        if self.stopper.last_words is not None:
            self.stopper.last_words = None
            self.report()
        # A task that swallows its cancellation, or a thread that never ends, is not waited for.
        self.stopper.linger(self.stopper.exit_code)
        return self.stopper.exit_code

    def _give_up(self) -> None:
        """Report at an end by force: what had to be cleaned up was not."""
        if self.stopper.signal is not None:
            self.notes.append(
                f"Stopped by {self.stopper.signal.name}, by force: something did not end in time."
            )
        self.report()

    def say(self, *lines: str) -> None:
        """Print lines that stand before the run."""
        for line in lines:
            self.console.print(line, soft_wrap=True)

    def report(self) -> None:
        """Print what every cycle did and what was counted; nothing if no environment was made."""
        self.view.close()
        if self.env is not None:
            notes = [*self._unknown(self.env), *self.notes, *self._account(self.env), *self.credits]
            print_report(self.console, self.env.ledger, self.env.counters, notes=notes)
        self.console.file.flush()

    def _unknown(self, env: Environment) -> list[str]:
        """Return a line for each series of which the venue knew no market."""
        series = () if self._trader is None else never_found(env, self._trader.series)
        return [f"No market of {each} was found: is the series right?" for each in series]

    def _account(self, env: Environment) -> list[str]:
        """Return the cash, and a line for each order of ours that may rest at the venue."""
        if not self.keeps_account:
            return []
        left = env.settlement.open_order_ids()
        if self._trader is not None:
            left += _open_orders(self._trader)
        cash = f"Cash: {env.account.cash:,.2f} USD."
        if env.account.claimable:
            # A wallet is not paid by itself.
            cash += f" Resolved markets owe {env.account.claimable:,.2f} USD more, to be redeemed."
        return [*(f"STILL OPEN: order {order}" for order in dict.fromkeys(left)), cash]

    @asynccontextmanager
    async def follow(
        self, env: Environment, trader: Trader, title: str, cycles: int | None
    ) -> AsyncIterator[None]:
        """Show the run while the block lasts.

        Args:
            env: The environment, open.
            trader: The trader with its strategies.
            title: What runs, in a few words.
            cycles: Markets of each series to live through, ``None`` for no end.
        """

        def wants_more(series: Series) -> bool:
            begun = sum(record.series == str(series) for record in env.ledger)
            return self.stopper.signal is None and (cycles is None or begun < cycles)

        self._trader = trader
        watch = Watch(env, trader, self.view.tell, wants_more)
        scene = Scene(env, trader, tuple(trader.series), watch, title, cycles)
        drawing = asyncio.create_task(self.view.show(scene), name="screen")
        try:
            yield
        finally:
            drawing.cancel()
            (end,) = await asyncio.gather(drawing, return_exceptions=True)
            if isinstance(end, Exception):
                log.error("the screen failed", exc_info=end)

    async def wait_resolved(self, env: Environment, patience: float) -> None:
        """Wait for the results of markets that are over, some real seconds at most."""
        try:
            async with asyncio.timeout(patience):
                await env.settlement.wait_settled()
        except TimeoutError:
            self.notes.append(f"Not resolved in time: {', '.join(env.settlement.pending)}")


def _open_orders(trader: Trader) -> list[str]:
    """Return our open orders in cycles that were not ended: the program is stuck in one."""
    found: list[str] = []
    for series in trader.series:
        session = trader.session(series)
        state = None if session is None else trader.trading(series).state(session.market)
        if state is not None:
            found += [order.client_id for order in state.open_orders() if not order.is_external]
    return found
